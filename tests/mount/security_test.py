"""Who may reach a store and a mount, and what hostile input can do."""

import errno
import fcntl
import io
import os
import signal
import stat
import struct
import subprocess
import tempfile
import zipfile

import checkpoint_writers as writers
import harness
from harness import MountTestCase, needs_root, read_file, write_file
from processes import as_user


class SecurityTestCase(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory has no store")
        super().setUp()


class Store(SecurityTestCase):
    def test_is_private(self):
        os.umask(0)
        mount = self.own_mount(start=False)
        os.rmdir(mount.store)
        mount.start()
        write_file(mount.root + "/f", b"secret")
        mount.sync()
        self.assertEqual(stat.S_IMODE(os.stat(mount.store).st_mode), 0o700)
        for root, _, files in os.walk(mount.store):
            for name in files:
                mode = stat.S_IMODE(os.lstat(os.path.join(root, name)).st_mode)
                self.assertEqual(mode & 0o022, 0, f"{name} is writable to others: {mode:o}")

    @needs_root
    def test_closed_to_other_users(self):
        mount = self.own_mount()
        self.assertErrno(errno.EACCES, as_user, 4201, os.listdir, mount.store)

    def test_second_mount_is_refused_by_name(self):
        mount = self.own_mount()
        other = mount.root + "-second"
        os.mkdir(other)
        code, text = mount.command("mount", mount.store, other, check=False)
        self.assertNotEqual(code, 0)
        self.assertIn(mount.root, text, "the message does not name the mount")
        self.assertFalse(os.path.ismount(other))
        write_file(mount.root + "/f", b"still works")
        self.assertBytes(mount.root + "/f", b"still works")

    def test_lock_is_held_and_names_the_daemon(self):
        mount = self.own_mount()
        self.assertIsNotNone(mount.pid)
        fd = os.open(mount.store + "/lock", os.O_RDWR)
        self.addCleanup(os.close, fd)
        import syscalls
        from processes import pack_struct_flock
        self.assertErrno((errno.EAGAIN, errno.EACCES), fcntl.fcntl, fd, syscalls.F_OFD_SETLK,
                         pack_struct_flock(fcntl.F_WRLCK))

    def test_mount_again_after_umount_at_once(self):
        mount = self.own_mount()
        for i in range(5):
            write_file(mount.root + f"/f{i}", b"x" * 100000)
            mount.stop()
            mount.start()
        self.assertEqual(len(os.listdir(mount.root)), 5)

    def test_something_else_is_no_store(self):
        mount = self.own_mount(start=False)
        write_file(mount.store + "/photo.jpg", b"not a store")
        code, text = mount.command("mount", mount.store, mount.root, check=False)
        self.assertNotEqual(code, 0)
        self.assertIn(mount.store, text)
        self.assertEqual(os.listdir(mount.store), ["photo.jpg"])

    def test_store_and_mount_point_must_be_apart(self):
        mount = self.own_mount(start=False)
        inside = mount.store + "/inside"
        os.mkdir(inside)
        self.assertNotEqual(mount.command("mount", mount.store, inside, check=False)[0], 0)
        below = mount.root + "/store"
        os.mkdir(below, 0o700)
        self.assertNotEqual(mount.command("mount", below, mount.root, check=False)[0], 0)

    def test_missing_mount_point(self):
        mount = self.own_mount(start=False)
        code, text = mount.command("mount", mount.store, mount.root + "/no", check=False)
        self.assertNotEqual(code, 0)
        self.assertIn(mount.root + "/no", text)

    def test_nothing_of_the_store_is_reachable(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"x")
        for name in ("stage", "lock", ".stage", ".store", "packs", "index"):
            self.assertFalse(os.path.lexists(os.path.join(mount.root, name)))
            self.assertFalse(os.path.lexists(os.path.join(mount.root, ".varve", name)))
        store = os.stat(mount.store)
        for root, dirs, files in os.walk(mount.root + "/.varve"):
            for name in (*dirs, *files):
                info = os.lstat(os.path.join(root, name))
                self.assertNotEqual(info.st_dev, store.st_dev)


@needs_root
class AllowOther(SecurityTestCase):
    def test_only_on_request(self):
        mount = self.own_mount(options=harness.default_options(allow_other=False))
        write_file(mount.root + "/f", b"x")
        os.chmod(mount.root, 0o755)
        self.assertErrno(errno.EACCES, as_user, 4201, os.stat, mount.root + "/f")
        self.assertErrno(errno.EACCES, as_user, 4201, os.listdir, mount.root)

    def test_on_request(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"x")
        os.chmod(mount.root + "/f", 0o644)
        self.assertEqual(as_user(4201, read_file, mount.root + "/f"), b"x")
        os.chmod(mount.root + "/f", 0o600)
        self.assertErrno(errno.EACCES, as_user, 4201, read_file, mount.root + "/f")

    def test_sync_and_status_respect_permissions(self):
        mount = self.own_mount()
        os.mkdir(mount.root + "/closed", 0o700)
        write_file(mount.root + "/closed/f", b"x")
        self.assertErrno(errno.EACCES, as_user, 4201, os.getxattr, mount.root + "/closed/f",
                         "user.varve.complete")
        self.assertErrno(errno.EACCES, as_user, 4201, os.listdir,
                         mount.root + "/closed/.varve/versions")


class HostileInput(MountTestCase):
    """Decoders look at what users write; whatever it is, the file is a file."""

    def keep(self, name, data):
        path = self.path(name)
        write_file(path, data)
        self.mount.sync(path)
        harness.drop_caches()
        self.assertBytes(path, data)
        if not harness.NATIVE:
            complete = os.getxattr(path, "user.varve.complete")
            self.assertIn(complete, (b"0", b"1"))
        return path

    def test_safetensors_headers(self):
        good = writers.safetensors_bytes(writers.tensors_of(0, 0.1))
        length = struct.unpack("<Q", good[:8])[0]
        entry = b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}}'
        cases = {
            "huge_length": struct.pack("<Q", (1 << 64) - 1) + b"{}",
            "negative_length": struct.pack("<q", -8) + b"{}",
            "length_beyond_file": struct.pack("<Q", 1 << 40) + b"{}" * 100,
            "empty": b"", "seven": b"\0" * 7, "eight": b"\0" * 8,
            "no_json": struct.pack("<Q", 100) + b"\xff" * 100,
            "deep": struct.pack("<Q", 200000) + b"[" * 100000 + b"]" * 100000,
            "deep_objects": struct.pack("<Q", 600000) + b'{"a":' * 100000 + b"1" + b"}" * 99999,
            "overflow": self.framed(entry % (b"4611686018427387905,4", b"0,4")),
            "backwards": self.framed(entry % (b"1", b"8,4")),
            "outside": self.framed(entry % (b"1", b"0,18446744073709551615")),
            "floats": self.framed(entry % (b"1e300", b"0,1e300")),
            "duplicate": self.framed(b'{"a":1,"a":2,"a":{"a":{}}}'),
            "nul": self.framed(b'{"\\u0000":{}}'),
            "surrogate": self.framed(b'{"\\ud800":{}}'),
            "bad_utf8": self.framed(b'{"\xff\xfe":{}}'),
            "garbled": good[:8] + os.urandom(length) + good[8 + length:],
        }
        for name, data in cases.items():
            with self.subTest(name):
                self.keep(name + ".safetensors", data)

    @staticmethod
    def framed(header):
        return struct.pack("<Q", len(header)) + header + b"\0" * 64

    def test_zip_files(self):
        good = writers.torch_zip_bytes(writers.tensors_of(0, 0.1))
        end = good.rindex(b"PK\5\6")
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(50 << 20))
        cases = {
            "bomb": bomb.getvalue(),
            "end_only": good[end:],
            "directory_outside": good[:end + 16] + struct.pack("<I", 0xfffffff0) + good[end + 20:],
            "many_entries": good[:end + 8] + b"\xff\xff\xff\xff" + good[end + 12:],
            "long_comment": good[:-2] + b"\xff\xff",
            "two_ends": good + good[end:],
            "only_magic": b"PK\3\4" * 1000,
            "self_reference": good[:end] + good[end:end + 12] + struct.pack("<II", 0, end) +
            good[end + 20:],
            "garbled_directory": good[:end - 200] + os.urandom(200) + good[end:],
            "zip64": good[:end] + b"PK\6\7" + b"\xff" * 16 + good[end:],
        }
        for name, data in cases.items():
            with self.subTest(name):
                self.keep(name + ".pt", data)

    def test_pickle_is_never_executed(self):
        marker = os.path.join(tempfile.gettempdir(), f"varve-pickle-{os.getpid()}")
        payload = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(marker)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
        self.keep("evil.pt", out.getvalue())
        self.keep("evil.pkl", payload)
        self.assertFalse(os.path.exists(marker))

    def test_random_bytes_with_magic(self):
        for i, magic in enumerate((b"PK\3\4", b"GGUF\3\0\0\0", b"\x93NUMPY\1\0", b"\x89HDF\r\n\x1a\n",
                                   b"\x80\x02ctorch", struct.pack("<Q", 64) + b'{"')):
            self.keep(f"m{i}.safetensors", magic + os.urandom(70000))
            self.keep(f"m{i}.pt", magic + os.urandom(70000))

    def test_daemon_is_alive(self):
        self.keep("last", b"x")
        self.assertTrue(self.mount.alive())


class Signals(SecurityTestCase):
    def test_terminate_unmounts_and_keeps_everything(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"x" * 1000000)
        pid = mount.pid
        os.kill(pid, signal.SIGTERM)
        harness.wait_until(lambda: not harness.is_our_daemon(pid), 30, "the end after SIGTERM")
        self.assertFalse(os.path.ismount(mount.root))
        mount.start()
        self.assertBytes(mount.root + "/f", b"x" * 1000000)

    def test_plain_umount_is_clean(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"x" * 1000000)
        tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*tool, mount.root], check=True)
        mount.start()
        self.assertBytes(mount.root + "/f", b"x" * 1000000)


if __name__ == "__main__":
    harness.main()
