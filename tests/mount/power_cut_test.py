"""Power cuts on a disk that loses unflushed writes: names are a prefix, contents are whole.

Needs root, loop devices, and the program power_cut_disk, which is built with the tests.
"""

import os
import random
import shutil
import signal
import time

import harness
import power_cut_load
import powercut
from harness import MountTestCase, needs_root, write_file
from power_cut_load import Load
from processes import Child

ROUNDS = 4
DISK_BYTES = 1500 << 20


@needs_root
class PowerCut(MountTestCase):
    uses_shared_mount = False
    limit_s = 14400

    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory promises none of this")
        reason = powercut.unavailable()
        if reason is not None:
            self.skipTest(reason)
        super().setUp()
        self.mount = self.own_mount(start=False)
        self.base = os.path.dirname(self.mount.store)
        self.disk = powercut.PowerCutDisk(self.base + "/disk", DISK_BYTES).start()
        self.addCleanup(self.disk.destroy)
        os.rmdir(self.mount.store)
        os.mkdir(self.disk.path + "/store", 0o700)
        os.symlink(self.disk.path + "/store", self.mount.store)
        self.start()

    def start(self):
        self.mount.start()
        self.daemon = self.mount.pid

    def cut(self, seed):
        """Returns the moment after which nothing was written any more."""
        self.disk.cut(random.Random(seed).choice(powercut.LOSSES), seed)
        return time.monotonic()

    def end_daemon(self):
        """The lock of a dead disk may be unreadable, so the pid is from before."""
        pid = self.daemon
        if harness.is_our_daemon(pid):
            os.kill(pid, signal.SIGKILL)
            harness.wait_until(lambda: not harness.is_our_daemon(pid), 20, "the daemon's death")

    def power_up(self):
        self.end_daemon()
        self.mount.detach()
        self.disk.recover()
        self.start()

    def check_clean(self):
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.start()

    def test_under_load(self):
        chance = random.Random(harness.seed())
        calls = survived = torn = versions = 0
        rounds = harness.scaled(ROUNDS)
        for number in range(rounds):
            directory = os.path.join(self.mount.root, f"round{number}")
            log, stop = f"{self.base}/log{number}", f"{self.base}/stop{number}"
            os.mkdir(directory)
            fd = os.open(self.mount.root, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            child = Child(Load(directory, log, harness.seed() + number).run,
                          lambda path=stop: os.path.exists(path))
            time.sleep(chance.choice((0.3, 1.0, 2.0, 4.0)) * chance.random() + 0.05)
            moment = self.cut(harness.seed() + number)
            write_file(stop, b"")
            self.end_daemon()
            child.result()
            self.power_up()
            made, kept, broken = power_cut_load.check(directory, log, moment)
            versions += power_cut_load.check_versions(directory, log, moment)
            calls, survived, torn = calls + made, survived + kept, torn + broken
            if number % 2 == 0:
                self.mount.sync()
                power_cut_load.check(directory, log, moment)
            self.check_clean()
            power_cut_load.check(directory, log, moment)
            if number % 3 == 2:
                shutil.rmtree(directory)
        print(f"{harness.mode()}: {rounds} power cuts, {calls} calls, {survived} survived, {torn} "
              f"files torn, {versions} versions read")
        self.assertLess(survived, calls, "the cuts lost nothing, so they prove nothing")

    def test_synced_data_and_names_survive(self):
        path = os.path.join(self.mount.root, "model.pt")
        for i in range(3):
            data = os.urandom(3 << 20)
            fd = os.open(path + ".tmp", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.write(fd, data)
            os.setxattr(fd, "user.loss", b"0.%d" % i)
            os.fsync(fd)
            os.close(fd)
            os.rename(path + ".tmp", path)
            directory = os.open(self.mount.root, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
            self.cut(harness.seed() + i)
            self.power_up()
            self.assertBytes(path, data)
            self.assertEqual(os.getxattr(path, "user.loss"), b"0.%d" % i)

    def test_overwrite_in_place_cannot_destroy_a_checkpoint(self):
        path = os.path.join(self.mount.root, "last.pt")
        old = os.urandom(4 << 20)
        write_file(path, old)
        self.mount.sync()
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"half of the new one" * 10000)
        self.cut(harness.seed())
        self.end_daemon()
        try:
            os.close(fd)
        except OSError:
            pass
        self.power_up()
        self.assertBytes(path, old)
        self.check_clean()

    def test_closed_data_is_durable_after_a_while(self):
        names = {}
        for i in range(5):
            names[f"f{i}"] = os.urandom(500000)
            write_file(os.path.join(self.mount.root, f"f{i}"), names[f"f{i}"])
        time.sleep(power_cut_load.DURABLE_AFTER_S)
        self.cut(harness.seed())
        self.power_up()
        for name, data in names.items():
            self.assertBytes(os.path.join(self.mount.root, name), data)

    def test_sync_command_makes_it_durable(self):
        path = os.path.join(self.mount.root, "f")
        data = os.urandom(2 << 20)
        write_file(path, data)
        self.mount.sync(path)
        self.cut(harness.seed())
        self.power_up()
        self.assertBytes(path, data)

    def test_cut_after_cut(self):
        """A second cut during or right after the recovery of the first."""
        path = os.path.join(self.mount.root, "f")
        data = os.urandom(1 << 20)
        write_file(path, data)
        self.mount.sync()
        for i in range(4):
            write_file(path + str(i), b"x" * 100000)
            self.cut(harness.seed() + i)
            self.power_up()
            self.cut(harness.seed() + 100 + i)
            self.power_up()
            self.assertBytes(path, data)
        self.check_clean()


if __name__ == "__main__":
    harness.main(modes=("root", "no_passthrough"))
