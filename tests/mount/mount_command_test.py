"""varve mount and varve umount: how a mount begins and ends, and what is said when it cannot."""

import json
import os
import signal
import subprocess

import harness
from harness import MountTestCase, needs_root, read_file, write_file
from mounts import wait_until

DONE, FAILED, USAGE, NOT_MOUNTED, INCOMPLETE = 0, 1, 2, 3, 4


class MountCommandTestCase(MountTestCase):
    uses_shared_mount = False

    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory has no commands")
        super().setUp()

    def varve(self, *args, code=DONE, program=None):
        """Runs the program, its output in pipes; returns (standard output, standard error)."""
        done = subprocess.run([program or harness.program(), *args], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, check=False)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, f"{args}: {out}{err}")
        return out, err

    def refused(self, *args, code=FAILED, says=(), program=None):
        out, err = self.varve(*args, code=code, program=program)
        self.assertEqual(out, "")
        self.assertTrue(err.startswith("varve: "), err)
        for part in says:
            self.assertIn(part, err)
        return err

    def helper(self, name="mount.fuse.varvefs"):
        """The program under the name that mount(8) calls."""
        link = os.path.join(os.getcwd(), f"{self._testMethodName}-{name}")
        os.makedirs(link)
        link = os.path.join(link, name)
        os.symlink(harness.program(), link)
        return link


class Refusals(MountCommandTestCase):
    def test_mount_point(self):
        mount = self.own_mount(start=False)
        missing = mount.root + "/missing"
        self.refused("mount", mount.store, missing, says=[missing, "does not exist"])
        write_file(mount.root + "/file", b"")
        self.refused("mount", mount.store, mount.root + "/file", says=["is not a directory"])

    def test_store(self):
        mount = self.own_mount(start=False)
        self.refused("mount", mount.root, mount.root, says=["lies in the mount point"])
        self.refused("mount", mount.root + "/store", mount.root, says=["lies in the mount point"])
        os.mkdir(mount.store + "/mnt")
        self.refused("mount", mount.store, mount.store + "/mnt", says=["lies in the store"])
        os.rmdir(mount.store + "/mnt")
        write_file(mount.root + "/file", b"")
        self.refused("mount", mount.root + "/file", mount.root + "/..", says=[])
        self.refused("mount", mount.store + "/none/none", mount.root, says=["does not exist"])
        write_file(mount.store + "/letter", b"not a store")
        self.refused("mount", mount.store, mount.root, says=[mount.store])
        self.assertEqual(read_file(mount.store + "/letter"), b"not a store")

    def test_store_that_is_a_file(self):
        mount = self.own_mount(start=False)
        write_file(mount.store + ".file", b"")
        self.refused("mount", mount.store + ".file", mount.root, says=["is not a directory"])

    def test_options(self):
        mount = self.own_mount(start=False)
        self.refused("mount", "-o", "quick", mount.store, mount.root, code=USAGE, says=["quick"])
        self.refused("mount", "-o", "threads=no", mount.store, mount.root, code=USAGE, says=["threads=no"])
        self.varve("mount", mount.store, code=USAGE)
        self.varve("mount", "-x", mount.store, mount.root, code=USAGE)

    def test_mounted_already(self):
        mount = self.own_mount()
        other = mount.root + "-other"
        os.mkdir(other)
        self.refused("mount", mount.store, other, says=["is mounted at " + mount.root, str(mount.pid)])
        self.refused("mount", mount.store + "2", mount.root, says=["is mounted at " + mount.root])
        self.refused("mount", mount.root + "/store", other, says=["lies in the VarveFS mount"])


class BeginAndEnd(MountCommandTestCase):
    def test_returns_when_it_is_live(self):
        mount = self.own_mount(start=False)
        options = ["-o", ",".join(mount.options)] if mount.options else []
        for _ in range(3):
            self.varve("mount", *options, mount.store, mount.root)
            write_file(mount.root + "/file", b"text")
            out, _ = self.varve("umount", "--json", mount.root)
            done = json.loads(out)
            self.assertTrue(done["unmounted"] and done["complete"], out)
            self.assertEqual(done["mount_point"], mount.root)
            self.assertIsNone(mount.pid)
            self.assertEqual(os.listdir(mount.root), [])
        self.assertEqual(os.stat(mount.store).st_mode & 0o777, 0o700)

    def test_a_store_is_created(self):
        mount = self.own_mount(start=False)
        os.rmdir(mount.store)
        mount.start()
        write_file(mount.root + "/file", b"text")
        self.assertEqual(read_file(mount.remount().root + "/file"), b"text")

    def test_names_with_odd_characters(self):
        mount = self.own_mount(start=False)
        odd = os.path.dirname(mount.root) + "/a, b\\c\td"
        mount.store, mount.root = odd + " store", odd + " mnt"
        os.mkdir(mount.root)
        mount.start()
        write_file(mount.root + "/file", b"text")
        mount.stop()
        self.assertEqual(os.listdir(mount.root), [])

    def test_a_new_mount_waits_for_the_old_daemon(self):
        mount = self.own_mount()
        for i in range(20):
            write_file(f"{mount.root}/file{i}", os.urandom(4 << 20))
        mount.detach()
        mount.start()
        self.assertEqual(len(os.listdir(mount.root)), 20)

    def test_sigterm_unmounts(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            mount = self.own_mount()
            write_file(mount.root + "/file", b"text")
            os.kill(mount.pid, number)
            wait_until(lambda m=mount: m.pid is None, 20, "the end of the daemon")
            self.assertFalse(os.path.ismount(mount.root))
            self.assertEqual(read_file(mount.start().root + "/file"), b"text")

    def test_sigterm_unmounts_what_is_in_use(self):
        mount = self.own_mount()
        file = os.open(mount.root + "/file", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"text")
        os.kill(mount.pid, signal.SIGTERM)
        wait_until(lambda: mount.pid is None, 20, "the end of the daemon")
        self.assertErrno(107, os.close, file)  # ENOTCONN
        self.assertFalse(os.path.ismount(mount.root))
        self.assertEqual(read_file(mount.start().root + "/file"), b"text")

    def test_foreground(self):
        mount = self.own_mount(start=False)
        options = ["-o", ",".join(mount.options)] if mount.options else []
        with subprocess.Popen([harness.program(), "mount", "-f", *options, mount.store, mount.root],
                              stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: os.path.ismount(mount.root), 20, "the mount")
            write_file(mount.root + "/file", b"text")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(20), DONE)
        self.assertFalse(os.path.ismount(mount.root))

    def test_the_log(self):
        mount = self.own_mount()
        mount.stop()
        self.assertIn("is mounted at " + mount.root, read_file(mount.store + "/varve.log").decode())
        log = mount.store + "-log"
        mount.start("log=" + log)
        mount.stop()
        self.assertIn("is unmounted", read_file(log).decode())

    def test_a_dead_mount_is_taken_away(self):
        mount = self.own_mount()
        write_file(mount.root + "/file", b"text")
        mount.kill()
        self.assertErrno((107, 103), os.stat, mount.root)  # ENOTCONN, ECONNABORTED
        options = ["-o", ",".join(mount.options)] if mount.options else []
        _, err = self.varve("mount", *options, mount.store, mount.root)
        self.assertIn("took away the dead mount", err)
        self.assertEqual(read_file(mount.root + "/file"), b"text")
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            self.assertEqual(sum(mount.root in line for line in file), 1)

    def test_a_dead_mount_elsewhere_is_taken_away(self):
        mount = self.own_mount()
        write_file(mount.root + "/file", b"text")
        mount.kill()
        before, mount.root = mount.root, mount.root + "-new"
        os.mkdir(mount.root)
        mount.start()
        self.assertEqual(os.listdir(before), [])
        self.assertEqual(read_file(mount.root + "/file"), b"text")

    def test_umount_takes_a_dead_mount_away(self):
        mount = self.own_mount()
        mount.kill()
        self.varve("umount", mount.root)
        self.assertFalse(os.path.ismount(mount.root))

    @needs_root
    def test_remount_read_only(self):
        mount = self.own_mount()
        write_file(mount.root + "/file", b"text")
        self.varve("mount", "-o", "remount,ro", mount.store, mount.root)
        self.assertErrno(30, write_file, mount.root + "/file", b"new")  # EROFS
        # As mount(8) calls it: with all that the kernel shows of the mount.
        shown = "rw,remount,relatime,user_id=0,group_id=0,default_permissions,allow_other,max_read=1048576"
        self.varve(mount.store, mount.root, "-o", shown, program=self.helper())
        write_file(mount.root + "/file", b"newer")
        self.varve("mount", "-o", "remount,rw", mount.store, mount.root)
        write_file(mount.root + "/file", b"new")


class Umount(MountCommandTestCase):
    def test_what_is_not_mounted(self):
        self.refused("umount", os.getcwd(), code=NOT_MOUNTED, says=["is in no VarveFS mount"])
        self.refused("umount", "/none/none", code=NOT_MOUNTED)

    def test_a_path_inside(self):
        mount = self.own_mount()
        os.mkdir(mount.root + "/d")
        self.refused("umount", mount.root + "/d", code=NOT_MOUNTED, says=["is no mount point", mount.root])

    def test_busy_names_who(self):
        mount = self.own_mount()
        with subprocess.Popen(["sleep", "60"], cwd=mount.root) as sleeper:
            self.refused("umount", mount.root, says=[f"is in use by sleep (process {sleeper.pid})"])
            self.assertTrue(os.path.ismount(mount.root))
            sleeper.kill()
        self.varve("umount", mount.root)

    def test_lazy(self):
        mount = self.own_mount()
        with open(mount.root + "/file", "wb", buffering=0) as file:
            self.varve("umount", "-l", mount.root)
            self.assertFalse(os.path.ismount(mount.root))
            file.write(b"still open")
        wait_until(lambda: mount.pid is None, 20, "the end of the daemon")
        self.assertEqual(read_file(mount.start().root + "/file"), b"still open")

    def test_everything_is_stored(self):
        mount = self.own_mount()
        data = os.urandom(32 << 20)
        write_file(mount.root + "/file", data)
        self.varve("umount", "--timeout", "60", mount.root)
        mount.start()
        self.assertEqual(mount.status()["pending"]["files"], 0)
        self.assertEqual(read_file(mount.root + "/file"), data)


class Helper(MountCommandTestCase):
    def test_as_mount_calls_it(self):
        mount = self.own_mount(start=False)
        program = self.helper()
        options = ",".join(["rw", "noauto", "x-test.a=b", *mount.options])
        self.varve(mount.store, mount.root, "-n", "-v", "-o", options, program=program)
        self.assertTrue(os.path.ismount(mount.root))
        mount.stop()
        self.varve("-o", options, mount.store, mount.root, program=program)
        mount.stop()

    def test_fake_mounts_nothing(self):
        mount = self.own_mount(start=False)
        self.varve(mount.store, mount.root, "-f", program=self.helper("mount.varvefs"))
        self.assertFalse(os.path.ismount(mount.root))

    def test_exit_codes_of_mount(self):
        mount = self.own_mount(start=False)
        program = self.helper()
        self.refused(mount.store, mount.root + "/none", code=32, program=program, says=["does not exist"])
        self.refused(mount.store, mount.root, "-o", "quick", code=1, program=program, says=["quick"])
        self.refused(mount.store, code=1, program=program, says=["usage"])
        self.varve(mount.store, mount.root, "-s", "-f", "-o", "quick", program=program)


if __name__ == "__main__":
    harness.main(modes=("root", "user"))
