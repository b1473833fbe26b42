"""Copies inside the mount: cp and copy_file_range of what is stored move no data, and are copies."""

import os
import shutil
import subprocess
import unittest

import harness
from harness import MountTestCase, read_file, write_file

LARGE = 16 << 20


def cp(*args):
    subprocess.run(["cp", *args], stdin=subprocess.DEVNULL, check=True, timeout=100)


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Copies(MountTestCase):
    def setUp(self):
        super().setUp()
        self.large = os.urandom(LARGE)
        write_file(self.path("large"), self.large)
        write_file(self.path("small"), b"a small file")
        self.mount.sync()

    def moved_bytes(self):
        """What the store has read, written and staged since it was mounted."""
        status = self.mount.status()
        return (status["counters"]["read_bytes"] + status["counters"]["new_bytes"]
                + status["space"]["stage_bytes"])

    def assert_moves_nothing(self, action):
        before = self.moved_bytes()
        action()
        self.mount.sync()
        self.assertLess(self.moved_bytes() - before, 1 << 20)

    def test_cp_moves_nothing(self):
        self.assert_moves_nothing(lambda: cp(self.path("large"), self.path("copy")))
        self.assertBytes(self.path("copy"), self.large)
        self.assertEqual(os.stat(self.path("copy")).st_size, LARGE)

    def test_cp_of_a_tree(self):
        os.makedirs(self.path("tree/deep"))
        for i in range(4):
            write_file(self.path(f"tree/deep/{i}"), self.large[i << 20:(i + 8) << 20])
        write_file(self.path("tree/empty"), b"")
        os.symlink("deep/0", self.path("tree/link"))
        os.setxattr(self.path("tree/deep/1"), "user.loss", b"0.5")
        self.mount.sync()
        for options, name in (("-r", "second"), ("-a", "third")):
            self.assert_moves_nothing(lambda: cp(options, self.path("tree"), self.path(name)))
            subprocess.run(["diff", "-r", self.path("tree"), self.path(name)], check=True)
        self.assertEqual(os.getxattr(self.path("third/deep/1"), "user.loss"), b"0.5")
        self.assertEqual(os.stat(self.path("third/deep/1")).st_mtime_ns,
                         os.stat(self.path("tree/deep/1")).st_mtime_ns)

    def test_a_cold_one_and_copies_of_copies(self):
        mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        top = mount.root
        write_file(top + "/0", self.large)
        mount.sync()
        for i in range(3):
            cp(f"{top}/{i}", f"{top}/{i + 1}")  # the copy of one that may be pending still
        mount.sync()
        mount.kill_and_remount()
        os.unlink(top + "/0")
        for i in range(1, 4):
            self.assertBytes(f"{top}/{i}", self.large)

    def test_each_goes_its_own_way(self):
        cp(self.path("large"), self.path("copy"))
        with open(self.path("copy"), "r+b") as file:
            file.seek(1 << 20)
            file.write(b"changed")
        changed = bytearray(self.large)
        changed[1 << 20:(1 << 20) + 7] = b"changed"
        self.assertBytes(self.path("copy"), bytes(changed))
        self.assertBytes(self.path("large"), self.large)
        with open(self.path("large"), "r+b") as file:
            file.write(b"other")
        self.assertBytes(self.path("copy"), bytes(changed))
        self.mount.sync()
        harness.drop_caches()
        self.assertBytes(self.path("copy"), bytes(changed))
        self.assertBytes(self.path("large"), b"other" + self.large[5:])

    def copy_range(self, size, offset=0, then=None):
        """copy_file_range into a new file, as cp opens it; returns what was copied."""
        source = self.open(self.path("large"), os.O_RDONLY)
        copy = self.open(self.path("copy"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        done = 0
        while done < size:
            got = os.copy_file_range(source, copy, size - done, offset + done, offset + done)
            if got == 0:
                break
            done += got
        if then:
            then(copy)
        os.close(copy)
        os.close(source)
        return done

    def test_what_is_written_behind_the_copy(self):
        def then(fd):
            self.assertBytes(self.path("copy"), self.large)  # it is open still
            os.pwrite(fd, b"more", LARGE)
            os.pwrite(fd, b"over", 100)
            os.ftruncate(fd, LARGE + 2)
        self.assertEqual(self.copy_range(LARGE + 1, then=then), LARGE)
        expected = bytearray(self.large + b"mo")
        expected[100:104] = b"over"
        self.assertBytes(self.path("copy"), bytes(expected))
        self.mount.sync()
        harness.drop_caches()
        self.assertBytes(self.path("copy"), bytes(expected))

    def test_parts(self):
        self.assertEqual(self.copy_range(5 << 20), 5 << 20)
        self.assertBytes(self.path("copy"), self.large[:5 << 20])
        os.unlink(self.path("copy"))
        self.assertEqual(self.copy_range(LARGE, offset=1 << 20), LARGE - (1 << 20))
        self.assertBytes(self.path("copy"), bytes(1 << 20) + self.large[1 << 20:])

    def test_a_copy_that_is_truncated(self):
        self.assertEqual(self.copy_range(LARGE, then=lambda fd: os.ftruncate(fd, 1000)), LARGE)
        os.truncate(self.path("copy"), 3000)
        self.assertBytes(self.path("copy"), self.large[:1000] + bytes(2000))

    def test_an_existing_one_is_replaced(self):
        write_file(self.path("copy"), b"before")
        cp(self.path("large"), self.path("copy"))
        self.assertBytes(self.path("copy"), self.large)
        self.assertEqual(read_file(self.path(".varve/versions/copy/0001")), b"before")

    def test_it_survives_the_daemon(self):
        mount = self.own_mount()
        write_file(mount.root + "/large", self.large)
        mount.sync()
        cp(mount.root + "/large", mount.root + "/copy")
        shutil.copystat(mount.root + "/large", mount.root + "/copy")
        mount.kill_and_remount()
        self.assertBytes(mount.root + "/copy", self.large)
        mount.stop()
        code, text = mount.fsck()
        self.assertEqual(code, 0, text)


if __name__ == "__main__":
    harness.main()
