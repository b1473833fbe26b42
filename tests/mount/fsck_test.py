"""varve fsck on stores of real mounts: clean ones, killed ones, and ones that lost a part."""

import errno
import glob
import json
import os
import shutil
import stat
import subprocess
import time

import harness
from harness import MountTestCase, needs_root, read_file, write_file

DONE, FAILED, USAGE, DAMAGED = 0, 1, 2, 5


class FsckTestCase(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory has no fsck")
        super().setUp()
        self.mount = self.own_mount()
        self.dir = self.mount.root

    def fsck(self, *options, code=DONE, says=()):
        done = subprocess.run([harness.program(), "fsck", *options, self.mount.store],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, text)
        for part in says:
            self.assertIn(part, text)
        return done.stdout.decode(errors="replace")

    def fill(self):
        """A tree with something of everything."""
        os.makedirs(self.path("run/checkpoint-1"))
        write_file(self.path("run/checkpoint-1/model"), os.urandom(3 << 20))
        write_file(self.path("run/checkpoint-1/config"), b"{}")
        os.link(self.path("run/checkpoint-1/config"), self.path("run/config"))
        os.symlink("checkpoint-1", self.path("run/latest"))
        for i in range(4):
            write_file(self.path("run/last.pt"), os.urandom(200_000 + i))
        os.setxattr(self.path("run/last.pt"), "user.loss", b"0.25")
        write_file(self.path("run/removed"), b"removed")
        os.unlink(self.path("run/removed"))
        with open(self.path("sparse"), "wb") as file:
            file.truncate(1 << 20)
            file.seek(300_000)
            file.write(b"data")
        os.chmod(self.path("run/checkpoint-1"), 0o750)
        os.mkfifo(self.path("fifo"))
        os.utime(self.path("run/checkpoint-1/config"), ns=(10**18, 1234567890123456789))

    def snapshot(self):
        """All that a user can see: attributes, bytes, properties and versions."""
        seen = {}
        for directory, directories, files in os.walk(self.dir):
            for name in [".", *directories, *files]:
                path = os.path.normpath(os.path.join(directory, name))
                status = os.lstat(path)
                seen[path] = [status.st_mode, status.st_nlink, status.st_uid, status.st_gid,
                              status.st_size, status.st_mtime_ns, status.st_ino]
                if stat.S_ISLNK(status.st_mode):
                    seen[path].append(os.readlink(path))
                if stat.S_ISREG(status.st_mode):
                    seen[path].append(hash(read_file(path)))
                if not stat.S_ISLNK(status.st_mode):
                    seen[path].append({name: os.getxattr(path, name) for name in os.listxattr(path)})
            versions = os.path.join(directory, ".varve", "versions")
            for name in os.listdir(versions):
                for number in os.listdir(os.path.join(versions, name)):
                    path = os.path.join(versions, name, number)
                    seen[path] = [os.stat(path).st_mtime_ns, hash(read_file(path))]
        return seen

    def lose_index(self):
        for name in ("index", "log"):
            shutil.rmtree(os.path.join(self.mount.store, name))


class Sound(FsckTestCase):
    def test_after_umount(self):
        self.fill()
        self.mount.stop()
        self.fsck(says=["clean"])
        self.fsck("--verify-data", says=["clean"])
        report = json.loads(self.fsck("--json"))
        self.assertTrue(report["clean"])
        self.assertEqual([report["directories"], report["damages"], report["findings"]], [3, 0, []])
        self.assertEqual(report["versions"], 9)

    def test_after_a_kill(self):
        self.fill()
        fd = os.open(self.path("open"), os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"not closed")
        before = self.snapshot()
        self.mount.kill()
        self.mount.detach()
        try:
            os.close(fd)
        except OSError:
            pass
        self.fsck(says=["clean"])
        self.fsck("--repair", says=["clean"])
        self.mount.start()
        after = self.snapshot()
        # The open file was captured, and that is all.
        self.assertEqual({path: after[path] for path in before}, before)

    def test_in_use(self):
        text = subprocess.run([harness.program(), "fsck", self.mount.store], capture_output=True,
                              timeout=60, check=False)
        self.assertEqual(text.returncode, FAILED)
        self.assertIn(self.mount.root, text.stderr.decode())
        write_file(self.path("still"), b"works")

    def test_bad_input(self):
        for arguments, code in (((), USAGE), (("--nonsense", self.mount.store), USAGE),
                                (("/nonexistent",), FAILED), ((self.mount.root,), FAILED)):
            done = subprocess.run([harness.program(), "fsck", *arguments], capture_output=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertNotEqual(done.stderr, b"")


class Damaged(FsckTestCase):
    def test_index_and_log_lost(self):
        self.fill()
        self.mount.sync()
        before = self.snapshot()
        self.mount.stop()
        self.lose_index()
        code, text = self.mount.command("mount", self.mount.store, self.mount.root, check=False)
        self.assertNotEqual(code, DONE)
        self.assertIn("--rebuild-index", text)
        self.fsck(code=DAMAGED, says=["--rebuild-index"])
        self.fsck("--rebuild-index", code=DAMAGED, says=["made anew", "all repaired"])
        self.fsck("--verify-data", says=["clean"])
        self.mount.start()
        self.assertEqual(self.snapshot(), before)
        write_file(self.path("run/last.pt"), b"version 5")
        self.assertBytes(self.path("run/.varve/versions/last.pt/0005"), b"version 5")
        self.mount.sync()
        before = self.snapshot()
        self.mount.stop()
        self.fsck("--rebuild-index", says=["index.old-1", "clean"])
        self.mount.start()
        self.assertEqual(self.snapshot(), before)

    def test_index_lost_after_a_kill(self):
        """What was committed is there, also what still was in staging files."""
        self.fill()
        os.sync()
        self.mount.command("sync", self.path("run/last.pt"))
        before = self.snapshot()
        self.mount.kill()
        self.mount.detach()
        self.lose_index()
        self.fsck("--rebuild-index", code=DAMAGED)
        self.mount.start()
        for path in ("run/last.pt", "run/config", "run/.varve/versions/last.pt/0002"):
            path = self.path(path)
            self.assertIn(hash(read_file(path)), before[path], path)

    def test_pack_damaged(self):
        write_file(self.path("good"), os.urandom(1 << 20))
        self.mount.sync()
        self.mount.remount()
        write_file(self.path("bad"), os.urandom(4 << 20))
        self.mount.sync()
        self.mount.stop()
        shutil.rmtree(os.path.join(self.mount.store, "stage"))
        pack = max(glob.glob(os.path.join(self.mount.store, "packs", "*.pack")), key=os.path.getsize)
        with open(pack, "r+b") as file:
            file.seek(os.path.getsize(pack) // 2)
            file.write(b"\xde\xad\xbe\xef")
        self.fsck("--verify-data", code=DAMAGED, says=["/bad lacks", os.path.basename(pack)[:8]])
        self.fsck("--repair", "--verify-data", code=DAMAGED, says=["all repaired"])
        self.fsck("--verify-data", says=["clean", "known"])
        self.mount.start()
        self.assertErrno(errno.EIO, read_file, self.path("bad"))
        self.assertEqual(os.getxattr(self.path("bad"), "user.varve.complete"), b"0")
        self.assertIn(b"damaged", os.getxattr(self.path("bad"), "user.varve.incomplete"))
        self.assertEqual(len(read_file(self.path("good"))), 1 << 20)
        with open(self.path("bad"), "rb") as file:
            self.assertEqual(len(file.read(4096)), 4096)
        write_file(self.path("bad"), b"new")
        self.assertBytes(self.path("bad"), b"new")

    def test_superblock_lost(self):
        write_file(self.path("a"), b"a")
        self.mount.stop()
        os.unlink(os.path.join(self.mount.store, "superblock"))
        code, text = self.mount.command("mount", self.mount.store, self.mount.root, check=False)
        self.assertNotEqual(code, DONE)
        self.assertIn("varve fsck --repair", text)
        self.fsck(code=DAMAGED, says=["superblock"])
        self.fsck("--repair", code=DAMAGED, says=["all repaired"])
        self.fsck()
        self.mount.start()
        self.assertBytes(self.path("a"), b"a")


@needs_root
class Large(FsckTestCase):
    def test_memory_and_time(self):
        """Scales with the number of files; the measured figures are printed."""
        count = harness.scaled(2000)
        for i in range(count):
            if i % 1000 == 0:
                os.mkdir(self.path(f"d{i}"))
            os.mknod(self.path(f"d{i // 1000 * 1000}", f"f{i}"))
        self.mount.stop()
        begin = time.monotonic()
        with subprocess.Popen([harness.program(), "fsck", self.mount.store],
                              stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, DONE)
        print(f"{count} files: {usage.ru_maxrss} KiB, {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    harness.main()
