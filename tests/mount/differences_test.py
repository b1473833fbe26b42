"""Versions of a model that are told from each other: smaller, the same bytes, and for as long."""

import json
import os
import random
import subprocess
import time
import unittest

import numpy

import harness
from harness import MountTestCase, read_file, write_file
from tensors_test import safetensors

STEPS = 8


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Differences(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        super().setUp()
        self.mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        self.top = self.mount.root
        self.random = numpy.random.default_rng(harness.seed())
        self.saved = {}

    def at(self, name):
        return os.path.join(self.top, name)

    def series(self, steps=STEPS, seed=0, move=4e-4):
        """The files of a run: weights that move a little, and a part that does not."""
        values = numpy.random.default_rng(harness.seed() + seed)
        weights = values.normal(0, 0.02, (600, 1000)).astype(numpy.float32)
        frozen = values.normal(0, 0.02, (100, 1000)).astype(numpy.float32)
        for step in range(steps):
            weights = (weights + values.normal(0, move, weights.shape)).astype(numpy.float32)
            yield safetensors({"w": weights, "frozen": frozen, "step": numpy.array([step])})

    def save_series(self, directory="run", **options):
        for step, data in enumerate(self.series(**options)):
            name = f"{directory}/step-{step}/model.safetensors"
            os.makedirs(os.path.dirname(self.at(name)))
            write_file(self.at(name), data)
            self.saved[name] = data
        self.mount.sync()

    def gc(self):
        _, text = self.mount.command("gc", "--json", self.top, timeout_s=120)
        report = json.loads(text)
        self.assertEqual(report["error"], "")
        return report

    def packs_bytes(self):
        packs = os.path.join(self.mount.store, "packs")
        return sum(os.stat(os.path.join(packs, name)).st_size for name in os.listdir(packs)
                   if name.endswith(".pack"))

    def check(self):
        for name, data in self.saved.items():
            self.assertBytes(self.at(name), data)

    def check_all(self):
        self.check()
        self.mount.stop()
        code, text = self.mount.command("fsck", "--verify-data", self.mount.store, check=False)
        self.assertEqual(code, 0, text)
        self.mount.start()
        self.check()

    def test_a_series_becomes_smaller_and_stays_as_it_was(self):
        self.save_series()
        before = self.packs_bytes()
        report = self.gc()
        self.assertGreaterEqual(report["recoded_chunks"], (STEPS - 3) * 3)
        self.assertLess(report["recoded_bytes_after"], report["recoded_bytes_before"] * 0.85)
        self.assertLess(self.packs_bytes(), before * 0.9)
        self.check()
        self.assertEqual(self.gc()["recoded_chunks"], 0)
        self.mount.kill_and_remount()
        self.check_all()
        # The same bytes again, and other formats of them, are found as they lie now.
        counters = self.mount.status()["counters"]["stored_bytes"]
        write_file(self.at("copy.safetensors"), self.saved["run/step-3/model.safetensors"])
        self.mount.sync()
        self.assertLess(self.mount.status()["counters"]["stored_bytes"] - counters, 8192)

    def test_versions_of_one_file(self):
        os.setxattr(self.top, "user.varve.keep", b"last=100")
        for step, data in enumerate(self.series()):
            write_file(self.at("model.safetensors"), data)
            self.mount.sync(self.at("model.safetensors"))
            self.saved[f".varve/versions/model.safetensors/{step + 1:04}"] = data
        self.assertGreater(self.gc()["recoded_chunks"], 0)
        self.check_all()
        # Those that remain need what their bases had, or are coded anew.
        os.setxattr(self.top, "user.varve.keep", b"last=2")
        report = self.gc()
        self.assertEqual(report["file_versions"], STEPS - 2)
        for name in sorted(self.saved)[:-2]:
            del self.saved[name]
        self.check_all()
        largest = len(next(iter(self.saved.values())))
        self.assertLess(self.packs_bytes(), 2.2 * largest)

    def test_each_one_but_the_first_that_is_kept(self):
        self.save_series()
        self.gc()
        os.setxattr(self.top, "user.varve.keep", b"none")
        names = list(self.saved)
        random.Random(harness.seed()).shuffle(names)
        for name in names[:-1]:
            os.unlink(self.at(name))
            del self.saved[name]
            self.gc()
            self.check()
        self.check_all()
        self.assertLess(self.packs_bytes(), 1.2 * len(self.saved[names[-1]]))

    def test_purged_bases_leave_nothing_behind(self):
        self.save_series()
        self.gc()
        for name in list(self.saved)[::2]:
            os.unlink(self.at(name))
            code, text = self.mount.command("purge", "--json", self.at(name), check=False)
            self.assertEqual(code, 0, text)
            report = json.loads(text)
            self.assertEqual(report["packs_left"], 0, text)
            del self.saved[name]
            self.check()
        self.check_all()

    def test_an_export_takes_no_room_of_its_own(self):
        """bf16 of a stored fp32 model: nothing but its source; without that, what it was."""
        values = numpy.random.default_rng(harness.seed())
        weights = values.normal(0, 0.02, (3000, 1000)).astype(numpy.float32)
        bits = weights.view(numpy.uint32)
        rounded = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)
        wide = safetensors({"w": weights})
        narrow = safetensors({"w": rounded.view(numpy.float16)}).replace(b'"F16", ', b'"BF16",')
        self.saved = {"model.safetensors": wide, "export.safetensors": narrow}
        for name, data in self.saved.items():
            write_file(self.at(name), data)
        self.mount.sync()
        before = self.packs_bytes()
        self.assertEqual(self.gc()["recoded_chunks"], 12)
        self.assertLess(self.packs_bytes(), before - 0.6 * len(narrow))
        self.check_all()
        self.mount.kill_and_remount()
        self.check()
        # The same bytes as numbers of another kind are another thing.
        other = bytearray(narrow)
        other[-1] ^= 1
        write_file(self.at("other.safetensors"), other)
        self.saved["other.safetensors"] = bytes(other)
        self.mount.sync()
        self.gc()
        self.check_all()
        os.setxattr(self.top, "user.varve.keep", b"none")
        os.unlink(self.at("model.safetensors"))
        del self.saved["model.safetensors"]
        self.gc()
        self.check_all()
        self.assertLess(self.packs_bytes(), 0.9 * len(narrow))

    def test_tensors_that_changed_their_names(self):
        """Each of two chunks could be made from the other; one of them is."""
        values = numpy.random.default_rng(harness.seed())
        tensors = [values.normal(0, 0.02, (512, 512)).astype(numpy.float32)]
        for _ in range(5):
            tensors.append((tensors[-1] + values.normal(0, 1e-5, (512, 512))).astype(numpy.float32))
        for round_ in range(6):
            names = [f"layer.{(i * 5 + round_) % 6}" for i in range(6)]
            if round_ == 5:
                names.reverse()
            name = f"{round_}.safetensors"
            # The same places in each file, whatever they hold.
            self.saved[name] = safetensors(dict(sorted(zip(names, tensors))))
            write_file(self.at(name), self.saved[name])
        self.mount.sync()
        for _ in range(3):
            self.gc()
            self.check()
        self.mount.kill_and_remount()
        self.check_all()

    def test_killed_while_it_recodes(self):
        self.save_series(steps=6)
        for round_ in range(8):
            collector = subprocess.Popen([self.mount.program, "gc", self.top],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(self.random.uniform(0, 0.25))
            self.mount.kill_and_remount()
            collector.wait(60)
            self.check()
            if round_ % 2 == 1:
                self.save_series(directory=f"more-{round_}", steps=3, seed=round_)
        self.gc()
        self.check_all()

    def test_rebuilt_from_packs_alone(self):
        self.save_series()
        self.gc()
        self.mount.stop()
        code, text = self.mount.command("fsck", "--rebuild-index", self.mount.store, check=False)
        self.assertIn(code, (0, 5), text)
        code, text = self.mount.command("fsck", "--verify-data", self.mount.store, check=False)
        self.assertEqual(code, 0, text)
        self.mount.start()
        self.check_all()

    def test_what_lies_on_a_damaged_base_is_told(self):
        self.save_series()
        self.gc()
        self.mount.stop()
        packs = os.path.join(self.mount.store, "packs")
        rng = random.Random(harness.seed())
        largest = max((os.path.join(packs, name) for name in os.listdir(packs)), key=os.path.getsize)
        with open(largest, "r+b") as file:
            size = os.path.getsize(largest)
            for _ in range(3):
                at = rng.randrange(4096, size - 8192)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 0x41]))
        self.mount.start()
        bad = 0
        for name, data in self.saved.items():
            try:
                self.assertEqual(read_file(self.at(name)), data, name)
            except OSError:
                bad += 1
        code, text = self.mount.command("scrub", self.top, check=False, timeout_s=120)
        self.assertEqual(code == 0, bad == 0, text)
        self.mount.stop()
        self.mount.command("fsck", "--repair", "--verify-data", self.mount.store, check=False)
        code, text = self.mount.command("fsck", "--verify-data", self.mount.store, check=False)
        self.assertEqual(code, 0, text)
        self.mount.start()
        incomplete = sum(os.getxattr(self.at(name), "user.varve.complete") == b"0"
                         for name in self.saved)
        self.assertEqual(incomplete, bad)


if __name__ == "__main__":
    harness.main()
