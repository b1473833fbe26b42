"""varve scrub on real mounts: what is damaged below a live one is found and named, and nobody is held up."""

import errno
import glob
import json
import os
import random
import subprocess
import threading
import time
import unittest

import harness
from harness import MountTestCase, needs_root, read_file, write_file
from mounts import wait_until

MIB = 1 << 20
DONE, FAILED, USAGE, DAMAGED = 0, 1, 2, 5


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Scrub(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        super().setUp()
        # Nothing stays hot: files are read from packs.
        self.mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        self.top = self.mount.root
        self.random = random.Random(harness.seed())

    def at(self, name):
        return os.path.join(self.top, name)

    def save(self, name, data):
        write_file(self.at(name), data)
        self.mount.sync()

    def scrub(self, *options, code=DONE):
        done = subprocess.run([harness.program(), "scrub", *options, self.top], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=100, check=False)
        text = done.stdout.decode() + done.stderr.decode()
        self.assertEqual(done.returncode, code, text)
        return text

    def report(self, *options, code=DONE):
        report = json.loads(self.scrub("--json", *options, code=code))
        self.assertEqual(report["error"], "")
        return report

    def packs(self):
        return sorted(glob.glob(os.path.join(self.mount.store, "packs", "*.pack")))

    def flip(self, data):
        """One bit in the middle of what is stored of `data`, which does not compress."""
        for pack in self.packs():
            at = read_file(pack).find(data[:4096])
            if at >= 0:
                with open(pack, "r+b") as file:
                    file.seek(at + 1000)
                    byte = file.read(1)
                    file.seek(at + 1000)
                    file.write(bytes([byte[0] ^ 1]))
                return
        self.fail("the bytes are in no pack")

    def test_sound(self):
        data = [self.random.randbytes(3 * MIB) for _ in range(3)]
        for i, blob in enumerate(data):
            self.save(f"f{i % 2}", blob)
        status = self.mount.status()["scrub"]
        self.assertEqual((status["asked"], status["running"], status["last"]["ended_seconds"]), (0, False, 0))
        text = self.scrub()
        self.assertIn("intact", text)
        self.assertNotIn("DAMAGE", text)
        report = self.report()
        self.assertTrue(report["clean"])
        self.assertGreaterEqual(report["bytes"], 9 * MIB)
        self.assertGreater(report["chunks"], 9)
        self.assertEqual((report["files"], report["places"]), ([], []))
        status = self.mount.status()["scrub"]
        self.assertEqual((status["asked"], status["finished"], status["running"]), (2, 2, False))
        self.assertLess(abs(status["last"]["ended_seconds"] - time.time()), 60)
        self.assertNotIn("files", status["last"])
        self.mount.remount()
        self.assertEqual(self.mount.status()["scrub"]["last"]["ended_seconds"], status["last"]["ended_seconds"])
        self.assertEqual(json.loads(os.getxattr(self.top, "user.varve.scrub"))["bytes"], report["bytes"])

    def test_a_flipped_bit(self):
        os.mkdir(self.at("run"))
        good, bad = self.random.randbytes(2 * MIB), self.random.randbytes(2 * MIB)
        self.save("run/good.pt", good)
        self.save("run/bad.pt", bad)
        self.save("run/overwritten.pt", bad)
        self.save("run/overwritten.pt", b"new")
        self.report()
        self.flip(bad)
        text = self.scrub(code=DAMAGED)
        self.assertIn("DAMAGE FOUND: 1 places", text)
        self.assertIn("varve fsck --repair", text)
        self.assertIn(f"damaged: {self.at('run/bad.pt')}\n", text)
        report = self.report(code=DAMAGED)
        self.assertEqual(sorted(report["files"]), [
            "/run/.varve/versions/bad.pt/0001", "/run/.varve/versions/overwritten.pt/0001", "/run/bad.pt"])
        self.assertEqual((report["damaged_places"], report["damaged_chunks"]), (1, 1))
        log = read_file(os.path.join(self.mount.store, "varve.log")).decode()
        self.assertIn("scrub: /run/bad.pt lacks", log)
        # It is told until it is repaired; then it is known.
        harness.drop_caches()
        self.assertErrno(errno.EIO, read_file, self.at("run/bad.pt"))
        self.mount.stop()
        code, text = self.mount.command("fsck", "--repair", "--verify-data", self.mount.store, check=False)
        self.assertEqual(code, DAMAGED, text)
        self.mount.start()
        report = self.report()
        self.assertEqual((report["clean"], report["known_places"]), (True, 1))
        self.assertBytes(self.at("run/good.pt"), good)

    def test_a_flipped_bit_of_what_the_index_needs_not(self):
        """A record's header: files are read all the same, but a rebuild would not find the chunk."""
        data = self.random.randbytes(MIB // 2)
        self.save("f", data)
        self.report()
        for pack in self.packs():
            at = read_file(pack).find(data[:4096])
            if at >= 0:
                with open(pack, "r+b") as file:
                    file.seek(at - 64 + 8)
                    file.write(b"\xff\xff")
                break
        report = self.report(code=DAMAGED)
        self.assertEqual((report["damaged_places"], report["damaged_chunks"], report["files"]), (1, 0, []))
        harness.drop_caches()
        self.assertBytes(self.at("f"), data)

    def test_a_missing_pack(self):
        self.save("kept", self.random.randbytes(MIB))
        self.report()  # closes the pack
        self.save("lost", self.random.randbytes(MIB))
        self.report()
        lost = self.packs()[-1]
        os.rename(lost, lost + ".away")
        text = self.scrub(code=DAMAGED)
        self.assertIn("is gone", text)
        self.assertIn(self.at("lost"), text)
        self.assertNotIn(self.at("kept"), text)
        os.rename(lost + ".away", lost)
        self.report()

    def test_a_truncated_pack(self):
        self.save("f", self.random.randbytes(4 * MIB))
        self.report()
        pack = max(self.packs(), key=os.path.getsize)
        os.truncate(pack, os.path.getsize(pack) - 2 * MIB)
        report = self.report(code=DAMAGED)
        self.assertIn("cut off", " ".join(report["places"]))
        self.assertIn("/f", report["files"])

    def test_many_paths(self):
        """More names than an attribute has room for are counted."""
        data = self.random.randbytes(200_000)
        self.save("f", data)
        for i in range(300):
            os.link(self.at("f"), self.at("x" * 200 + f"{i:04}"))
        self.report()
        self.flip(data)
        report = self.report(code=DAMAGED)
        self.assertGreaterEqual(report["damaged_files"], 301)
        self.assertLess(len(report["files"]), 301)
        self.assertGreater(len(report["files"]), 100)
        self.assertIn("more; the log says which", self.scrub(code=DAMAGED))

    def test_beside_writers_and_collections(self):
        os.setxattr(self.top, "user.varve.keep", b"none")
        r = self.random
        blobs = [r.randbytes(r.choice((3000, 90_000, 700_000))) for _ in range(12)]
        live, stop, failures = {}, threading.Event(), []

        def repeat(*command):
            while not stop.is_set():
                code, text = self.mount.command(*command, self.top, check=False)
                if code != DONE:
                    failures.append(text)
                    return

        threads = [threading.Thread(target=repeat, args=command) for command in (("gc",), ("scrub",))]
        for thread in threads:
            thread.start()
        for i in range(harness.scaled(250)):
            name = f"f{r.randrange(8)}"
            if r.randrange(4) == 0 and name in live:
                os.unlink(self.at(name))
                del live[name]
            else:
                live[name] = b"".join(r.sample(blobs, r.choice((1, 2, 4))))
                write_file(self.at(name), live[name])
            if i % 25 == 24:
                self.mount.sync()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(self.mount.status()["scrub"]["finished"], 2)
        for name, data in live.items():
            self.assertBytes(self.at(name), data)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)

    def test_rate(self):
        self.save("f", self.random.randbytes(24 * MIB))
        begin = time.monotonic()
        self.report()
        free = time.monotonic() - begin
        begin = time.monotonic()
        report = self.report("--rate", "8M")
        seconds = time.monotonic() - begin
        # What is read last is not waited for: that is up to 4 MiB at a time.
        self.assertGreater(seconds, (report["bytes"] / MIB - 8) / 8)
        self.assertLess(seconds, 30 + free)
        for rate in ("0", "fast", "-5M", ""):
            self.scrub("--rate", rate, code=USAGE)

    def test_joined_and_stopped(self):
        self.save("f", self.random.randbytes(24 * MIB))
        slow = subprocess.Popen([harness.program(), "scrub", "--rate", "500K", self.top], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(slow.communicate)
        wait_until(lambda: self.mount.status()["scrub"]["running"], 20, "the scrub")
        self.assertEqual(self.mount.status()["scrub"]["rate_bytes"], 500 * 1024)
        time.sleep(0.5)
        self.assertIsNone(slow.poll())
        # The second one takes the limit away from both.
        self.report()
        self.assertEqual(slow.wait(20), DONE)
        self.assertEqual(self.mount.status()["scrub"]["asked"], 1)

        slow = subprocess.Popen([harness.program(), "scrub", "--rate", "500K", self.top], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: self.mount.status()["scrub"]["running"], 20, "the scrub")
        self.scrub("--stop")
        _, text = slow.communicate(timeout=20)
        self.assertEqual(slow.returncode, FAILED)
        self.assertIn(b"stopped", text)
        self.report()

    def test_unmount_is_not_held_up(self):
        self.save("f", self.random.randbytes(24 * MIB))
        waiting = subprocess.Popen([harness.program(), "scrub", "--rate", "100K", self.top],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(waiting.communicate)
        wait_until(lambda: self.mount.status()["scrub"]["running"], 20, "the scrub")
        # The one that waits looks at the mount for a moment only.
        begin = time.monotonic()
        self.mount.stop()
        self.assertLess(time.monotonic() - begin, 15)
        self.assertNotEqual(waiting.wait(20), DONE)
        self.mount.start()
        self.report()

    @needs_root
    def test_permission(self):
        self.save("f", b"secret")
        self.report()
        os.chmod(self.top, 0o777)

        def as_nobody(*command):
            return subprocess.run(command, user=65534, group=65534, extra_groups=[], capture_output=True, check=False,
                                  stdin=subprocess.DEVNULL, timeout=60)
        done = as_nobody("/usr/bin/python3", "-c",
                         f"import os; os.setxattr({self.top!r}, 'user.varve.scrub', b'start')")
        self.assertIn(b"PermissionError", done.stderr)
        done = as_nobody("/usr/bin/python3", "-c", f"import os; os.getxattr({self.top!r}, 'user.varve.scrub')")
        self.assertIn(b"PermissionError", done.stderr)
        # The status is everybody's.
        done = as_nobody("/usr/bin/cat", self.at(".varve/status"))
        self.assertEqual(json.loads(done.stdout)["scrub"]["asked"], 1)
        self.assertErrno(errno.EINVAL, os.setxattr, self.top, "user.varve.scrub", b"sometimes")
        self.assertErrno(errno.EINVAL, os.setxattr, self.top, "user.varve.scrub", b"rate=0")
        self.assertNotIn("user.varve.scrub", os.listxattr(self.top))


if __name__ == "__main__":
    harness.main()
