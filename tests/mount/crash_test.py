"""SIGKILL of the daemon under load: nothing that was acknowledged is lost."""

import mmap
import os
import random
import signal
import subprocess
import time

import crash_load
import harness
from crash_load import Trainer, Writer
from harness import MountTestCase, read_file, write_file
from processes import Child, Gate, in_child

ROUNDS = 10
WRITERS = 3


class StopFlag:
    """Tells child processes to end, by the existence of a file outside of the mount."""

    def __init__(self, path):
        self.path = path

    def __call__(self):
        return os.path.exists(self.path)

    def set(self):
        write_file(self.path, b"")


class CrashTestCase(MountTestCase):
    uses_shared_mount = False
    limit_s = 7200

    def setUp(self):
        if harness.NATIVE:
            self.skipTest("there is no daemon to kill")
        super().setUp()
        self.mount = self.own_mount()
        self.logs = os.path.join(os.path.dirname(self.mount.store), "logs")
        os.mkdir(self.logs)

    def check_clean(self):
        self.mount.stop()
        code, text = self.mount.fsck()
        self.assertEqual(code, 0, text)
        self.mount.start()


class Load(CrashTestCase):
    def start_load(self, number, seed):
        """Writers and a trainer in directories of their own; returns (children, checks)."""
        stop = StopFlag(os.path.join(self.logs, f"stop{number}"))
        children, checks = [], []
        for i in range(WRITERS):
            directory = os.path.join(self.mount.root, f"round{number}-w{i}")
            log = os.path.join(self.logs, f"r{number}-w{i}")
            os.mkdir(directory)
            if i % 2 == 0:
                os.setxattr(directory, "user.varve.keep", b"none")
            children.append(Child(Writer(directory, log, seed * 100 + i).run, stop))
            checks.append((crash_load.check, directory, log))
        directory = os.path.join(self.mount.root, f"round{number}-trainer")
        log = os.path.join(self.logs, f"r{number}-trainer")
        os.mkdir(directory)
        children.append(Child(Trainer(directory, log).run, stop))
        checks.append((Trainer.check, directory, log))
        return children, checks, stop

    def collect(self, stop):
        """Collections one after the other, until the daemon is dead."""
        while not stop():
            try:
                os.setxattr(self.mount.root, "user.varve.gc", b"thorough")
            except OSError:
                return 0
            time.sleep(0.1)
        return 0

    def test_kill_under_load(self):
        chance = random.Random(harness.seed())
        old, acknowledged, kills = [], 0, 0
        for number in range(harness.scaled(ROUNDS)):
            children, checks, stop = self.start_load(number, harness.seed() + number)
            children.append(Child(self.collect, stop))
            time.sleep(chance.uniform(0.05, 1.0))
            self.mount.kill()
            kills += 1
            # What the kernel passes through still works; those writes count, too.
            time.sleep(0.05)
            stop.set()
            for child in children:
                child.result()
            self.mount.detach()
            if chance.random() < 0.3:
                self.kill_while_recovering()
            self.mount.start()
            for function, directory, log in checks:
                acknowledged += function(directory, log)
            if chance.random() < 0.5:
                self.mount.sync()
                for function, directory, log in checks:
                    function(directory, log)
            if number % 2 == 0:
                self.check_clean()
            old = [*old[-12:], *checks]
        for function, directory, log in old:
            function(directory, log)
        self.check_clean()
        harness.drop_caches()
        for function, directory, log in old:
            function(directory, log)
        print(f"{harness.mode()}: {kills} kills, {acknowledged} acknowledged calls, none lost")
        self.assertGreater(acknowledged, 50 * kills, "the load was too light to prove anything")

    def kill_while_recovering(self):
        mount = subprocess.Popen([harness.program(), "mount", *self.option_arguments(),
                                  self.mount.store, self.mount.root], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while self.mount.pid is None and mount.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        pid = self.mount.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        mount.wait(timeout=30)
        harness.wait_until(lambda: pid is None or not harness.is_our_daemon(pid), 10, "the death")
        self.mount.detach()

    def option_arguments(self):
        return ["-o", ",".join(self.mount.options)] if self.mount.options else []


class Moments(CrashTestCase):
    """Chosen moments instead of random ones."""

    def path(self, name):
        return os.path.join(self.mount.root, name)

    def test_before_anything_was_digested(self):
        data = os.urandom(64 << 20)
        write_file(self.path("big"), data)
        self.mount.kill_and_remount()
        self.assertBytes(self.path("big"), data)
        self.mount.sync()
        harness.drop_caches()
        self.assertBytes(self.path("big"), data)
        self.assertBytes(self.path(".varve/versions/big/0001"), data)
        self.check_clean()
        self.assertBytes(self.path("big"), data)

    def test_every_part_of_a_save(self):
        """Killed after each step of temp + rename."""
        for step in range(6):
            name = self.path(f"model{step}")
            write_file(name, b"old" * 10000)
            data = b"new!" * 10000
            fd = os.open(name + ".tmp", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
            steps = [lambda f=fd: os.ftruncate(f, len(data)), lambda f=fd: os.write(f, data),
                     lambda f=fd: os.close(f), lambda n=name: os.chmod(n + ".tmp", 0o644),
                     lambda n=name: os.rename(n + ".tmp", n)]
            for action in steps[:step]:
                action()
            self.mount.kill()
            if step < 3:
                try:
                    os.close(fd)
                except OSError:
                    pass
            self.mount.detach()
            self.mount.start()
            if step == 5:
                self.assertBytes(name, data)
                self.assertFalse(os.path.exists(name + ".tmp"))
                self.assertBytes(self.path(f".varve/versions/model{step}/0001"), b"old" * 10000)
            else:
                self.assertBytes(name, b"old" * 10000)
                size = os.stat(name + ".tmp").st_size
                self.assertEqual(size, len(data) if step else 0)
                if step >= 2:
                    self.assertBytes(name + ".tmp", data)
        self.check_clean()

    def test_synced_mapping(self):
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 1 << 20)
        mapping = mmap.mmap(fd, 1 << 20)
        mapping[0:6] = b"synced"
        mapping.flush()
        mapping[500000:500005] = b"store"
        self.mount.kill()
        mapping.close()
        try:
            os.close(fd)
        except OSError:
            pass
        self.mount.detach()
        self.mount.start()
        data = read_file(self.path("f"))
        self.assertEqual(data[:6], b"synced")
        if harness.mode() == "root":
            self.assertEqual(data[500000:500005], b"store", "passed through, so never lost")

    def test_old_descriptor_beside_the_new_mount(self):
        """An old process may still write; that must not spoil what others do since."""
        path = self.path("f")
        ready, go = Gate(), Gate()

        def old_process():
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            os.write(fd, b"a" * 100000)
            ready.open()
            go.wait()
            written = 0
            try:
                written = os.pwrite(fd, b"LATE" * 1000, 50000)
                os.close(fd)
            except OSError:
                pass
            return written
        child = Child(old_process)
        ready.wait()
        self.mount.kill()
        self.mount.detach()
        self.mount.start()
        self.assertBytes(path, b"a" * 100000)
        write_file(self.path("g"), b"new file")
        go.open()
        child.result()
        late = b"a" * 50000 + b"LATE" * 1000 + b"a" * 46000
        self.assertIn(read_file(path), (b"a" * 100000, late))
        self.mount.sync()
        self.assertIn(read_file(path), (b"a" * 100000, late))
        write_file(path, b"replaced")
        self.assertBytes(path, b"replaced")
        self.check_clean()
        self.assertBytes(path, b"replaced")
        self.assertBytes(self.path("g"), b"new file")

    def test_removed_open_files_are_forgotten(self):
        fds = []
        for i in range(20):
            fds.append(os.open(self.path(f"f{i}"), os.O_CREAT | os.O_RDWR))
            os.write(fds[-1], b"x" * 100000)
            os.unlink(self.path(f"f{i}"))
        self.mount.kill()
        for fd in fds:
            try:
                os.close(fd)
            except OSError:
                pass
        self.mount.detach()
        self.mount.start()
        self.assertEqual(os.listdir(self.mount.root), [])
        self.check_clean()

    def test_dead_mount_says_so(self):
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        self.mount.kill()
        self.assertRaises(OSError, os.listdir, self.mount.root)
        self.assertRaises(OSError, os.open, self.path("g"), os.O_CREAT | os.O_WRONLY)
        try:
            os.close(fd)
        except OSError:
            pass
        # The next mount cleans the dead mount point up by itself.
        self.mount.start()
        self.assertEqual(os.listdir(self.mount.root), ["f"])

    def test_inode_numbers_survive(self):
        before = {}
        for i in range(50):
            write_file(self.path(f"f{i}"), b"x")
            before[f"f{i}"] = os.stat(self.path(f"f{i}")).st_ino
        os.rename(self.path("f1"), self.path("g1"))
        before["g1"] = before.pop("f1")
        self.mount.kill_and_remount()
        after = {name: os.stat(self.path(name)).st_ino for name in os.listdir(self.mount.root)}
        self.assertEqual(after, before)
        for i in range(20):
            write_file(self.path(f"new{i}"), b"x")
            self.assertNotIn(os.stat(self.path(f"new{i}")).st_ino, before.values())

    def test_times_and_attributes_survive(self):
        path = self.path("f")
        write_file(path, b"data")
        os.setxattr(path, "user.loss", b"0.5")
        os.chmod(path, 0o640)
        os.utime(path, ns=(123456789, 987654321))
        os.symlink("f", self.path("s"))
        os.mkfifo(self.path("p"))
        before = os.stat(path)
        self.mount.kill_and_remount()
        after = os.stat(path)
        for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_ino",
                      "st_mtime_ns", "st_ctime_ns"):
            self.assertEqual((field, getattr(after, field)), (field, getattr(before, field)))
        self.assertEqual(os.getxattr(path, "user.loss"), b"0.5")
        self.assertEqual(os.readlink(self.path("s")), "f")

    def test_writes_without_sync_by_a_process_that_died_too(self):
        def write_and_die():
            fd = os.open(self.path("f"), os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"acknowledged" * 1000)
            os.kill(self.mount.pid, signal.SIGKILL)
        in_child(write_and_die)
        self.mount.detach()
        harness.wait_until(lambda: self.mount.pid is None, 10, "the death of the daemon")
        self.mount.start()
        self.assertBytes(self.path("f"), b"acknowledged" * 1000)

    def test_kill_in_the_middle_of_umount(self):
        data = os.urandom(32 << 20)
        write_file(self.path("f"), data)
        umount = subprocess.Popen([harness.program(), "umount", self.mount.root],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.03)
        if self.mount.pid is not None:
            os.kill(self.mount.pid, signal.SIGKILL)
        umount.wait(timeout=60)
        harness.wait_until(lambda: self.mount.pid is None, 10, "the death of the daemon")
        self.mount.detach()
        self.mount.start()
        self.assertBytes(self.path("f"), data)
        self.check_clean()


if __name__ == "__main__":
    harness.main()
