"""Permissions: every mode bit for owner, group and others, by several users at once."""

import errno
import os
import subprocess

import harness
from harness import MountTestCase, needs_root
from processes import as_user

OWNER, GROUP, MEMBER, OTHER = 4201, 4301, 4202, 4203


@needs_root
class Matrix(MountTestCase):
    """Modes 0 to 7 for each class; what access(2) says and what really happens must agree."""

    def act_as(self, who, function):
        if who == "owner":
            return as_user(OWNER, function)
        if who == "group":
            return as_user(MEMBER, function, groups=(GROUP,))
        return as_user(OTHER, function)

    def file_results(self, path):
        """Which of read, write, execute work, as three booleans, tried and asked."""
        def tried(flags):
            try:
                os.close(os.open(path, flags))
                return True
            except PermissionError:
                return False

        def executed():
            try:
                subprocess.run([path], check=True)
                return True
            except PermissionError:
                return False
        asked = tuple(os.access(path, bit) for bit in (os.R_OK, os.W_OK, os.X_OK))
        return (tried(os.O_RDONLY), tried(os.O_WRONLY), executed()), asked

    def test_files(self):
        with open("/bin/true", "rb") as source:
            path = self.make("f", source.read())
        os.chown(path, OWNER, GROUP)
        for shift, who in ((6, "owner"), (3, "group"), (0, "other")):
            for bits in range(8):
                # The other classes get the opposite, so that the wrong class is noticed.
                mode = sum((bits if s == shift else 7 - bits) << s for s in (6, 3, 0))
                os.chmod(path, mode)
                expected = (bool(bits & 4), bool(bits & 2), bool(bits & 1))
                tried, asked = self.act_as(who, lambda: self.file_results(path))
                self.assertEqual((tried, asked), (expected, expected), f"{who} {mode:o}")

    def directory_results(self):
        d = self.path("d")

        def works(function, *args):
            try:
                function(*args)
                return True
            except PermissionError:
                return False
        listed = works(os.listdir, d)
        searched = works(os.stat, d + "/inside")
        written = works(os.mkdir, d + "/new")
        if written:
            os.rmdir(d + "/new")
        return listed, written, searched

    def test_directories(self):
        os.mkdir(self.path("d"))
        self.make("d/inside")
        os.chown(self.path("d"), OWNER, GROUP)
        for shift, who in ((6, "owner"), (3, "group"), (0, "other")):
            for bits in range(8):
                mode = sum((bits if s == shift else 7 - bits) << s for s in (6, 3, 0))
                os.chmod(self.path("d"), mode)
                expected = (bool(bits & 4), bits & 3 == 3, bool(bits & 1))
                self.assertEqual(self.act_as(who, self.directory_results), expected,
                                 f"{who} {mode:o}")

    def test_search_along_the_path(self):
        os.makedirs(self.path("a/b/c"))
        self.make("a/b/c/f", b"x")
        self.assertEqual(as_user(OTHER, harness.read_file, self.path("a/b/c/f")), b"x")
        os.chmod(self.path("a/b"), 0o700)
        for call in ((os.stat, self.path("a/b/c/f")), (os.listdir, self.path("a/b/c")),
                     (os.readlink, self.path("a/b/c/s")), (os.chmod, self.path("a/b/c/f"), 0o600)):
            self.assertErrno(errno.EACCES, as_user, OTHER, *call)

    def test_root_overrides(self):
        path = self.make("f", b"secret", 0o000)
        os.chown(path, OWNER, OWNER)
        self.assertBytes(path, b"secret")
        harness.write_file(path, b"changed")
        self.assertFalse(os.access(path, os.X_OK))

    def test_root_without_capabilities_is_an_ordinary_user(self):
        path = self.make("f", b"secret", 0o600)
        os.chown(path, OWNER, OWNER)
        public = self.make("public", b"x", 0o644)

        def cat(name):
            return subprocess.run(
                ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat", name],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        self.assertEqual(cat(public), 0)
        self.assertNotEqual(cat(path), 0)

    def test_truncate_and_exec_permissions(self):
        path = self.make("f", b"data", 0o644)
        self.assertErrno(errno.EACCES, as_user, OTHER, os.truncate, path, 0)
        self.assertErrno(errno.EACCES, as_user, OTHER, os.open, path, os.O_RDONLY | os.O_TRUNC)
        self.assertBytes(path, b"data")

    def test_open_descriptor_keeps_its_rights(self):
        path = self.make("f", b"data", 0o644)

        def read_after_change():
            fd = os.open(path, os.O_RDONLY)
            return fd
        fd = os.open(path, os.O_RDWR)
        os.chmod(path, 0o000)
        self.assertEqual(as_user(OTHER, os.pread, fd, 4, 0), b"data")
        as_user(OTHER, os.ftruncate, fd, 2)
        os.close(fd)
        self.assertErrno(errno.EACCES, as_user, OTHER, read_after_change)

    def test_symlink_permissions_do_not_matter(self):
        self.make("f", b"data")
        os.symlink("f", self.path("s"))
        os.lchown(self.path("s"), OWNER, OWNER)
        self.assertEqual(as_user(OTHER, harness.read_file, self.path("s")), b"data")

    def test_supplementary_groups(self):
        path = self.make("f", b"data", 0o640)
        os.chown(path, OWNER, GROUP)
        self.assertErrno(errno.EACCES, as_user, OTHER, os.open, path, os.O_RDONLY)
        many = tuple(range(5000, 5031)) + (GROUP,)
        self.assertEqual(as_user(OTHER, lambda: harness.read_file(path), groups=many), b"data")

    def test_protected_hard_links(self):
        """Linux refuses a link to a file that one could not write (protected_hardlinks)."""
        with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as file:
            if file.read().strip() != "1":
                self.skipTest("switched off on this machine")
        path = self.make("f", b"x", 0o644)
        os.chmod(self.dir, 0o777)
        self.assertErrno(errno.EPERM, as_user, OTHER, os.link, path, self.path("l"))
        os.chmod(path, 0o666)
        as_user(OTHER, os.link, path, self.path("l"))


class OwnMode(MountTestCase):
    """What a user can see without help of another one."""

    def setUp(self):
        super().setUp()
        if os.geteuid() == 0:
            self.skipTest("root may do everything")

    def test_own_files(self):
        path = self.make("f", b"data", 0o200)
        self.assertErrno(errno.EACCES, os.open, path, os.O_RDONLY)
        self.assertFalse(os.access(path, os.R_OK))
        self.assertTrue(os.access(path, os.W_OK))
        os.chmod(path, 0o400)
        self.assertErrno(errno.EACCES, os.open, path, os.O_WRONLY)
        self.assertErrno(errno.EACCES, os.truncate, path, 0)
        self.assertBytes(path, b"data")

    def test_own_directories(self):
        os.mkdir(self.path("d"))
        self.make("d/f")
        os.chmod(self.path("d"), 0o500)
        self.assertErrno(errno.EACCES, os.unlink, self.path("d/f"))
        self.assertErrno(errno.EACCES, os.open, self.path("d/g"), os.O_CREAT | os.O_WRONLY)
        os.chmod(self.path("d"), 0o600)
        self.assertErrno(errno.EACCES, os.stat, self.path("d/f"))
        self.assertEqual(os.listdir(self.path("d")), ["f"])
        os.chmod(self.path("d"), 0o300)
        self.assertErrno(errno.EACCES, os.listdir, self.path("d"))
        os.stat(self.path("d/f"))
        os.chmod(self.path("d"), 0o700)

    def test_cannot_give_away(self):
        path = self.make("f")
        self.assertErrno(errno.EPERM, os.chown, path, 0, -1)
        self.assertErrno(errno.EPERM, os.chown, path, -1, 0)
        self.assertErrno(errno.EPERM, os.setxattr, path, "trusted.x", b"1")


if __name__ == "__main__":
    harness.main()
