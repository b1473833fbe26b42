"""Many processes at once: nothing fails that must not, and what they leave survives a remount.

Without a model: the tree that the processes leave is recorded, and must be the same after a
remount and after a SIGKILL; link counts must fit the names; fsck must be clean.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import random
import stat
import time

import harness
import syscalls
from harness import MountTestCase
from processes import Child

PROCESSES = 6
# What a race between processes may answer.
RACES = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EINVAL,
         errno.ELOOP, errno.EPERM, errno.EXDEV, errno.ENODATA, errno.ENXIO, errno.ETXTBSY}


def read_direct(path):
    """The bytes that the daemon has; the page cache may have others."""
    with open(os.open(path, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as file, \
            mmap.mmap(-1, (os.fstat(file.fileno()).st_size | 4095) + 1) as buffer:
        return buffer[:file.readinto(buffer)]


def snapshot(top, read=harness.read_file):
    """{relative path: (kind, mode, links, size, mtime, target or digest, attributes)}"""
    tree = {}
    for root, dirs, files in os.walk(top):
        for name in (*dirs, *files):
            path = os.path.join(root, name)
            info = os.lstat(path)
            content = None
            if stat.S_ISREG(info.st_mode):
                content = hashlib.blake2b(read(path), digest_size=12).hexdigest()
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                          for key in os.listxattr(path, follow_symlinks=False)}
            tree[os.path.relpath(path, top)] = (
                info.st_ino, info.st_mode, info.st_nlink, info.st_uid, info.st_mtime_ns,
                info.st_size if not stat.S_ISDIR(info.st_mode) else 0, content, attributes)
    return tree


class StressTestCase(MountTestCase):
    uses_shared_mount = False
    limit_s = 3600

    def check_survives(self, mount, top):
        before = snapshot(top)
        self.check_links(top, before)
        if harness.NATIVE:
            return
        self.assert_same(before, snapshot(top, read_direct), "without the page cache")
        mount.remount()
        self.assert_same(before, snapshot(top), "after a remount")
        mount.kill_and_remount()
        self.assert_same(before, snapshot(top), "after a SIGKILL")
        mount.stop()
        code, text = mount.fsck()
        self.assertEqual(code, 0, text)

    def assert_same(self, before, after, when):
        self.assertEqual(sorted(after), sorted(before))
        for path, entry in before.items():
            self.assertEqual(after[path], entry, f"{path} {when}")

    def check_links(self, top, tree):
        names, children = {}, {}
        for path, (inode, mode, *_) in tree.items():
            if stat.S_ISDIR(mode):
                parent = os.path.dirname(path)
                children[parent] = children.get(parent, 0) + 1
            else:
                names[inode] = names.get(inode, 0) + 1
        for path, (inode, mode, links, *_) in tree.items():
            expected = 2 + children.get(path, 0) if stat.S_ISDIR(mode) else names[inode]
            self.assertEqual(links, expected, path)
        self.assertEqual(os.stat(top).st_nlink, 2 + children.get("", 0))


class Names(StressTestCase):
    """Random calls on the same few names in a small tree."""

    def test_race_of_everything(self):
        mount = self.own_mount()
        top = os.path.join(mount.root, "tree")
        os.mkdir(top)
        seconds = 6 * harness.scaled(1)
        children = [Child(self.work, top, harness.seed() + i, time.monotonic() + seconds)
                    for i in range(PROCESSES)]
        calls = sum(child.result() for child in children)
        print(f"{harness.mode()}: {calls} calls by {PROCESSES} processes")
        self.check_survives(mount, top)

    def work(self, top, seed, deadline):
        r, calls = random.Random(seed), 0
        open_files = []
        while time.monotonic() < deadline:
            calls += 1
            try:
                self.one(r, top, open_files)
            except OSError as error:
                if error.errno not in RACES:
                    raise AssertionError(f"call {calls}: {error!r} {error.filename}") from error
        for fd in open_files:
            os.close(fd)
        return calls

    def name(self, r, top):
        parts = [f"{r.choice('ab')}{r.randrange(3)}" for _ in range(r.choice((1, 1, 2, 2, 3)))]
        return os.path.join(top, *parts)

    def one(self, r, top, open_files):
        a, b, kind = self.name(r, top), self.name(r, top), r.randrange(16)
        if kind <= 1:
            os.mkdir(a)
        elif kind <= 4:
            fd = os.open(a, os.O_CREAT | os.O_RDWR | r.choice((0, os.O_TRUNC, os.O_APPEND)), 0o644)
            os.pwrite(fd, r.randbytes(r.choice((1, 100, 5000))), r.randrange(20000))
            if len(open_files) < 5 and r.random() < 0.3:
                open_files.append(fd)
            else:
                os.close(fd)
        elif kind <= 6:
            os.rename(a, b)
        elif kind == 7:
            syscalls.renameat2(a, b, r.choice((syscalls.RENAME_EXCHANGE,
                                               syscalls.RENAME_NOREPLACE)))
        elif kind == 8:
            os.link(a, b)
        elif kind == 9:
            os.unlink(a)
        elif kind == 10:
            os.rmdir(a)
        elif kind == 11:
            os.symlink(os.path.basename(b), a)
        elif kind == 12:
            os.setxattr(a, f"user.k{r.randrange(3)}", r.randbytes(r.choice((3, 300))))
        elif kind == 13:
            os.listdir(a)
            os.stat(b)
        elif kind == 14 and open_files:
            fd = open_files.pop(r.randrange(len(open_files)))
            os.pwrite(fd, b"late", r.randrange(20000))
            os.ftruncate(fd, r.randrange(20000))
            os.close(fd)
        else:
            os.truncate(a, r.randrange(30000))


class OneFile(StressTestCase):
    """A file that is opened in every way by many, while it is stored, dropped and made hot."""

    FLAGS = (os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND,
             os.O_RDONLY | os.O_DIRECT, os.O_RDWR | os.O_DIRECT, os.O_RDWR | os.O_TRUNC)

    def exercise(self, options):
        mount = self.own_mount(options=options)
        paths = [os.path.join(mount.root, f"f{i}") for i in range(3)]
        for path in paths:
            harness.write_file(path, b"0" * 65536)
        deadline = time.monotonic() + 6 * harness.scaled(1)
        children = [Child(self.work, paths, harness.seed() + i, deadline)
                    for i in range(PROCESSES - 1)]
        children.append(Child(self.disturb, mount, paths, deadline))
        print(f"{harness.mode()}: {sum(child.result() for child in children)} opens")
        self.check_survives(mount, mount.root)

    def test_with_hot_copies(self):
        self.exercise(None)

    def test_without_hot_copies(self):
        self.exercise([*harness.default_options(), "hot=1"])

    def work(self, paths, seed, deadline):
        r, opens = random.Random(seed), 0
        while time.monotonic() < deadline:
            opens += 1
            fds = [self.open_one(r, paths) for _ in range(r.choice((1, 1, 2, 4)))]
            for fd in fds:
                self.use(r, fd)
            for fd in fds:
                os.close(fd)
        return opens

    def open_one(self, r, paths):
        path, flags = r.choice(paths), r.choice(self.FLAGS)
        if flags & os.O_TRUNC and r.random() < 0.8:
            flags &= ~os.O_TRUNC
        while True:
            try:
                return os.open(path, flags)
            except FileNotFoundError:
                continue  # between unlink and rename of disturb()

    def use(self, r, fd):
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        access = flags & os.O_ACCMODE
        buffer = mmap.mmap(-1, 8192)
        offset = r.randrange(16) * 4096
        if access != os.O_WRONLY:
            os.preadv(fd, [buffer], offset)
        if access != os.O_RDONLY:
            os.pwrite(fd, buffer, offset)
        if access == os.O_RDWR and not flags & os.O_DIRECT and r.random() < 0.3:
            self.use_mapping(fd)
        if access != os.O_RDONLY and r.random() < 0.05:
            os.ftruncate(fd, 65536)

    def use_mapping(self, fd):
        # The file may be truncated by others at any time, so the memory itself is not touched.
        try:
            with mmap.mmap(fd, 4096) as mapping:
                mapping.flush()
        except ValueError:
            pass  # shorter than a page just now
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOMEM):
                raise

    def disturb(self, mount, paths, deadline):
        """Stores, drops caches, replaces and removes."""
        r, rounds = random.Random(harness.seed()), 0
        while time.monotonic() < deadline:
            rounds += 1
            path, kind = r.choice(paths), r.randrange(4)
            if kind == 0:
                mount.sync(path)
            elif kind == 1:
                harness.drop_caches()
            elif kind == 2:
                harness.write_file(path + ".tmp", r.randbytes(70000))
                os.rename(path + ".tmp", path)
            else:
                os.unlink(path)
                harness.write_file(path, r.randbytes(70000))
            time.sleep(0.02)
        return rounds


class Reading(StressTestCase):
    def test_readers_of_a_stored_file(self):
        """Parallel readers of one cold file see right bytes, whatever order they read in."""
        mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        data = random.Random(1).randbytes(24 << 20)
        path = os.path.join(mount.root, "big")
        harness.write_file(path, data)
        mount.sync()
        if not harness.NATIVE:
            mount.remount()

        def read_randomly(seed):
            r = random.Random(seed)
            fd = os.open(path, os.O_RDONLY)
            with mmap.mmap(fd, len(data), prot=mmap.PROT_READ) as mapping:
                for i in range(150):
                    at, size = r.randrange(len(data)), r.choice((1, 4096, 100000, 1 << 20))
                    got = mapping[at:at + size] if i % 3 == 0 else os.pread(fd, size, at)
                    if got != data[at:at + size]:
                        raise AssertionError(f"seed {seed}: wrong bytes at {at}, {size} long")
                    if i % 50 == 0:
                        harness.drop_caches()
            os.close(fd)
        children = [Child(read_randomly, seed) for seed in range(5)]
        for child in children:
            child.result()


if __name__ == "__main__":
    harness.main()
