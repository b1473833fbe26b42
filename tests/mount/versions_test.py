"""Versions of files as design promises them: which writes make one, and what it then says."""

import errno
import mmap
import os
import re
import shutil
import stat
import subprocess
import time

import checkpoint_writers as writers
import harness
import syscalls
from harness import MountTestCase, needs_root, read_file, write_file
from processes import as_user
from syscalls import RENAME_EXCHANGE


class VersionTestCase(MountTestCase):
    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory keeps no versions")
        super().setUp()

    def versions_dir(self, name, directory=None):
        return os.path.join(directory or self.dir, ".varve", "versions", name)

    def numbers(self, name, directory=None):
        """The version numbers of a name, as listed."""
        listed = os.listdir(self.versions_dir(name, directory))
        return sorted(entry for entry in listed if entry != "latest")

    def has_versions(self, name):
        return os.path.exists(self.versions_dir(name))

    def contents(self, name, directory=None):
        base = self.versions_dir(name, directory)
        return [read_file(os.path.join(base, number)) for number in self.numbers(name, directory)]

    def check(self, name, contents, directory=None):
        """`name` has versions with exactly these contents, oldest first."""
        found = self.contents(name, directory)
        self.assertEqual([len(data) for data in found], [len(data) for data in contents], name)
        for i, (data, expected) in enumerate(zip(found, contents)):
            self.assertSameBytes(data, expected, f"version {i} of {name}")

    def status_of(self, path, name="complete"):
        return os.getxattr(path, f"user.varve.{name}").decode()


class Captures(VersionTestCase):
    def test_overwrite_in_place(self):
        contents = [os.urandom(50000 + i) for i in range(8)]
        for data in contents:
            writers.save_torch(self.path("last.pt"), data)
        self.check("last.pt", contents)
        self.mount.sync()
        harness.drop_caches()
        self.check("last.pt", contents)
        self.assertBytes(self.path("last.pt"), contents[-1])

    def test_names_of_numbers(self):
        for i in range(3):
            write_file(self.path("f"), b"%d" % i)
        numbers = self.numbers("f")
        self.assertEqual(numbers, ["0001", "0002", "0003"])
        base = self.versions_dir("f")
        self.assertTrue(stat.S_ISLNK(os.lstat(os.path.join(base, "latest")).st_mode))
        self.assertEqual(os.path.basename(os.readlink(os.path.join(base, "latest"))), "0003")
        self.assertEqual(read_file(os.path.join(base, "latest")), b"2")

    def test_temporary_and_rename(self):
        contents = [os.urandom(30000 + i) for i in range(6)]
        for data in contents:
            write_file(self.path("model.pt.tmp"), data)
            os.rename(self.path("model.pt.tmp"), self.path("model.pt"))
        self.check("model.pt", contents)
        self.assertErrno(errno.ENOENT, os.listdir, self.versions_dir("model.pt.tmp"))
        self.assertEqual(os.listdir(self.path(".varve/versions")), ["model.pt"])

    def test_safetensors_writers(self):
        for name, save in (("old", writers.save_safetensors_in_place),
                           ("new", writers.save_safetensors_by_rename)):
            contents = [writers.safetensors_bytes(writers.tensors_of(step)) for step in range(4)]
            for data in contents:
                save(self.path(name + ".safetensors"), data)
            self.check(name + ".safetensors", contents)
        self.assertEqual(sorted(os.listdir(self.path(".varve/versions"))),
                         ["new.safetensors", "old.safetensors"])

    def test_torch_zip_writer(self):
        contents = [writers.torch_zip_bytes(writers.tensors_of(step)) for step in range(3)]
        for data in contents:
            writers.save_torch(self.path("model.pt"), data)
        self.check("model.pt", contents)

    def test_distributed_checkpoint(self):
        directory = self.path("dcp")
        contents = [os.urandom(200000) for _ in range(3)]
        for data in contents:
            writers.save_distributed(directory, data)
        self.check(".metadata", [b"metadata of " + data[:32] for data in contents], directory)
        share = 200000 // 2 + 1
        self.check("__0_0.distcp", [data[:share] for data in contents], directory)
        self.check("__1_0.distcp", [data[share:] for data in contents], directory)

    def test_rotation_by_rmtree(self):
        kept = {}
        for step in range(5):
            kept[step] = writers.safetensors_bytes(writers.tensors_of(step, 0.2))
            writers.save_hugging_face(self.path(f"checkpoint-{step}"), kept[step], step)
            if step >= 2:
                shutil.rmtree(self.path(f"checkpoint-{step - 2}"))
        self.assertEqual(sorted(os.listdir(self.dir)), ["checkpoint-3", "checkpoint-4"])
        self.check("model.safetensors", [kept[4]], self.path("checkpoint-4"))
        # A directory of that name gives back what the removed one had.
        os.mkdir(self.path("checkpoint-0"))
        self.check("model.safetensors", [kept[0]], self.path("checkpoint-0"))

    def test_log_that_is_opened_again_and_again(self):
        path = self.path("train.log")
        for i in range(200):
            with open(path, "ab") as file:
                file.write(b"step %d\n" % i)
        whole = read_file(path)
        found = self.contents("train.log")
        self.assertLessEqual(len(found), 100, "a version per line")
        self.assertSameBytes(found[-1], whole)
        for data in found:
            self.assertTrue(whole.startswith(data))

    def test_change_in_place_of_a_stored_file(self):
        first = os.urandom(2 << 20)
        path = self.make("f", first)
        self.mount.sync(path)
        with open(path, "r+b") as file:
            file.seek(1000000)
            file.write(b"changed")
        second = first[:1000000] + b"changed" + first[1000007:]
        self.check("f", [first, second])
        self.mount.sync(path)
        harness.drop_caches()
        self.check("f", [first, second])

    def test_two_writers_make_one_version_at_the_last_close(self):
        first = os.open(self.path("f"), os.O_CREAT | os.O_WRONLY)
        second = os.open(self.path("f"), os.O_WRONLY)
        os.pwrite(first, b"A" * 1000, 0)
        os.close(first)
        self.assertErrno(errno.ENOENT, self.numbers, "f")
        os.pwrite(second, b"B" * 1000, 1000)
        os.close(second)
        self.check("f", [b"A" * 1000 + b"B" * 1000])

    def test_reading_and_properties_make_none(self):
        path = self.make("f", b"data")
        self.mount.sync(path)
        for _ in range(3):
            read_file(path)
            os.close(os.open(path, os.O_RDWR))
            os.setxattr(path, "user.note", b"x")
            os.chmod(path, 0o600)
            os.utime(path)
        self.mount.sync(path)
        self.check("f", [b"data"])

    def test_truncate_by_path(self):
        path = self.make("f", b"0123456789")
        self.mount.sync(path)
        os.truncate(path, 4)
        self.mount.sync(path)
        self.check("f", [b"0123456789", b"0123"])

    def test_store_through_a_mapping(self):
        path = self.make("f", b"a" * 100000)
        self.mount.sync(path)
        fd = os.open(path, os.O_RDWR)
        with mmap.mmap(fd, 100000) as mapping:
            mapping[50000:50005] = b"store"
        os.close(fd)
        self.mount.sync(path)
        self.check("f", [b"a" * 100000, b"a" * 50000 + b"store" + b"a" * 49995])

    def test_copy_file_range_makes_a_version(self):
        data = os.urandom(3 << 20)
        self.make("a", data)
        shutil.copyfile(self.path("a"), self.path("b"))
        subprocess.run(["cp", self.path("a"), self.path("c")], check=True)
        for name in ("b", "c"):
            self.check(name, [data])

    def test_long_open_file_is_captured_at_fsync(self):
        """At most once a minute, and at least once in the first: --scale 2 waits that long."""
        fd = self.open("events", os.O_CREAT | os.O_RDWR)
        written = b""
        for i in range(14 if harness.scaled(1) > 1 else 3):
            part = b"part %d;" % i
            written += part
            os.write(fd, part)
            os.fsync(fd)
            found = self.contents("events") if self.has_versions("events") else []
            self.assertLessEqual(len(found), 1 + i // 12, "more than one a minute")
            for data in found:
                self.assertTrue(written.startswith(data))
            if harness.scaled(1) > 1:
                time.sleep(5)
        if harness.scaled(1) > 1:
            self.assertTrue(self.has_versions("events"), "never captured while it was open")
        os.close(fd)
        self.assertEqual(self.contents("events")[-1], written)

    def test_reopened_before_it_is_stored(self):
        """In-place reopening may continue a version; truncation never does."""
        for i in range(20):
            write_file(self.path("f"), b"%d" % i * 1000)
        self.check("f", [b"%d" % i * 1000 for i in range(20)])

    def test_unnamed_file_that_gets_a_name(self):
        fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR)
        os.write(fd, b"published")
        syscalls.link_descriptor(fd, self.path("f"))
        os.close(fd)
        self.check("f", [b"published"])

    def test_large_file_while_the_next_is_written(self):
        contents = [os.urandom(24 << 20) for _ in range(3)]
        for data in contents:
            writers.save_safetensors_in_place(self.path("big"), data)
        self.check("big", contents)
        self.mount.sync()
        harness.drop_caches()
        self.check("big", contents)


class Names(VersionTestCase):
    def test_removed_file(self):
        self.make("f", b"one")
        write_file(self.path("f"), b"two")
        os.unlink(self.path("f"))
        self.check("f", [b"one", b"two"])
        self.assertEqual(os.listdir(self.dir), [])
        self.make("f", b"three")
        self.assertEqual(self.numbers("f"), ["0001", "0002", "0003"])
        self.check("f", [b"one", b"two", b"three"])

    def test_removed_while_open(self):
        self.make("f", b"closed once")
        self.mount.sync()
        fd = self.open("f", os.O_RDWR)
        os.pwrite(fd, b"CLOSED", 0)
        os.unlink(self.path("f"))
        self.assertIn(b"closed once", self.contents("f"))

    def test_numbers_are_not_reused_after_remount(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"1")
        os.unlink(mount.root + "/f")
        mount.remount()
        write_file(mount.root + "/f", b"2")
        self.assertEqual(self.numbers("f", mount.root), ["0001", "0002"])
        mount.kill_and_remount()
        write_file(mount.root + "/f", b"3")
        self.check("f", [b"1", b"2", b"3"], mount.root)

    def test_directory_rename_takes_history_along(self):
        os.mkdir(self.path("run1"))
        for data in (b"a", b"b"):
            write_file(self.path("run1/f"), data)
        os.rename(self.path("run1"), self.path("run2"))
        self.check("f", [b"a", b"b"], self.path("run2"))
        write_file(self.path("run2/f"), b"c")
        self.check("f", [b"a", b"b", b"c"], self.path("run2"))

    def test_rmtree_and_again(self):
        for i in range(3):
            os.makedirs(self.path("run/sub"))
            write_file(self.path("run/sub/f"), b"%d" % i)
            shutil.rmtree(self.path("run"))
        os.makedirs(self.path("run/sub"))
        self.check("f", [b"0", b"1", b"2"], self.path("run/sub"))

    def test_hard_links_list_it_under_each_name(self):
        self.make("a", b"first")
        os.link(self.path("a"), self.path("b"))
        write_file(self.path("a"), b"second")
        self.assertEqual(self.contents("a"), [b"first", b"second"])
        self.assertEqual(self.contents("b")[-1], b"second")

    def test_exchange_gives_each_a_new_version(self):
        self.make("a", b"of a")
        self.make("b", b"of b")
        syscalls.renameat2(self.path("a"), self.path("b"), RENAME_EXCHANGE)
        self.check("a", [b"of a", b"of b"])
        self.check("b", [b"of b", b"of a"])

    def test_odd_names(self):
        for name in (b"with space", b"\xff\xfe", b"n" * 255, b"0001", b"latest", b"-"):
            path = os.path.join(os.fsencode(self.dir), name)
            write_file(path, name)
            version = os.path.join(os.fsencode(self.dir), b".varve/versions", name, b"0001")
            self.assertBytes(version, name)

    def test_listing_names_what_has_versions(self):
        self.make("a", b"1")
        self.make("b", b"1")
        os.mkdir(self.path("d"))
        os.unlink(self.path("b"))
        self.assertEqual(sorted(os.listdir(self.path(".varve/versions"))), ["a", "b"])


class Attributes(VersionTestCase):
    def test_time_of_capture_and_size(self):
        before = time.time() - 0.05
        path = self.make("f", b"x" * 1234)
        os.utime(path, (1000, 1000))
        after = time.time() + 0.05
        info = os.stat(self.versions_dir("f") + "/0001")
        self.assertTrue(before <= info.st_mtime <= after, (before, info.st_mtime, after))
        self.assertEqual(info.st_size, 1234)
        self.assertTrue(stat.S_ISREG(info.st_mode))
        self.assertEqual(info.st_mode & 0o222, 0)
        self.assertEqual(info.st_uid, os.geteuid())

    def test_times_ascend(self):
        for i in range(4):
            write_file(self.path("f"), b"%d" % i)
            time.sleep(0.02)
        times = [os.stat(os.path.join(self.versions_dir("f"), number)).st_mtime_ns
                 for number in self.numbers("f")]
        self.assertEqual(times, sorted(set(times)))

    def test_complete_safetensors(self):
        whole = writers.safetensors_bytes(writers.tensors_of(1))
        cases = (("whole", whole, "1"), ("short", whole[:-1], "0"), ("half", whole[:len(whole) // 2],
                 "0"), ("header", whole[:100], "0"), ("tiny", whole[:5], "0"))
        for name, data, expected in cases:
            path = self.path(name + ".safetensors")
            write_file(path, data)
            version = self.versions_dir(name + ".safetensors") + "/0001"
            for when in ("pending", "stored"):
                told = (name, when, self.status_of(path), self.status_of(version))
                self.assertEqual(told, (name, when, expected, expected))
                self.mount.sync()

    def test_complete_torch_zip(self):
        whole = writers.torch_zip_bytes(writers.tensors_of(1))
        for name, data, expected in (("whole", whole, "1"), ("short", whole[:-1], "0"),
                                     ("cut", whole[:len(whole) // 3], "0")):
            path = self.path(name + ".pt")
            writers.save_torch(path, data)
            version = self.versions_dir(name + ".pt") + "/0001"
            for when in ("pending", "stored"):
                told = (name, when, self.status_of(path), self.status_of(version))
                self.assertEqual(told, (name, when, expected, expected))
                self.mount.sync()

    def test_sparse_promise_is_not_complete(self):
        """ftruncate to the full size before the header is written: not a checkpoint yet."""
        path = self.path("m.safetensors")
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.ftruncate(fd, 1 << 20)
        os.close(fd)
        self.mount.sync(path)
        self.assertEqual(self.status_of(path), "0")

    def test_a_promise_that_was_not_kept_is_not_complete(self):
        """Sized ahead, with its whole header, but the writer died before the last tensor."""
        whole = writers.safetensors_bytes(writers.tensors_of(1))
        path = self.path("m.safetensors")
        with open(path, "wb") as file:
            file.truncate(len(whole))
            file.write(whole[:len(whole) // 2])
        for when in ("pending", "stored"):
            self.assertEqual((when, self.status_of(path)), (when, "0"))
            self.assertIn("never written", os.getxattr(path, "user.varve.incomplete").decode())
            self.mount.sync()
        with open(path, "r+b") as file:
            file.write(whole)
        self.assertEqual(self.status_of(path), "1")

    def test_latest_skips_what_is_not_complete(self):
        whole = writers.safetensors_bytes(writers.tensors_of(1))
        write_file(self.path("good.safetensors"), whole)
        self.mount.sync()
        time.sleep(0.05)
        write_file(self.path("bad.safetensors"), whole[:-7])
        self.mount.sync()
        link = self.path(".varve/latest")
        self.assertTrue(stat.S_ISLNK(os.lstat(link).st_mode))
        self.assertEqual(os.path.realpath(link), self.path("good.safetensors"))
        self.assertBytes(link, whole)

    def test_durable_after_sync(self):
        path = self.make("f", os.urandom(100000))
        self.mount.sync(path)
        self.assertEqual(self.status_of(path, "durable"), "1")
        self.assertEqual(self.status_of(self.versions_dir("f") + "/0001", "durable"), "1")

    def test_status_is_json_with_what_is_pending(self):
        status = self.mount.status()
        self.assertIsInstance(status["pending"]["files"], int)
        self.assertIn("passthrough", status["fast_paths"])
        passthrough = status["fast_paths"]["passthrough"]
        if harness.mode() != "root":
            self.assertFalse(passthrough["on"])
            self.assertTrue(passthrough["reason"])

    @needs_root
    def test_fast_path_is_on_for_root(self):
        if harness.mode() != "root":
            self.skipTest("switched off in this mode")
        self.assertTrue(self.mount.status()["fast_paths"]["passthrough"]["on"],
                        self.mount.status()["fast_paths"]["passthrough"])


class Reading(VersionTestCase):
    def test_open_version_while_the_file_changes(self):
        first = os.urandom(1 << 20)
        self.make("f", first)
        fd = self.open(self.versions_dir("f") + "/0001", os.O_RDONLY)
        self.assertSameBytes(os.pread(fd, 1000, 0), first[:1000])
        for i in range(3):
            write_file(self.path("f"), os.urandom(1 << 20))
        os.unlink(self.path("f"))
        self.assertSameBytes(os.pread(fd, len(first), 0), first)

    def test_random_access_and_mapping(self):
        data = os.urandom(3 << 20)
        self.make("f", data)
        self.mount.sync()
        harness.drop_caches()
        fd = self.open(self.versions_dir("f") + "/0001", os.O_RDONLY)
        for at in (2 << 20, 5, (3 << 20) - 3, 1234567):
            self.assertSameBytes(os.pread(fd, 5000, at), data[at:at + 5000])
        with mmap.mmap(fd, len(data), prot=mmap.PROT_READ) as mapping:
            self.assertSameBytes(mapping[1 << 20:2 << 20], data[1 << 20:2 << 20])
        self.assertEqual(os.pread(fd, 10, len(data)), b"")

    def test_copy_back(self):
        for data in (b"good" * 1000, b"spoiled"):
            write_file(self.path("f"), data)
        shutil.copyfile(self.versions_dir("f") + "/0001", self.path("f"))
        self.assertBytes(self.path("f"), b"good" * 1000)
        subprocess.run(["cp", self.versions_dir("f") + "/0002", self.path("g")], check=True)
        self.assertBytes(self.path("g"), b"spoiled")
        self.check("f", [b"good" * 1000, b"spoiled", b"good" * 1000])

    def test_everything_is_read_only(self):
        self.make("f", b"x")
        base = self.path(".varve")
        version = self.versions_dir("f") + "/0001"
        refused = (errno.EROFS, errno.EPERM, errno.EACCES)
        for call in ((os.open, version, os.O_WRONLY), (os.open, version, os.O_RDWR),
                     (os.open, version, os.O_RDONLY | os.O_TRUNC),
                     (os.truncate, version, 0), (os.chmod, version, 0o777), (os.unlink, version),
                     (os.utime, version), (os.setxattr, version, "user.x", b"1"),
                     (os.open, base + "/new", os.O_CREAT | os.O_WRONLY),
                     (os.mkdir, base + "/versions/new"), (os.symlink, "x", base + "/s"),
                     (os.mkfifo, base + "/versions/p"), (os.rmdir, self.versions_dir("f")),
                     (os.unlink, self.versions_dir("f") + "/latest")):
            self.assertErrno(refused, *call)
        crossing = (*refused, errno.EXDEV)
        self.assertErrno(crossing, os.rename, version, self.path("g"))
        self.assertErrno(crossing, os.link, version, self.path("g"))
        self.assertErrno(crossing, os.rename, self.path("f"), base + "/versions/f2")
        self.assertErrno(crossing, os.link, self.path("f"), base + "/versions/f2")
        self.assertBytes(version, b"x")

    def test_the_name_is_reserved(self):
        self.make("f")
        path = self.path(".varve")
        for call in ((os.mkdir, path), (os.symlink, "x", path), (os.mkfifo, path),
                     (os.link, self.path("f"), path),
                     (os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)):
            self.assertErrno(errno.EEXIST, *call)
        for call in ((os.rename, self.path("f"), path), (os.rename, path, self.path("g")),
                     (os.rmdir, path), (os.unlink, path)):
            self.assertRaises(OSError, *call)
        self.assertTrue(os.path.isdir(path))
        self.assertNotIn(".varve", os.listdir(self.dir))

    def test_missing(self):
        self.make("f", b"x")
        for path in (".varve/nothing", ".varve/versions/no", ".varve/versions/f/0002",
                     ".varve/versions/f/x", ".varve/versions/f/0001x", ".varve/versions/f/-1"):
            self.assertErrno((errno.ENOENT, errno.ENOTDIR), os.stat, self.path(path))
        self.assertErrno(errno.ENOTDIR, os.stat, self.versions_dir("f") + "/0001/x")

    def test_control_directory_listing(self):
        names = os.listdir(self.path(".varve"))
        self.assertIn("versions", names)
        self.assertIn("status", names)

    def test_walkers_do_not_descend(self):
        self.make("f", b"x")
        found = subprocess.run(["find", self.dir], capture_output=True, text=True, check=True).stdout
        self.assertNotIn(".varve", found)
        copy = self.path("copy")
        subprocess.run(["cp", "-a", self.path("f"), copy], check=True)
        os.mkdir(self.path("d"))
        self.make("d/f", b"y")
        subprocess.run(["rm", "-r", self.path("d")], check=True)
        self.assertFalse(os.path.exists(self.path("d")))

    def test_find_inside(self):
        for i in range(3):
            write_file(self.path("f"), b"%d" % i)
        out = subprocess.run(["find", self.path(".varve/versions"), "-type", "f"],
                             capture_output=True, text=True, check=True).stdout.split()
        self.assertEqual(len(out), 3)
        self.assertTrue(all(re.search(r"/f/\d{4}$", line) for line in out))


@needs_root
class Permissions(VersionTestCase):
    def owned(self, mode):
        path = self.make("f", b"secret", mode)
        os.chown(path, 4201, 4201)
        write_file(path, b"secret")
        self.mount.sync(path)
        numbers = self.numbers("f")
        return path, os.path.join(self.versions_dir("f"), numbers[-1])

    def test_mode_at_capture(self):
        path, version = self.owned(0o600)
        os.chmod(path, 0o644)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, version)
        self.assertEqual(as_user(4201, read_file, version), b"secret")
        self.assertBytes(version, b"secret")

    def test_mode_of_the_live_path(self):
        path, version = self.owned(0o644)
        self.assertEqual(as_user(4202, read_file, version), b"secret")
        os.chmod(path, 0o600)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, version)
        self.assertEqual(as_user(4201, read_file, version), b"secret")

    def test_removed_is_for_the_owner_and_root(self):
        path, version = self.owned(0o644)
        os.unlink(path)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, version)
        self.assertEqual(as_user(4201, read_file, version), b"secret")
        self.assertBytes(version, b"secret")

    def test_closed_directory(self):
        os.mkdir(self.path("d"))
        write_file(self.path("d/f"), b"x")
        version = self.path("d/.varve/versions/f/0001")
        self.assertEqual(as_user(4202, read_file, version), b"x")
        os.chmod(self.path("d"), 0o700)
        for call in ((read_file, version), (os.listdir, self.path("d/.varve/versions")),
                     (os.stat, version)):
            self.assertErrno(errno.EACCES, as_user, 4202, *call)
        os.chmod(self.path("d"), 0o711)
        # Names of a directory that may be searched but not listed stay unlisted.
        self.assertErrno(errno.EACCES, as_user, 4202, os.listdir, self.path("d/.varve/versions"))

    def test_group(self):
        path = self.make("f", b"for the group", 0o640)
        os.chown(path, 4201, 4300)
        write_file(path, b"for the group")
        version = os.path.join(self.versions_dir("f"), self.numbers("f")[-1])
        self.assertEqual(as_user(4202, lambda: read_file(version), groups=(4300,)),
                         b"for the group")
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, version)


class Later(VersionTestCase):
    def test_all_survive_remount_and_kill(self):
        mount = self.own_mount()
        contents = [os.urandom(200000 + i) for i in range(5)]
        for data in contents[:3]:
            write_file(mount.root + "/f", data)
        mount.remount()
        self.check("f", contents[:3], mount.root)
        for data in contents[3:]:
            write_file(mount.root + "/f", data)
        mount.kill_and_remount()
        self.check("f", contents, mount.root)
        mount.sync()
        harness.drop_caches()
        self.check("f", contents, mount.root)

    def test_equal_content_is_stored_once(self):
        mount = self.own_mount()
        data = os.urandom(8 << 20)
        write_file(mount.root + "/a", data)
        mount.sync()
        before = mount.status()["space"]["pack_bytes"]
        for i in range(5):
            write_file(mount.root + f"/copy{i}", data)
        mount.sync()
        self.assertLess(mount.status()["space"]["pack_bytes"] - before, 2 << 20)

    def test_copy_shares_what_is_stored(self):
        """And is a file of its own all the same."""
        mount = self.own_mount()
        data = os.urandom(32 << 20)
        write_file(mount.root + "/a", data)
        mount.sync()
        before = mount.status()["space"]["pack_bytes"]
        subprocess.run(["cp", mount.root + "/a", mount.root + "/b"], check=True)
        mount.sync()
        self.assertLess(mount.status()["space"]["pack_bytes"] - before, 2 << 20)
        fd = os.open(mount.root + "/b", os.O_RDWR)
        os.pwrite(fd, b"changed", 1 << 20)
        os.close(fd)
        self.assertBytes(mount.root + "/a", data)
        self.assertBytes(mount.root + "/b",
                         data[:1 << 20] + b"changed" + data[(1 << 20) + 7:])

    def test_one_changed_byte_stores_little(self):
        mount = self.own_mount()
        write_file(mount.root + "/a", os.urandom(32 << 20))
        mount.sync()
        before = mount.status()["space"]["pack_bytes"]
        fd = os.open(mount.root + "/a", os.O_RDWR)
        os.pwrite(fd, b"!", 20 << 20)
        os.close(fd)
        mount.sync()
        self.assertLess(mount.status()["space"]["pack_bytes"] - before, 4 << 20)


if __name__ == "__main__":
    harness.main()
