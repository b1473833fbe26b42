"""Clones and their originals, written to: each side is its own."""

import errno
import mmap
import os
import random
import shutil
import stat
import threading

from clones import CloneTestCase, run
import harness
from harness import read_file, write_file
from processes import Child
from syscalls import (FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, RENAME_EXCHANGE, RENAME_NOREPLACE,
                      fallocate, renameat2)

MIB = 1 << 20


class Separate(CloneTestCase):
    """A change on one side does not show on the other."""

    def setUp(self):
        super().setUp()
        self.grow()
        self.before = self.copy_of("A", "before")

    def both_ways(self, change):
        """Does `change` in a clone, and in an original of a clone, pending and stored."""
        for step in range(4):
            name = f"B{step}"
            if step == 2:
                self.mount.sync()
                harness.drop_caches()
            self.clone("A", name)
            if step % 2:
                # Here the clone is what stays as it was.
                self.clone(name, name + "-kept")
                self.assertSame(self.before, self.path(name))
            change(self.path(name))
            self.assertSame(self.before, self.path("A"))
            if step % 2:
                self.assertSame(self.before, self.path(name + "-kept"))
            self.assertSame(self.before, self.history(name, "v1"))

    def test_contents(self):
        """Every way to change a file, each on a file of its own."""
        def overwrite(path):
            write_file(path, b"new")

        def write_within(path):
            with open(path, "r+b") as file:
                file.seek(50_000)
                file.write(b"changed")

        def append(path):
            with open(path, "ab") as file:
                file.write(b"more")

        def truncate(path):
            os.truncate(path, 10)

        def extend(path):
            with open(path, "r+b") as file:
                file.truncate(1000)
                file.truncate(5000)

        def map_write(path):
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
                mapping[40_000:40_003] = b"map"
                mapping.flush()

        def punch_hole(path):
            with open(path, "r+b") as file:
                fallocate(file.fileno(), FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, 4096, 8192)

        changes = {
            overwrite: b"new", append: b"m" * 100_000 + b"more", truncate: b"m" * 10,
            write_within: b"m" * 50_000 + b"changed" + b"m" * 49_993,
            extend: b"m" * 1000 + bytes(4000),
            map_write: b"m" * 40_000 + b"map" + b"m" * 59_997,
            punch_hole: b"m" * 4096 + bytes(8192) + b"m" * (100_000 - 12_288),
        }
        for change in changes:
            self.make("A/sub/" + change.__name__, b"m" * 100_000)
        self.before = self.copy_of("A", "before contents")

        def check(top):
            for change, expected in changes.items():
                path = f"{top}/sub/{change.__name__}"
                self.assertBytes(path, expected)
                self.assertEqual(os.stat(path).st_size, len(expected))

        def change_all(top):
            for change in changes:
                change(f"{top}/sub/{change.__name__}")
            check(top)
        self.both_ways(change_all)
        self.mount.remount()
        for step in range(4):
            check(self.path(f"B{step}"))
        self.assertSame(self.before, self.path("A"))

    def test_names(self):
        def change(top):
            os.unlink(top + "/model")
            os.rename(top + "/log", top + "/log1")
            os.rename(top + "/sub/weights", top + "/weights")
            os.rename(top + "/sub/deep", top + "/empty/deep")
            os.rename(top + "/readonly", top + "/nothing")
            os.mkdir(top + "/made")
            write_file(top + "/made/file", b"x")
            os.rename(top + "/made", top + "/empty/made")
            os.unlink(top + "/link")
            self.assertEqual(sorted(os.listdir(top)),
                             ["empty", "log1", "nothing", "sub", "weights"])
            self.assertEqual(os.listdir(top + "/sub"), ["log2"])
            self.assertEqual(sorted(os.listdir(top + "/empty")), ["deep", "made"])
            self.assertBytes(top + "/nothing", b"r")
            self.assertBytes(top + "/empty/deep/state", b"s" * 5000)
            for name in ("model", "log", "sub/weights", "sub/deep", "readonly", "made", "link"):
                self.assertErrno(errno.ENOENT, os.lstat, f"{top}/{name}")
        self.both_ways(change)
        self.mount.kill_and_remount()
        for step in range(4):
            self.assertEqual(sorted(os.listdir(self.path(f"B{step}"))),
                             ["empty", "log1", "nothing", "sub", "weights"])
        self.assertSame(self.before, self.path("A"))

    def test_removed_and_made_again(self):
        def change(top):
            os.unlink(top + "/model")
            shutil.rmtree(top + "/sub")
            self.assertErrno(errno.ENOENT, os.stat, top + "/sub")
            write_file(top + "/model", b"again")
            os.mkdir(top + "/sub")
            self.assertEqual(os.listdir(top + "/sub"), [])
            write_file(top + "/sub/weights", b"mine")
            os.unlink(top + "/model")
            self.assertErrno(errno.ENOENT, os.stat, top + "/model")
            write_file(top + "/model", b"third")
            self.assertBytes(top + "/sub/weights", b"mine")
            self.assertBytes(top + "/model", b"third")
            self.assertErrno(errno.ENOENT, os.stat, top + "/sub/deep")
        self.both_ways(change)

    def test_all_removed(self):
        def change(top):
            for name in os.listdir(top):
                path = os.path.join(top, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)
            self.assertEqual(os.listdir(top), [])
        self.both_ways(change)
        for step in range(4):
            self.mount.kill_and_remount()
            self.assertEqual(os.listdir(self.path(f"B{step}")), [])
            os.rmdir(self.path(f"B{step}"))

    def test_exchange(self):
        def change(top):
            renameat2(top + "/model", top + "/sub/weights", RENAME_EXCHANGE)
            renameat2(top + "/sub", top + "/empty", RENAME_EXCHANGE)
            self.assertErrno(errno.EEXIST, renameat2, top + "/model", top + "/log",
                             RENAME_NOREPLACE)
            self.assertBytes(top + "/model", b"w" * 30_000)
            self.assertBytes(top + "/empty/weights", b"m" * 100_000)
            self.assertEqual(os.listdir(top + "/sub"), [])
        self.both_ways(change)

    def test_exchange_between_the_two(self):
        self.clone("A", "B")
        write_file(self.path("B/model"), b"new")
        renameat2(self.path("A/model"), self.path("B/model"), RENAME_EXCHANGE)
        renameat2(self.path("A/sub"), self.path("B/sub"), RENAME_EXCHANGE)
        self.assertBytes(self.path("A/model"), b"new")
        self.assertBytes(self.path("B/model"), b"m" * 100_000)
        write_file(self.path("A/sub/weights"), b"of B")
        self.assertBytes(self.path("B/sub/weights"), b"w" * 30_000)
        renameat2(self.path("A"), self.path("B"), RENAME_EXCHANGE)
        self.assertSame(self.before, self.path("A"))
        self.assertBytes(self.path("B/sub/weights"), b"of B")

    def test_hard_links(self):
        def change(top):
            # Links become files of their own; new links are links.
            self.assertEqual(os.stat(top + "/log").st_nlink, 1)
            self.assertEqual(os.stat(top + "/sub/log2").st_nlink, 1)
            os.link(top + "/log", top + "/empty/log3")
            self.assertEqual(os.stat(top + "/log").st_nlink, 2)
            with open(top + "/empty/log3", "ab") as file:
                file.write(b"more\n")
            self.assertBytes(top + "/log", b"line\nmore\n")
            self.assertBytes(top + "/sub/log2", b"line\n")
            os.unlink(top + "/log")
            self.assertBytes(top + "/empty/log3", b"line\nmore\n")
            self.assertErrno(errno.ENOENT, os.stat, top + "/log")
        self.both_ways(change)

    def test_attributes(self):
        def change(top):
            os.chmod(top + "/model", 0o600)
            os.chmod(top + "/sub", 0o711)
            os.setxattr(top + "/model", "user.loss", b"0.1")
            os.setxattr(top + "/log", "user.new", b"1")
            os.removexattr(top + "/sub", "user.kind")
            os.removexattr(top, "user.kind")
            os.utime(top + "/log", ns=(1, 2))
            self.assertEqual(os.getxattr(top + "/model", "user.loss"), b"0.1")
            self.assertEqual(os.listxattr(top + "/sub"), [])
            self.assertEqual(os.listxattr(top), [])
            self.assertEqual(os.stat(top + "/log").st_mtime_ns, 2)
        self.both_ways(change)
        self.mount.kill_and_remount()
        for step in range(4):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(f"B{step}/model")).st_mode), 0o600)
            self.assertEqual(os.listxattr(self.path(f"B{step}/sub")), [])
            self.assertEqual(os.getxattr(self.path(f"B{step}/log"), "user.new"), b"1")
        self.assertEqual(os.getxattr(self.path("A/model"), "user.loss"), b"0.5")
        self.assertEqual(os.getxattr(self.path("A/sub"), "user.kind"), b"sub")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("A/model")).st_mode), 0o644)
        self.assertEqual(os.stat(self.path("A/model")).st_mtime_ns, 1234567890 * 10**9 + 123)

    def test_changes_of_the_original_do_not_show(self):
        self.clone("A", "B")
        self.clone("A/sub", "C")
        with open(self.path("A/model"), "r+b") as file:
            file.write(b"changed")
        os.unlink(self.path("A/log"))
        write_file(self.path("A/new"), b"new")
        os.rename(self.path("A/sub"), self.path("A/other"))
        os.setxattr(self.path("A/other/weights"), "user.x", b"1")
        os.chmod(self.path("A/other/deep"), 0o711)
        os.symlink("x", self.path("A/other/symlink"))
        os.truncate(self.path("A/other/deep/state"), 0)
        self.assertSame(self.before, self.path("B"))
        self.assertSame(self.before + "/sub", self.path("C"))
        self.assertEqual(os.listxattr(self.path("B/sub/weights")), [])
        self.assertEqual(stat.S_IMODE(os.stat(self.path("B/sub/deep")).st_mode), 0o700)
        shutil.rmtree(self.path("A"))
        self.assertSame(self.before, self.path("B"))
        self.assertSame(self.before + "/sub", self.path("C"))

    def test_moved_between_them(self):
        self.clone("A", "B")
        os.rename(self.path("B/model"), self.path("A/model.of.B"))
        os.rename(self.path("A/model"), self.path("B/model.of.A"))
        os.rename(self.path("B/sub"), self.path("moved"))
        os.rename(self.path("A/sub/deep"), self.path("B/sub"))
        self.assertBytes(self.path("A/model.of.B"), b"m" * 100_000)
        with open(self.path("A/model.of.B"), "ab") as file:
            file.write(b"x")
        self.assertBytes(self.path("B/model.of.A"), b"m" * 100_000)
        self.assertSame(self.path("moved"), self.before + "/sub")
        self.assertEqual(os.listdir(self.path("B/sub")), ["state"])
        self.assertErrno(errno.EINVAL, os.rename, self.path("B"), self.path("B/sub/B"))
        self.mount.remount()
        self.assertSame(self.path("moved"), self.before + "/sub")
        self.assertBytes(self.path("A/model.of.B"), b"m" * 100_000 + b"x")

    def test_renamed_clones(self):
        self.clone("A", "B")
        os.rename(self.path("B"), self.path("C"))
        os.mkdir(self.path("B"))
        self.assertSame(self.before, self.path("C"))
        self.assertEqual(self.clone_of("C"), "A")
        os.rename(self.path("A"), self.path("D"))
        self.assertSame(self.before, self.path("C"))
        os.rename(self.path("C"), self.path("B"))  # over the empty one
        self.assertSame(self.before, self.path("B"))
        self.clone("D", "A")
        self.assertSame(self.before, self.path("A"))
        # A clone is not empty, whether or not anybody looked.
        self.clone("A", "E")
        os.mkdir(self.path("F"))
        self.assertErrno(errno.ENOTEMPTY, os.rename, self.path("F"), self.path("E"))
        self.assertErrno(errno.ENOTEMPTY, os.rename, self.path("F"), self.path("E/sub"))
        os.rename(self.path("F"), self.path("E/empty"))

    def test_copies_within(self):
        self.clone("A", "B")
        run("cp", self.path("B/model"), self.path("B/copy"))
        run("cp", self.path("B/copy"), self.path("B/log"))
        run("cp", "-r", self.path("B"), self.path("C"))
        self.assertBytes(self.path("C/log"), b"m" * 100_000)
        self.mount.sync()
        run("cp", self.path("B/sub/weights"), self.path("B/model"))
        self.assertBytes(self.path("B/model"), b"w" * 30_000)
        self.assertBytes(self.path("B/copy"), b"m" * 100_000)
        self.assertSame(self.before, self.path("A"))


class Writers(CloneTestCase):
    """Clones of what is being written or was saved a moment ago."""

    def test_open_writers(self):
        os.mkdir(self.path("A"))
        self.make("A/old", b"old" * 1000)
        fd = self.open("A/old", os.O_WRONLY | os.O_TRUNC)
        fresh = self.open("A/fresh", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"new" * 10)
        os.write(fresh, b"one")
        self.clone("A", "B")
        os.write(fd, b"more")
        os.pwrite(fresh, b"two", 0)
        self.clone("A", "C")
        self.clone("B", "D")
        os.pwrite(fd, b"NEW", 0)
        os.close(fresh)
        for name, old, new in (("B", b"new" * 10, b"one"), ("C", b"new" * 10 + b"more", b"two"),
                               ("D", b"new" * 10, b"one"),
                               ("A", b"NEW" + b"new" * 9 + b"more", b"two")):
            self.assertBytes(self.path(name, "old"), old)
            self.assertBytes(self.path(name, "fresh"), new)
        write_file(self.path("B/fresh"), b"B")
        with open(self.path("C/old"), "ab") as file:
            file.write(b"C")
        os.close(fd)
        self.mount.remount()
        for name, old, new in (("B", b"new" * 10, b"B"), ("C", b"new" * 10 + b"moreC", b"two"),
                               ("D", b"new" * 10, b"one"),
                               ("A", b"NEW" + b"new" * 9 + b"more", b"two")):
            self.assertBytes(self.path(name, "old"), old)
            self.assertBytes(self.path(name, "fresh"), new)

    def test_a_log_that_goes_on(self):
        os.mkdir(self.path("A"))
        expected = {}
        with open(self.path("A/log"), "ab", buffering=0) as log:
            for i in range(12):
                log.write(b"step %d\n" % i)
                self.clone("A", f"B{i}")
                expected[i] = read_file(self.path("A/log"))
                if i % 3 == 0:
                    with open(self.path(f"B{i}/log"), "ab") as file:
                        file.write(b"forked\n")
                    expected[i] += b"forked\n"
                if i == 6:
                    self.mount.sync()
        for i, data in expected.items():
            self.assertBytes(self.path(f"B{i}/log"), data)

    def test_saved_a_moment_ago(self):
        """Changes of both sides before anything is stored, in every order."""
        r = random.Random(harness.seed())
        kinds = ("wb", "ab", "r+b", "truncate")
        for number in range(harness.scaled(8)):
            data = r.randbytes(r.choice((10, 100_000, MIB)))
            os.mkdir(self.path(f"A{number}"))
            write_file(self.path(f"A{number}/f"), data)
            self.clone(f"A{number}", f"B{number}")
            self.clone(f"B{number}", f"C{number}")
            expected = {top: data for top in "ABC"}
            for top in r.sample("ABC", 2):
                path = self.path(f"{top}{number}/f")
                expected[top] = self.change(path, data, kinds[r.randrange(4)], r)
                for other, content in expected.items():
                    self.assertBytes(self.path(f"{other}{number}/f"), content)
            if number % 4 == 3:
                self.mount.sync()
                harness.drop_caches()
                for other, content in expected.items():
                    self.assertBytes(self.path(f"{other}{number}/f"), content)

    def change(self, path, data, kind, r):
        """Returns what the file has then."""
        if kind == "truncate":
            os.truncate(path, len(data) // 2)
            return data[:len(data) // 2]
        more = r.randbytes(5000)
        with open(path, kind) as file:
            file.write(more)
        return {"wb": more, "ab": data + more, "r+b": more + data[5000:]}[kind]

    def test_opened_for_writing_and_not_written(self):
        """Also where no rule keeps a version of it."""
        os.setxattr(self.dir, "user.varve.keep", b"none")
        os.mkdir(self.path("A"))
        data = b"x" * 250_000
        self.make("A/f", data)
        self.clone("A", "B")
        self.make("B/g", data)
        self.mount.sync()
        for name in ("A/f", "B/f", "B/g"):
            self.open(name, os.O_RDWR)
        self.mount.command("gc", self.dir)
        self.pin("A", "p")
        self.clone("A", "C")
        self.clone("B", "D")
        for name in ("A/f", "B/g", "A/.varve/history/p/f", "C/f", "D/f", "D/g"):
            self.assertBytes(self.path(name), data)

    def test_readers_of_both_while_they_change(self):
        """A descriptor from before shows what its own file has."""
        os.mkdir(self.path("A"))
        self.make("A/f", b"a" * 70_000)
        self.clone("A", "B")
        fds = [self.open(f"{top}/f", os.O_RDONLY) for top in "AB"]
        for top, fd, other in (("A", fds[0], fds[1]), ("B", fds[1], fds[0])):
            old = os.pread(other, 70_000, 0)
            with open(self.path(top, "f"), "r+b") as file:
                file.write(top.encode() * 10)
            self.assertSameBytes(os.pread(fd, 20, 0), top.encode() * 10 + b"a" * 10)
            self.assertSameBytes(os.pread(other, 70_000, 0), old)
        with open(self.path("B/f"), "r+b") as writer:
            mapping = mmap.mmap(writer.fileno(), 0)
            reader = mmap.mmap(fds[1], 0, prot=mmap.PROT_READ)
            mapping[5000:5003] = b"map"
            mapping.flush()
            self.assertEqual(os.pread(fds[1], 3, 5000), b"map")
            self.assertEqual(reader[5000:5003], b"map")
            self.assertEqual(os.pread(fds[0], 3, 5000), b"aaa")
            mapping.close()
            reader.close()

    def test_writers_of_one_clone(self):
        """Two descriptors of a file that was never written in the clone."""
        os.mkdir(self.path("A"))
        data = os.urandom(MIB)
        self.make("A/f", data)
        self.mount.sync()
        self.clone("A", "B")
        one, two = self.open("B/f"), self.open("B/f")
        os.pwrite(one, b"one", 0)
        self.assertEqual(os.pread(two, 3, 0), b"one")
        os.pwrite(two, b"two", 500_000)
        self.assertEqual(os.pread(one, 3, 500_000), b"two")
        os.close(one)
        self.clone("B", "C")
        os.pwrite(two, b"late", MIB)
        os.fsync(two)
        os.close(two)
        changed = b"one" + data[3:500_000] + b"two" + data[500_003:]
        # Of a stored file that is changed in place, what was opened may show.
        self.assertIn(read_file(self.path("C/f")), (data, changed))
        self.assertBytes(self.path("B/f"), changed + b"late")
        self.assertBytes(self.path("A/f"), data)

    def test_unlinked_but_open(self):
        os.mkdir(self.path("A"))
        self.make("A/f", b"data" * 1000)
        self.clone("A", "B")
        fd = self.open("B/f")
        os.unlink(self.path("B/f"))
        os.rmdir(self.path("B"))
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        os.pwrite(fd, b"DATA", 0)
        self.assertSameBytes(os.pread(fd, 4000, 0), b"DATA" + b"data" * 999)
        self.assertBytes(self.path("A/f"), b"data" * 1000)

    def test_in_parallel(self):
        """Processes save in clones of one directory while it is cloned again."""
        r = random.Random(harness.seed())
        os.mkdir(self.path("base"))
        data = [r.randbytes(200_000) for _ in range(8)]
        for i, content in enumerate(data):
            self.make(f"base/f{i}", content)

        def work(number):
            rng = random.Random(harness.seed() + number)
            for step in range(harness.scaled(8)):
                top = f"w{number}-{step}"
                self.clone("base", top)
                expected = list(data)
                for i in rng.sample(range(8), 3):
                    path = self.path(f"{top}/f{i}")
                    expected[i] = self.change(path, data[i], rng.choice(("wb", "ab", "r+b")), rng)
                for i, content in enumerate(expected):
                    self.assertBytes(self.path(f"{top}/f{i}"), content)
                if step % 2:
                    shutil.rmtree(self.path(top))
        children = [Child(work, number) for number in range(3)]
        for child in children:
            child.result()
        for i, content in enumerate(data):
            self.assertBytes(self.path(f"base/f{i}"), content)

    def test_lookups_from_all_sides(self):
        """Threads that look the same names up for the first time get the same inodes."""
        os.makedirs(self.path("A/sub"))
        for i in range(200):
            self.make(f"A/sub/f{i}", b"%d" % i)
        self.clone("A", "B")
        found, failures = [], []

        def look(order):
            try:
                found.append({i: os.stat(self.path(f"B/sub/f{i}")).st_ino for i in order})
            except OSError as error:
                failures.append(error)
        orders = [range(200), range(199, -1, -1), range(0, 200, 3), range(100, 200)]
        threads = [threading.Thread(target=look, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        for inodes in found:
            for i, inode in inodes.items():
                self.assertEqual(inode, os.stat(self.path(f"B/sub/f{i}")).st_ino)


if __name__ == "__main__":
    harness.main()
