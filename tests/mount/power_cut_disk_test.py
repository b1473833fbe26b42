#!/usr/bin/env python3
"""Proves the power-cut disk on plain filesystems: what is synced survives, what is not can be lost.

Without this, a test of a store on such a disk could pass because nothing was ever lost.
  --seed N     replays the random choices      --rounds N    cuts under load per filesystem
"""

import argparse
import mmap
import os
import random
import shutil
import sys
import tempfile
import threading
import unittest

import powercut
from powercut import PowerCutDisk
from syscalls import MS_PRIVATE, MS_REC, bind_mount, unshare_mounts

OPTIONS = argparse.Namespace()


def write_synced(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Writer(threading.Thread):
    """Appends records with fsync and replaces a file, until the disk is gone; remembers what was
    acknowledged."""

    def __init__(self, directory, number):
        super().__init__(daemon=True)
        self.log = os.path.join(directory, f"log-{number}")
        self.replaced = os.path.join(directory, f"replaced-{number}")
        self.directory = directory
        self.appended = 0
        self.version = 0
        self.noted = (0, 0)

    def run(self):
        try:
            fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                while True:
                    os.write(fd, b"%07d\n" % self.appended)
                    # Written back and never flushed: something for the cut to take.
                    with open(self.log + ".noise", "ab", buffering=0) as noise:
                        noise.write(os.urandom(200_000))
                        os.posix_fadvise(noise.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    os.fsync(fd)
                    self.appended += 1
                    write_synced(self.replaced + ".new", b"%d " % (self.version + 1) * 3000)
                    os.rename(self.replaced + ".new", self.replaced)
                    sync_directory(self.directory)
                    self.version += 1
            finally:
                os.close(fd)
        except OSError:
            pass

    def note(self):
        """Remembers what is acknowledged now. What the kernel says after the cut does not count:
        xfs lets an fsync of a directory succeed when the log has just failed."""
        self.noted = (self.appended, self.version)

    def check(self, test):
        appended, version = self.noted
        log = read(self.log) if appended else b""
        test.assertGreaterEqual(len(log), 8 * appended, "an acknowledged record is lost")
        test.assertEqual(log[:8 * appended], b"".join(b"%07d\n" % i for i in range(appended)))
        if version:
            data = read(self.replaced)
            number = int(data.split(b" ", 1)[0])
            test.assertEqual(data, b"%d " % number * 3000, "a replaced file is torn")
            test.assertGreaterEqual(number, version, "a replaced file is old")


class PowerCutDiskTest(unittest.TestCase):
    filesystem = "ext4"

    def setUp(self):
        reason = powercut.unavailable(self.filesystem)
        if reason:
            self.skipTest(reason)
        self.base = tempfile.mkdtemp(prefix="varve-power-")
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.disk = PowerCutDisk(self.base, filesystem=self.filesystem)
        self.addCleanup(self.disk.destroy)
        self.disk.start()

    def path(self, name):
        return os.path.join(self.disk.path, name)

    def test_synced_survives_and_unsynced_is_lost(self):
        write_synced(self.path("synced"), b"s" * 100_000)
        sync_directory(self.disk.path)
        with open(self.path("unsynced"), "wb") as file:
            file.write(b"u" * 100_000)
        counts = self.disk.cut("all")
        self.assertEqual(counts["cut"], 1)
        self.assertGreater(counts["flushes"], 0)
        self.disk.recover()
        self.assertEqual(read(self.path("synced")), b"s" * 100_000)
        self.assertFalse(os.path.exists(self.path("unsynced")))

    def test_written_back_but_not_flushed_is_lost(self):
        """The bytes had left the page cache, so a SIGKILL or a crash of the kernel keeps them."""
        write_synced(self.path("a"), b"o" * 1_000_000)
        sync_directory(self.disk.path)
        fd = os.open(self.path("a"), os.O_WRONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, 1 << 19) as block:  # aligned, as O_DIRECT wants it
                block.write(b"n" * len(block))
                os.pwrite(fd, block, 0)
        finally:
            os.close(fd)
        self.assertGreaterEqual(self.disk.counts()["unflushed_bytes"], 1 << 19)
        self.assertGreaterEqual(self.disk.cut("all")["lost_sectors"], 1024)
        self.disk.recover()
        self.assertEqual(read(self.path("a")), b"o" * 1_000_000)

    def test_nothing_works_after_the_cut(self):
        self.disk.cut("all")
        with self.assertRaises(OSError):
            write_synced(self.path("late"), b"x")
        self.disk.recover()
        self.assertFalse(os.path.exists(self.path("late")))

    def test_a_clean_stop_keeps_everything(self):
        with open(self.path("a"), "wb") as file:
            file.write(b"unsynced")
        self.disk.recover()
        self.assertEqual(read(self.path("a")), b"unsynced")

    def test_acknowledged_survives_cuts_under_load(self):
        choices = random.Random(f"{OPTIONS.seed} {self.filesystem}")
        lost = number = 0
        # More rounds where every cut fell behind a flush.
        while number < OPTIONS.rounds or (lost == 0 and number < OPTIONS.rounds + 30):
            number += 1
            writers = [Writer(self.disk.path, f"{number}-{i}") for i in range(3)]
            for writer in writers:
                writer.start()
            # Cut when something is unflushed, at a time that differs.
            writers[0].join(choices.uniform(0.1, 0.4))
            loss = choices.choice(powercut.LOSSES)
            for writer in writers:
                writer.note()
            lost += self.disk.cut(loss, choices.getrandbits(32))["lost_sectors"]
            for writer in writers:
                writer.join(60)
                self.assertFalse(writer.is_alive(), "a writer hangs after the cut")
            self.disk.recover()
            for writer in writers:
                with self.subTest(round=number, loss=loss):
                    writer.check(self)
        print(f"{self.filesystem}: {number} cuts took {lost} sectors", flush=True)
        self.assertGreater(lost, 0, "no cut has hit anything")


class PowerCutDiskXfsTest(PowerCutDiskTest):
    filesystem = "xfs"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--rounds", type=int, default=4)
    _, rest = parser.parse_known_args(namespace=OPTIONS)
    reason = powercut.unavailable()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    print(f"seed {OPTIONS.seed}", flush=True)
    # Of its own, so that nothing stays mounted, however the test ends.
    unshare_mounts()
    bind_mount(None, "/", MS_REC | MS_PRIVATE)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
