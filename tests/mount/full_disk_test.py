"""A full disk: ENOSPC at write, never later; nothing acknowledged is lost; removal works.

The store lies on a small ext4 image, mounted through a loop device in the test's own namespace.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import time
import unittest

import harness
from harness import MountTestCase, needs_root, write_file
from mounts import wait_until

IMAGE_BYTES = 1100 << 20
FILE_BYTES = 8 << 20
OTHERS_BYTES = 200 << 20  # what somebody else has on the disk, and gives back


@needs_root
@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class FullDisk(MountTestCase):
    uses_shared_mount = False
    limit_s = 280

    def setUp(self):
        super().setUp()
        self.mount = self.own_mount(start=False)
        base = os.path.dirname(self.mount.store)
        image, self.disk = base + "/disk.img", base + "/disk"
        os.mkdir(self.disk)
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        for command in (["mkfs.ext4", "-q", "-F", "-m", "0", image],
                        ["mount", "-o", "loop", image, self.disk]):
            if shutil.which(command[0]) is None:
                self.skipTest(f"there is no {command[0]}")
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                self.skipTest(f"{command[0]}: {result.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk])
        os.rmdir(self.mount.store)
        with open(self.disk + "/others", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, OTHERS_BYTES)
        os.mkdir(self.disk + "/store", 0o700)
        os.symlink(self.disk + "/store", self.mount.store)
        self.mount.start()

    def path(self, name):
        return os.path.join(self.mount.root, name)

    def fill(self):
        """Writes files until a write fails; returns what was acknowledged."""
        good = {}
        for i in range(1000):
            name, data = f"f{i:03}", os.urandom(FILE_BYTES)
            try:
                fd = os.open(self.path(name), os.O_CREAT | os.O_WRONLY)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                return good
            done = 0
            try:
                while done < len(data):
                    done += os.write(fd, data[done:done + (1 << 20)])
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
            # Never at close or fsync.
            os.close(fd)
            good[name] = data[:done]
            if done < len(data):
                return good
        self.fail("the disk never became full")

    def check(self, good):
        for name, data in good.items():
            self.assertBytes(self.path(name), data)

    def test_fill_remove_and_go_on(self):
        good = self.fill()
        self.assertGreater(len(good), 10)
        self.check(good)
        names = sorted(good)
        for name in names[::2]:
            os.unlink(self.path(name))
            del good[name]
        # What was removed stays in history, so the disk is as full as before; what was
        # acknowledged is stored once there is room.
        os.unlink(self.disk + "/others")
        self.mount.sync(timeout_s=100)
        harness.drop_caches()
        self.check(good)
        os.rename(self.path(names[1]), self.path("renamed"))
        good["renamed"] = good.pop(names[1])
        self.check(good)
        self.mount.kill_and_remount()
        self.check(good)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.mount.start()
        self.check(good)

    def test_killed_while_full(self):
        good = self.fill()
        self.mount.kill_and_remount()
        self.check(good)
        for name in sorted(good):
            os.unlink(self.path(name))
        self.assertEqual(os.listdir(self.mount.root), [])

    def test_removal_and_collection_give_room_back(self):
        os.setxattr(self.mount.root, "user.varve.keep", b"none")
        empty = self.free_bytes()
        for _ in range(2):
            good = self.fill()
            kept = sorted(good)[::8]
            for name in sorted(good):
                if name not in kept:
                    os.unlink(self.path(name))
            self.mount.command("gc", "--hot", self.mount.root)
            self.mount.sync(timeout_s=100)
            self.mount.command("gc", "--hot", self.mount.root)
            self.check({name: good[name] for name in kept})
            used = sum(len(good[name]) for name in kept)
            # What was open, or being stored, during the collection goes with the next one, which
            # begins by itself on a disk that is nearly full.
            wanted = empty - used - (160 << 20)
            deadline = time.monotonic() + 60
            while self.free_bytes() <= wanted and time.monotonic() < deadline:
                time.sleep(0.5)
                self.mount.command("gc", "--hot", self.mount.root)
            self.assertGreater(self.free_bytes(), wanted, json.dumps(self.mount.status()))
            for name in kept:
                os.unlink(self.path(name))
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)

    def test_a_full_disk_is_collected_by_itself(self):
        os.setxattr(self.mount.root, "user.varve.keep", b"none")
        good = self.fill()
        for name in good:
            os.unlink(self.path(name))
        deadline = time.monotonic() + 100
        while self.free_bytes() < IMAGE_BYTES // 2:
            self.assertLess(time.monotonic(), deadline, "nothing is collected")
            time.sleep(0.5)
        write_file(self.path("new"), os.urandom(FILE_BYTES))

    def test_what_is_pending_is_stored_without_help(self):
        # One file, for which the disk has no room twice, nor has the ballast.
        written = hashlib.sha256()
        done = 0
        with open(self.path("big"), "wb", buffering=0) as file:
            try:
                while True:
                    data = os.urandom(1 << 20)
                    size = file.write(data)
                    written.update(data[:size])
                    done += size
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        self.assertGreater(done, 400 << 20)
        times = os.stat(self.path("big"))
        self.mount.sync(timeout_s=150)
        self.assertEqual(self.mount.status()["pending"]["files"], 0)
        harness.drop_caches()

        def check():
            with open(self.path("big"), "rb") as stored:
                self.assertEqual(hashlib.file_digest(stored, "sha256").digest(), written.digest())
            self.assertEqual(os.stat(self.path("big")).st_size, done)
            self.assertEqual(os.stat(self.path("big")).st_mtime_ns, times.st_mtime_ns)
        check()
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.mount.start()
        check()

    def test_killed_while_what_is_pending_is_stored(self):
        good = {"before": os.urandom(100 << 20), "big": os.urandom(450 << 20)}
        for name, data in good.items():
            write_file(self.path(name), data)
        self.fill()
        for pause_s in (1, 2, 3):
            time.sleep(pause_s)
            self.mount.kill_and_remount()
            self.check(good)
        self.mount.sync(timeout_s=150)
        harness.drop_caches()
        self.check(good)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)

    def write_patiently(self, name, data):
        """As a program that tries again on a full disk; how often it had to."""
        deadline = time.monotonic() + 60
        for attempt in range(1000):
            try:
                write_file(self.path(name), data)
                return attempt
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                self.assertLess(time.monotonic(), deadline, json.dumps(self.mount.status()))
                time.sleep(0.5)
        return 1000

    def versions(self, name):
        return sorted(int(number) for number in os.listdir(self.path(f".varve/versions/{name}"))
                      if number != "latest")

    def take(self, size):
        """What somebody else has on the disk besides."""
        with open(self.disk + "/more", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def in_one_mode(self):
        if harness.mode() != "root":
            self.skipTest("takes long, and is the same in every mode: it ran in the mode root")

    def test_history_makes_room(self):
        self.in_one_mode()
        self.take(560 << 20)
        os.mkdir(self.path("run"))
        first, other = os.urandom(12 << 20), os.urandom(8 << 20)
        write_file(self.path("run/model"), first)
        write_file(self.path("other"), other)
        os.mkdir(self.path("run/.varve/history/pin"))
        saved = {}
        for i in range(25):  # more than the disk holds
            data = os.urandom(12 << 20)
            self.write_patiently("model", data)
            self.mount.sync(timeout_s=100)
            saved = dict(list(saved.items())[-1:])
            saved[self.versions("model")[-1]] = data
        self.assertBytes(self.path("model"), data)
        numbers = self.versions("model")
        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)), "only the oldest went")
        self.assertGreater(numbers[0], 1)
        self.assertGreater(len(numbers), 5, "and not more than needed")
        for number, data in saved.items():
            self.assertBytes(self.path(f".varve/versions/model/{number:04}"), data)
        self.assertBytes(self.path("run/.varve/history/pin/model"), first)
        self.assertBytes(self.path("other"), other)
        collection = self.mount.status()["collection"]
        self.assertEqual(collection["on_full"], "history")
        # A run counts what it dropped when it has come to its end.
        wait_until(lambda: self.mount.status()["collection"]["versions_for_room"] >= numbers[0] - 1,
                   60, f"that {numbers[0] - 1} versions count as dropped")
        with open(self.mount.store + "/varve.log", encoding="utf-8") as log:
            self.assertIn("little room is left on the disk", log.read())
        self.assertIn("makes room", self.mount.command("status", self.mount.root)[1])
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)

    def test_history_stays_when_it_is_to(self):
        self.in_one_mode()
        self.take(600 << 20)
        self.mount.remount("on_full=fail")
        count = 0
        with self.assertRaises(OSError) as raised:
            for count in range(100):
                write_file(self.path("model"), os.urandom(32 << 20))
                self.mount.sync(timeout_s=100)
        self.assertEqual(raised.exception.errno, errno.ENOSPC)
        finished = time.monotonic() + 8  # of several collections
        while time.monotonic() < finished:
            time.sleep(0.5)
            self.assertEqual(self.versions("model")[:count], list(range(1, count + 1)))
        self.mount.command("gc", self.mount.root)
        self.assertEqual(self.versions("model")[:count], list(range(1, count + 1)))
        collection = self.mount.status()["collection"]
        self.assertEqual((collection["on_full"], collection["versions_for_room"]), ("fail", 0))

    def free_bytes(self):
        """What the mount says is free: what is free on the disk at this moment."""
        def free(path):
            space = os.statvfs(path)
            return space.f_bavail * space.f_frsize
        for _ in range(200):
            before, shown, after = free(self.disk), free(self.mount.root), free(self.disk)
            if before == after == shown:
                return shown
            time.sleep(0.05)
        self.fail(f"{shown} bytes are free, and the disk has {before} to {after}")

    def test_statfs_tells_what_is_free(self):
        before = self.free_bytes()
        write_file(self.path("a"), os.urandom(64 << 20))
        self.mount.sync()
        self.assertLess(self.free_bytes(), before - (40 << 20))
        self.fill()
        self.free_bytes()


if __name__ == "__main__":
    harness.main(modes=("root", "no_passthrough"))
