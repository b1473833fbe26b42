"""Retention and collection: what no rule keeps goes, its room comes back, and nothing else changes."""

import errno
import json
import os
import random
import subprocess
import threading
import unittest

import harness
from harness import MountTestCase, read_file, write_file

MIB = 1 << 20


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Collection(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        super().setUp()
        self.mount = self.own_mount()
        self.top = self.mount.root

    def at(self, name):
        return os.path.join(self.top, name)

    def gc(self, *options):
        _, text = self.mount.command("gc", "--json", *options, self.top)
        report = json.loads(text)
        self.assertEqual(report["error"], "")
        return report

    def keep(self, rule, directory=""):
        os.setxattr(self.at(directory), "user.varve.keep", rule.encode())

    def versions(self, name):
        return sorted(os.listdir(self.at(f".varve/versions/{name}")))

    def packs_bytes(self):
        packs = os.path.join(self.mount.store, "packs")
        return sum(os.stat(os.path.join(packs, name)).st_size for name in os.listdir(packs))

    def save(self, name, data):
        write_file(self.at(name), data)
        self.mount.sync()

    def test_rules(self):
        for rule in (b"", b"last=0", b"sometimes", b"last=3;days=2"):
            self.assertErrno(errno.EINVAL, os.setxattr, self.top, "user.varve.keep", rule)
        write_file(self.at("file"), b"x")
        self.assertErrno(errno.ENOTDIR, os.setxattr, self.at("file"), "user.varve.keep", b"last=1")
        self.keep("last=2")
        self.assertEqual(os.getxattr(self.top, "user.varve.keep"), b"last=2")
        self.assertEqual(os.listxattr(self.top), [])
        os.removexattr(self.top, "user.varve.keep")
        self.assertErrno(errno.ENODATA, os.getxattr, self.top, "user.varve.keep")

    def test_versions_beyond_the_rule_go(self):
        self.keep("last=2")
        os.mkdir(self.at("scratch"))
        self.keep("none", "scratch")
        os.mkdir(self.at("scratch/runs"))
        for i in range(5):
            self.save("model", bytes([i]) * 1000)
            self.save("scratch/runs/log", bytes([i]) * 1000)
        self.save("removed", b"r" * 5000)
        self.save("scratch/removed", b"s" * 5000)
        os.unlink(self.at("removed"))
        os.unlink(self.at("scratch/removed"))
        dry = self.gc("--dry-run")
        self.assertEqual(self.versions("model")[:2], ["0001", "0002"])
        report = self.gc()
        self.assertEqual((dry["file_versions"], dry["contents"]),
                         (report["file_versions"], report["contents"]))
        self.assertEqual(self.versions("model"), ["0004", "0005", "latest"])
        self.assertEqual(os.listdir(self.at("scratch/runs/.varve/versions/log")), ["0005", "latest"])
        self.assertBytes(self.at("scratch/runs/log"), bytes([4]) * 1000)
        self.assertBytes(self.at(".varve/versions/removed/0001"), b"r" * 5000)
        self.assertFalse(os.path.exists(self.at("scratch/.varve/versions/removed")))
        # Numbers are never used again.
        self.save("scratch/removed", b"t" * 5000)
        self.assertEqual(os.listdir(self.at("scratch/.varve/versions/removed")), ["0002", "latest"])
        self.assertEqual(self.gc()["file_versions"], 0)

    def test_room_comes_back(self):
        self.keep("none")
        r = random.Random(harness.seed())
        kept = r.randbytes(4 * MIB)
        self.save("kept", kept)
        for _ in range(3):
            self.save("model", r.randbytes(8 * MIB))
        # A part of what goes is used by what stays.
        shared = r.randbytes(8 * MIB)
        self.save("model", shared)
        self.save("half", shared[:4 * MIB] + r.randbytes(4 * MIB))
        os.unlink(self.at("model"))
        half = read_file(self.at("half"))
        self.mount.sync()
        before = self.packs_bytes()
        report = self.gc("--hot")
        after = self.packs_bytes()
        self.assertGreater(report["packs"], 0)
        self.assertLess(after, 13 * MIB)
        self.assertGreater(before, 32 * MIB)
        self.check_both(kept, half)
        self.mount.kill_and_remount()
        self.check_both(kept, half)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.mount.command("fsck", "--rebuild-index", self.mount.store)
        self.mount.start()
        self.check_both(kept, half)

    def check_both(self, kept, half):
        harness.drop_caches()
        self.assertBytes(self.at("kept"), kept)
        self.assertBytes(self.at("half"), half)

    def test_pins_and_directory_versions(self):
        self.keep("none")
        os.mkdir(self.at("run"))
        contents = {}
        for i in range(6):
            contents[i] = random.Random(i).randbytes(200_000)
            self.save("run/model", contents[i])
            if i in (1, 3):
                os.mkdir(self.at(f"run/.varve/history/pin{i}"))
        self.gc("--hot")
        for i in (1, 3):
            self.assertBytes(self.at(f"run/.varve/history/pin{i}/model"), contents[i])
        self.assertBytes(self.at("run/model"), contents[5])
        os.rmdir(self.at("run/.varve/history/pin1"))
        report = self.gc()
        self.assertGreater(report["contents"], 0)
        self.assertErrno(errno.ENOENT, os.stat, self.at("run/.varve/history/pin1"))
        self.assertBytes(self.at("run/.varve/history/pin3/model"), contents[3])
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.mount.start()
        self.assertBytes(self.at("run/.varve/history/pin3/model"), contents[3])

    def test_open_files_are_left_alone(self):
        self.keep("none")
        old = random.Random(1).randbytes(3 * MIB)
        self.save("model", old)
        self.save("model", b"new" * 100_000)
        self.mount.sync()
        version = os.open(self.at(".varve/versions/model/0001"), os.O_RDONLY)
        self.addCleanup(os.close, version)
        gone = os.open(self.at("model"), os.O_RDONLY)
        self.addCleanup(os.close, gone)
        os.unlink(self.at("model"))
        self.gc("--hot")
        self.assertSameBytes(os.pread(version, len(old), 0), old)
        self.assertSameBytes(os.pread(gone, 300_000, 0), b"new" * 100_000)

    def test_beside_writers(self):
        """Contents come and go, many of them equal, while collections run and the daemon dies."""
        self.keep("none")
        r = random.Random(harness.seed())
        blobs = [r.randbytes(r.choice((3000, 90_000, 700_000))) for _ in range(12)]
        live, stop = {}, threading.Event()
        failures = []

        def collect():
            while not stop.is_set():
                code, text = self.mount.command("gc", self.top, check=False)
                if code != 0:
                    failures.append(text)
                    return

        for _ in range(3):
            collector = threading.Thread(target=collect)
            stop.clear()
            collector.start()
            for i in range(harness.scaled(200)):
                name = f"f{r.randrange(8)}"
                kind = r.randrange(6)
                if kind == 0 and name in live:
                    os.unlink(self.at(name))
                    del live[name]
                elif kind == 1 and name in live:
                    os.rename(self.at(name), self.at("other"))
                    live["other"] = live.pop(name)
                elif kind == 2 and live:
                    source = r.choice(sorted(live))
                    if name != source:
                        subprocess.run(["cp", self.at(source), self.at(name)], check=True)
                        live[name] = live[source]
                else:
                    live[name] = b"".join(r.sample(blobs, r.choice((1, 2, 4))))
                    write_file(self.at(name), live[name])
                if i % 50 == 49:
                    self.mount.sync()
            stop.set()
            collector.join()
            self.assertEqual(failures, [])
            for name, data in live.items():
                self.assertBytes(self.at(name), data)
            self.mount.kill_and_remount()
            for name, data in live.items():
                self.assertBytes(self.at(name), data)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)

    def test_killed_while_collecting(self):
        self.keep("none")
        r = random.Random(harness.seed())
        live = {}
        for _ in range(6):
            for i in range(6):
                live[f"f{i}"] = r.randbytes(500_000)
                write_file(self.at(f"f{i}"), live[f"f{i}"])
            self.mount.sync()
            collector = threading.Thread(
                target=lambda: self.mount.command("gc", self.top, check=False))
            collector.start()
            collector.join(r.random() * 0.1)
            self.mount.kill()
            collector.join()
            self.mount.detach()
            self.mount.start()
            for name, data in live.items():
                self.assertBytes(self.at(name), data)
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)


if __name__ == "__main__":
    harness.main()
