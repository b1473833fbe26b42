"""Directory history: what is captured when, and that a captured tree reads as it was."""

import errno
import json
import os
import random
import shutil
import stat
import subprocess
import time

import checkpoint_writers as writers
import harness
from harness import MountTestCase, needs_root, read_file, write_file
from mounts import wait_until
from processes import as_user
from syscalls import RENAME_EXCHANGE, renameat2

QUIET_S = 1


class HistoryTestCase(MountTestCase):
    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory keeps no history")
        super().setUp()

    def history(self, directory, *names):
        return os.path.join(directory, ".varve", "history", *names)

    def versions(self, directory):
        """The numbers of a directory's versions, as listed."""
        listed = os.listdir(self.history(directory))
        return sorted(int(name[1:]) for name in listed if name[0] == "v" and name[1:].isdigit())

    def pin(self, directory, name):
        os.mkdir(self.history(directory, name))
        return self.history(directory, name)

    def wait_for_version(self, directory, number):
        wait_until(lambda: number in self.versions(directory), 15, f"v{number} of {directory}")

    def assertSameTree(self, frozen, copy):
        """By content, type, mode, times, links and attributes."""
        done = subprocess.run(["diff", "-r", "--no-dereference", frozen, copy],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        found, expected = self.describe(frozen), self.describe(copy)
        self.assertEqual(found.keys(), expected.keys())
        for path, facts in expected.items():
            self.assertEqual(found[path], facts, path)

    def describe(self, top):
        found = {}
        groups = {}
        for path, directories, files in os.walk(top):
            for name in [".", *directories, *files]:
                full = os.path.join(path, name)
                info = os.lstat(full)
                key = os.path.relpath(full, top)
                found[key] = [stat.filemode(info.st_mode), info.st_uid, info.st_gid,
                              info.st_mtime_ns if name != "." or path != top else 0,
                              info.st_size if not stat.S_ISDIR(info.st_mode) else 0]
                if not stat.S_ISLNK(info.st_mode):
                    found[key] += [(attribute, os.getxattr(full, attribute))
                                   for attribute in sorted(os.listxattr(full))]
                if stat.S_ISREG(info.st_mode):
                    found[key].append(info.st_nlink)
                    groups.setdefault(info.st_ino, []).append(key)
        found["links"] = sorted(sorted(names) for names in groups.values() if len(names) > 1)
        return found

    def copy_of(self, directory, name):
        copy = os.path.join(self.outside, name)
        subprocess.run(["cp", "-a", "--no-dereference", directory, copy], check=True)
        return copy

    @property
    def outside(self):
        """A directory on the machine's own disk."""
        path = os.path.join(os.path.dirname(harness.shared_mount().store), "outside")
        os.makedirs(path, exist_ok=True)
        return path

    def grow_tree(self, top, rng, files=40):
        os.makedirs(top, exist_ok=True)
        directories = [top]
        for i in range(6):
            path = os.path.join(rng.choice(directories), f"d{i}")
            os.makedirs(path, exist_ok=True)
            directories.append(path)
        for i in range(files):
            path = os.path.join(rng.choice(directories), f"f{i}")
            if os.path.lexists(path):
                continue
            write_file(path, rng.randbytes(rng.choice([0, 10, 5000, 300000])))
            os.chmod(path, rng.choice([0o644, 0o600, 0o755]))
            if rng.random() < 0.3:
                os.setxattr(path, "user.step", b"%d" % i)
            if rng.random() < 0.2:
                os.link(path, os.path.join(rng.choice(directories), f"link{i}"))
            if rng.random() < 0.2:
                os.symlink(f"../f{i}", os.path.join(rng.choice(directories), f"sym{i}"))

    def change_tree(self, top, rng, changes=15):
        everything = [os.path.join(path, name) for path, directories, files in os.walk(top)
                      for name in directories + files]
        for path in rng.sample(everything, min(changes, len(everything))):
            if not os.path.lexists(path):
                continue
            choice = rng.randrange(6)
            if os.path.isdir(path) and not os.path.islink(path):
                if choice == 0:
                    shutil.rmtree(path)
                elif choice == 1:
                    os.rename(path, path + "x")
                else:
                    write_file(os.path.join(path, f"new{rng.randrange(1000)}"), rng.randbytes(100))
            elif os.path.islink(path) or choice == 0:
                os.remove(path)
            elif choice == 1:
                write_file(path, rng.randbytes(2000))
            elif choice == 2:
                with open(path, "ab") as file:
                    file.write(b"more")
            elif choice == 3:
                write_file(path + ".tmp", rng.randbytes(500))
                os.rename(path + ".tmp", path)
            elif choice == 4:
                os.setxattr(path, "user.changed", rng.randbytes(5))
            else:
                os.chmod(path, 0o640)


class Pins(HistoryTestCase):
    def test_a_pin_shows_the_tree_as_it_was(self):
        rng = random.Random(harness.seed())
        top = self.path("run")
        self.grow_tree(top, rng)
        copies = []
        for step in range(harness.scaled(6)):
            frozen = self.pin(top, f"step-{step}")
            copies.append((frozen, self.copy_of(top, f"{os.path.basename(self.dir)}-{step}")))
            self.change_tree(top, rng)
        for frozen, copy in copies:
            self.assertSameTree(frozen, copy)
        harness.shared_mount().sync()
        harness.drop_caches()
        for frozen, copy in copies:
            self.assertSameTree(frozen, copy)

    def test_across_kills_and_a_rebuilt_index(self):
        rng = random.Random(harness.seed() + 2)
        mount = self.own_mount()
        top = mount.root + "/run"
        self.grow_tree(top, rng)
        pins = []
        for step in range(harness.scaled(5)):
            frozen = self.pin(top, f"step-{step}")
            pins.append((frozen, self.copy_of(top, f"{os.path.basename(self.dir)}-kill-{step}")))
            self.change_tree(top, rng)
            if rng.random() < 0.6:
                mount.kill_and_remount()
            self.change_tree(top, rng)
        for frozen, copy in pins:
            self.assertSameTree(frozen, copy)
        mount.stop()
        status, output = mount.fsck()
        self.assertEqual(status, 0, output)
        mount.command("fsck", "--rebuild-index", mount.store)
        mount.start()
        for frozen, copy in pins:
            self.assertSameTree(frozen, copy)

    def test_tools_copy_out_of_history(self):
        rng = random.Random(harness.seed() + 1)
        top = self.path("run")
        self.grow_tree(top, rng)
        frozen = self.pin(top, "here")
        before = self.copy_of(top, os.path.basename(self.dir) + "-before")
        shutil.rmtree(top)
        os.mkdir(top)  # the name's history goes on
        subprocess.run(["cp", "-a", frozen, self.path("copied")], check=True)
        self.assertSameTree(self.path("copied"), before)
        if shutil.which("rsync"):
            subprocess.run(["rsync", "-aHX", "--modify-window=-1", frozen + "/", self.path("synced")], check=True)
            self.assertSameTree(self.path("synced"), before)
        subprocess.run(["tar", "-cf", self.path("all.tar"), "-C", frozen, "."], check=True)
        os.mkdir(self.path("untarred"))
        subprocess.run(["tar", "-xf", self.path("all.tar"), "-C", self.path("untarred")], check=True)
        done = subprocess.run(["diff", "-r", "--no-dereference", self.path("untarred"), before],
                              check=False)
        self.assertEqual(done.returncode, 0)

    def test_names_and_numbers(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(os.path.join(top, "f"), b"one")
        self.pin(top, "first")
        self.assertErrno(errno.EEXIST, os.mkdir, self.history(top, "first"))
        for name in ("v7", "latest", ".varve"):
            with self.assertRaises(OSError):
                os.mkdir(self.history(top, name))
        self.assertEqual(self.versions(top), [1])
        write_file(os.path.join(top, "f"), b"two")
        self.pin(top, "second")
        self.assertEqual(sorted(os.listdir(self.history(top))),
                         ["first", "latest", "second", "v1", "v2"])
        self.assertEqual(os.readlink(self.history(top, "latest")), "v2")
        for name, data in (("first", b"one"), ("v1", b"one"), ("second", b"two"),
                           ("latest", b"two")):
            self.assertEqual(read_file(self.history(top, name, "f")), data)
        os.rmdir(self.history(top, "first"))
        self.assertErrno(errno.ENOENT, os.stat, self.history(top, "first"))
        self.assertErrno(errno.ENOENT, os.rmdir, self.history(top, "first"))
        self.assertErrno(errno.ENOENT, os.stat, self.history(top, "v3"))
        # The version itself stays.
        self.assertEqual(read_file(self.history(top, "v1", "f")), b"one")
        self.assertErrno(errno.EPERM, os.rmdir, self.history(top, "v1"))
        write_file(os.path.join(top, "f"), b"three")
        self.pin(top, "first")
        self.assertEqual(read_file(self.history(top, "first", "f")), b"three")

    def test_nothing_of_it_can_be_changed(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(os.path.join(top, "f"), b"data")
        frozen = self.pin(top, "p")
        path = os.path.join(frozen, "f")
        for change in (lambda: open(path, "r+b"), lambda: os.truncate(path, 0),
                       lambda: os.chmod(path, 0o600), lambda: os.remove(path),
                       lambda: os.rename(path, path + "2"), lambda: os.mkdir(frozen + "/d"),
                       lambda: open(frozen + "/new", "wb"), lambda: os.symlink("x", frozen + "/s"),
                       lambda: os.setxattr(path, "user.a", b"1"), lambda: os.link(path, frozen + "/l"),
                       lambda: os.rmdir(frozen + "/nothing")):
            with self.assertRaises(OSError) as caught:
                change()
            self.assertIn(caught.exception.errno,
                          (errno.EROFS, errno.EACCES, errno.ENOENT, errno.EPERM))
        self.assertEqual(read_file(path), b"data")

    def test_inodes_are_their_own(self):
        # Else tools would take the captured file for the live one and not compare.
        top = self.path("run")
        os.mkdir(top)
        write_file(os.path.join(top, "f"), b"data")
        first = self.pin(top, "a")
        second = self.pin(top, "b")
        inodes = {os.stat(os.path.join(d, "f")).st_ino for d in (top, first, second)}
        self.assertEqual(len(inodes), 3)
        self.assertEqual(os.stat(first + "/f").st_ino, os.stat(first + "/f").st_ino)

    def test_the_mount_point_has_history(self):
        mount = self.own_mount()
        write_file(mount.root + "/f", b"one")
        os.mkdir(mount.root + "/.varve/history/now")
        write_file(mount.root + "/f", b"two")
        mount.remount()
        self.assertEqual(read_file(mount.root + "/.varve/history/now/f"), b"one")
        mount.kill_and_remount()
        self.assertEqual(read_file(mount.root + "/.varve/history/now/f"), b"one")
        mount.stop()
        status, output = mount.fsck()
        self.assertEqual(status, 0, output)

    def test_a_log_that_goes_on_after_a_capture(self):
        top = self.path("run")
        os.mkdir(top)
        log = os.path.join(top, "train.log")
        expected = []
        for step in range(5):
            with open(log, "ab") as file:
                file.write(b"step %d\n" % step)
            expected.append((self.pin(top, f"p{step}"), read_file(log)))
        for frozen, data in expected:
            self.assertEqual(read_file(os.path.join(frozen, "train.log")), data)
        harness.shared_mount().sync()
        for frozen, data in expected:
            self.assertEqual(read_file(os.path.join(frozen, "train.log")), data)

    def test_a_file_that_is_being_written_is_what_it_was(self):
        top = self.path("run")
        os.mkdir(top)
        path = os.path.join(top, "model.pt")
        write_file(path, b"old" * 100000)
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"new" * 1000)
        fresh = os.open(os.path.join(top, "fresh"), os.O_CREAT | os.O_WRONLY)
        os.write(fresh, b"x")
        frozen = self.pin(top, "p")
        os.write(fd, b"new" * 1000)
        again = self.pin(top, "q")
        # Who renames or seals by mode does not wait for a copy: as its last close left it.
        os.chmod(top, 0o555)
        closed = self.history(top, "latest")
        os.chmod(top, 0o755)
        os.pwrite(fd, b"NEW" * 1000, 0)
        os.close(fd)
        os.close(fresh)
        self.assertSameBytes(read_file(os.path.join(frozen, "model.pt")), b"new" * 1000)
        self.assertSameBytes(read_file(os.path.join(again, "model.pt")), b"new" * 2000)
        self.assertSameBytes(read_file(os.path.join(closed, "model.pt")), b"old" * 100000)
        self.assertEqual(read_file(os.path.join(frozen, "fresh")), b"x")
        self.assertEqual(read_file(os.path.join(closed, "fresh")), b"")
        self.assertSameBytes(read_file(path), b"NEW" * 1000 + b"new" * 1000)

    def test_a_file_whose_descriptor_was_duplicated_goes_on(self):
        # A close of a duplicate captures the file; its writer goes on in place.
        top = self.path("run")
        os.mkdir(top)
        fd = os.open(os.path.join(top, "log"), os.O_CREAT | os.O_RDWR)
        os.write(fd, b"one")
        os.close(os.dup(fd))
        first = self.pin(top, "first")
        os.pwrite(fd, b"two", 0)
        os.close(os.dup(fd))
        second = self.pin(top, "second")
        os.pwrite(fd, b"three", 0)
        os.close(fd)
        for frozen, data in ((first, b"one"), (second, b"two")):
            self.assertEqual(read_file(os.path.join(frozen, "log")), data)


@needs_root
class Permissions(HistoryTestCase):
    def test_then_and_now(self):
        top = self.path("run")
        os.mkdir(top)
        os.chmod(top, 0o755)
        os.mkdir(top + "/sub")
        for name, mode in (("open", 0o644), ("closed", 0o600)):
            write_file(f"{top}/sub/{name}", b"data")
            os.chown(f"{top}/sub/{name}", 4201, 4201)
            os.chmod(f"{top}/sub/{name}", mode)
        frozen = self.pin(top, "p")
        self.assertEqual(as_user(4202, read_file, frozen + "/sub/open"), b"data")
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, frozen + "/sub/closed")
        # What is opened later does not open what was closed, and the other way round.
        os.chmod(top + "/sub/closed", 0o644)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, frozen + "/sub/closed")
        os.chmod(top + "/sub/open", 0o600)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, frozen + "/sub/open")
        self.assertEqual(as_user(4201, read_file, frozen + "/sub/open"), b"data")
        os.chmod(top + "/sub/open", 0o644)
        self.assertEqual(as_user(4202, read_file, frozen + "/sub/open"), b"data")
        os.chmod(top + "/sub", 0o700)
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, frozen + "/sub/open")
        os.chmod(top + "/sub", 0o755)
        # What is gone opens for its owner and root.
        os.remove(top + "/sub/open")
        self.assertErrno(errno.EACCES, as_user, 4202, read_file, frozen + "/sub/open")
        self.assertEqual(as_user(4201, read_file, frozen + "/sub/open"), b"data")

    def test_who_may_pin(self):
        top = self.path("run")
        os.mkdir(top)
        os.chmod(top, 0o755)
        os.chown(top, 4201, 4201)
        self.assertErrno(errno.EACCES, as_user, 4202, os.mkdir, self.history(top, "p"))
        as_user(4201, os.mkdir, self.history(top, "p"))
        self.assertErrno(errno.EACCES, as_user, 4202, os.rmdir, self.history(top, "p"))
        as_user(4201, os.rmdir, self.history(top, "p"))


class Quiet(HistoryTestCase):
    def setUp(self):
        super().setUp()
        self.mount = self.own_mount(
            "quiet", options=[*harness.default_options(), f"quiet={QUIET_S}"])
        self.dir = self.mount.root

    def test_captured_when_quiet_and_then_no_more(self):
        top = self.path("run")
        os.makedirs(top + "/checkpoint-1")
        write_file(top + "/checkpoint-1/model.pt", b"one")
        self.wait_for_version(top, 1)
        self.wait_for_version(top + "/checkpoint-1", 1)
        self.wait_for_version(self.dir, 1)
        self.assertEqual(read_file(self.history(top, "v1", "checkpoint-1/model.pt")), b"one")
        time.sleep(3 * QUIET_S)
        self.assertEqual(self.versions(top), [1])
        write_file(top + "/other", b"two")
        self.wait_for_version(top, 2)
        # What did not change has no new version.
        self.assertEqual(self.versions(top + "/checkpoint-1"), [1])
        self.assertFalse(os.path.exists(self.history(top, "v1", "other")))
        self.assertEqual(read_file(self.history(top, "v2", "other")), b"two")

    def test_not_while_it_changes(self):
        top = self.path("busy")
        os.mkdir(top)
        deadline = time.monotonic() + 4 * QUIET_S
        count = 0
        with open(top + "/log", "wb", buffering=0) as log:
            while time.monotonic() < deadline:
                # Half of the time only an open file grows, which the kernel may pass through.
                log.write(b"line\n")
                if time.monotonic() < deadline - 2 * QUIET_S:
                    write_file(f"{top}/f{count % 7}", b"x")
                count += 1
                time.sleep(0.05)
            self.assertEqual(self.versions(top), [])
        self.wait_for_version(top, 1)

    def test_a_property_makes_no_version(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(top + "/f", b"x")
        self.wait_for_version(top, 1)
        os.setxattr(top + "/f", "user.loss", b"1.5")
        os.setxattr(top, "user.loss", b"1.5")
        time.sleep(3 * QUIET_S)
        self.assertEqual(self.versions(top), [1])

    def test_what_changed_before_a_crash_is_captured_after_it(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(top + "/f", b"x")
        self.mount.kill_and_remount()
        self.wait_for_version(top, 1)
        self.assertEqual(read_file(self.history(top, "v1", "f")), b"x")

    def test_umount_captures(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(top + "/f", b"x")
        self.mount.remount()
        self.assertEqual(self.versions(top), [1])
        self.mount.stop()
        status, output = self.mount.fsck()
        self.assertEqual(status, 0, output)
        self.mount.start()


class Seals(HistoryTestCase):
    def setUp(self):
        super().setUp()
        self.top = self.path("run")
        os.makedirs(self.top + "/sub")
        write_file(self.top + "/sub/f", b"data")
        write_file(self.path("outside"), b"x")

    def seal(self):
        os.setxattr(self.top, "user.varve.seal", b"1")
        self.addCleanup(self.unseal)

    def unseal(self):
        try:
            os.removexattr(self.top, "user.varve.seal")
        except OSError:
            pass

    def test_nothing_below_changes(self):
        os.link(self.top + "/sub/f", self.path("linked"))
        self.seal()
        self.assertEqual(os.getxattr(self.top, "user.varve.seal"), b"1")
        path = self.top + "/sub/f"
        for change in (lambda: write_file(path, b"y"), lambda: os.truncate(path, 0),
                       lambda: open(path, "r+b"), lambda: os.chmod(path, 0o600),
                       lambda: os.utime(path), lambda: os.remove(path),
                       lambda: os.setxattr(path, "user.a", b"1"),
                       lambda: write_file(self.top + "/new", b""),
                       lambda: os.mkdir(self.top + "/sub/d"), lambda: os.rmdir(self.top + "/sub"),
                       lambda: os.symlink("x", self.top + "/s"),
                       lambda: os.link(self.path("outside"), self.top + "/l"),
                       lambda: os.link(path, self.path("second")),
                       lambda: os.rename(path, self.path("stolen")),
                       lambda: os.rename(self.path("outside"), self.top + "/in"),
                       lambda: write_file(self.path("linked"), b"by another name"),
                       lambda: os.chmod(self.top, 0o700), lambda: shutil.rmtree(self.top)):
            self.assertErrno(errno.EPERM, change)
        self.assertEqual(read_file(path), b"data")
        self.unseal()
        write_file(path, b"again")
        self.assertErrno(errno.ENODATA, os.getxattr, self.top, "user.varve.seal")

    def test_it_may_be_moved_read_and_removed_when_empty(self):
        self.seal()
        self.pin(self.top, "p")
        os.rename(self.top, self.path("elsewhere"))
        self.assertErrno(errno.EPERM, write_file, self.path("elsewhere/sub/f"), b"y")
        os.removexattr(self.path("elsewhere"), "user.varve.seal")
        os.mkdir(self.path("empty"))
        os.setxattr(self.path("empty"), "user.varve.seal", b"1")
        os.rmdir(self.path("empty"))
        os.mkdir(self.path("empty"))
        write_file(self.path("empty/f"), b"")

    def test_not_while_somebody_writes(self):
        with open(self.top + "/sub/f", "r+b"):
            self.assertErrno(errno.EBUSY, os.setxattr, self.top, "user.varve.seal", b"1")
        self.assertErrno(errno.ENOTDIR, os.setxattr, self.top + "/sub/f", "user.varve.seal", b"1")
        self.assertErrno(errno.EINVAL, os.setxattr, self.top, "user.varve.seal", b"yes")

    def test_it_survives_a_crash(self):
        mount = self.own_mount()
        os.mkdir(mount.root + "/run")
        os.setxattr(mount.root + "/run", "user.varve.seal", b"1")
        mount.kill_and_remount()
        self.assertErrno(errno.EPERM, write_file, mount.root + "/run/f", b"x")


class Complete(HistoryTestCase):
    def complete(self, path):
        return os.getxattr(path, "user.varve.complete")

    def test_a_sharded_set(self):
        top = self.path("run/checkpoint")
        os.makedirs(top)
        index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        write_file(top + "/model.safetensors.index.json", json.dumps(index).encode())
        write_file(top + "/model-1.safetensors", writers.safetensors_bytes(writers.tensors_of(1)))
        half = self.pin(top, "half")
        self.assertEqual(self.complete(half), b"0")
        self.assertIn(b"model-2.safetensors", os.getxattr(half, "user.varve.incomplete"))
        self.assertFalse(os.path.lexists(self.path("run/.varve/latest")))
        write_file(top + "/model-2.safetensors", writers.safetensors_bytes(writers.tensors_of(2)))
        whole = self.pin(top, "whole")
        self.assertEqual(self.complete(whole), b"1")
        self.assertEqual(self.complete(top), b"1")
        self.assertEqual(self.complete(half), b"0")
        self.assertEqual(os.readlink(self.path("run/.varve/latest")), "../checkpoint")

    def test_a_distributed_checkpoint(self):
        top = self.path("run/checkpoint")
        os.makedirs(top)
        write_file(top + "/__0_0.distcp", b"shard")
        half = self.pin(top, "half")
        write_file(top + "/.metadata", b"names")
        whole = self.pin(top, "whole")
        self.assertEqual((self.complete(half), self.complete(whole)), (b"0", b"1"))
        self.assertEqual(os.readlink(self.path("run/.varve/latest")), "../checkpoint")

    def test_a_plain_directory_does_not_say(self):
        os.mkdir(self.path("plain"))
        write_file(self.path("plain/notes"), b"text")
        self.assertErrno(errno.ENODATA, self.complete, self.path("plain"))
        self.assertErrno(errno.ENODATA, self.complete, self.pin(self.path("plain"), "p"))


class Moves(HistoryTestCase):
    def make_versions(self, top, contents):
        os.makedirs(top, exist_ok=True)
        for data in contents:
            write_file(top + "/f", data)
            name = "p" + data.decode()
            os.mkdir(self.history(top, name))

    def read_all(self, top):
        return [read_file(self.history(top, f"v{number}", "f")) for number in self.versions(top)]

    def test_renamed_into_place_is_captured_at_once(self):
        os.mkdir(self.path("tmp"))
        write_file(self.path("tmp/f"), b"x")
        os.rename(self.path("tmp"), self.path("checkpoint"))
        top = self.path("checkpoint")
        self.assertGreaterEqual(len(self.versions(top)), 1)
        self.assertEqual(read_file(self.history(top, "latest", "f")), b"x")

    def test_made_read_only_is_captured_at_once(self):
        top = self.path("run")
        os.mkdir(top)
        write_file(top + "/f", b"x")
        before = len(self.versions(top))
        os.chmod(top, 0o555)
        self.assertEqual(len(self.versions(top)), before + 1)
        os.chmod(top, 0o755)
        self.assertEqual(len(self.versions(top)), before + 1)

    def test_history_goes_along(self):
        self.make_versions(self.path("run1"), [b"1", b"2", b"3"])
        os.rename(self.path("run1"), self.path("run2"))
        self.assertEqual(self.read_all(self.path("run2"))[:3], [b"1", b"2", b"3"])
        os.mkdir(self.path("run1"))
        self.assertEqual(self.versions(self.path("run1")), [])
        os.mkdir(self.path("deep"))
        os.rename(self.path("run2"), self.path("deep/run3"))
        self.assertEqual(self.read_all(self.path("deep/run3"))[:3], [b"1", b"2", b"3"])
        self.assertEqual(read_file(self.history(self.path("deep/run3"), "p2", "f")), b"2")

    def test_it_is_appended_to_what_the_name_had(self):
        self.make_versions(self.path("run2"), [b"a", b"b"])
        shutil.rmtree(self.path("run2"))
        self.make_versions(self.path("run1"), [b"1", b"2"])
        os.rename(self.path("run1"), self.path("run2"))
        top = self.path("run2")
        found = self.read_all(top)
        self.assertEqual(found[:4], [b"a", b"b", b"1", b"2"])
        for pin in (b"a", b"b", b"1", b"2"):
            self.assertEqual(read_file(self.history(top, "p" + pin.decode(), "f")), pin)
        # And so it is for the files in it.
        versions = top + "/.varve/versions/f"
        numbers = sorted(name for name in os.listdir(versions) if name != "latest")
        self.assertEqual([read_file(f"{versions}/{n}") for n in numbers],
                         [b"a", b"b", b"1", b"2"])

    def test_over_an_empty_directory(self):
        self.make_versions(self.path("run2"), [b"a"])
        os.remove(self.path("run2/f"))
        self.make_versions(self.path("run1"), [b"1"])
        os.rename(self.path("run1"), self.path("run2"))
        top = self.path("run2")
        self.assertEqual(read_file(self.history(top, "pa", "f")), b"a")
        self.assertEqual(read_file(self.history(top, "p1", "f")), b"1")
        self.assertEqual(read_file(self.history(top, "latest", "f")), b"1")

    def test_subdirectories_continue_what_was_removed(self):
        self.make_versions(self.path("run2/sub"), [b"a"])
        shutil.rmtree(self.path("run2"))
        self.make_versions(self.path("run1/sub"), [b"1"])
        os.rename(self.path("run1"), self.path("run2"))
        top = self.path("run2/sub")
        self.assertEqual(read_file(self.history(top, "pa", "f")), b"a")
        self.assertEqual(read_file(self.history(top, "p1", "f")), b"1")
        versions = top + "/.varve/versions/f"
        self.assertEqual(read_file(versions + "/0001"), b"a")
        self.assertEqual(read_file(versions + "/0002"), b"1")

    def test_removed_and_made_again(self):
        self.make_versions(self.path("run"), [b"1", b"2"])
        shutil.rmtree(self.path("run"))
        os.mkdir(self.path("run"))
        top = self.path("run")
        found = self.read_all_present(top)
        self.assertEqual(found[:2], [b"1", b"2"])
        before = self.versions(top)[-1]
        self.pin(top, "again")
        self.assertGreater(self.versions(top)[-1], before)

    def read_all_present(self, top):
        paths = [self.history(top, f"v{number}", "f") for number in self.versions(top)]
        return [read_file(path) for path in paths if os.path.exists(path)]

    def test_exchange_gives_each_a_new_version(self):
        self.make_versions(self.path("a"), [b"1"])
        self.make_versions(self.path("b"), [b"2"])
        renameat2(self.path("a"), self.path("b"), RENAME_EXCHANGE)
        for name, first, last in (("a", b"1", b"2"), ("b", b"2", b"1")):
            found = self.read_all(self.path(name))
            self.assertEqual((found[0], found[-1]), (first, last))
        self.assertEqual(read_file(self.history(self.path("a"), "p1", "f")), b"1")


if __name__ == "__main__":
    harness.main()
