"""Directories: listings that are long, seeked in, and changed while they are read."""

import ctypes
import errno
import os
import struct
import threading

import harness
from harness import MountTestCase
from processes import Child

_LIBC = ctypes.CDLL(None, use_errno=True)
DIRENT_HEAD = struct.Struct("=QqHB")  # d_ino, d_off, d_reclen, d_type
SYS_GETDENTS64 = {"x86_64": 217}.get(os.uname().machine, 61)


def getdents(fd, size):
    """One getdents64(2): a list of (inode, offset, type, name)."""
    buffer = ctypes.create_string_buffer(size)
    got = _LIBC.syscall(SYS_GETDENTS64, fd, buffer, size)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    entries, at = [], 0
    while at < got:
        inode, offset, length, kind = DIRENT_HEAD.unpack_from(buffer, at)
        name = buffer.raw[at + DIRENT_HEAD.size:at + length].split(b"\0")[0]
        entries.append((inode, offset, kind, name))
        at += length
    return entries


def all_entries(fd, size=4096):
    entries = []
    while part := getdents(fd, size):
        entries += part
    return entries


def names_of(entries):
    return [name for _, _, _, name in entries if name not in (b".", b"..")]


class Listing(MountTestCase):
    def fill(self, count, prefix="f"):
        names = [f"{prefix}{i:05}" for i in range(count)]
        fd = os.open(self.dir, os.O_RDONLY)
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        return [os.fsencode(name) for name in names]

    def test_dot_entries(self):
        os.mkdir(self.path("d"))
        entries = all_entries(self.open("d", os.O_RDONLY))
        self.assertEqual(sorted(name for *_, name in entries), [b".", b".."])
        inodes = {name: inode for inode, _, _, name in entries}
        self.assertEqual(inodes[b"."], os.stat(self.path("d")).st_ino)
        self.assertEqual(inodes[b".."], os.stat(self.dir).st_ino)

    def test_types_and_inodes(self):
        self.make("file")
        os.mkdir(self.path("dir"))
        os.symlink("x", self.path("link"))
        os.mkfifo(self.path("fifo"))
        kinds = {b"file": 8, b"dir": 4, b"link": 10, b"fifo": 1}
        for inode, _, kind, name in all_entries(self.open(self.dir, os.O_RDONLY)):
            if name in kinds:
                self.assertIn(kind, (kinds[name], 0))
                self.assertEqual(inode, os.lstat(os.path.join(os.fsencode(self.dir), name)).st_ino)

    def test_ten_thousand_entries(self):
        names = self.fill(10000)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.dir))), names)
        with os.scandir(self.dir) as scan:
            self.assertEqual(sum(entry.stat().st_size == 0 for entry in scan), 10000)
        fd = self.open(self.dir, os.O_RDONLY)
        self.assertEqual(sorted(names_of(all_entries(fd, 400))), names)
        for name in names[::3]:
            os.unlink(os.path.join(os.fsencode(self.dir), name))
        self.assertEqual(sorted(os.listdir(os.fsencode(self.dir))),
                         [name for i, name in enumerate(names) if i % 3])

    def test_seek_to_any_entry(self):
        self.fill(500)
        fd = self.open(self.dir, os.O_RDONLY)
        entries = all_entries(fd, 700)
        for i in (*range(0, 490, 37), len(entries) - 2):
            os.lseek(fd, entries[i][1], os.SEEK_SET)
            self.assertEqual(all_entries(fd, 700)[0][3], entries[i + 1][3])
        os.lseek(fd, entries[-1][1], os.SEEK_SET)
        self.assertEqual(all_entries(fd), [])
        os.lseek(fd, 0, os.SEEK_SET)
        self.assertEqual(len(all_entries(fd)), len(entries))

    def test_offsets_are_unique_and_positive(self):
        self.fill(2000)
        offsets = [offset for _, offset, *_ in all_entries(self.open(self.dir, os.O_RDONLY))]
        self.assertEqual(len(set(offsets)), len(offsets))
        self.assertTrue(all(0 < offset < 1 << 63 for offset in offsets))

    def test_rewind_shows_changes(self):
        self.fill(10)
        fd = self.open(self.dir, os.O_RDONLY)
        self.assertEqual(len(names_of(all_entries(fd))), 10)
        self.make("late")
        os.unlink(self.path("f00003"))
        os.lseek(fd, 0, os.SEEK_SET)
        names = names_of(all_entries(fd))
        self.assertIn(b"late", names)
        self.assertNotIn(b"f00003", names)

    def test_remove_while_reading(self):
        """What rm -r does: every entry that is there must come once, also while others go."""
        names = self.fill(3000)
        fd = self.open(self.dir, os.O_RDONLY)
        seen = []
        while part := getdents(fd, 600):
            for name in names_of(part):
                seen.append(name)
                os.unlink(os.path.join(os.fsencode(self.dir), name))
        self.assertEqual(sorted(seen), names)
        self.assertEqual(os.listdir(self.dir), [])

    def test_stable_entries_come_exactly_once(self):
        stable = set(self.fill(1500, "stable"))
        stop = threading.Event()

        def churn():
            i = 0
            while not stop.is_set():
                path = self.path(f"churn{i % 300}")
                harness.write_file(path, b"")
                if i % 3 == 0:
                    os.unlink(path)
                elif i % 3 == 1:
                    os.rename(path, self.path(f"churned{i % 97}"))
                i += 1
        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for i in range(12):
                fd = os.open(self.dir, os.O_RDONLY)
                names = names_of(all_entries(fd, 500 + 100 * i))
                os.close(fd)
                found = [name for name in names if name in stable]
                self.assertEqual(len(found), len(set(found)), "an entry came twice")
                self.assertEqual(set(found), stable)
        finally:
            stop.set()
            thread.join()

    def test_seek_back_while_entries_are_removed(self):
        self.fill(400)
        fd = self.open(self.dir, os.O_RDONLY)
        entries = [entry for entry in all_entries(fd) if entry[3] not in (b".", b"..")]
        middle = entries[200]
        for _, _, _, name in entries[150:201]:
            os.unlink(os.path.join(os.fsencode(self.dir), name))
        os.lseek(fd, middle[1], os.SEEK_SET)
        self.assertEqual(sorted(names_of(all_entries(fd))),
                         sorted(name for *_, name in entries[201:]))

    def test_small_buffer(self):
        self.make("n" * 255)
        fd = self.open(self.dir, os.O_RDONLY)
        self.assertErrno(errno.EINVAL, getdents, fd, 8)
        self.assertIn(b"n" * 255, names_of(all_entries(fd, 300)))

    def test_listing_of_file(self):
        self.assertErrno(errno.ENOTDIR, os.listdir, self.make("f"))
        self.assertErrno(errno.ENOTDIR, getdents, self.open("f", os.O_RDONLY), 1000)

    def test_changes_by_others_are_seen(self):
        for i in range(30):
            Child(self.make, f"f{i}").result()
            self.assertEqual(len(os.listdir(self.dir)), i + 1)

    def test_sizes_in_listing_are_current(self):
        path = self.make("f", b"1")
        fd = self.open(path, os.O_WRONLY | os.O_APPEND)
        for i in range(2, 30):
            os.write(fd, b"x")
            with os.scandir(self.dir) as scan:
                self.assertEqual([entry.stat().st_size for entry in scan], [i])

    def test_wide_tree(self):
        for a in range(12):
            for b in range(12):
                os.makedirs(self.path(f"a{a}/b{b}"))
                self.make(f"a{a}/b{b}/f", b"%d.%d" % (a, b))
        found = [os.path.join(root, name) for root, _, files in os.walk(self.dir) for name in files]
        self.assertEqual(len(found), 144)
        self.assertBytes(self.path("a7/b11/f"), b"7.11")

    @harness.varve_only
    def test_control_directory_is_never_listed(self):
        os.mkdir(self.path("d"))
        for directory in (self.mount.root, self.dir, self.path("d")):
            self.assertTrue(os.path.isdir(os.path.join(directory, ".varve")))
            self.assertNotIn(".varve", os.listdir(directory))
            fd = self.open(directory, os.O_RDONLY)
            self.assertNotIn(b".varve", names_of(all_entries(fd)))
        os.rmdir(self.path("d"))


if __name__ == "__main__":
    harness.main()
