"""Clones of clones, and what lasts: collections, kills, remounts; at random beside a model."""

import errno
import os
import random
import shutil
import time

from clones import CloneTestCase, varve
import harness
from harness import read_file, write_file
from mounts import wait_until
from processes import Child, Gate
from tree_model import TreeModel

MIB = 1 << 20


class Chains(CloneTestCase):
    """Clones of clones, of pins and of captured trees."""

    def test_twenty_deep(self):
        self.grow()
        expected = [{}]
        for level in range(harness.scaled(20)):
            before, after = f"L{level}" if level else "A", f"L{level + 1}"
            self.clone(before, after)
            write_file(self.path(after, f"new{level}"), b"%d" % level)
            with open(self.path(after, "log"), "ab") as file:
                file.write(b"%d\n" % level)
            if level % 5 == 1:
                os.unlink(self.path(after, f"new{level - 1}"))
            if level % 7 == 2:
                os.rename(self.path(after, f"new{level}"), self.path(after, f"sub/new{level}"))
            if level == 9:
                os.unlink(self.path(after, "model"))
            if level == 12:
                write_file(self.path(after, "model"), b"again")
            expected.append(self.contents(after))
            if level % 6 == 5:
                self.mount.kill_and_remount()
        for level in range(1, len(expected)):
            self.assertEqual(self.contents(f"L{level}"), expected[level], level)
        lines = read_file(self.path(f"L{len(expected) - 1}/log")).count(b"\n")
        self.assertEqual(lines, len(expected))
        for level in range(1, len(expected) - 1):  # none needs the one before
            shutil.rmtree(self.path(f"L{level}"))
        shutil.rmtree(self.path("A"))
        self.mount.command("gc", "--hot", self.dir)
        harness.drop_caches()
        self.assertEqual(self.contents(f"L{len(expected) - 1}"), expected[-1])

    def test_what_waited_under_a_name_is_joined(self):
        """A clone's directory takes a name that had a history; once removed, it has both."""
        os.makedirs(self.path("original/runs"))
        write_file(self.path("original/runs/file"), b"cloned")
        os.makedirs(self.path("again/runs"))
        write_file(self.path("again/runs/file"), b"first")
        shutil.rmtree(self.path("again"))
        self.clone("original", "again")
        write_file(self.path("again/runs/file"), b"second")
        shutil.rmtree(self.path("again/runs"))
        os.mkdir(self.path("again/runs"))
        versions = self.path("again/runs/.varve/versions/file")
        texts = [read_file(os.path.join(versions, name)) for name in sorted(os.listdir(versions))
                 if name != "latest"]
        self.assertEqual((texts[0], texts[-1]), (b"first", b"second"))

    def contents(self, top):
        return {os.path.relpath(os.path.join(path, name), self.path(top)):
                read_file(os.path.join(path, name))
                for path, _, files in os.walk(self.path(top)) for name in files}

    def test_with_many_changes_at_each_level(self):
        """More than a clone takes over from what it is a clone of."""
        os.mkdir(self.path("L0"))
        names = {f"f{i}": b"0" for i in range(700)}
        for name, data in names.items():
            write_file(self.path("L0", name), data)
        r = random.Random(harness.seed())
        all_names = [dict(names)]
        for level in range(1, 6):
            self.clone(f"L{level - 1}", f"L{level}")
            for name in r.sample(sorted(names), 150):
                os.unlink(self.path(f"L{level}", name))
                del names[name]
            for i in range(160):
                name = f"f{r.randrange(700)}" if i % 2 else f"n{level}-{i}"
                write_file(self.path(f"L{level}", name), b"%d" % level)
                names[name] = b"%d" % level
            all_names.append(dict(names))
        for level, expected in enumerate(all_names):
            self.assertEqual(self.contents(f"L{level}"), expected, level)
        self.clone("L5", "last")
        for level in range(6):
            shutil.rmtree(self.path(f"L{level}"))
        self.mount.command("gc", self.dir)
        self.mount.kill_and_remount()
        self.assertEqual(self.contents("last"), all_names[-1])

    def test_of_pins_and_versions(self):
        self.grow()
        before = self.copy_of("A", "before")
        self.pin("A", "p")
        write_file(self.path("A/model"), b"second")
        os.unlink(self.path("A/sub/weights"))
        self.pin("A", "q")
        second = self.copy_of("A", "second")
        shutil.rmtree(self.path("A/sub"))
        for name, original, expected in (
                ("B", "A/.varve/history/p", before), ("C", "A/.varve/history/v1", before),
                ("D", "A/.varve/history/q", second), ("E", "A/.varve/history/latest", second),
                ("F", "A/.varve/history/p/sub", before + "/sub"),
                ("A/sub", "A/.varve/history/p/sub", before + "/sub")):
            with self.subTest(original=original):
                self.clone(original, name)
                self.assertSame(expected, self.path(name))
        varve("clone", self.history("A", "p"), self.path("G"))
        self.assertSame(before, self.path("G"))
        self.assertIn("A", self.clone_of("G"))
        os.rmdir(self.history("A", "p"))
        os.setxattr(self.dir, "user.varve.keep", b"none")
        shutil.rmtree(self.path("A"))
        self.mount.command("gc", "--hot", self.dir)
        harness.drop_caches()
        self.assertSame(before, self.path("B"))
        self.assertSame(before, self.path("C"))
        self.assertSame(second, self.path("E"))
        self.clone("B", "H")
        self.pin("H", "of a clone")
        write_file(self.path("H/model"), b"third")
        self.clone("H/.varve/history/of a clone", "I")
        self.assertSame(before, self.path("I"))
        self.clone("H/.varve/history/v1/sub", "J")
        self.assertSame(before + "/sub", self.path("J"))

    def test_back_to_what_a_clone_was(self):
        self.grow()
        self.clone("A", "B")
        shutil.rmtree(self.path("B/sub"))
        write_file(self.path("B/model"), b"changed")
        before = self.copy_of("A", "before")
        shutil.rmtree(self.path("A"))
        self.clone("B/.varve/history/v1", "C")
        self.assertSame(before, self.path("C"))
        self.clone("C/.varve/history/v1", "A")
        self.assertSame(before, self.path("A"))

    def test_captures_of_a_clone(self):
        self.grow()
        self.clone("A", "B")
        self.pin("B", "as it was")
        write_file(self.path("B/sub/weights"), b"new")
        os.unlink(self.path("B/log"))
        self.pin("B", "changed")
        changed = self.copy_of("B", "changed")
        self.assertSame(self.path("A"), self.history("B", "as it was"))
        os.rename(self.path("B"), self.path("C"))
        shutil.rmtree(self.path("C/sub"))
        self.assertSame(changed, self.history("C", "changed"))
        self.assertSame(self.path("A"), self.history("C", "v1"))
        self.mount.kill_and_remount()
        self.assertSame(changed, self.history("C", "changed"))
        self.assertSame(self.path("A"), self.history("C", "as it was"))
        self.assertEqual(sorted(os.listdir(self.history("C", "changed/sub"))),
                         ["deep", "log2", "weights"])


class Kept(CloneTestCase):
    """What becomes of a clone when time goes by."""

    def setUp(self):
        super().setUp()
        self.grow()
        self.make("A/big", random.Random(7).randbytes(3 * MIB))
        self.before = self.copy_of("A", "before")

    def check(self, top):
        self.assertSame(self.before, self.path(top))

    def test_without_the_original(self):
        os.setxattr(self.dir, "user.varve.keep", b"none")
        for stored in (False, True):
            self.clone("A", "B")
            if stored:
                self.mount.sync()
            shutil.rmtree(self.path("A"))
            self.mount.command("gc", "--hot", self.dir)
            self.mount.command("gc", "--hot", self.dir)
            harness.drop_caches()
            self.check("B")
            self.mount.kill_and_remount()
            self.mount.command("gc", self.dir)
            self.check("B")
            os.rename(self.path("B"), self.path("A"))
            self.check("A")
        self.clone("A", "B")  # nobody looks at it before all the rest is gone
        shutil.rmtree(self.path("A"))
        self.mount.remount()
        self.mount.command("gc", "--hot", self.dir)
        self.check("B")

    def test_without_the_clone(self):
        os.setxattr(self.dir, "user.varve.keep", b"none")
        self.clone("A", "B")
        self.clone("A", "C")
        write_file(self.path("B/model"), b"changed")
        shutil.rmtree(self.path("B"))
        self.assertErrno(errno.ENOENT, os.stat, self.path("B"))
        self.mount.command("gc", "--hot", self.dir)
        self.check("A")
        shutil.rmtree(self.path("C"))
        self.mount.command("gc", "--hot", self.dir)
        self.mount.kill_and_remount()
        self.check("A")
        os.mkdir(self.path("B"))
        self.assertEqual(os.listdir(self.path("B")), [])

    def test_room_comes_back(self):
        # The newest captures of the mount point go with the next one, when it is quiet.
        self.mount.remount("quiet=1")
        os.setxattr(self.dir, "user.varve.keep", b"none")
        self.clone("A", "B")
        shutil.rmtree(self.path("A"))
        self.mount.sync()
        self.mount.command("gc", "--hot", self.dir)
        self.assertGreater(self.pack_bytes(), 3 * MIB)
        shutil.rmtree(self.path("B"))

        def gone():
            self.mount.command("gc", "--hot", self.dir)
            return self.pack_bytes() < MIB
        wait_until(gone, 15, "the room of what nothing shows")

    def pack_bytes(self):
        return self.mount.status()["space"]["pack_bytes"]

    def test_it_takes_no_room(self):
        self.mount.sync()
        before = self.mount.status()["space"]
        for i in range(50):
            self.clone("A", f"B{i}")
        self.check("B7")
        self.mount.sync()
        after = self.mount.status()["space"]
        self.assertLess(after["pack_bytes"] - before["pack_bytes"], 100_000)
        self.assertLess(after["stage_bytes"] - before["stage_bytes"], 100_000)
        self.assertLess(after["index_bytes"] - before["index_bytes"], 2 * MIB)
        with open(self.path("B9/big"), "r+b") as file:
            file.write(b"changed")
        self.mount.sync()
        changed = self.mount.status()["space"]
        self.assertLess(changed["pack_bytes"] - after["pack_bytes"], 500_000)

    def test_remounts_and_kills(self):
        self.clone("A", "B")
        self.clone("A", "C")
        os.stat(self.path("C/sub/weights"))  # one of them has an inode
        write_file(self.path("C/sub/new"), b"new")
        os.unlink(self.path("C/log"))
        for again in (self.mount.kill_and_remount, self.mount.remount,
                      self.mount.kill_and_remount):
            again()
            self.check("A")
            self.assertBytes(self.path("C/sub/new"), b"new")
            self.assertErrno(errno.ENOENT, os.stat, self.path("C/log"))
            self.assertEqual(self.clone_of("C"), "A")
        self.check("B")
        os.unlink(self.path("C/sub/new"))
        write_file(self.path("C/log"), b"line\n")
        self.mount.kill_and_remount()
        self.check("C")

    def test_a_killed_daemon_and_open_files(self):
        self.clone("A", "B")
        fd = os.open(self.path("B/big"), os.O_RDWR)
        os.pwrite(fd, b"changed", 1000)
        with open(self.path("B/model"), "ab") as file:
            file.write(b"more")
        self.mount.kill()
        try:
            os.close(fd)
        except OSError:
            pass
        self.mount.detach()
        self.mount.start()
        data = read_file(self.before + "/big")
        self.assertBytes(self.path("B/big"), data[:1000] + b"changed" + data[1007:])
        self.assertBytes(self.path("B/model"), b"m" * 100_000 + b"more")
        self.check("A")

    def test_inode_numbers_stay(self):
        self.clone("A", "B")
        self.clone("A", "C")
        before = self.sorted_inodes("B")
        self.assertEqual(before.keys(), self.sorted_inodes("A").keys())
        write_file(self.path("B/model"), b"changed")
        os.rename(self.path("B/log"), self.path("B/log1"))
        before["log1"] = before.pop("log")
        self.assertEqual(self.sorted_inodes("B"), before)
        for again in (self.mount.remount, self.mount.kill_and_remount):
            again()
            self.assertEqual(self.sorted_inodes("B"), before)
        everything = [inode for top in "ABC" for inode in self.sorted_inodes(top).values()]
        linked = 1  # in A the log has two names
        self.assertEqual(len(set(everything)), len(everything) - linked)
        with os.scandir(self.path("C")) as listing:
            for entry in listing:
                self.assertEqual(entry.inode(), entry.stat(follow_symlinks=False).st_ino)

    def test_a_rebuilt_index(self):
        self.clone("A", "B")
        write_file(self.path("B/model"), b"changed")
        os.unlink(self.path("B/sub/weights"))
        changed = self.copy_of("B", "changed")
        self.clone("B", "C")
        self.mount.stop()
        self.mount.command("fsck", "--rebuild-index", self.mount.store)
        self.mount.command("fsck", "--verify-data", self.mount.store)
        self.mount.start()
        self.check("A")
        self.assertSame(changed, self.path("B"))
        self.assertSame(changed, self.path("C"))
        self.assertEqual(self.clone_of("C"), "B")

    def test_killed_at_any_moment(self):
        """Clones and lookups that were acknowledged are there; and nothing is half there."""
        r = random.Random(harness.seed())
        done = self.outside("acknowledged")
        expected = sorted(os.listdir(self.path("A")))
        for number in range(harness.scaled(3)):
            go = Gate()

            def work(number=number, go=go):
                go.open()
                try:
                    for i in range(1000):
                        top = f"r{number}-{i}"
                        self.clone("A", top)
                        os.unlink(self.path(top, "model"))
                        write_file(self.path(top, "log"), b"%d" % i)
                        with open(done, "a", encoding="ascii") as file:
                            file.write(f"{top} {i}\n")
                except OSError:
                    pass
            child = Child(work)
            go.wait()
            time.sleep(r.uniform(0.0, 0.2))
            self.mount.kill()
            child.result()
            go.close()
            self.mount.detach()
            self.mount.start()
            acknowledged = [] if not os.path.exists(done) else read_file(done).split(b"\n")[:-1]
            for line in acknowledged:
                top, data = line.decode().split()
                self.assertBytes(self.path(top, "log"), data.encode())
                self.assertEqual(sorted(os.listdir(self.path(top))),
                                 [name for name in expected if name != "model"])
            for top in os.listdir(self.dir):
                listed = sorted(os.listdir(self.path(top)))
                self.assertIn(listed, ([], expected, [n for n in expected if n != "model"]))
        self.check("A")


class Random(CloneTestCase):
    """Against a model in memory, see tree_model.py."""

    def exercise(self, operations, number, weights=None, sizes=None, keep=None):
        if keep:
            os.setxattr(self.dir, "user.varve.keep", keep)
        os.mkdir(self.path("top"))
        hooks = {"clone": lambda a, b: self.mount.command("clone", a, b),
                 "sync": self.mount.sync, "drop_caches": harness.drop_caches,
                 "collect": lambda: self.mount.command("gc", "--hot", self.dir),
                 "remount": self.mount.remount, "kill": self.mount.kill_and_remount}
        model = TreeModel(self.path("top"), harness.seed() + number, hooks, weights, sizes)
        self.addCleanup(model.close)
        model.run(harness.scaled(operations))
        self.check_later(model)

    def check_later(self, model):
        """All is as it was, whatever happens to the daemon."""
        for step in ("sync", "drop_caches", "kill", "collect", "remount"):
            model.log.append(step)
            getattr(model, step)()
            try:
                model.check_all()
            except (AssertionError, OSError) as error:
                model.fail(error)

    def test_everything(self):
        self.exercise(200, 1)

    def test_saves_that_are_pending(self):
        """Few names, large contents, no syncs: what a clone shows is not stored yet."""
        weights = {name: 0 for name in ("sync", "drop_caches", "collect", "link", "make_symlink",
                                        "exchange", "change_mode", "set_attribute", "unpin")}
        weights |= {"overwrite": 25, "append": 20, "write_within": 20, "truncate": 10, "create": 6,
                    "hold": 8, "write_held": 15, "close_held": 8, "make_directory": 2}
        self.exercise(200, 2, weights, sizes=(10, 100_000, 1_000_000))

    def test_deaths_of_the_daemon(self):
        self.exercise(120, 3, {"kill": 5, "remount": 3, "sync": 3})

    def test_collections(self):
        self.exercise(150, 4, {"collect": 4, "remove_tree": 8, "unpin": 4, "sync": 4, "kill": 1},
                      keep=b"none")

    def test_names_only(self):
        weights = {name: 0 for name in ("overwrite", "append", "write_within", "truncate",
                                        "map_write", "hold", "write_held", "close_held")}
        weights |= {"rename": 25, "exchange": 12, "unlink": 15, "replace": 12, "clone": 20,
                    "clone_pin": 12, "pin": 10, "link": 8, "kill": 1}
        self.exercise(250, 5, weights, sizes=(0, 10))


if __name__ == "__main__":
    harness.main()
