"""The commands that talk to a mount: status, stats, log, restore, sync; and what they say when they cannot."""

import calendar
import json
import os
import re
import stat
import subprocess
import time

import checkpoint_writers as writers
import harness
from harness import MountTestCase, needs_root, read_file, wait_until, write_file
from processes import as_user

DONE, FAILED, USAGE, NOT_MOUNTED, INCOMPLETE = 0, 1, 2, 3, 4


class CommandTestCase(MountTestCase):
    def setUp(self):
        if harness.NATIVE:
            self.skipTest("a plain directory has no commands")
        super().setUp()

    def varve(self, *args, code=DONE, **options):
        """Runs the program; returns (standard output, standard error)."""
        done = subprocess.run([harness._STATE.program, *args], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, check=False, **options)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, f"varve {' '.join(args)}: {out}{err}")
        return out, err

    def error(self, *args, code=FAILED, **options):
        """The sentence of a command that must fail."""
        out, err = self.varve(*args, code=code, **options)
        self.assertEqual(out, "")
        self.assertTrue(err.startswith("varve: "), err)
        return err

    def json(self, *args):
        return json.loads(self.varve(*args)[0])

    def save(self, name, data, when=None):
        path = self.path(name)
        write_file(path, data)
        if when is not None:
            os.utime(path, (when, when))
        return path

    def versions(self, path):
        return self.json("log", "--json", path)["versions"]


class Status(CommandTestCase):
    def test_json_is_the_daemons_own(self):
        by_command = self.json("status", "--json", self.dir)
        by_path = json.loads(read_file(os.path.join(self.dir, ".varve", "status")))
        self.assertEqual(by_command.keys(), by_path.keys())
        for group in ("fast_paths", "space", "savings", "pending", "durability", "counters", "recovery", "daemon"):
            self.assertIn(group, by_command)
        self.assertEqual(by_command["daemon"]["pid"], self.mount.pid)
        self.assertEqual(by_command["mount_point"], self.mount.root)

    def test_for_people(self):
        out, _ = self.varve("status", self.mount.root)
        for word in ("VarveFS", "passthrough", "pending", "recovery", self.mount.store):
            self.assertIn(word, out)

    def test_passthrough_is_told_with_its_reason(self):
        path = self.json("status", "--json", self.mount.root)["fast_paths"]["passthrough"]
        self.assertEqual(path["on"], path["reason"] == "")
        if harness.mode() != "root":
            self.assertFalse(path["on"])

    def test_the_store_names_its_mount(self):
        self.assertIn(self.mount.root, self.varve("status", self.mount.store)[0])

    def test_the_working_directory_is_the_default(self):
        self.assertIn(self.mount.root, self.varve("status", cwd=self.dir)[0])

    def test_a_dead_daemon_is_told_with_the_remedy(self):
        mount = self.own_mount()
        write_file(os.path.join(mount.root, "a"), b"x")
        mount.kill()
        for command in (["status"], ["stats"], ["log"], ["sync"]):
            sentence = self.error(*command, os.path.join(mount.root, "a"), code=NOT_MOUNTED)
            self.assertIn("varve mount", sentence)

    def test_space_and_savings_count(self):
        data = os.urandom(3 << 20)
        mount = self.own_mount()
        for name in ("a", "b", "c"):
            write_file(os.path.join(mount.root, name), data)
        mount.sync()
        status = mount.status()
        self.assertEqual(status["pending"]["files"], 0)
        self.assertGreaterEqual(status["savings"]["logical_bytes"], 9 << 20)
        self.assertLess(status["savings"]["stored_bytes"], 4 << 20)
        self.assertGreater(status["savings"]["ratio"], 2)
        stats = self.json("stats", "--json", mount.root)
        self.assertEqual((stats["files"], stats["versions"], stats["logical_bytes"]), (3, 3, 9 << 20))
        self.assertGreater(stats["store"]["saved_bytes"], 5 << 20)
        stats = self.json("stats", "--json", os.path.join(mount.root, "a"))
        self.assertEqual((stats["files"], stats["versions"]), (1, 1))


class Log(CommandTestCase):
    def test_lists_what_was_captured(self):
        start = time.time()
        path = self.save("model.safetensors", writers.safetensors_bytes(writers.tensors_of(1)))
        data = writers.safetensors_bytes(writers.tensors_of(2))
        self.save("model.safetensors", data[:len(data) // 2])
        self.mount.sync(path)
        first, second = self.versions(path)
        self.assertEqual((first["version"], second["version"]), (1, 2))
        self.assertEqual(second["size_bytes"], len(data) // 2)
        self.assertTrue(first["complete"] and first["durable"])
        self.assertFalse(second["complete"])
        self.assertTrue(second["incomplete"])
        self.assertEqual(first["format"], "safetensors")
        self.assertBytes(second["path"], data[:len(data) // 2])
        captured = time.strptime(first["captured"][:19], "%Y-%m-%dT%H:%M:%S")
        self.assertLess(abs(calendar.timegm(captured) - start), 30)
        out, _ = self.varve("log", path)
        self.assertEqual(len(out.splitlines()), 3)
        self.assertIn("NO: ", out.splitlines()[2])

    def test_of_a_directory(self):
        os.mkdir(self.path("run"))
        self.save("run/model.safetensors", b"12345")
        os.mkdir(self.path("run/.varve/history/before"))
        log = self.json("log", "--json", self.path("run"))
        self.assertEqual(log["directory"], self.path("run"))
        version = log["versions"][-1]
        self.assertEqual((version["reason"], version["pins"], version["complete"]),
                         ("pinned", ["before"], False))
        self.assertBytes(version["path"] + "/model.safetensors", b"12345")
        out, _ = self.varve("log", self.path("run"))
        self.assertIn("before", out)

    def test_of_a_removed_file(self):
        path = self.save("gone.pt", b"bytes")
        os.unlink(path)
        self.assertEqual(len(self.versions(path)), 1)

    def test_says_what_is_missing(self):
        self.assertIn("no version of it", self.error("log", self.path("never")))
        os.mkdir(self.path("fresh"))
        self.assertIn("mkdir", self.error("log", self.path("fresh")))
        sentence = self.error("log", self.path("nowhere", "model.pt"))
        self.assertIn("mkdir -p", sentence)

    def test_names_that_terminals_obey(self):
        path = self.save("a\x1b[31m\nb", b"x")
        out, _ = self.varve("restore", "-n", "1", path)
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\x1b", self.error("log", self.path("\x1b[31m")))


class RestoreDirectory(CommandTestCase):
    def test_a_version_of_it(self):
        top = self.path("run")
        os.makedirs(top + "/sub")
        self.make("run/sub/model.pt", b"first", 0o640)
        os.link(top + "/sub/model.pt", top + "/linked")
        os.symlink("sub/model.pt", top + "/latest")
        os.setxattr(top + "/linked", "user.loss", b"1.5")
        os.mkdir(top + "/.varve/history/good")
        expected = os.stat(top + "/sub")
        os.remove(top + "/linked")
        self.make("run/sub/model.pt", b"second")
        self.assertIn("--to", self.error("restore", top))
        self.varve("restore", "-n", "1", "--to", self.path("again"), top)
        again = self.path("again")
        self.assertBytes(again + "/sub/model.pt", b"first")
        self.assertEqual(os.stat(again + "/linked").st_ino, os.stat(again + "/sub/model.pt").st_ino)
        self.assertEqual(os.stat(again + "/linked").st_mode & 0o777, 0o640)
        self.assertEqual(os.getxattr(again + "/linked", "user.loss"), b"1.5")
        self.assertEqual(os.readlink(again + "/latest"), "sub/model.pt")
        self.assertEqual(os.stat(again + "/sub").st_mtime_ns, expected.st_mtime_ns)
        self.assertIn("exists", self.error("restore", "-n", "1", "--to", again, top))
        self.assertIn("v1", self.error("restore", "-n", "99", "--to", self.path("other"), top))
        self.assertEqual([name for name in os.listdir(self.dir) if name.startswith(".")], [])


class Restore(CommandTestCase):
    def setUp(self):
        super().setUp()
        self.contents = [os.urandom(100_000 + i) for i in range(3)]

    def save_all(self, name="last.pt"):
        for i, data in enumerate(self.contents):
            path = self.save(name, data)
            os.chmod(path, 0o640 + i)
        self.mount.sync(path)
        return path

    def test_goes_back_to_a_number(self):
        path = self.save_all()
        out, _ = self.varve("restore", "-n", "1", path)
        self.assertIn("version 1", out)
        self.assertBytes(path, self.contents[0])
        self.mount.sync(path)
        self.assertEqual(len(self.versions(path)), 4)
        self.assertBytes(self.versions(path)[2]["path"], self.contents[2])
        self.assertEqual(os.listdir(self.dir), ["last.pt"], "a temporary file was left")

    def test_keeps_mode_and_time(self):
        path = self.path("a")
        write_file(path, b"one")
        os.chmod(path, 0o750)
        os.utime(path, ns=(10 ** 18, 10 ** 18 + 123456789))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.close(fd)
        os.rename(path, path + ".old")
        os.rename(path + ".old", path)
        number = self.versions(path)[-1]["version"]
        version = self.versions(path)[-1]["path"]
        mode, mtime = os.getxattr(version, "user.varve.mode"), os.getxattr(version, "user.varve.mtime")
        os.unlink(path)
        self.varve("restore", "-n", str(number), path)
        after = os.stat(path)
        self.assertEqual(stat.S_IMODE(after.st_mode), int(mode, 8))
        self.assertEqual(after.st_mtime_ns, int(mtime.replace(b".", b"")))

    def test_a_removed_file_comes_back_by_its_name_alone(self):
        path = self.save_all()
        os.unlink(path)
        self.varve("restore", path)
        self.assertBytes(path, self.contents[2])

    def test_refuses_to_guess(self):
        path = self.save_all()
        self.assertIn("-n N", self.error("restore", path))
        self.assertIn("there are 1 to 3", self.error("restore", "-n", "9", path))
        self.assertBytes(path, self.contents[2])

    def test_to_another_place(self):
        path = self.save_all()
        outside = os.path.join(os.path.dirname(self.mount.root), "out-" + self._testMethodName)
        self.varve("restore", "-n", "2", "--to", outside, path)
        self.assertBytes(outside, self.contents[1])
        self.assertIn("--force", self.error("restore", "-n", "1", "--to", outside, path))
        self.assertBytes(outside, self.contents[1])
        self.varve("restore", "-n", "1", "--force", "--to", outside, path)
        self.assertBytes(outside, self.contents[0])
        os.mkdir(self.path("folder"))
        self.varve("restore", "-n", "2", "--to", self.path("folder"), path)
        self.assertBytes(self.path("folder", "last.pt"), self.contents[1])

    def test_by_time(self):
        path = self.save("a", b"old")
        self.mount.sync(path)
        time.sleep(1.1)
        now = time.time()
        time.sleep(1.1)
        self.save("a", b"new")
        self.varve("restore", "--at", f"@{int(now)}", path)
        self.assertBytes(path, b"old")
        self.assertIn("is that old", self.error("restore", "--at", "2 days ago", path))
        self.assertIn("no time", self.error("restore", "--at", "yesterday", path))

    def test_the_latest_complete_one(self):
        data = [writers.safetensors_bytes(writers.tensors_of(i)) for i in range(2)]
        path = self.save("m.safetensors", data[0])
        self.mount.sync(path)
        self.save("m.safetensors", data[1][:-100])
        self.mount.sync(path)
        self.varve("restore", "--latest-complete", path)
        self.assertBytes(path, data[0])

    def test_whoever_reads_the_old_file_goes_on(self):
        path = self.save_all()
        with open(path, "rb") as file:
            self.varve("restore", "-n", "1", path)
            self.assertEqual(file.read(), self.contents[2])

    @needs_root
    def test_only_for_whom_it_is_open(self):
        if harness.mode() == "user":
            self.skipTest("needs two users")
        path = self.save("secret", b"x")
        os.chmod(path, 0o600)
        self.save("secret", b"y")
        target = f"/tmp/varve-cli-test-{os.getpid()}"
        program = harness._STATE.program

        def attempt():
            return subprocess.run([program, "restore", "-n", "1", "--to", target, path], capture_output=True,
                                  check=False).returncode
        self.assertNotEqual(as_user(65534, attempt), 0)
        self.assertFalse(os.path.exists(target))


class Sync(CommandTestCase):
    def durable(self, path):
        return os.getxattr(path, "user.varve.durable")

    def test_a_file_is_durable_after_it(self):
        path = self.save("a", os.urandom(2 << 20))
        self.varve("sync", path)
        self.assertEqual(self.durable(path), b"1")
        self.assertEqual(self.versions(path)[-1]["durable"], True)

    def test_a_directory_leaves_nothing_pending(self):
        for i in range(50):
            self.save(f"file{i}", os.urandom(10_000))
        self.varve("sync", self.dir)
        self.assertEqual(self.mount.status()["pending"]["files"], 0)

    def test_several_paths(self):
        paths = [self.save(name, b"x" * 1000) for name in ("a", "b")]
        self.varve("sync", *paths, self.dir)
        self.assertEqual([self.durable(path) for path in paths], [b"1", b"1"])

    def test_an_empty_file(self):
        self.varve("sync", self.save("empty", b""))

    def test_a_file_that_is_open_is_captured_as_it_is(self):
        with open(self.path("log"), "wb", buffering=0) as file:
            file.write(b"first line\n")
            self.varve("sync", self.path("log"))
            self.assertBytes(self.versions(self.path("log"))[-1]["path"], b"first line\n")

    def test_the_time_limit_is_kept(self):
        big = self.path("big")
        with open(big, "wb") as file:
            for _ in range(192):
                file.write(os.urandom(1 << 20))
        _, err = self.varve("sync", "--timeout", "0", big, code=INCOMPLETE)
        self.assertIn("goes on in the background", err)
        wait_until(lambda: self.durable(big) == b"1", 60, "the sync that goes on")

    def test_what_cannot_be_synced(self):
        self.error("sync", self.path("missing"))
        os.mkfifo(self.path("pipe"))
        self.assertIn("neither a file nor a directory", self.error("sync", self.path("pipe")))


class Sentences(CommandTestCase):
    def test_outside_of_a_mount(self):
        for command in ("status", "stats", "log", "restore", "sync"):
            sentence = self.error(command, "/usr", code=NOT_MOUNTED)
            self.assertIn("/usr", sentence)

    def test_bad_command_lines(self):
        for args in ([], ["nonsense"], ["log"], ["restore"], ["sync"], ["log", "--nonsense", self.dir],
                     ["restore", "-n", "0", self.dir], ["restore", "-n", "x", self.dir],
                     ["restore", "-n", "1", "--at", "14:00", self.dir], ["sync", "--timeout", "-1", self.dir]):
            self.varve(*args, code=USAGE)

    def test_every_command_has_help_with_examples(self):
        out, _ = self.varve("--help")
        for command in ("status", "stats", "log", "restore", "sync"):
            self.assertIn(command, out)
            out_of_command, _ = self.varve(command, "--help")
            self.assertIn("Examples:", out_of_command)
            self.assertIn("Exit status:", out_of_command)
            self.assertTrue(re.search(r"varve " + command, out_of_command))


if __name__ == "__main__":
    harness.main()
