"""open(2): flags, error codes, unnamed files, O_PATH; files that are open while they are removed."""

import errno
import fcntl
import os
import stat
import subprocess

import harness
import syscalls
from harness import MountTestCase, needs_root, read_file
from processes import as_user


class OpenFlags(MountTestCase):
    def test_exclusive_create(self):
        path = self.path("f")
        self.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.assertErrno(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.symlink("nowhere", self.path("dangling"))
        self.assertErrno(errno.EEXIST, os.open, self.path("dangling"),
                         os.O_CREAT | os.O_EXCL | os.O_WRONLY)

    def test_create_through_dangling_symlink(self):
        os.symlink("target", self.path("link"))
        self.open(self.path("link"), os.O_CREAT | os.O_WRONLY)
        self.assertTrue(stat.S_ISREG(os.lstat(self.path("target")).st_mode))

    def test_create_applies_umask(self):
        os.umask(0o027)
        self.open("f", os.O_CREAT | os.O_WRONLY, 0o666)
        os.mkdir(self.path("d"), 0o777)
        os.mkfifo(self.path("p"), 0o666)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o640)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("d")).st_mode), 0o750)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("p")).st_mode), 0o640)

    def test_create_without_permission_bits_still_opens(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR, 0o000)
        self.assertEqual(os.write(fd, b"abc"), 3)
        self.assertEqual(os.pread(fd, 3, 0), b"abc")
        self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0)

    def test_mode_of_existing_file_is_kept(self):
        self.make("f", mode=0o600)
        self.open("f", os.O_CREAT | os.O_RDWR, 0o777)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o600)

    def test_truncate(self):
        path = self.make("f", b"x" * 10000)
        inode = os.stat(path).st_ino
        fd = self.open(path, os.O_WRONLY | os.O_TRUNC)
        self.assertEqual((os.fstat(fd).st_size, os.fstat(fd).st_ino), (0, inode))
        os.write(fd, b"new")
        self.assertBytes(path, b"new")

    def test_truncate_seen_by_other_descriptor(self):
        path = self.make("f", b"x" * 10000)
        reader = self.open(path, os.O_RDONLY)
        self.assertEqual(os.pread(reader, 10, 0), b"x" * 10)
        writer = self.open(path, os.O_WRONLY | os.O_TRUNC)
        self.assertEqual(os.pread(reader, 10, 0), b"")
        os.write(writer, b"second")
        self.assertEqual(os.pread(reader, 100, 0), b"second")
        self.assertEqual(os.fstat(reader).st_size, 6)

    def test_append_ignores_position(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.write(fd, b"one")
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"two")
        self.assertEqual(os.lseek(fd, 0, os.SEEK_CUR), 6)
        self.assertBytes(self.path("f"), b"onetwo")

    def test_append_switched_on_later(self):
        fd = self.open(self.make("f", b"12345"), os.O_WRONLY)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        os.write(fd, b"678")
        self.assertBytes(self.path("f"), b"12345678")

    def test_append_sees_growth_by_others(self):
        path = self.make("f", b"0123")
        first = self.open(path, os.O_WRONLY | os.O_APPEND)
        second = self.open(path, os.O_WRONLY | os.O_APPEND)
        for _ in range(50):
            os.write(first, b"ab")
            os.write(second, b"cd")
        self.assertBytes(path, b"0123" + b"abcd" * 50)

    def test_access_modes(self):
        path = self.make("f", b"data")
        reader = self.open(path, os.O_RDONLY)
        writer = self.open(path, os.O_WRONLY)
        self.assertErrno(errno.EBADF, os.write, reader, b"x")
        self.assertErrno(errno.EBADF, os.read, writer, 1)
        self.assertErrno((errno.EINVAL, errno.EBADF), os.ftruncate, reader, 0)
        self.assertBytes(path, b"data")

    def test_no_follow(self):
        self.make("f")
        os.symlink("f", self.path("link"))
        self.assertErrno(errno.ELOOP, os.open, self.path("link"), os.O_RDONLY | os.O_NOFOLLOW)
        fd = self.open("link", os.O_PATH | os.O_NOFOLLOW)
        self.assertTrue(stat.S_ISLNK(os.fstat(fd).st_mode))

    def test_directory_flag(self):
        self.make("f")
        os.mkdir(self.path("d"))
        self.assertErrno(errno.ENOTDIR, os.open, self.path("f"), os.O_RDONLY | os.O_DIRECTORY)
        self.open("d", os.O_RDONLY | os.O_DIRECTORY)
        self.assertErrno(errno.EISDIR, os.open, self.path("d"), os.O_WRONLY)
        self.assertErrno(errno.EISDIR, os.open, self.path("d"), os.O_RDWR)
        self.assertErrno(errno.EISDIR, os.open, self.path("d"), os.O_RDONLY | os.O_TRUNC)
        self.assertErrno(errno.EISDIR, os.open, self.path("d"), os.O_RDONLY | os.O_CREAT)

    def test_missing(self):
        self.make("f")
        self.assertErrno(errno.ENOENT, os.open, self.path("no"), os.O_RDONLY)
        self.assertErrno(errno.ENOENT, os.open, self.path("no/f"), os.O_WRONLY | os.O_CREAT)
        self.assertErrno(errno.ENOTDIR, os.open, self.path("f/x"), os.O_WRONLY | os.O_CREAT)
        self.assertErrno(errno.ENOENT, os.open, "", os.O_RDONLY)

    def test_path_descriptor(self):
        path = self.make("f", b"data", 0o000)
        fd = self.open(path, os.O_PATH)
        self.assertErrno(errno.EBADF, os.read, fd, 1)
        self.assertErrno(errno.EBADF, os.fchmod, fd, 0o600)
        self.assertEqual(os.fstat(fd).st_ino, os.stat(path).st_ino)
        os.chmod(f"/proc/self/fd/{fd}", 0o600)
        os.rename(path, self.path("g"))
        again = self.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        self.assertEqual(os.read(again, 10), b"data")

    def test_directory_descriptor_relative(self):
        os.mkdir(self.path("d"))
        self.make("d/f", b"inside")
        directory = self.open("d", os.O_RDONLY | os.O_DIRECTORY)
        os.rename(self.path("d"), self.path("moved"))
        fd = os.open("f", os.O_RDONLY, dir_fd=directory)
        self.assertEqual(os.read(fd, 10), b"inside")
        os.close(fd)
        self.assertErrno(errno.EISDIR, os.read, directory, 1)

    def test_removed_directory_descriptor(self):
        os.mkdir(self.path("d"))
        directory = self.open("d", os.O_RDONLY | os.O_DIRECTORY)
        os.rmdir(self.path("d"))
        self.assertErrno(errno.ENOENT, os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
        self.assertErrno(errno.ENOENT, os.mkdir, "g", dir_fd=directory)
        self.assertEqual(os.listdir(directory), [])
        self.assertEqual(os.fstat(directory).st_nlink, 0)

    def test_no_atime_by_owner(self):
        self.open(self.make("f"), os.O_RDONLY | os.O_NOATIME)

    @needs_root
    def test_no_atime_by_other_is_eperm(self):
        path = self.make("f", b"x", 0o644)
        os.chmod(self.dir, 0o755)
        self.assertErrno(errno.EPERM, as_user, 4201, os.open, path, os.O_RDONLY | os.O_NOATIME)

    def test_text_busy(self):
        program = self.path("program")
        with open("/bin/true", "rb") as source:
            self.make("program", source.read(), 0o755)
        writer = os.open(program, os.O_WRONLY)
        try:
            self.assertErrno(errno.ETXTBSY, subprocess.run, [program])
        finally:
            os.close(writer)
        self.assertEqual(subprocess.run([program]).returncode, 0)

    def test_write_to_running_program(self):
        program = self.path("sleep")
        with open("/bin/sleep", "rb") as source:
            self.make("sleep", source.read(), 0o755)
        child = subprocess.Popen([program, "30"])
        try:
            harness.wait_until(lambda: os.path.basename(os.readlink(f"/proc/{child.pid}/exe")) ==
                               "sleep", 5, "exec")
            self.assertErrno(errno.ETXTBSY, os.open, program, os.O_WRONLY)
            self.assertErrno(errno.ETXTBSY, os.truncate, program, 0)
            os.unlink(program)
        finally:
            child.kill()
            child.wait()

    def test_many_descriptors_of_one_file(self):
        path = self.make("f", b"shared")
        fds = [self.open(path, os.O_RDONLY) for _ in range(200)]
        writer = self.open(path, os.O_WRONLY)
        os.pwrite(writer, b"SHARED", 0)
        for fd in fds:
            self.assertEqual(os.pread(fd, 10, 0), b"SHARED")

    def test_open_thousand_files(self):
        fds = [self.open(f"f{i}", os.O_CREAT | os.O_RDWR) for i in range(800)]
        for i, fd in enumerate(fds):
            os.write(fd, b"%d" % i)
        for i, fd in enumerate(fds):
            self.assertEqual(os.pread(fd, 10, 0), b"%d" % i)

    def test_device_and_inode_name_a_file(self):
        path = self.make("f", b"1")
        fd = self.open(path, os.O_RDWR)
        before = os.fstat(fd)
        os.rename(path, self.path("g"))
        after = os.stat(self.path("g"))
        self.assertEqual((before.st_dev, before.st_ino), (after.st_dev, after.st_ino))
        self.assertNotEqual(os.stat(self.make("f", b"2")).st_ino, before.st_ino)


class UnnamedFiles(MountTestCase):
    def test_temporary_then_link(self):
        fd = self.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o640)
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        os.write(fd, b"unnamed" * 1000)
        self.assertEqual(os.listdir(self.dir), [])
        syscalls.link_descriptor(fd, self.path("named"))
        self.assertEqual(os.stat(self.path("named")).st_ino, os.fstat(fd).st_ino)
        self.assertEqual(os.fstat(fd).st_nlink, 1)
        self.assertBytes(self.path("named"), b"unnamed" * 1000)
        os.write(fd, b"more")
        self.assertBytes(self.path("named"), b"unnamed" * 1000 + b"more")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("named")).st_mode), 0o640)

    def test_temporary_link_over_existing(self):
        self.make("taken")
        fd = self.open(self.dir, os.O_TMPFILE | os.O_RDWR)
        self.assertErrno(errno.EEXIST, syscalls.link_descriptor, fd, self.path("taken"))

    def test_exclusive_temporary_cannot_be_linked(self):
        fd = self.open(self.dir, os.O_TMPFILE | os.O_EXCL | os.O_RDWR)
        self.assertErrno(errno.ENOENT, syscalls.link_descriptor, fd, self.path("named"))

    def test_temporary_needs_write_access(self):
        self.assertErrno(errno.EINVAL, os.open, self.dir, os.O_TMPFILE | os.O_RDONLY)
        self.assertErrno(errno.ENOENT, os.open, self.path("no"), os.O_TMPFILE | os.O_RDWR)

    def test_two_opens_of_one_temporary(self):
        fd = self.open(self.dir, os.O_TMPFILE | os.O_RDWR)
        os.write(fd, b"first")
        again = self.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        self.assertEqual(os.read(again, 10), b"first")
        os.close(fd)
        self.assertEqual(os.pread(again, 10, 0), b"first")

    def test_temporary_vanishes(self):
        for _ in range(50):
            fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR)
            os.write(fd, b"x" * 4096)
            os.close(fd)
        os.rmdir(self.dir)


class OpenWhileRemoved(MountTestCase):
    def test_unlinked_file_lives_on(self):
        path = self.make("f", b"before")
        fd = self.open(path, os.O_RDWR)
        os.unlink(path)
        self.assertErrno(errno.ENOENT, os.stat, path)
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(os.pread(fd, 10, 0), b"before")
        os.pwrite(fd, b"AFTER", 0)
        os.ftruncate(fd, 5)
        os.fchmod(fd, 0o600)
        os.utime(fd, (1, 2))
        os.fsync(fd)
        self.assertEqual(os.pread(fd, 10, 0), b"AFTER")
        self.assertEqual((os.fstat(fd).st_size, os.fstat(fd).st_mtime), (5, 2))
        again = self.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        self.assertEqual(os.read(again, 10), b"AFTER")

    def test_unlinked_then_created_again(self):
        path = self.make("f", b"old")
        fd = self.open(path, os.O_RDWR)
        os.unlink(path)
        self.make("f", b"new one")
        os.pwrite(fd, b"OLD", 0)
        self.assertEqual(os.pread(fd, 10, 0), b"OLD")
        self.assertBytes(path, b"new one")

    def test_unlinked_cannot_be_linked_back(self):
        path = self.make("f", b"x")
        fd = self.open(path, os.O_RDWR)
        os.unlink(path)
        self.assertErrno(errno.ENOENT, syscalls.link_descriptor, fd, self.path("back"))

    def test_renamed_over_file_lives_on(self):
        path = self.make("f", b"old content")
        fd = self.open(path, os.O_RDWR)
        os.rename(self.make("f.tmp", b"new"), path)
        self.assertEqual(os.pread(fd, 20, 0), b"old content")
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertBytes(path, b"new")
        os.pwrite(fd, b"OLD", 0)
        self.assertBytes(path, b"new")
        self.assertEqual(os.pread(fd, 20, 0), b"OLD content")

    def test_open_file_follows_rename(self):
        os.mkdir(self.path("d"))
        fd = self.open(self.make("f", b"12"), os.O_RDWR)
        os.rename(self.path("f"), self.path("d/g"))
        os.pwrite(fd, b"34", 2)
        self.assertBytes(self.path("d/g"), b"1234")
        os.unlink(self.path("d/g"))
        os.rmdir(self.path("d"))
        self.assertEqual(os.pread(fd, 10, 0), b"1234")

    def test_large_unlinked_file_reads_back(self):
        data = os.urandom(3 << 20)
        fd = self.open(self.make("f"), os.O_RDWR)
        os.unlink(self.path("f"))
        os.pwrite(fd, data, 0)
        harness.drop_caches()
        self.assertSameBytes(os.pread(fd, len(data), 0), data)

    def test_stored_file_unlinked_while_open(self):
        data = os.urandom(1 << 20)
        path = self.make("f", data)
        self.mount.sync(path)
        fd = self.open(path, os.O_RDONLY)
        os.unlink(path)
        self.mount.sync(self.dir)
        harness.drop_caches()
        self.assertSameBytes(os.pread(fd, len(data), 0), data)

    def test_read_after_everything_of_a_name_changed(self):
        readers = []
        for i in range(10):
            data = b"%d" % i * 5000
            os.rename(self.make("t", data), self.path("f"))
            readers.append((self.open("f", os.O_RDONLY), data))
        for fd, data in readers:
            self.assertSameBytes(os.read(fd, 10000), data)
        self.assertBytes(self.path("f"), b"9" * 5000)
        self.assertEqual(read_file(self.path("f")), readers[-1][1])


if __name__ == "__main__":
    harness.main()
