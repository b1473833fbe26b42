"""rename(2) and renameat2(2): every combination of kinds, flags, permissions and open files."""

import errno
import os
import socket

import harness
import syscalls
from harness import MountTestCase, needs_root, read_file
from processes import Child, as_user
from syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, renameat2


class RenameTestCase(MountTestCase):
    def make_kind(self, kind, name):
        """An object of that kind; returns what identifies it."""
        path = self.path(name)
        if kind == "file":
            self.make(name, kind.encode())
        elif kind in ("empty", "full"):
            os.mkdir(path)
            if kind == "full":
                self.make(name + "/entry")
        elif kind == "symlink":
            os.symlink("nowhere", path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            # A relative address: sun_path is short.
            here = os.getcwd()
            os.chdir(self.dir)
            try:
                server = socket.socket(socket.AF_UNIX)
                server.bind(name)
                server.close()
            finally:
                os.chdir(here)
        return os.lstat(path).st_ino


class Rename(RenameTestCase):
    def test_matrix(self):
        files = ("file", "symlink", "fifo", "socket")
        for source in (*files, "empty", "full"):
            for target in (*files, "empty", "full", None):
                with self.subTest(source=source, target=target):
                    old, new = f"{source}-{target}-a", f"{source}-{target}-b"
                    inode = self.make_kind(source, old)
                    if target:
                        self.make_kind(target, new)
                    expected = self.expected_error(source, target, files)
                    if expected:
                        self.assertErrno(expected, os.rename, self.path(old), self.path(new))
                        self.assertEqual(os.lstat(self.path(old)).st_ino, inode)
                    else:
                        os.rename(self.path(old), self.path(new))
                        self.assertEqual(os.lstat(self.path(new)).st_ino, inode)
                        self.assertFalse(os.path.lexists(self.path(old)))

    @staticmethod
    def expected_error(source, target, files):
        if target is None:
            return None
        if source in files:
            return None if target in files else errno.EISDIR
        if target in files:
            return errno.ENOTDIR
        return errno.ENOTEMPTY if target == "full" else None

    def test_inode_and_content_stay(self):
        inode = os.stat(self.make("a", b"content")).st_ino
        os.mkdir(self.path("d"))
        os.rename(self.path("a"), self.path("d/b"))
        self.assertEqual(os.stat(self.path("d/b")).st_ino, inode)
        self.assertBytes(self.path("d/b"), b"content")

    def test_missing_and_not_directories(self):
        self.make("f")
        os.mkdir(self.path("d"))
        p = self.path
        self.assertErrno(errno.ENOENT, os.rename, p("no"), p("x"))
        self.assertErrno(errno.ENOENT, os.rename, p("f"), p("no/x"))
        self.assertErrno(errno.ENOTDIR, os.rename, p("f"), p("f/x"))
        self.assertErrno(errno.ENOTDIR, os.rename, p("f/x"), p("y"))
        self.assertErrno(errno.ENOTDIR, os.rename, p("f/"), p("y"))
        self.assertErrno((errno.EBUSY, errno.EINVAL, errno.ENOTEMPTY), os.rename, p("d/."), p("y"))
        self.assertErrno((errno.EBUSY, errno.EINVAL, errno.ENOTEMPTY), os.rename, p("f"), p("d/.."))
        self.assertErrno(errno.ENAMETOOLONG, os.rename, p("f"), p("x" * 256))

    def test_trailing_slash_of_new_directory(self):
        os.mkdir(self.path("d"))
        os.rename(self.path("d"), self.path("e/"))
        self.assertTrue(os.path.isdir(self.path("e")))

    def test_into_itself(self):
        os.makedirs(self.path("d/e/f"))
        self.assertErrno(errno.EINVAL, os.rename, self.path("d"), self.path("d/x"))
        self.assertErrno(errno.EINVAL, os.rename, self.path("d"), self.path("d/e/f/x"))
        self.assertErrno(errno.ENOTEMPTY, os.rename, self.path("d/e/f"), self.path("d"))
        self.assertTrue(os.path.isdir(self.path("d/e/f")))

    def test_same_name_and_hard_links_do_nothing(self):
        path = self.make("f", b"x")
        os.rename(path, path)
        os.link(path, self.path("g"))
        before = os.stat(path).st_ctime_ns
        os.rename(path, self.path("g"))
        self.assertEqual(sorted(os.listdir(self.dir)), ["f", "g"])
        self.assertEqual(os.stat(path).st_nlink, 2)
        self.assertEqual(os.stat(path).st_ctime_ns, before)

    def test_replaced_hard_link_loses_one(self):
        self.make("a", b"a")
        os.link(self.path("a"), self.path("a2"))
        os.rename(self.make("b", b"b"), self.path("a2"))
        self.assertEqual(os.stat(self.path("a")).st_nlink, 1)
        self.assertBytes(self.path("a"), b"a")
        self.assertBytes(self.path("a2"), b"b")

    def test_directory_moves_its_parent_link(self):
        for name in ("a", "b", "a/d"):
            os.mkdir(self.path(name))
        self.make("a/d/f", b"deep")
        links = os.stat(self.path("a")).st_nlink, os.stat(self.path("b")).st_nlink
        os.rename(self.path("a/d"), self.path("b/d"))
        self.assertEqual(os.stat(self.path("b/d/..")).st_ino, os.stat(self.path("b")).st_ino)
        now = os.stat(self.path("a")).st_nlink, os.stat(self.path("b")).st_nlink
        self.assertEqual(now, (links[0] - 1, links[1] + 1))
        self.assertBytes(self.path("b/d/f"), b"deep")

    def test_over_directory_link_counts(self):
        for name in ("a", "b"):
            os.mkdir(self.path(name))
        links = os.stat(self.dir).st_nlink
        os.rename(self.path("a"), self.path("b"))
        self.assertEqual(os.stat(self.dir).st_nlink, links - 1)

    def test_no_replace(self):
        self.make("a", b"a")
        self.make("b", b"b")
        self.assertErrno(errno.EEXIST, renameat2, self.path("a"), self.path("b"), RENAME_NOREPLACE)
        self.assertErrno(errno.EEXIST, renameat2, self.path("a"), self.path("a"), RENAME_NOREPLACE)
        renameat2(self.path("a"), self.path("c"), RENAME_NOREPLACE)
        self.assertBytes(self.path("c"), b"a")
        os.symlink("nowhere", self.path("dangling"))
        self.assertErrno(errno.EEXIST, renameat2, self.path("c"), self.path("dangling"),
                         RENAME_NOREPLACE)

    def test_exchange(self):
        inode_a = os.stat(self.make("a", b"a")).st_ino
        os.mkdir(self.path("d"))
        self.make("d/in", b"inside")
        renameat2(self.path("a"), self.path("d"), RENAME_EXCHANGE)
        self.assertEqual(os.stat(self.path("d")).st_ino, inode_a)
        self.assertBytes(self.path("a/in"), b"inside")
        renameat2(self.path("a"), self.path("d"), RENAME_EXCHANGE)
        self.assertBytes(self.path("d/in"), b"inside")
        self.assertErrno(errno.ENOENT, renameat2, self.path("a"), self.path("no"), RENAME_EXCHANGE)
        self.assertErrno(errno.ENOENT, renameat2, self.path("no"), self.path("a"), RENAME_EXCHANGE)

    def test_exchange_across_directories_moves_links(self):
        for name in ("p", "q", "p/d"):
            os.mkdir(self.path(name))
        self.make("q/f", b"f")
        links = os.stat(self.path("p")).st_nlink, os.stat(self.path("q")).st_nlink
        renameat2(self.path("p/d"), self.path("q/f"), RENAME_EXCHANGE)
        self.assertBytes(self.path("p/d"), b"f")
        self.assertTrue(os.path.isdir(self.path("q/f")))
        now = os.stat(self.path("p")).st_nlink, os.stat(self.path("q")).st_nlink
        self.assertEqual(now, (links[0] - 1, links[1] + 1))
        self.assertEqual(os.stat(self.path("q/f/..")).st_ino, os.stat(self.path("q")).st_ino)

    def test_exchange_with_own_ancestor(self):
        os.makedirs(self.path("d/e"))
        self.assertErrno(errno.EINVAL, renameat2, self.path("d"), self.path("d/e"), RENAME_EXCHANGE)
        self.assertErrno(errno.EINVAL, renameat2, self.path("d/e"), self.path("d"), RENAME_EXCHANGE)

    def test_bad_flags(self):
        self.make("a")
        self.make("b")
        self.assertErrno(errno.EINVAL, renameat2, self.path("a"), self.path("b"),
                         RENAME_NOREPLACE | RENAME_EXCHANGE)
        self.assertErrno(errno.EINVAL, renameat2, self.path("a"), self.path("b"), 1 << 7)
        if not harness.NATIVE:
            self.assertErrno((errno.EINVAL, errno.EPERM), renameat2, self.path("a"), self.path("b"),
                             RENAME_WHITEOUT)

    def test_across_filesystems(self):
        self.make("a")
        self.assertErrno(errno.EXDEV, os.rename, self.path("a"), "/dev/shm/varve-test-x")

    def test_replace_is_atomic_for_readers(self):
        """A reader always finds a whole file, one of the two."""
        target = self.make("f", b"A" * 10000)

        def read_often():
            good = (b"A" * 10000, b"B" * 20000)
            return all(read_file(target) in good for _ in range(1500))

        readers = [Child(read_often) for _ in range(2)]
        for i in range(300):
            data = b"B" * 20000 if i % 2 == 0 else b"A" * 10000
            os.rename(self.make("t", data), target)
        self.assertEqual([reader.result() for reader in readers], [True, True])

    def test_race_of_opposite_directory_renames(self):
        """No two renames may build a cycle."""
        for name in ("a", "b"):
            os.mkdir(self.path(name))

        def move(source, target):
            for _ in range(300):
                try:
                    os.rename(self.path(source), self.path(target, source))
                    os.rename(self.path(target, source), self.path(source))
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EINVAL, errno.ENOTEMPTY):
                        raise
        children = [Child(move, "a", "b"), Child(move, "b", "a")]
        for child in children:
            child.result()
        self.assertEqual(sum(len(dirs) for _, dirs, _ in os.walk(self.dir)), 2)

    def test_rename_chain(self):
        self.make("0", b"travelling")
        for i in range(500):
            os.rename(self.path(str(i)), self.path(str(i + 1)))
        self.assertEqual(os.listdir(self.dir), ["500"])
        self.assertBytes(self.path("500"), b"travelling")

    def test_after_rename_lookup_of_old_name_fails(self):
        os.makedirs(self.path("d/e"))
        self.make("d/e/f")
        os.stat(self.path("d/e/f"))
        os.rename(self.path("d"), self.path("n"))
        self.assertErrno(errno.ENOENT, os.stat, self.path("d/e/f"))
        os.stat(self.path("n/e/f"))
        os.mkdir(self.path("d"))
        self.assertErrno(errno.ENOENT, os.stat, self.path("d/e"))

    def test_case_and_non_utf8(self):
        self.make("a")
        os.rename(self.path("a"), self.path("A"))
        raw = os.fsencode(self.dir) + b"/\xff\xfe\x01"
        os.rename(self.path("A"), raw)
        self.assertEqual(os.listdir(os.fsencode(self.dir)), [b"\xff\xfe\x01"])


@needs_root
class RenamePermissions(MountTestCase):
    def test_sticky_directory(self):
        os.mkdir(self.path("t"))
        os.chmod(self.path("t"), 0o1777)
        for owner in (4201, 4202):
            name = self.path("t", f"f{owner}")
            harness.write_file(name, b"x")
            os.chown(name, owner, owner)
        f1, f2, new = self.path("t/f4201"), self.path("t/f4202"), self.path("t/new")
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4201, os.rename, f2, new)
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4201, os.rename, f1, f2)
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4201, os.unlink, f2)
        as_user(4201, os.rename, f1, new)
        # The directory's owner may.
        os.chown(self.path("t"), 4203, 4203)
        as_user(4203, os.unlink, f2)
        as_user(4203, os.rename, new, f1)

    def test_needs_write_on_both_directories(self):
        for name, mode in (("open", 0o777), ("closed", 0o755)):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), mode)
            harness.write_file(self.path(name, "f"), b"x")
            os.chown(self.path(name, "f"), 4201, 4201)
        self.assertErrno(errno.EACCES, as_user, 4201, os.rename, self.path("closed/f"),
                         self.path("open/g"))
        self.assertErrno(errno.EACCES, as_user, 4201, os.rename, self.path("open/f"),
                         self.path("closed/g"))
        as_user(4201, os.rename, self.path("open/f"), self.path("open/g"))

    def test_directory_of_other_owner_cannot_change_parent(self):
        for name in ("p", "q"):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), 0o777)
        os.mkdir(self.path("p/d"), 0o755)
        # ".." of d would change, and d is not writable to 4201.
        self.assertErrno(errno.EACCES, as_user, 4201, os.rename, self.path("p/d"),
                         self.path("q/d"))


class RenameOpenFiles(MountTestCase):
    def test_replace_while_written(self):
        old = self.open(self.make("f", b"old"), os.O_RDWR)
        new = self.open(self.make("t", b"new"), os.O_RDWR)
        os.rename(self.path("t"), self.path("f"))
        os.pwrite(old, b"OLD", 0)
        os.pwrite(new, b"NEWER", 0)
        self.assertBytes(self.path("f"), b"NEWER")
        self.assertEqual(os.pread(old, 10, 0), b"OLD")

    def test_exchange_while_open(self):
        a = self.open(self.make("a", b"aaa"), os.O_RDWR)
        b = self.open(self.make("b", b"bbb"), os.O_RDWR)
        syscalls.renameat2(self.path("a"), self.path("b"), RENAME_EXCHANGE)
        os.pwrite(a, b"A", 0)
        os.pwrite(b, b"B", 0)
        self.assertBytes(self.path("a"), b"Bbb")
        self.assertBytes(self.path("b"), b"Aaa")

    def test_readers_keep_position(self):
        fd = self.open(self.make("f", bytes(range(256)) * 100), os.O_RDONLY)
        got = b""
        for i in range(10):
            got += os.read(fd, 2560)
            os.rename(self.make("t", b"%d" % i), self.path("f"))
        self.assertSameBytes(got, bytes(range(256)) * 100)


if __name__ == "__main__":
    harness.main()
