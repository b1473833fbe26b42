"""Names and links: link, unlink, rmdir, symlinks, long and odd names, deep paths."""

import errno
import os
import stat

import harness
import syscalls
from harness import MountTestCase, needs_root
from processes import Child, as_user


class HardLinks(MountTestCase):
    def test_link(self):
        path = self.make("a", b"shared")
        os.link(path, self.path("b"))
        os.mkdir(self.path("d"))
        os.link(self.path("b"), self.path("d/c"))
        infos = [os.stat(self.path(name)) for name in ("a", "b", "d/c")]
        self.assertEqual({info.st_ino for info in infos}, {infos[0].st_ino})
        self.assertEqual({info.st_nlink for info in infos}, {3})
        harness.write_file(self.path("d/c"), b"changed")
        self.assertBytes(path, b"changed")
        os.unlink(path)
        self.assertEqual(os.stat(self.path("b")).st_nlink, 2)
        self.assertBytes(self.path("b"), b"changed")

    def test_link_errors(self):
        self.make("f")
        os.mkdir(self.path("d"))
        p = self.path
        self.assertErrno(errno.EEXIST, os.link, p("f"), p("f"))
        self.assertErrno(errno.EEXIST, os.link, p("f"), p("d"))
        self.assertErrno(errno.ENOENT, os.link, p("no"), p("x"))
        self.assertErrno(errno.ENOENT, os.link, p("f"), p("no/x"))
        self.assertErrno(errno.ENOTDIR, os.link, p("f"), p("f/x"))
        self.assertErrno(errno.EPERM, os.link, p("d"), p("x"))
        self.assertErrno(errno.ENAMETOOLONG, os.link, p("f"), p("x" * 256))
        self.assertErrno(errno.EXDEV, os.link, p("f"), "/dev/shm/varve-test-x")

    def test_link_to_symlink_itself(self):
        os.symlink("target", self.path("s"))
        os.link(self.path("s"), self.path("s2"), follow_symlinks=False)
        self.assertEqual(os.readlink(self.path("s2")), "target")
        self.assertEqual(os.lstat(self.path("s")).st_nlink, 2)
        self.make("target", b"t")
        syscalls.linkat(syscalls.AT_FDCWD, self.path("s"), self.path("s3"),
                        syscalls.AT_SYMLINK_FOLLOW)
        self.assertTrue(stat.S_ISREG(os.lstat(self.path("s3")).st_mode))

    def test_link_special_files(self):
        os.mkfifo(self.path("p"))
        os.link(self.path("p"), self.path("q"))
        self.assertEqual(os.stat(self.path("p")).st_nlink, 2)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path("q")).st_mode))

    def test_hundreds_of_links(self):
        path = self.make("f", b"x")
        for i in range(300):
            os.link(path, self.path(f"l{i}"))
        self.assertEqual(os.stat(path).st_nlink, 301)
        for i in range(300):
            os.unlink(self.path(f"l{i}"))
        self.assertEqual(os.stat(path).st_nlink, 1)

    def test_link_survives_removal_of_the_first_name_while_open(self):
        fd = self.open(self.make("a", b"1"), os.O_RDWR)
        os.link(self.path("a"), self.path("b"))
        os.unlink(self.path("a"))
        os.pwrite(fd, b"22", 0)
        self.assertBytes(self.path("b"), b"22")


class Removal(MountTestCase):
    def test_unlink_errors(self):
        self.make("f")
        os.mkdir(self.path("d"))
        self.assertErrno(errno.ENOENT, os.unlink, self.path("no"))
        self.assertErrno(errno.EISDIR, os.unlink, self.path("d"))
        self.assertErrno(errno.ENOTDIR, os.unlink, self.path("f/x"))
        self.assertErrno(errno.ENOTDIR, os.unlink, self.path("f/"))
        os.symlink("d", self.path("s"))
        os.unlink(self.path("s"))
        self.assertTrue(os.path.isdir(self.path("d")))

    def test_rmdir_errors(self):
        self.make("f")
        os.makedirs(self.path("d/e"))
        os.symlink("d", self.path("s"))
        self.assertErrno(errno.ENOENT, os.rmdir, self.path("no"))
        self.assertErrno(errno.ENOTDIR, os.rmdir, self.path("f"))
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.path("d"))
        self.assertErrno(errno.ENOTDIR, os.rmdir, self.path("s"))
        self.assertErrno(errno.EINVAL, os.rmdir, self.path("d/."))
        self.assertErrno((errno.ENOTEMPTY, errno.EEXIST), os.rmdir, self.path("d/e/.."))
        self.assertErrno((errno.EBUSY, errno.ENOTEMPTY, errno.EACCES, errno.EPERM), os.rmdir,
                         self.mount.root)
        os.rmdir(self.path("d/e"))
        os.rmdir(self.path("d"))

    def test_link_counts_of_directories(self):
        base = os.stat(self.dir).st_nlink
        for i in range(5):
            os.mkdir(self.path(f"d{i}"))
        self.assertEqual(os.stat(self.dir).st_nlink, base + 5)
        self.assertEqual(os.stat(self.path("d0")).st_nlink, 2)
        for i in range(5):
            os.rmdir(self.path(f"d{i}"))
        self.assertEqual(os.stat(self.dir).st_nlink, base)

    def test_rmdir_of_the_working_directory(self):
        os.mkdir(self.path("d"))

        def inside():
            os.chdir(self.path("d"))
            os.rmdir(self.path("d"))
            self.assertErrno(errno.ENOENT, os.getcwd)
            self.assertErrno(errno.ENOENT, os.mkdir, "x")
            self.assertEqual(os.listdir("."), [])
        Child(inside).result()

    def test_create_and_remove_race(self):
        """Of many who make one name, one wins, and the others find it."""
        def contender():
            wins = 0
            for i in range(100):
                try:
                    os.mkdir(self.path(f"d{i}"))
                    wins += 1
                except FileExistsError:
                    os.stat(self.path(f"d{i}"))
            return wins
        children = [Child(contender) for _ in range(4)]
        self.assertEqual(sum(child.result() for child in children), 100)

    def test_unlink_race(self):
        for i in range(200):
            self.make(f"f{i}")

        def contender():
            wins = 0
            for i in range(200):
                try:
                    os.unlink(self.path(f"f{i}"))
                    wins += 1
                except FileNotFoundError:
                    pass
            return wins
        children = [Child(contender) for _ in range(3)]
        self.assertEqual(sum(child.result() for child in children), 200)

    @needs_root
    def test_removal_needs_write_on_directory(self):
        os.mkdir(self.path("d"), 0o755)
        self.make("d/f", mode=0o666)
        os.mkdir(self.path("d/e"), 0o777)
        self.assertErrno(errno.EACCES, as_user, 4201, os.unlink, self.path("d/f"))
        self.assertErrno(errno.EACCES, as_user, 4201, os.rmdir, self.path("d/e"))
        os.chmod(self.path("d"), 0o777)
        as_user(4201, os.unlink, self.path("d/f"))
        as_user(4201, os.rmdir, self.path("d/e"))


class Symlinks(MountTestCase):
    def test_round_trip(self):
        for i, target in enumerate((b"x", b"../../up", b"/abs/olute", b"\xff\xfe", b"a b\nc",
                                    b"t" * 4095)):
            path = os.fsencode(self.path(f"s{i}"))
            os.symlink(target, path)
            self.assertEqual(os.readlink(path), target)
            self.assertEqual(os.lstat(path).st_size, len(target))
            self.assertTrue(stat.S_ISLNK(os.lstat(path).st_mode))
            self.assertEqual(stat.S_IMODE(os.lstat(path).st_mode), 0o777)

    def test_errors(self):
        self.make("f")
        self.assertErrno(errno.EEXIST, os.symlink, "x", self.path("f"))
        self.assertErrno(errno.ENOENT, os.symlink, "x", self.path("no/s"))
        self.assertErrno(errno.ENOENT, os.symlink, "", self.path("s"))
        self.assertErrno(errno.ENAMETOOLONG, os.symlink, "t" * 4096, self.path("s"))
        self.assertErrno(errno.EINVAL, os.readlink, self.path("f"))
        self.assertErrno(errno.EINVAL, os.readlink, self.dir)

    def test_loops(self):
        os.symlink("loop", self.path("loop"))
        os.symlink("b", self.path("a"))
        os.symlink("a", self.path("b"))
        for name in ("loop", "a", "a/x"):
            self.assertErrno(errno.ELOOP, os.stat, self.path(name))
            self.assertErrno(errno.ELOOP, os.open, self.path(name), os.O_RDONLY)
        self.assertErrno(errno.ELOOP, os.chmod, self.path("a"), 0o600)
        os.lstat(self.path("a"))

    def test_chains(self):
        self.make("0", b"end")
        for i in range(39):
            os.symlink(str(i), self.path(str(i + 1)))
        self.assertBytes(self.path("39"), b"end")
        for i in range(39, 45):
            os.symlink(str(i), self.path(str(i + 1)))
        self.assertErrno(errno.ELOOP, os.stat, self.path("45"))

    def test_through_directories(self):
        os.makedirs(self.path("real/sub"))
        os.symlink("real", self.path("way"))
        self.make("way/sub/f", b"found")
        self.assertBytes(self.path("real/sub/f"), b"found")
        self.assertEqual(os.stat(self.path("way/sub/..")).st_ino, os.stat(self.path("real")).st_ino)

    def test_cache_layout_of_a_model_hub(self):
        os.makedirs(self.path("blobs"))
        os.makedirs(self.path("snapshots/abc"))
        self.make("blobs/9f86", b"weights")
        os.symlink("../../blobs/9f86", self.path("snapshots/abc/model.bin"))
        self.assertBytes(self.path("snapshots/abc/model.bin"), b"weights")


class Names(MountTestCase):
    def test_longest_name(self):
        name = "n" * 255
        self.make(name, b"long")
        self.assertBytes(self.path(name), b"long")
        self.assertEqual(os.listdir(self.dir), [name])
        os.rename(self.path(name), self.path("m" * 255))
        os.unlink(self.path("m" * 255))
        os.mkdir(self.path(name))
        os.symlink(name, self.path("s" * 255))
        self.assertTrue(os.path.isdir(self.path("s" * 255)))

    def test_name_too_long(self):
        path = self.path("n" * 256)
        self.make("f")
        for call in ((os.mkdir, path), (os.stat, path), (os.unlink, path), (os.rmdir, path),
                     (os.symlink, "x", path), (os.mkfifo, path), (os.chmod, path, 0o600),
                     (os.open, path, os.O_CREAT | os.O_WRONLY), (os.truncate, path, 0),
                     (os.link, self.path("f"), path), (os.rename, self.path("f"), path)):
            self.assertErrno(errno.ENAMETOOLONG, *call)

    def test_every_byte(self):
        directory = os.fsencode(self.dir)
        names = [bytes([byte]) for byte in range(1, 256) if byte not in (ord("/"), ord("."))]
        for name in names:
            harness.write_file(os.path.join(directory, name), name)
        self.assertEqual(sorted(os.listdir(directory)), sorted(names))
        for name in names:
            self.assertBytes(os.path.join(directory, name), name)

    def test_odd_names(self):
        directory = os.fsencode(self.dir)
        names = [b"...", b".hidden", b" ", b"a b", b"-rf", b"new\nline", b"\xc3\xa4", b"a\xcc\x88",
                 b"\xff" * 255, b"%2F", b"versions", b"latest", b".varve2", b".varv", b"0001",
                 b"\xed\xa0\x80"]
        for name in names:
            os.mkdir(os.path.join(directory, name))
        self.assertEqual(sorted(os.listdir(directory)), sorted(names))

    def test_case_matters(self):
        self.make("a", b"lower")
        self.make("A", b"upper")
        self.assertBytes(self.path("a"), b"lower")

    def test_path_length(self):
        deep = self.dir
        while len(deep) + 101 < 4094:
            deep += "/" + "d" * 100
            os.mkdir(deep)
        name = deep + "/" + "f" * (4094 - len(deep))
        self.assertEqual(len(name), 4095)
        harness.write_file(name, b"at the limit")
        self.assertBytes(name, b"at the limit")
        self.assertErrno(errno.ENAMETOOLONG, os.stat, name + "x")

    def test_deeper_than_any_path(self):
        fd = os.open(self.dir, os.O_RDONLY)
        for _ in range(200):
            os.mkdir("d" * 100, dir_fd=fd)
            child = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = child
        self.addCleanup(os.close, fd)
        file = os.open("f", os.O_CREAT | os.O_RDWR, dir_fd=fd)
        os.write(file, b"20,000 bytes down")
        self.assertEqual(os.pread(file, 100, 0), b"20,000 bytes down")
        os.close(file)

    def test_dot_and_dot_dot(self):
        os.makedirs(self.path("a/b"))
        self.assertEqual(os.stat(self.path("a/b/../..")).st_ino, os.stat(self.dir).st_ino)
        self.assertEqual(os.stat(self.path("a/.")).st_ino, os.stat(self.path("a")).st_ino)
        for name in (".", ".."):
            self.assertErrno((errno.EEXIST,), os.mkdir, self.path(name))

    def test_create_existing(self):
        for kind, make in (("f", self.make), ("d", lambda n: os.mkdir(self.path(n))),
                           ("s", lambda n: os.symlink("x", self.path(n))),
                           ("p", lambda n: os.mkfifo(self.path(n)))):
            make(kind)
            self.assertErrno(errno.EEXIST, os.mkdir, self.path(kind))
            self.assertErrno(errno.EEXIST, os.mkfifo, self.path(kind))
            self.assertErrno(errno.EEXIST, os.symlink, "y", self.path(kind))

    def test_negative_entries_do_not_stick(self):
        for i in range(50):
            path = self.path(f"late{i}")
            self.assertFalse(os.path.exists(path))
            Child(os.mkdir, path).result()
            self.assertTrue(os.path.isdir(path))
            os.rmdir(path)
            self.assertFalse(os.path.exists(path))

    def test_link_at_empty_path(self):
        if os.geteuid() != 0:
            self.skipTest("AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH")
        fd = self.open(self.make("f", b"x"), os.O_RDONLY)
        syscalls.linkat(fd, "", self.path("g"), syscalls.AT_EMPTY_PATH)
        self.assertEqual(os.stat(self.path("f")).st_nlink, 2)


if __name__ == "__main__":
    harness.main()
