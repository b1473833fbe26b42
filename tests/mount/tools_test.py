"""Programs that people use on a filesystem: git, rsync, SQLite, tar, cp, NumPy, HDF5."""

import errno
import filecmp
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

import numpy

import harness
from harness import MountTestCase, read_file, write_file
from processes import Child

HEADERS = "/usr/include/linux"


def needs_tool(name):
    return unittest.skipIf(shutil.which(name) is None, f"{name} is not installed")


class ToolTestCase(MountTestCase):
    def run_tool(self, *command, cwd=None, timeout_s=100):
        result = subprocess.run(command, cwd=cwd or self.dir, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                errors="replace", timeout=timeout_s)
        self.assertEqual(result.returncode, 0, f"{' '.join(command)}: {result.stdout[-2000:]}")
        return result.stdout


@needs_tool("git")
class Git(ToolTestCase):
    def git(self, *args, cwd=None):
        return self.run_tool("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c",
                             "safe.directory=*", "-c", "core.fsync=all", *args,
                             cwd=cwd or self.path("repo"))

    def test_history(self):
        os.mkdir(self.path("repo"))
        self.git("init", "-q")
        # Not more: each object is synced.
        shutil.copytree(HEADERS + "/netfilter", self.path("repo/headers"))
        self.git("add", ".")
        self.git("commit", "-q", "-m", "first")
        for i in range(5):
            with open(self.path("repo/headers/x_tables.h"), "a", encoding="utf-8") as file:
                file.write(f"// change {i}\n")
            self.git("commit", "-q", "-a", "-m", f"change {i}")
        self.git("checkout", "-q", "-b", "side", "HEAD~3")
        write_file(self.path("repo/new"), b"on the side\n")
        self.git("add", "new")
        self.git("commit", "-q", "-m", "side")
        self.git("rebase", "-q", "-")
        self.git("gc", "-q", "--aggressive", "--prune=now")
        self.git("fsck", "--full", "--strict")
        self.assertEqual(self.git("status", "--porcelain"), "")
        self.git("clone", "-q", self.path("repo"), self.path("clone"), cwd=self.dir)
        self.git("fsck", "--full", cwd=self.path("clone"))
        self.assertEqual(self.git("diff", "--stat"), "")


class Copies(ToolTestCase):
    def difference(self, one, other):
        """Contents, names, kinds, modes and times that differ."""
        self.run_tool("diff", "-r", "--no-dereference", one, other)
        for root, dirs, files in os.walk(one):
            for name in (*dirs, *files):
                path = os.path.join(root, name)
                twin = os.path.join(other, os.path.relpath(path, one))
                a, b = os.lstat(path), os.lstat(twin)
                self.assertEqual((path, a.st_mode), (path, b.st_mode))
                # rsync leaves a symlink's time alone when its seconds are right.
                if not os.path.islink(path):
                    self.assertEqual((path, a.st_mtime_ns), (path, b.st_mtime_ns))

    def test_cp_there_and_back(self):
        self.run_tool("cp", "-a", HEADERS, self.path("copy"))
        self.difference(HEADERS, self.path("copy"))
        self.run_tool("cp", "-a", self.path("copy"), self.path("second"))
        self.difference(self.path("copy"), self.path("second"))
        self.mount.sync()
        harness.drop_caches()
        self.difference(HEADERS, self.path("second"))
        self.run_tool("rm", "-rf", self.path("copy"))
        self.assertFalse(os.path.exists(self.path("copy")))

    def test_tar_there_and_back(self):
        archive = self.path("headers.tar")
        self.run_tool("tar", "-C", os.path.dirname(HEADERS), "-cf", archive,
                      os.path.basename(HEADERS))
        os.mkdir(self.path("out"))
        self.run_tool("tar", "-C", self.path("out"), "-xpf", archive)
        self.run_tool("diff", "-r", HEADERS, self.path("out", os.path.basename(HEADERS)))
        self.run_tool("tar", "-C", os.path.dirname(HEADERS), "-df", archive)

    @needs_tool("rsync")
    def test_rsync_with_attributes(self):
        os.mkdir(self.path("source"))
        shutil.copytree(HEADERS, self.path("source/headers"))
        os.link(self.path("source/headers/fs.h"), self.path("source/hard"))
        os.symlink("headers/fs.h", self.path("source/soft"))
        os.setxattr(self.path("source/headers/fs.h"), "user.loss", b"0.25")
        with open(self.path("source/sparse"), "wb") as file:
            file.truncate(1 << 20)
        options = ["-aHX", "--numeric-ids"]
        self.run_tool("rsync", *options, self.path("source/"), self.path("target/"))
        self.difference(self.path("source"), self.path("target"))
        self.assertEqual(os.getxattr(self.path("target/headers/fs.h"), "user.loss"), b"0.25")
        self.assertEqual(os.stat(self.path("target/hard")).st_nlink, 2)
        # A second run has nothing to do.
        out = self.run_tool("rsync", *options, "-i", self.path("source/"), self.path("target/"))
        self.assertEqual(out.strip(), "")
        write_file(self.path("source/headers/fs.h"), b"changed")
        os.unlink(self.path("source/soft"))
        self.run_tool("rsync", *options, "--delete", "--inplace", self.path("source/"),
                      self.path("target/"))
        self.difference(self.path("source"), self.path("target"))

    def test_dd_and_truncate_tools(self):
        self.run_tool("dd", "if=/dev/urandom", "of=a", "bs=64k", "count=40", "conv=fsync")
        self.run_tool("dd", "if=a", "of=b", "bs=4k", "iflag=direct", "oflag=direct")
        self.run_tool("cmp", "a", "b")
        self.run_tool("dd", "if=a", "of=b", "bs=1000", "seek=500", "conv=notrunc")
        data = read_file(self.path("a"))
        self.assertBytes(self.path("b"), data[:500000] + data)
        self.run_tool("fallocate", "-p", "-o", "100000", "-l", "50000", "a")
        self.run_tool("truncate", "-s", "+5000", "a")
        self.assertBytes(self.path("a"), data[:100000] + bytes(50000) + data[150000:] + bytes(5000))

    def test_compiler(self):
        if shutil.which("cc") is None:
            self.skipTest("there is no compiler")
        write_file(self.path("main.c"), b'#include <stdio.h>\nint main(void){puts("built");}\n')
        self.run_tool("cc", "-g", "-o", "main", "main.c")
        self.assertEqual(self.run_tool("./main"), "built\n")


class Sqlite(ToolTestCase):
    def exercise(self, journal):
        path = self.path(f"{journal}.db")
        database = sqlite3.connect(path, isolation_level=None)
        self.assertEqual(database.execute(f"pragma journal_mode={journal}").fetchone()[0], journal)
        database.execute("create table t (k integer primary key, v blob)")
        for i in range(60):
            database.execute("begin")
            database.executemany("insert into t values (?, ?)",
                                 [(i * 20 + j, bytes([j]) * 500) for j in range(20)])
            database.execute("commit" if i % 4 else "rollback")
        database.execute("vacuum")
        self.assertEqual(database.execute("select count(*) from t").fetchone()[0], 900)
        self.assertEqual(database.execute("pragma integrity_check").fetchone()[0], "ok")
        database.close()
        self.mount.sync()
        harness.drop_caches()
        database = sqlite3.connect(path)
        self.assertEqual(database.execute("select count(*) from t").fetchone()[0], 900)
        self.assertEqual(database.execute("pragma integrity_check").fetchone()[0], "ok")
        database.close()

    def test_write_ahead_log(self):
        self.exercise("wal")

    def test_rollback_journal(self):
        self.exercise("delete")

    def test_truncated_and_persistent_journals(self):
        self.exercise("truncate")
        self.exercise("persist")

    def test_several_processes(self):
        path = self.path("shared.db")
        database = sqlite3.connect(path)
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (who integer, i integer)")
        database.commit()
        database.close()

        def insert(who):
            own = sqlite3.connect(path, timeout=60)
            for i in range(25):
                own.execute("insert into t values (?, ?)", (who, i))
                own.commit()
            own.close()
        children = [Child(insert, who) for who in range(3)]
        for child in children:
            child.result()
        database = sqlite3.connect(path)
        self.assertEqual(database.execute("select count(*) from t").fetchone()[0], 75)
        self.assertEqual(database.execute("pragma integrity_check").fetchone()[0], "ok")
        database.close()

    def test_writer_killed_in_the_middle(self):
        for journal in ("wal", "delete"):
            path = self.path(f"killed-{journal}.db")
            log = self.path(f"{journal}.log")

            def write(path=path, journal=journal, log=log):
                database = sqlite3.connect(path, isolation_level=None)
                database.execute(f"pragma journal_mode={journal}")
                database.execute("create table if not exists t (i integer, v blob)")
                fd = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                for i in range(100000):
                    database.execute("insert into t values (?, ?)", (i, b"x" * 2000))
                    os.write(fd, b"%d\n" % i)
            child = Child(write)
            harness.wait_until(lambda p=log: os.path.exists(p) and os.stat(p).st_size > 50, 20,
                               "the first rows")
            time.sleep(0.2)
            child.kill()
            self.check_database(path, log)

    def check_database(self, path, log):
        acknowledged = int(read_file(log).split()[-1]) + 1
        database = sqlite3.connect(path)
        self.assertEqual(database.execute("pragma integrity_check").fetchone()[0], "ok")
        rows = database.execute("select count(*) from t").fetchone()[0]
        self.assertIn(rows, (acknowledged, acknowledged + 1))
        database.close()


class SqliteAndDaemon(ToolTestCase):
    uses_shared_mount = False

    @harness.varve_only
    def test_daemon_killed_in_the_middle(self):
        for journal in ("wal", "delete"):
            mount = self.own_mount(journal)
            path, log = mount.root + "/f.db", mount.store + "-log"

            def write(path=path, journal=journal, log=log):
                database = sqlite3.connect(path, isolation_level=None)
                database.execute(f"pragma journal_mode={journal}")
                database.execute("pragma synchronous=off")
                database.execute("create table t (i integer, v blob)")
                fd = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                try:
                    for i in range(100000):
                        database.execute("insert into t values (?, ?)", (i, b"x" * 2000))
                        os.write(fd, b"%d\n" % i)
                except sqlite3.Error:
                    os._exit(0)
            child = Child(write)
            harness.wait_until(lambda p=log: os.path.exists(p) and os.stat(p).st_size > 50, 20,
                               "the first rows")
            time.sleep(0.3)
            mount.kill()
            time.sleep(0.1)
            child.kill()
            mount.detach()
            mount.start()
            acknowledged = int(read_file(log).split()[-1]) + 1
            database = sqlite3.connect(path)
            self.assertEqual(database.execute("pragma integrity_check").fetchone()[0], "ok")
            rows = database.execute("select count(*) from t").fetchone()[0]
            database.close()
            self.assertIn(rows, (acknowledged, acknowledged + 1), journal)


class Arrays(ToolTestCase):
    def test_save_load_and_map(self):
        array = numpy.random.default_rng(1).standard_normal((1000, 700)).astype("float32")
        numpy.save(self.path("a.npy"), array)
        numpy.savez(self.path("a.npz"), first=array, second=array[:10])
        self.mount.sync()
        harness.drop_caches()
        self.assertTrue(numpy.array_equal(numpy.load(self.path("a.npy")), array))
        mapped = numpy.load(self.path("a.npy"), mmap_mode="r")
        self.assertTrue(numpy.array_equal(mapped[990:], array[990:]))
        with numpy.load(self.path("a.npz")) as archive:
            self.assertTrue(numpy.array_equal(archive["first"], array))
        writable = numpy.load(self.path("a.npy"), mmap_mode="r+")
        writable[5, 5] = 42
        writable.flush()
        del writable
        self.assertEqual(numpy.load(self.path("a.npy"))[5, 5], 42)

    def test_memmap_grown(self):
        path = self.path("grown")
        for step in range(1, 5):
            mapped = numpy.memmap(path, dtype="int64", mode="r+" if step > 1 else "w+",
                                  shape=(step * 10000,))
            mapped[(step - 1) * 10000:] = step
            mapped.flush()
            del mapped
        whole = numpy.fromfile(path, dtype="int64")
        self.assertEqual([int(whole[i * 10000]) for i in range(4)], [1, 2, 3, 4])
        self.assertEqual(int(whole.sum()), 100000)

    def test_hdf5(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("h5py is not installed")
        data = numpy.random.default_rng(2).standard_normal((500, 400))
        for _ in range(3):
            with h5py.File(self.path("m.h5"), "w") as file:
                file.create_dataset("plain", data=data)
                file.create_dataset("packed", data=data, chunks=(50, 50), compression="gzip")
                file.attrs["epoch"] = 7
        with h5py.File(self.path("m.h5"), "r+") as file:
            file["plain"][10] = 1.0
        with h5py.File(self.path("m.h5"), "r") as file:
            self.assertTrue((file["plain"][10] == 1.0).all())
            self.assertTrue(numpy.array_equal(file["packed"][:], data))

    def test_torch(self):
        try:
            import torch
        except ImportError:
            self.skipTest("torch is not installed")
        state = {f"w{i}": torch.randn(300, 300) for i in range(10)}
        for _ in range(3):
            torch.save(state, self.path("m.pt"))
        try:
            loaded = torch.load(self.path("m.pt"), mmap=True)
        except TypeError:  # before torch 2.1
            loaded = torch.load(self.path("m.pt"))
        self.assertTrue(all(torch.equal(loaded[name], state[name]) for name in state))


class Shell(ToolTestCase):
    def test_session(self):
        out = self.run_tool("bash", "-ec", """
            mkdir -p run/a run/b
            for i in 1 2 3; do echo $i > run/a/f$i; done
            cp -r run/a run/c; mv run/b run/d; ln -s ../a run/d/link
            cat run/d/link/f2 run/c/f3
            test "$(find run -type f | wc -l)" = 6
            echo more >> run/a/f1; ! cmp -s run/a/f1 run/c/f1
            install -m 600 run/a/f1 run/installed
            touch -d '2001-02-03 04:05:06.789' run/a/f2; stat -c %y run/a/f2 | cut -c1-23
            chmod -R go-rwx run; rm -rf run; ls -A
            """)
        self.assertEqual(out.split("\n")[:3], ["2", "3", "2001-02-03 04:05:06.789"])

    def test_tail_follows(self):
        write_file(self.path("log"), b"start\n")
        tail = subprocess.Popen(["tail", "-n", "+1", "-s", "0.05", "-f", self.path("log")],
                                stdout=subprocess.PIPE)
        try:
            with open(self.path("log"), "ab") as file:
                for i in range(5):
                    file.write(b"line %d\n" % i)
                    file.flush()
            got = b""
            while b"line 4\n" not in got:
                got += os.read(tail.stdout.fileno(), 1000)
        finally:
            tail.send_signal(signal.SIGTERM)
            tail.wait()
            tail.stdout.close()

    def test_remove_tree_with_many_small_files(self):
        """An Orbax checkpoint: thousands of small files, then rmtree."""
        for a in range(10):
            os.mkdir(self.path(f"d{a}"))
            for b in range(200):
                write_file(self.path(f"d{a}/{b}"), b"%d" % b * 10)
        shutil.copytree(self.path("d0"), self.path("copy"))
        comparison = filecmp.dircmp(self.path("d0"), self.path("copy"))
        self.assertEqual((comparison.left_only, comparison.right_only, comparison.diff_files),
                         ([], [], []))
        for a in range(10):
            shutil.rmtree(self.path(f"d{a}"))
        self.assertEqual(os.listdir(self.dir), ["copy"])
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.path("copy"))


if __name__ == "__main__":
    harness.main()
