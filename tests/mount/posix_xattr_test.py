"""Extended attributes of every kind of inode, and every error they can give."""

import errno
import os

import harness
from harness import MountTestCase, needs_root
from processes import as_user

VALUE_MAX = 65536


class Xattrs(MountTestCase):
    def test_round_trip(self):
        path = self.make("f")
        for value in (b"", b"1", b"\x00\xff\n", os.urandom(1000)):
            os.setxattr(path, "user.name", value)
            self.assertEqual(os.getxattr(path, "user.name"), value)
        self.assertEqual(os.listxattr(path), ["user.name"])
        os.removexattr(path, "user.name")
        self.assertEqual(os.listxattr(path), [])
        self.assertErrno(errno.ENODATA, os.getxattr, path, "user.name")

    def test_create_and_replace(self):
        path = self.make("f")
        self.assertErrno(errno.ENODATA, os.setxattr, path, "user.a", b"1", os.XATTR_REPLACE)
        os.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
        self.assertErrno(errno.EEXIST, os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)
        os.setxattr(path, "user.a", b"3", os.XATTR_REPLACE)
        self.assertEqual(os.getxattr(path, "user.a"), b"3")
        self.assertErrno(errno.ENODATA, os.removexattr, path, "user.b")

    def test_sizes(self):
        path = self.make("f")
        if harness.NATIVE:
            self.skipTest("the filesystem below has limits of its own")
        for size in (4000, 4096, 10000, VALUE_MAX):
            value = os.urandom(size)
            os.setxattr(path, "user.large", value)
            self.assertSameBytes(os.getxattr(path, "user.large"), value)
        self.assertErrno((errno.E2BIG, errno.ENOSPC), os.setxattr, path, "user.large",
                         bytes(VALUE_MAX + 1))
        self.assertEqual(len(os.getxattr(path, "user.large")), VALUE_MAX)

    def test_many_large_ones(self):
        if harness.NATIVE:
            self.skipTest("the filesystem below has limits of its own")
        path = self.make("f")
        values = {f"user.v{i}": os.urandom(VALUE_MAX - i) for i in range(10)}
        for name, value in values.items():
            os.setxattr(path, name, value)
        self.assertEqual(sorted(os.listxattr(path)), sorted(values))
        for name, value in values.items():
            self.assertSameBytes(os.getxattr(path, name), value)

    def test_names(self):
        path = self.make("f")
        longest = "user." + "n" * 250
        os.setxattr(path, longest, b"x")
        self.assertEqual(os.getxattr(path, longest), b"x")
        self.assertErrno(errno.ERANGE, os.setxattr, path, "user." + "n" * 251, b"x")
        self.assertErrno((errno.EOPNOTSUPP, errno.EINVAL), os.setxattr, path, "noprefix", b"x")
        self.assertErrno((errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE), os.setxattr, path,
                         "user.", b"x")
        os.setxattr(path, b"user.\xff\xfe\x01", b"odd")
        self.assertEqual(os.getxattr(path, b"user.\xff\xfe\x01"), b"odd")

    def test_buffer_sizes(self):
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        path = os.fsencode(self.make("f"))
        os.setxattr(path, "user.abc", b"12345")
        os.setxattr(path, "user.de", b"")
        buffer = ctypes.create_string_buffer(100)
        self.assertEqual(libc.getxattr(path, b"user.abc", None, 0), 5)
        self.assertEqual(libc.getxattr(path, b"user.abc", buffer, 5), 5)
        self.assertEqual(libc.getxattr(path, b"user.abc", buffer, 4), -1)
        self.assertEqual(ctypes.get_errno(), errno.ERANGE)
        self.assertEqual(libc.getxattr(path, b"user.de", buffer, 10), 0)
        total = len(b"user.abc\0user.de\0")
        self.assertEqual(libc.listxattr(path, None, 0), total)
        self.assertEqual(libc.listxattr(path, buffer, total), total)
        self.assertEqual(libc.listxattr(path, buffer, total - 1), -1)
        self.assertEqual(ctypes.get_errno(), errno.ERANGE)

    def test_many_names(self):
        if harness.NATIVE:
            self.skipTest("the filesystem below has limits of its own")
        path = self.make("f")
        names = [f"user.property-number-{i:04}" for i in range(1000)]
        for name in names:
            os.setxattr(path, name, name.encode())
        self.assertEqual(sorted(os.listxattr(path)), names)
        for name in names[::2]:
            os.removexattr(path, name)
        self.assertEqual(sorted(os.listxattr(path)), names[1::2])

    def test_directory_and_descriptor(self):
        os.mkdir(self.path("d"))
        os.setxattr(self.path("d"), "user.run", b"7")
        self.assertEqual(os.getxattr(self.path("d"), "user.run"), b"7")
        fd = self.open(self.make("f"), os.O_RDONLY)
        os.setxattr(fd, "user.fd", b"1")
        os.unlink(self.path("f"))
        self.assertEqual(os.getxattr(fd, "user.fd"), b"1")
        os.setxattr(fd, "user.fd2", b"2")
        self.assertEqual(sorted(os.listxattr(fd)), ["user.fd", "user.fd2"])

    def test_user_namespace_is_for_files_and_directories(self):
        os.symlink("x", self.path("s"))
        os.mkfifo(self.path("p"))
        for name in ("s", "p"):
            self.assertErrno(errno.EPERM, os.setxattr, self.path(name), "user.x", b"1",
                             follow_symlinks=False)
            self.assertErrno((errno.ENODATA, errno.EPERM), os.getxattr, self.path(name), "user.x",
                             follow_symlinks=False)
            self.assertEqual(os.listxattr(self.path(name), follow_symlinks=False), [])

    def test_follow_rename_and_link(self):
        os.setxattr(self.make("f"), "user.a", b"1")
        os.link(self.path("f"), self.path("l"))
        os.rename(self.path("f"), self.path("g"))
        self.assertEqual(os.getxattr(self.path("g"), "user.a"), b"1")
        os.setxattr(self.path("l"), "user.a", b"2")
        self.assertEqual(os.getxattr(self.path("g"), "user.a"), b"2")
        self.make("new")
        os.rename(self.path("new"), self.path("g"))
        self.assertEqual(os.listxattr(self.path("g")), [])

    def test_survive_truncation_and_chmod(self):
        path = self.make("f", b"data")
        os.setxattr(path, "user.a", b"1")
        harness.write_file(path, b"other")
        os.chmod(path, 0o600)
        self.assertEqual(os.getxattr(path, "user.a"), b"1")

    def test_acl_names_are_refused_or_work(self):
        path = self.make("f")
        # Version 2, owner rw-, group r--, other r--: what mode 0644 says anyway.
        acl = bytes.fromhex("02000000" "01000600ffffffff" "04000400ffffffff" "20000400ffffffff")
        for name in ("system.posix_acl_access",):
            try:
                os.setxattr(path, name, acl)
            except OSError as error:
                self.assertEqual(error.errno, errno.EOPNOTSUPP)
                self.assertErrno((errno.EOPNOTSUPP, errno.ENODATA), os.getxattr, path, name)
        self.assertErrno((errno.EOPNOTSUPP, errno.ENODATA), os.getxattr, path,
                         "system.posix_acl_default")

    def test_missing_file(self):
        self.assertErrno(errno.ENOENT, os.setxattr, self.path("no"), "user.a", b"1")
        self.assertErrno(errno.ENOENT, os.getxattr, self.path("no"), "user.a")
        self.assertErrno(errno.ENOENT, os.listxattr, self.path("no"))

    @harness.varve_only
    def test_status_attributes_are_not_listed(self):
        path = self.make("f", b"data")
        os.setxattr(path, "user.mine", b"1")
        self.mount.sync(path)
        self.assertEqual(os.listxattr(path), ["user.mine"])
        self.assertEqual(os.getxattr(path, "user.varve.durable"), b"1")

    @harness.varve_only
    def test_reserved_prefix_cannot_be_set(self):
        path = self.make("f")
        self.assertRaises(OSError, os.setxattr, path, "user.varve.complete", b"1")
        self.assertRaises(OSError, os.setxattr, path, "user.varve.nonsense", b"1")


@needs_root
class Namespaces(MountTestCase):
    def test_trusted(self):
        path = self.make("f")
        os.setxattr(path, "trusted.t", b"1")
        self.assertEqual(os.getxattr(path, "trusted.t"), b"1")
        self.assertIn("trusted.t", os.listxattr(path))
        self.assertErrno((errno.EPERM, errno.ENODATA), as_user, 4201, os.getxattr, path,
                         "trusted.t")
        self.assertErrno(errno.EPERM, as_user, 4201, os.setxattr, path, "trusted.u", b"1")

    def test_security(self):
        for name, kind in (("f", "file"), ("s", "symlink"), ("p", "fifo"), ("d", "directory")):
            path = self.path(name)
            {"file": lambda p: harness.write_file(p, b""), "symlink": lambda p: os.symlink("x", p),
             "fifo": os.mkfifo, "directory": os.mkdir}[kind](path)
            os.setxattr(path, "security.varvetest", b"label", follow_symlinks=False)
            self.assertEqual(os.getxattr(path, "security.varvetest", follow_symlinks=False),
                             b"label")
            os.setxattr(path, "trusted.t", kind.encode(), follow_symlinks=False)
            self.assertEqual(os.getxattr(path, "trusted.t", follow_symlinks=False), kind.encode())
            os.removexattr(path, "trusted.t", follow_symlinks=False)

    def test_capability(self):
        path = self.make("f", b"#!/bin/true\n", 0o755)
        value = bytes.fromhex("0100000200200000000000000000000000000000")
        os.setxattr(path, "security.capability", value)
        self.assertEqual(os.getxattr(path, "security.capability"), value)
        os.removexattr(path, "security.capability")
        self.assertErrno(errno.ENODATA, os.getxattr, path, "security.capability")

    def test_user_needs_file_permission(self):
        path = self.make("f", mode=0o644)
        os.setxattr(path, "user.a", b"1")
        self.assertEqual(as_user(4201, os.getxattr, path, "user.a"), b"1")
        self.assertErrno(errno.EACCES, as_user, 4201, os.setxattr, path, "user.a", b"2")
        self.assertErrno(errno.EACCES, as_user, 4201, os.removexattr, path, "user.a")
        os.chmod(path, 0o600)
        self.assertErrno(errno.EACCES, as_user, 4201, os.getxattr, path, "user.a")

    def test_sticky_directory_is_for_its_owner(self):
        os.mkdir(self.path("d"))
        os.chmod(self.path("d"), 0o1777)
        self.assertErrno(errno.EPERM, as_user, 4201, os.setxattr, self.path("d"), "user.a", b"1")
        os.chmod(self.path("d"), 0o777)
        as_user(4201, os.setxattr, self.path("d"), "user.a", b"1")


class Remount(MountTestCase):
    uses_shared_mount = False

    def test_kept(self):
        mount = self.own_mount()
        self.dir = mount.root
        os.setxattr(self.make("f"), "user.a", b"kept")
        os.setxattr(mount.root, "user.root", b"of the top directory")
        if not harness.NATIVE:
            mount.remount()
        self.assertEqual(os.getxattr(self.path("f"), "user.a"), b"kept")
        self.assertEqual(os.getxattr(mount.root, "user.root"), b"of the top directory")


if __name__ == "__main__":
    harness.main()
