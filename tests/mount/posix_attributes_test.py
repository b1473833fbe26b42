"""Attributes: nodes of all kinds, chmod, chown, set-id and sticky rules, utimensat, statfs."""

import errno
import os
import socket
import stat
import time

import harness
import syscalls
from harness import MountTestCase, needs_root
from processes import as_user
from syscalls import UTIME_NOW, UTIME_OMIT


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


class Nodes(MountTestCase):
    def test_fifo_works(self):
        path = self.path("p")
        os.mkfifo(path, 0o640)
        self.assertTrue(stat.S_ISFIFO(os.stat(path).st_mode))
        reader = self.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = self.open(path, os.O_WRONLY)
        os.write(writer, b"through")
        self.assertEqual(os.read(reader, 10), b"through")
        os.close(reader)
        self.assertErrno(errno.ENXIO, os.open, path, os.O_WRONLY | os.O_NONBLOCK)

    def test_socket_works(self):
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.dir)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("s")
            server.listen(1)
            self.assertTrue(stat.S_ISSOCK(os.stat("s").st_mode))
            client.connect("s")
            connection, _ = server.accept()
            client.send(b"hello")
            self.assertEqual(connection.recv(10), b"hello")
            connection.close()
        self.assertErrno((errno.ENXIO,), os.open, "s", os.O_RDONLY)

    def test_mknod_regular(self):
        os.mknod(self.path("f"), stat.S_IFREG | 0o600)
        harness.write_file(self.path("f"), b"works")
        self.assertBytes(self.path("f"), b"works")

    @needs_root
    def test_devices(self):
        os.mknod(self.path("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(self.path("block"), stat.S_IFBLK | 0o600, os.makedev(259, 123456))
        info = os.stat(self.path("null"))
        self.assertTrue(stat.S_ISCHR(info.st_mode))
        self.assertEqual(info.st_rdev, os.makedev(1, 3))
        self.assertEqual(os.stat(self.path("block")).st_rdev, os.makedev(259, 123456))
        with open(self.path("null"), "wb") as file:
            file.write(b"gone")

    @needs_root
    def test_devices_are_for_root(self):
        os.chmod(self.dir, 0o777)
        self.assertErrno(errno.EPERM, as_user, 4201, os.mknod, self.path("dev"),
                         stat.S_IFCHR | 0o666, os.makedev(1, 3))
        as_user(4201, os.mkfifo, self.path("p"))
        self.assertEqual(os.stat(self.path("p")).st_uid, 4201)

    def test_stat_fields(self):
        info = os.stat(self.make("f", b"12345"))
        self.assertEqual((info.st_size, info.st_nlink), (5, 1))
        self.assertEqual((info.st_uid, info.st_gid), (os.geteuid(), os.getegid()))
        self.assertEqual(info.st_dev, os.stat(self.dir).st_dev)
        self.assertGreater(info.st_blksize, 0)
        self.assertNotEqual(info.st_ino, os.stat(self.dir).st_ino)

    def test_blocks_grow(self):
        path = self.make("f", b"x" * (1 << 20))
        fd = self.open(path, os.O_RDWR)
        os.fsync(fd)
        self.assertGreaterEqual(os.stat(path).st_blocks * 512, 1 << 20)

    def test_statfs(self):
        info = os.statvfs(self.dir)
        self.assertEqual(info.f_namemax, 255)
        self.assertGreater(info.f_bsize, 0)
        self.assertGreater(info.f_blocks, 0)
        self.assertGreaterEqual(info.f_blocks, info.f_bfree)
        self.assertGreaterEqual(info.f_bfree, info.f_bavail)
        self.assertGreater(info.f_files, 0)
        self.assertGreaterEqual(info.f_files, info.f_ffree)

    @harness.varve_only
    def test_statfs_counts_what_is_free(self):
        below = os.statvfs(self.mount.store)
        above = os.statvfs(self.dir)
        free_below = below.f_bavail * below.f_frsize
        free_above = above.f_bavail * above.f_frsize
        self.assertLessEqual(free_above, free_below * 1.01)
        self.assertGreater(free_above, free_below * 0.5)


class Modes(MountTestCase):
    def test_all_bits(self):
        path = self.make("f")
        os.mkdir(self.path("d"))
        for mode in (0o000, 0o777, 0o421, 0o124, 0o644, 0o1755, 0o4755, 0o600):
            os.chmod(path, mode)
            os.chmod(self.path("d"), mode | 0o700)
            self.assertEqual(mode_of(path), mode)
            self.assertEqual(mode_of(self.path("d")), mode | 0o700)

    def test_descriptor_and_special_files(self):
        fd = self.open(self.make("f"), os.O_RDONLY)
        os.fchmod(fd, 0o612)
        self.assertEqual(mode_of(self.path("f")), 0o612)
        os.mkfifo(self.path("p"))
        os.chmod(self.path("p"), 0o604)
        self.assertEqual(mode_of(self.path("p")), 0o604)

    def test_through_symlink(self):
        self.make("f")
        os.symlink("f", self.path("s"))
        os.chmod(self.path("s"), 0o640)
        self.assertEqual(mode_of(self.path("f")), 0o640)
        self.assertEqual(mode_of(self.path("s")), 0o777)

    def test_errors(self):
        self.make("f")
        self.assertErrno(errno.ENOENT, os.chmod, self.path("no"), 0o600)
        self.assertErrno(errno.ENOTDIR, os.chmod, self.path("f/x"), 0o600)

    @needs_root
    def test_only_the_owner(self):
        path = self.make("f")
        os.chown(path, 4201, 4201)
        self.assertErrno(errno.EPERM, as_user, 4202, os.chmod, path, 0o777)
        as_user(4201, os.chmod, path, 0o707)
        self.assertEqual(mode_of(path), 0o707)

    @needs_root
    def test_sgid_lost_by_stranger_to_the_group(self):
        path = self.make("f")
        os.chown(path, 4201, 4300)
        as_user(4201, os.chmod, path, 0o2755)
        self.assertEqual(mode_of(path), 0o755)
        as_user(4201, lambda: os.chmod(path, 0o2755), groups=(4300,))
        self.assertEqual(mode_of(path), 0o2755)

    @needs_root
    def test_sgid_directory_gives_its_group(self):
        os.mkdir(self.path("d"))
        os.chown(self.path("d"), 4201, 4300)
        os.chmod(self.path("d"), 0o2777)

        def make_all():
            os.umask(0)
            os.close(os.open(self.path("d/f"), os.O_CREAT | os.O_WRONLY, 0o666))
            os.mkdir(self.path("d/sub"), 0o777)
            os.symlink("x", self.path("d/s"))
            os.mkfifo(self.path("d/p"), 0o666)
        as_user(4202, make_all)
        for name in ("f", "sub", "s", "p"):
            info = os.lstat(self.path("d", name))
            self.assertEqual((name, info.st_uid, info.st_gid), (name, 4202, 4300))
        self.assertEqual(mode_of(self.path("d/sub")), 0o2777)
        self.assertEqual(mode_of(self.path("d/f")), 0o666)

    @needs_root
    def test_new_objects_belong_to_the_caller(self):
        os.chmod(self.dir, 0o777)
        as_user(4201, os.mkdir, self.path("d"), gid=4302)
        fd = as_user(4202, lambda: os.close(os.open(self.path("f"), os.O_CREAT)), gid=4303)
        self.assertIsNone(fd)
        self.assertEqual(os.stat(self.path("d"))[4:6], (4201, 4302))
        self.assertEqual(os.stat(self.path("f"))[4:6], (4202, 4303))

    @needs_root
    def test_link_of_foreign_setuid_keeps_it(self):
        path = self.make("f", b"x", 0o755)
        os.chmod(path, 0o4755)
        os.link(path, self.path("g"))
        self.assertEqual(mode_of(self.path("g")), 0o4755)


@needs_root
class SetIdClearing(MountTestCase):
    """Who changes a file's content takes its set-id bits away."""

    def set_id_file(self, mode=0o6777, data=b"x" * 100):
        path = self.make("f", data)
        os.chown(path, 4201, 4201)
        os.chmod(path, mode)
        return path

    def after(self, function, mode=0o6777, uid=4202):
        path = self.set_id_file(mode)
        as_user(uid, function, path)
        return mode_of(path)

    @staticmethod
    def write_one(path):
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"y")
        os.close(fd)

    def test_write(self):
        self.assertEqual(self.after(self.write_one), 0o777)

    def test_write_by_owner(self):
        self.assertEqual(self.after(self.write_one, uid=4201), 0o777)

    def test_sgid_without_group_execute_is_kept_or_cleared(self):
        # It once meant mandatory locking; kernels differ, suid must go in any case.
        self.assertIn(self.after(self.write_one, mode=0o6767) & 0o4777, (0o767,))

    def test_truncate(self):
        self.assertEqual(self.after(lambda path: os.truncate(path, 1)), 0o777)

    def test_open_with_truncation(self):
        self.assertEqual(
            self.after(lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))), 0o777)

    def test_fallocate(self):
        def allocate(path):
            fd = os.open(path, os.O_WRONLY)
            os.posix_fallocate(fd, 0, 8192)
            os.close(fd)
        self.assertEqual(self.after(allocate), 0o777)

    def test_second_write_by_the_same_descriptor(self):
        path = self.set_id_file(0o777)
        fd = os.open(path, os.O_WRONLY)
        as_user(4202, lambda: (os.write(fd, b"1"), None)[1])
        os.chmod(path, 0o6777)
        as_user(4202, lambda: (os.write(fd, b"2"), None)[1])
        os.close(fd)
        self.assertEqual(mode_of(path), 0o777)

    def test_root_keeps_them_on_write(self):
        path = self.set_id_file()
        self.write_one(path)
        self.assertEqual(mode_of(path), 0o6777)

    def test_chown_by_owner_group(self):
        path = self.set_id_file()
        as_user(4201, lambda: os.chown(path, -1, 4300), groups=(4300,))
        self.assertEqual(mode_of(path), 0o777)

    def test_chown_by_root(self):
        path = self.set_id_file()
        os.chown(path, 4205, 4205)
        self.assertEqual(mode_of(path), 0o777)

    def test_chown_of_directory_keeps_them(self):
        os.mkdir(self.path("d"))
        os.chmod(self.path("d"), 0o6777)
        os.chown(self.path("d"), 4205, 4205)
        self.assertEqual(mode_of(self.path("d")), 0o6777)

    def test_copy_file_range_target(self):
        source = self.make("source", b"s" * 100, 0o644)

        def copy(path):
            fd = os.open(path, os.O_WRONLY)
            from_fd = os.open(source, os.O_RDONLY)
            os.copy_file_range(from_fd, fd, 50)
        self.assertEqual(self.after(copy), 0o777)

    def test_capabilities_are_removed_by_write(self):
        path = self.set_id_file(0o755)
        # VFS_CAP_REVISION_2 | effective, CAP_NET_RAW.
        os.setxattr(path, "security.capability",
                    bytes.fromhex("0100000200200000000000000000000000000000"))
        self.write_one(path)
        self.assertErrno(errno.ENODATA, os.getxattr, path, "security.capability")


@needs_root
class Owners(MountTestCase):
    def test_chown(self):
        path = self.make("f")
        os.chown(path, 4201, 4301)
        self.assertEqual(os.stat(path)[4:6], (4201, 4301))
        os.chown(path, -1, 4302)
        self.assertEqual(os.stat(path)[4:6], (4201, 4302))
        os.chown(path, 4202, -1)
        self.assertEqual(os.stat(path)[4:6], (4202, 4302))
        os.chown(path, 4294967294, 4294967294)
        self.assertEqual(os.stat(path)[4:6], (4294967294, 4294967294))

    def test_symlink_itself(self):
        self.make("f")
        os.symlink("f", self.path("s"))
        os.lchown(self.path("s"), 4201, 4201)
        self.assertEqual(os.lstat(self.path("s")).st_uid, 4201)
        self.assertEqual(os.stat(self.path("f")).st_uid, 0)

    def test_owner_may_only_choose_own_groups(self):
        path = self.make("f")
        os.chown(path, 4201, 4201)
        self.assertErrno(errno.EPERM, as_user, 4201, os.chown, path, 4202, -1)
        self.assertErrno(errno.EPERM, as_user, 4201, os.chown, path, -1, 4300)
        as_user(4201, lambda: os.chown(path, -1, 4300), groups=(4300,))
        self.assertEqual(os.stat(path).st_gid, 4300)
        self.assertErrno(errno.EPERM, as_user, 4202, os.chown, path, -1, 4202)
        as_user(4201, os.chown, path, -1, -1)


class Times(MountTestCase):
    def test_nanoseconds(self):
        path = self.make("f")
        syscalls.utimensat(path, (1234567890, 123456789), (987654321, 987654321))
        info = os.stat(path)
        self.assertEqual(info.st_atime_ns, 1234567890123456789)
        self.assertEqual(info.st_mtime_ns, 987654321987654321)

    def test_range(self):
        path = self.make("f")
        for seconds in (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**33):
            syscalls.utimensat(path, (seconds, 1), (seconds, 2))
            self.assertEqual(os.stat(path).st_mtime_ns, seconds * 10**9 + 2)

    def test_before_1970(self):
        path = self.make("f")
        syscalls.utimensat(path, (-5, 7), (-1000000, 0))
        self.assertEqual(os.stat(path).st_atime_ns, -5 * 10**9 + 7)
        self.assertEqual(os.stat(path).st_mtime, -1000000)

    def test_omit(self):
        path = self.make("f")
        syscalls.utimensat(path, (100, 1), (200, 2))
        syscalls.utimensat(path, (0, UTIME_OMIT), (300, 3))
        self.assertEqual(os.stat(path).st_atime_ns, 100 * 10**9 + 1)
        self.assertEqual(os.stat(path).st_mtime_ns, 300 * 10**9 + 3)
        syscalls.utimensat(path, (400, 4), (0, UTIME_OMIT))
        self.assertEqual(os.stat(path).st_atime_ns, 400 * 10**9 + 4)
        self.assertEqual(os.stat(path).st_mtime_ns, 300 * 10**9 + 3)

    def test_now(self):
        path = self.make("f")
        syscalls.utimensat(path, (1, 0), (1, 0))
        before = time.time() - 1
        syscalls.utimensat(path, (0, UTIME_NOW), (5, 0))
        self.assertGreater(os.stat(path).st_atime, before)
        self.assertEqual(os.stat(path).st_mtime, 5)
        syscalls.utimensat(path, (0, UTIME_OMIT), (0, UTIME_NOW))
        self.assertGreater(os.stat(path).st_mtime, before)
        self.assertLess(os.stat(path).st_mtime, time.time() + 1)

    def test_symlink_itself(self):
        os.symlink("x", self.path("s"))
        os.utime(self.path("s"), ns=(11, 22), follow_symlinks=False)
        self.assertEqual(os.lstat(self.path("s")).st_mtime_ns, 22)

    def test_every_kind(self):
        os.mkdir(self.path("d"))
        os.mkfifo(self.path("p"))
        for name in ("d", "p"):
            os.utime(self.path(name), ns=(10**18 + 1, 10**18 + 2))
            self.assertEqual(os.stat(self.path(name)).st_mtime_ns, 10**18 + 2)

    def test_errors(self):
        path = self.make("f")
        self.assertErrno(errno.ENOENT, os.utime, self.path("no"))
        self.assertErrno(errno.EINVAL, syscalls.utimensat, path, (1, 10**9), (1, 0))
        self.assertErrno(errno.EINVAL, syscalls.utimensat, path, (1, -5), (1, 0))

    @needs_root
    def test_permissions(self):
        path = self.make("f")
        os.chmod(path, 0o666)
        as_user(4201, os.utime, path)
        self.assertErrno(errno.EPERM, as_user, 4201, os.utime, path, (1, 1))
        self.assertErrno(errno.EPERM, as_user, 4201, syscalls.utimensat, path, (0, UTIME_NOW),
                         (0, UTIME_OMIT))
        os.chmod(path, 0o644)
        self.assertErrno(errno.EACCES, as_user, 4201, os.utime, path)

    def test_set_times_survive_close(self):
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.write(fd, b"data")
        os.utime(fd, ns=(5, 6))
        os.close(fd)
        self.assertEqual(os.stat(self.path("f")).st_mtime_ns, 6)
        self.mount.sync(self.path("f"))
        self.assertEqual(os.stat(self.path("f")).st_mtime_ns, 6)

    def test_set_times_through_another_descriptor(self):
        writer = self.open("f", os.O_CREAT | os.O_RDWR)
        os.write(writer, b"data")
        os.utime(self.path("f"), ns=(5, 6))
        self.assertEqual(os.fstat(writer).st_mtime_ns, 6)
        os.close(os.open(self.path("f"), os.O_RDONLY))
        self.assertEqual(os.fstat(writer).st_mtime_ns, 6)
        time.sleep(0.02)
        os.write(writer, b"x")
        self.assertGreater(os.fstat(writer).st_mtime_ns, 10**18)


class Changes(MountTestCase):
    """Which operation moves mtime (m) and ctime (c), of what it works on and of the directory."""

    OLD = 10**18

    def stamps(self, path):
        info = os.lstat(path)
        return info.st_mtime_ns, info.st_ctime_ns

    def check(self, moved, path, function, *args):
        """`moved` names the times of `path` that function(*args) must move, no others."""
        before = self.stamps(path)
        # Kernel timestamps have the granularity of a tick.
        time.sleep(0.012)
        function(*args)
        after = self.stamps(path)
        got = "".join(letter for letter, a, b in zip("mc", before, after) if a != b)
        self.assertEqual(got, moved, f"{getattr(function, '__name__', function)} on {path}")
        for a, b in zip(before, after):
            self.assertGreaterEqual(b, a)

    def test_of_the_directory(self):
        d, p = self.dir, self.path
        self.make("f", b"x")
        self.check("mc", d, self.make, "new")
        self.check("mc", d, os.mkdir, p("sub"))
        self.check("mc", d, os.symlink, "x", p("s"))
        self.check("mc", d, os.mkfifo, p("p"))
        self.check("mc", d, os.link, p("f"), p("l"))
        self.check("mc", d, os.unlink, p("l"))
        self.check("mc", d, os.rmdir, p("sub"))
        self.check("mc", d, os.rename, p("f"), p("g"))
        self.check("", d, os.chmod, p("g"), 0o600)
        self.check("", d, harness.write_file, p("g"), b"y")
        self.check("", d, os.listdir, d)

    def test_of_both_directories(self):
        for name in ("a", "b"):
            os.mkdir(self.path(name))
        self.make("a/f")
        old = self.stamps(self.path("b"))
        self.check("mc", self.path("a"), os.rename, self.path("a/f"), self.path("b/f"))
        self.assertTrue(all(b > a for a, b in zip(old, self.stamps(self.path("b")))))

    def test_of_the_file(self):
        path = self.make("f", b"12345")
        self.check("c", path, os.chmod, path, 0o600)
        self.check("c", path, os.link, path, self.path("l"))
        self.check("c", path, os.unlink, self.path("l"))
        self.check("c", path, os.setxattr, path, "user.x", b"1")
        self.check("c", path, os.removexattr, path, "user.x")
        self.check("c", path, os.chown, path, os.geteuid(), os.getegid())
        self.check("mc", path, os.truncate, path, 3)
        self.check("mc", path, harness.write_file, path, b"more")
        self.check("", path, harness.read_file, path)
        os.utime(path, (1, 1))
        self.check("c", path, os.utime, path, (1, 1))

    def test_failed_operations_change_nothing(self):
        path = self.make("f", b"x")
        os.mkdir(self.path("d"))

        def fail(function, *args):
            self.assertRaises(OSError, function, *args)
        self.check("", self.dir, fail, os.mkdir, self.path("f"))
        self.check("", self.dir, fail, os.unlink, self.path("d"))
        self.check("", self.dir, fail, os.link, path, self.path("d"))
        self.check("", path, fail, os.truncate, path, -1)

    def test_rename_moves_ctime_of_the_file(self):
        # Not demanded by POSIX, done by Linux filesystems; backup programs rely on it.
        path = self.make("f", b"x")
        before = self.stamps(path)
        time.sleep(0.012)
        os.rename(path, self.path("g"))
        after = self.stamps(self.path("g"))
        self.assertEqual(before[0], after[0])
        self.assertGreater(after[1], before[1])

    def test_write_through_open_descriptor_is_seen(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"1")
        for _ in range(3):
            self.check("mc", self.path("f"), os.write, fd, b"2")
        self.assertEqual(os.stat(self.path("f")).st_size, 4)

    def test_truncate_to_same_size(self):
        path = self.make("f", b"12345")
        fd = self.open(path, os.O_RDWR)
        self.check("mc", path, os.ftruncate, fd, 5)

    def test_truncating_open(self):
        path = self.make("f", b"12345")
        self.check("mc", path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)))

    def test_times_of_replaced_file_through_descriptor(self):
        fd = self.open(self.make("f", b"x"), os.O_RDONLY)
        before = os.fstat(fd).st_ctime_ns
        time.sleep(0.012)
        os.rename(self.make("t"), self.path("f"))
        self.assertGreater(os.fstat(fd).st_ctime_ns, before)

    def test_access_time_on_first_read(self):
        path = self.make("f", b"x")
        os.utime(path, ns=(self.OLD, self.OLD))
        # relatime: an access time not newer than mtime is updated, or never (noatime).
        harness.read_file(path)
        self.assertGreaterEqual(os.stat(path).st_atime_ns, self.OLD)
        self.assertEqual(os.stat(path).st_mtime_ns, self.OLD)


if __name__ == "__main__":
    harness.main()
