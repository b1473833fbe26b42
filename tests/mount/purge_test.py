"""varve purge: a file's content leaves all history and the store's files, and nothing else does."""

import errno
import json
import os
import random
import shutil
import subprocess
import time
import unittest

import harness
from harness import MountTestCase, read_file, write_file

MIB = 1 << 20


@unittest.skipIf(harness.NATIVE, "a plain directory has no history")
class Purge(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        super().setUp()
        self.mount = self.own_mount()
        self.top = self.mount.root
        self.random = random.Random(harness.seed())
        self.secret = self.random.randbytes(3 * MIB)
        self.other = self.random.randbytes(2 * MIB)

    def at(self, name):
        return os.path.join(self.top, name)

    def save(self, name, data):
        write_file(self.at(name), data)
        self.mount.sync()

    def purge(self, name, *options, code=0):
        got, text = self.mount.command("purge", "--json", *options, self.at(name), check=False)
        self.assertEqual(got, code, text)
        return json.loads(text)

    def assertPurged(self, name):
        self.assertErrno(errno.ENODATA, open, self.at(name), "rb")

    def store_has(self, data):
        """Whether any of the store's files has some of these bytes."""
        for directory, _, names in os.walk(self.mount.store):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    stored = file.read()
                if any(data[at:at + 64] in stored for at in range(0, len(data) - 64, 50_000)):
                    return True
        return False

    def stop_and_check(self):
        self.mount.stop()
        self.mount.fsck()

    def test_all_history_goes_and_the_bytes_with_it(self):
        os.mkdir(self.at("run"))
        self.save("run/scan", self.secret)
        self.save("run/kept", self.other)
        os.mkdir(self.at("run/.varve/history/pin"))
        self.save("run/scan", b"harmless")
        os.unlink(self.at("run/scan"))
        dry = self.purge("run/scan", "--dry-run")
        self.assertBytes(self.at("run/.varve/history/pin/scan"), self.secret)
        report = self.purge("run/scan")
        for key in ("contents", "versions", "content_bytes"):
            self.assertEqual(dry[key], report[key], key)
        self.assertEqual((report["contents"], report["versions"]), (2, 2))
        self.assertEqual(report["content_bytes"], len(self.secret) + len(b"harmless"))
        self.assertEqual((report["users"], report["live_contents"]), (0, 0))
        self.assertPurged("run/.varve/history/pin/scan")
        self.assertEqual(os.stat(self.at("run/.varve/history/pin/scan")).st_size, len(self.secret))
        self.assertNotIn("scan", os.listdir(self.at("run/.varve/versions")))
        self.assertBytes(self.at("run/.varve/history/pin/kept"), self.other)
        self.assertBytes(self.at("run/kept"), self.other)
        self.save("run/scan", b"again")
        self.assertEqual(sorted(os.listdir(self.at("run/.varve/versions/scan"))), ["0003", "latest"])
        self.stop_and_check()
        self.assertFalse(self.store_has(self.secret))
        self.mount.start()
        self.assertPurged("run/.varve/history/pin/scan")
        self.assertBytes(self.at("run/kept"), self.other)

    def test_what_is_live_stays_and_is_named(self):
        self.save("scan", self.secret)
        self.save("twin", self.secret)
        os.mkdir(self.at(".varve/history/pin"))
        report = self.purge("scan")
        self.assertEqual((report["contents"], report["live_contents"]), (0, 1))
        self.assertIn("/scan", report["paths"])
        self.assertIn("/twin", report["paths"])
        os.unlink(self.at("scan"))
        report = self.purge("scan")
        self.assertEqual((report["contents"], report["live_contents"]), (1, 0))
        self.assertIn("/twin", report["paths"])
        self.assertNotIn("/scan", report["paths"])
        self.assertPurged(".varve/history/pin/scan")
        self.assertBytes(self.at(".varve/history/pin/twin"), self.secret)
        self.assertBytes(self.at("twin"), self.secret)
        os.unlink(self.at("twin"))
        self.purge("twin")
        self.stop_and_check()
        self.assertFalse(self.store_has(self.secret))

    def test_a_renamed_file_goes_on(self):
        self.save("scan", b"harmless")
        self.save("scan", self.secret)
        os.rename(self.at("scan"), self.at("elsewhere"))
        report = self.purge("scan")
        self.assertEqual((report["contents"], report["live_contents"]), (1, 1))
        self.assertBytes(self.at("elsewhere"), self.secret)

    def test_a_clone_is_no_history(self):
        os.mkdir(self.at("run"))
        self.save("run/scan", self.secret)
        self.mount.command("clone", self.at("run"), self.at("fork"))
        os.unlink(self.at("run/scan"))
        report = self.purge("run/scan")
        self.assertEqual((report["contents"], report["live_contents"]), (0, 1))
        self.assertBytes(self.at("fork/scan"), self.secret)
        shutil.rmtree(self.at("fork"))
        report = self.purge("run/scan")
        self.assertEqual((report["contents"], report["live_contents"]), (1, 0))

    def test_a_directory_and_the_ones_before_it(self):
        os.makedirs(self.at("run/deep"))
        self.save("run/deep/one", self.secret)
        os.mkdir(self.at(".varve/history/first"))
        shutil.rmtree(self.at("run"))
        os.makedirs(self.at("run/deep"))
        self.save("run/two", self.other)
        self.save("beside", b"b" * 100_000)
        os.mkdir(self.at(".varve/history/second"))
        shutil.rmtree(self.at("run"))
        self.assertEqual(self.purge("run")["contents"], 2)
        self.assertPurged(".varve/history/first/run/deep/one")
        self.assertPurged(".varve/history/second/run/two")
        self.assertBytes(self.at(".varve/history/second/beside"), b"b" * 100_000)
        self.stop_and_check()
        self.assertFalse(self.store_has(self.secret) or self.store_has(self.other))

    def test_what_is_open_waits(self):
        self.save("scan", self.secret)
        self.save("scan", b"harmless")
        with open(self.at(".varve/versions/scan/0001"), "rb") as file:
            self.assertEqual(self.purge("scan", code=1)["busy_contents"], 1)
            self.assertSameBytes(file.read(), self.secret)
        self.assertEqual(self.purge("scan")["contents"], 1)

    def test_what_makes_no_sense(self):
        code, text = self.mount.command("purge", self.at("never"), check=False)
        self.assertEqual(code, 1)
        self.assertIn("no version or captured directory has it", text)
        code, text = self.mount.command("purge", self.top, check=False)
        self.assertEqual(code, 2)
        self.assertIn("whole mount", text)
        code, text = self.mount.command("purge", self.at("gone/file"), check=False)
        self.assertEqual(code, 1)
        self.assertIn("is gone itself", text)
        for value in (b"", b".", b"..", b"a/b", b"dry-run/"):
            self.assertErrno(errno.EINVAL, os.setxattr, self.top, "user.varve.purge", value)
        self.save("file", b"x")
        self.assertErrno(errno.ENOTDIR, os.setxattr, self.at("file"), "user.varve.purge", b"name")

    def test_killed_at_any_time(self):
        self.save("kept", self.other)
        for i in range(harness.scaled(4)):
            self.save("scan", self.random.randbytes(200_000) + self.secret)
            os.mkdir(self.at(f".varve/history/pin{i}"))
            os.unlink(self.at("scan"))
            with subprocess.Popen([harness.program(), "purge", self.at("scan")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as purging:
                time.sleep(self.random.random() * 0.2)
                self.mount.kill_and_remount()
                purging.wait()
            self.assertBytes(self.at("kept"), self.other)
            report = self.purge("scan")
            self.assertEqual((report["live_contents"], report["busy_contents"]), (0, 0))
            self.assertPurged(f".varve/history/pin{i}/scan")
            self.assertEqual(read_file(self.at(f".varve/history/pin{i}/kept")), self.other)
        self.stop_and_check()
        self.assertFalse(self.store_has(self.secret))


if __name__ == "__main__":
    harness.main()
