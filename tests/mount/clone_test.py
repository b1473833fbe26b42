"""Clones of directories: forked at once, and from then on each side is its own."""

import ctypes
import errno
import json
import mmap
import os
import random
import shutil
import stat
import struct
import subprocess
import threading
import time
import unittest

import checkpoint_writers as writers
import harness
from harness import MountTestCase, needs_root, read_file, write_file
from mounts import wait_until
from processes import Child, Gate, as_user
from syscalls import (FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, RENAME_EXCHANGE, RENAME_NOREPLACE,
                      fallocate, renameat2)
from tree_model import TreeModel

MIB = 1 << 20


def run(*args):
    subprocess.run(args, stdin=subprocess.DEVNULL, check=True, timeout=100)


def varve(*args):
    """Output of the program; fails with what it says."""
    done = subprocess.run([harness.program(), *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=100)
    if done.returncode != 0:
        raise AssertionError(f"varve {' '.join(args)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def make_clone(original, clone, mode=0o755):
    """`original` as seen from where `clone` lies, or absolute."""
    os.mkdir(clone, mode)
    os.setxattr(clone, "user.varve.clone_of", os.fsencode(original))


@unittest.skipIf(harness.NATIVE, "a plain directory cannot be cloned")
class CloneTestCase(MountTestCase):
    """Each test has a mount, whose store has to be clean at its end."""
    uses_shared_mount = False

    def setUp(self):
        super().setUp()
        self.mount = self.own_mount()
        self.dir = self.mount.root

    def tearDown(self):
        try:
            self.doCleanups()  # descriptors
            if self.mount.alive():
                self.mount.stop()
            code, text = self.mount.fsck()
            self.assertEqual(code, 0, text)
        finally:
            super().tearDown()

    def history(self, directory, *names):
        return self.path(directory, ".varve", "history", *names)

    def pin(self, directory, name):
        os.mkdir(self.history(directory, name))

    def version(self, name, number="0001"):
        directory, base = os.path.split(name)
        return self.path(directory, ".varve", "versions", base, number)

    def clone_of(self, directory):
        return os.getxattr(self.path(directory), "user.varve.clone_of").decode()

    def clone(self, original, clone):
        """Both as seen from the mount point."""
        path = self.path(clone)
        make_clone(os.path.relpath(self.path(original), os.path.dirname(path)), path)

    def assertSame(self, one, other):
        done = subprocess.run(["diff", "-r", "--no-dereference", one, other],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def outside(self, name):
        path = os.path.join(os.path.dirname(self.mount.store), "outside")
        os.makedirs(path, exist_ok=True)
        return os.path.join(path, name)

    def copy_of(self, directory, name):
        run("cp", "-a", self.path(directory), self.outside(name))
        return self.outside(name)

    def grow(self, top="A"):
        """A tree with something of everything."""
        os.makedirs(self.path(top, "sub/deep"))
        os.mkdir(self.path(top, "empty"))
        self.make(top + "/model", b"m" * 100_000)
        self.make(top + "/log", b"line\n")
        self.make(top + "/nothing", b"")
        self.make(top + "/sub/weights", b"w" * 30_000)
        self.make(top + "/sub/deep/state", b"s" * 5000)
        self.make(top + "/readonly", b"r", 0o444)
        os.link(self.path(top, "log"), self.path(top, "sub/log2"))
        os.symlink("sub/weights", self.path(top, "link"))
        os.setxattr(self.path(top, "model"), "user.loss", b"0.5")
        os.setxattr(self.path(top, "sub"), "user.kind", b"sub")
        os.setxattr(self.path(top), "user.kind", b"top")
        os.utime(self.path(top, "model"), ns=(10**9, 1234567890 * 10**9 + 123))
        os.chmod(self.path(top, "sub/deep"), 0o700)

    def sorted_inodes(self, top):
        return {os.path.relpath(os.path.join(path, name), self.path(top)):
                os.lstat(os.path.join(path, name)).st_ino
                for path, directories, files in os.walk(self.path(top))
                for name in directories + files}


class Shows(CloneTestCase):
    """What a new clone shows."""

    def setUp(self):
        super().setUp()
        self.grow()

    def check_tree(self, clone):
        self.assertSame(self.path("A"), self.path(clone))
        for path, directories, files in os.walk(self.path("A")):
            for name in directories + files:
                one = os.path.join(path, name)
                self.check_node(one, self.path(clone, os.path.relpath(one, self.path("A"))))

    def check_node(self, one, other):
        was, now = os.lstat(one), os.lstat(other)
        for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_blocks"):
            self.assertEqual(getattr(now, field), getattr(was, field), (other, field))
        self.assertNotEqual(now.st_ino, was.st_ino)
        self.assertEqual(now.st_nlink, was.st_nlink if stat.S_ISDIR(was.st_mode) else 1, other)
        if stat.S_ISLNK(was.st_mode):
            self.assertEqual(os.readlink(other), os.readlink(one))
            return
        self.assertEqual(sorted(os.listxattr(other)), sorted(os.listxattr(one)))
        for name in os.listxattr(one):
            self.assertEqual(os.getxattr(other, name), os.getxattr(one, name))

    def test_the_attribute(self):
        self.clone("A", "B")
        self.check_tree("B")
        self.assertEqual(self.clone_of("B"), "A")
        self.assertNotIn("user.varve.clone_of", os.listxattr(self.path("B")))
        self.assertEqual(os.getxattr(self.path("B"), "user.kind"), b"top")
        self.assertEqual(os.stat(self.path("B")).st_nlink, os.stat(self.path("A")).st_nlink)
        self.assertErrno(errno.ENODATA, self.clone_of, "A")

    def test_the_command(self):
        os.chmod(self.path("A"), 0o750)
        varve("clone", self.path("A"), self.path("B"))
        self.check_tree("B")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("B")).st_mode), 0o750)
        os.mkdir(self.path("runs"))
        varve("clone", self.path("A"), self.path("runs/C") + "/")
        self.check_tree("runs/C")
        self.assertEqual(self.clone_of("runs/C"), "A")
        for bad in ((self.path("none"), self.path("D")), (self.path("A/log"), self.path("D")),
                    (self.outside(""), self.path("D")), (self.path("A"), self.outside("D")),
                    (self.path("A"), self.path("B")), (self.path("A"), self.path("none/D"))):
            self.assertRaises(AssertionError, varve, "clone", *bad)
        self.assertEqual(sorted(os.listdir(self.dir)), ["A", "B", "runs"])
        self.assertEqual(os.listdir(self.outside("")), [])

    def test_absolute_and_through_links(self):
        os.symlink("A", self.path("to_a"))
        os.symlink(self.path("A/sub"), self.path("to_sub"))
        os.symlink(self.outside(""), self.path("to_outside"))
        make_clone(self.path("A"), self.path("B"))
        self.check_tree("B")
        make_clone("to_a", self.path("C"))
        self.check_tree("C")
        make_clone("./to_sub/../sub/.", self.path("D"))
        self.assertSame(self.path("A/sub"), self.path("D"))
        self.assertErrno(errno.EXDEV, make_clone, "to_outside", self.path("E"))

    def test_seen_from_below(self):
        """Each .. leads one up; a path that only looks alike is not taken."""
        os.makedirs(self.path("x/y/z"))
        os.makedirs(self.path("x/y/A"))
        os.makedirs(self.path("x/A"))
        write_file(self.path("x/y/A/wrong"), b"")
        for depth, where in enumerate(("", "x", "x/y", "x/y/z")):
            make_clone("../" * depth + "A", self.path(where, "B"))
            self.check_tree(os.path.join(where, "B"))
            self.assertEqual(self.clone_of(os.path.join(where, "B")), "A")
        varve("clone", self.path("A"), self.path("x/y/z/C"))
        self.check_tree("x/y/z/C")
        make_clone("../../../A/sub/../sub/deep/../.", self.path("x/y/z/D"))
        self.assertSame(self.path("A/sub"), self.path("x/y/z/D"))

    def test_single_lookups(self):
        # Nothing is listed first.
        self.clone("A", "B")
        self.assertBytes(self.path("B/sub/deep/state"), b"s" * 5000)
        self.assertErrno(errno.ENOENT, os.stat, self.path("B/sub/none"))
        self.assertBytes(self.version("B/sub/weights"), b"w" * 30_000)
        self.assertBytes(self.history("B", "v1/log"), b"line\n")
        self.assertErrno(errno.EEXIST, os.mkdir, self.path("B/empty"))
        self.assertErrno(errno.EEXIST, os.open, self.path("B/model"), os.O_CREAT | os.O_EXCL)
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.path("B"))
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.path("B/sub"))
        self.assertErrno(errno.ENOTDIR, os.listdir, self.path("B/model"))
        self.check_tree("B")

    def test_history_and_versions(self):
        self.clone("A", "B")
        write_file(self.path("B/model"), b"changed")
        os.unlink(self.path("B/sub/weights"))
        os.unlink(self.path("B/log"))
        v1 = self.history("B", "v1")
        self.assertSame(self.path("A"), v1)
        self.assertEqual(os.getxattr(v1, "user.varve.reason"), b"cloned")
        self.assertEqual(sorted(os.listdir(self.path("B/.varve/versions/model"))),
                         ["0001", "0002", "latest"])
        self.assertBytes(self.version("B/model"), b"m" * 100_000)
        self.assertBytes(self.version("B/model", "0002"), b"changed")
        self.assertBytes(self.version("B/sub/weights"), b"w" * 30_000)
        self.assertBytes(self.version("B/log"), b"line\n")
        # It is what the original was then, and none of its history.
        write_file(self.path("A/model"), b"other")
        self.assertEqual(len(os.listdir(self.path("B/.varve/versions/model"))), 3)
        self.assertBytes(self.history("B", "v1/model"), b"m" * 100_000)
        self.assertBytes(self.version("A/model", "0002"), b"other")
        self.mount.kill_and_remount()
        self.assertBytes(self.history("B", "v1/model"), b"m" * 100_000)
        self.assertBytes(self.version("B/model"), b"m" * 100_000)
        varve("restore", self.path("B/log"))
        self.assertBytes(self.path("B/log"), b"line\n")
        log = json.loads(varve("log", "--json", self.path("B")))
        self.assertIn("cloned", json.dumps(log))

    def test_versions_are_listed(self):
        self.clone("A", "B")
        listed = sorted(os.listdir(self.path("B/.varve/versions")))
        self.assertEqual(listed, ["log", "model", "readonly"])
        self.assertEqual(sorted(os.listdir(self.path("B/sub/.varve/versions"))),
                         ["log2", "weights"])

    def test_of_the_mount_point(self):
        os.mkdir(self.path("all"))
        os.setxattr(self.path("all"), "user.varve.clone_of", b".")
        self.assertEqual(sorted(os.listdir(self.path("all"))), ["A", "all"])
        self.assertEqual(os.listdir(self.path("all/all")), [])
        self.assertSame(self.path("A"), self.path("all/A"))
        self.assertEqual(self.clone_of("all"), ".")
        self.assertErrno(errno.ENOTEMPTY, os.setxattr, self.dir, "user.varve.clone_of", b"A")

    def test_into_the_original(self):
        self.clone("A", "A/sub/fork")
        self.assertEqual(os.listdir(self.path("A/sub/fork/sub/fork")), [])
        write_file(self.path("A/sub/fork/sub/weights"), b"changed")
        self.assertBytes(self.path("A/sub/weights"), b"w" * 30_000)
        self.clone("A", "A/again")
        self.assertBytes(self.path("A/again/sub/fork/sub/weights"), b"changed")
        self.assertEqual(os.listdir(self.path("A/again/again")), [])
        os.rename(self.path("A/again/sub/fork"), self.path("A/again/sub/fork/../../out"))
        self.assertBytes(self.path("A/again/out/sub/weights"), b"changed")
        shutil.rmtree(self.path("A/sub"))
        self.assertBytes(self.path("A/again/sub/weights"), b"w" * 30_000)
        shutil.rmtree(self.path("A"))

    def test_of_a_subdirectory(self):
        self.clone("A/sub", "B")
        self.assertSame(self.path("A/sub"), self.path("B"))
        self.assertEqual(self.clone_of("B"), "A/sub")
        self.clone("B/deep", "C")
        self.assertEqual(os.listdir(self.path("C")), ["state"])
        shutil.rmtree(self.path("B"))
        self.assertBytes(self.path("C/state"), b"s" * 5000)

    def test_of_an_empty_directory(self):
        self.clone("A/empty", "B")
        self.assertEqual(os.listdir(self.path("B")), [])
        self.assertErrno(errno.EEXIST, os.setxattr, self.path("B"), "user.varve.clone_of", b"A")
        write_file(self.path("B/new"), b"new")
        self.assertEqual(os.listdir(self.path("A/empty")), [])
        os.unlink(self.path("B/new"))
        os.rmdir(self.path("B"))
        self.clone("A", "B")  # the name, not the directory
        self.check_tree("B")

    def test_tools(self):
        os.chmod(self.path("A/sub/deep"), 0o755)
        before = self.copy_of("A", "before")
        self.clone("A", "B")
        self.assertSame(self.copy_of("B", "after"), before)
        self.assertSame(self.path("B"), before)
        found = [subprocess.run(["find", ".", "-printf", "%P %y %s %m %T@\n"], check=True,
                                cwd=self.path(top), capture_output=True).stdout.splitlines()[1:]
                 for top in ("A", "B")]
        self.assertEqual(sorted(found[0]), sorted(found[1]))
        run("cp", "-a", self.path("B"), self.path("C"))
        self.assertSame(self.path("C"), before)
        if shutil.which("rsync"):
            changes = subprocess.run(
                ["rsync", "-aXni", "--modify-window=-1", self.path("A/"), self.path("B/")],
                check=True, capture_output=True, text=True).stdout.splitlines()
            self.assertEqual([line for line in changes if not line.endswith(" ./")], [])
            run("rsync", "-aX", self.path("B/"), self.outside("synced"))
            self.assertSame(self.outside("synced"), before)

    def test_completeness(self):
        writers.save_hugging_face(self.path("A/checkpoint-1"),
                                  writers.safetensors_bytes(writers.tensors_of(1)), 1)
        self.clone("A", "B")
        self.assertEqual(os.readlink(self.path("B/.varve/latest")), "../checkpoint-1")
        path = self.path("B/checkpoint-1/model.safetensors")
        self.assertEqual(os.getxattr(path, "user.varve.complete"), b"1")


class Refusals(CloneTestCase):
    def attempt(self, original, clone="B"):
        os.setxattr(self.path(clone), "user.varve.clone_of", os.fsencode(original))

    def test_what_cannot_be_cloned(self):
        self.grow()
        self.pin("A", "p")
        os.mkdir(self.path("B"))
        os.symlink("loop", self.path("loop"))
        for path, code in (("none", errno.ENOENT), ("", errno.ENOENT), ("A/log", errno.ENOTDIR),
                           ("A/log/x", errno.ENOTDIR), ("A/.varve/history/p/log", errno.ENOTDIR),
                           ("A/.varve/history/none", errno.ENOENT), ("/", errno.EXDEV),
                           (self.mount.store, errno.EXDEV), (self.dir + "x", errno.EXDEV),
                           (os.path.dirname(self.dir), errno.EXDEV), ("B", errno.EINVAL),
                           ("A/../B/.", errno.EINVAL), ("A/.varve", errno.EINVAL),
                           ("A/.varve/history", errno.EINVAL), ("loop", errno.ELOOP),
                           ("A/.varve/versions", errno.EINVAL),
                           ("A/.varve/versions/log", errno.EINVAL),
                           ("A/sub/none/x", errno.ENOENT), ("x" * 300, errno.ENAMETOOLONG)):
            with self.subTest(path=path):
                self.assertErrno(code, self.attempt, path)
        self.assertErrno(errno.ENODATA, self.clone_of, "B")
        self.attempt("A")
        self.assertSame(self.path("A"), self.path("B"))

    def test_what_cannot_become_a_clone(self):
        self.grow()
        self.pin("A", "p")
        for path, code in (("A/sub", errno.ENOTEMPTY), ("A/log", errno.ENOTDIR)):
            self.assertErrno(code, self.attempt, self.path("A"), path)
        self.assertErrno((errno.ENOTEMPTY, errno.EINVAL), self.attempt, self.path("A"), "A")
        self.clone("A", "B")
        self.assertErrno((errno.EEXIST, errno.ENOTEMPTY), self.attempt, "A")
        shutil.rmtree(self.path("B/sub"))
        for name in os.listdir(self.path("B")):
            path = self.path("B", name)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        self.assertErrno(errno.EEXIST, self.attempt, "A")
        self.assertErrno(errno.EEXIST, self.attempt, self.path("A"), "B")
        # A directory in a clone is a clone.
        self.assertErrno(errno.EEXIST, self.attempt, self.path("A"), self.inner_clone())
        with self.assertRaises(OSError):
            self.attempt(self.path("A"), "A/.varve/history/p/empty")
        self.assertErrno((errno.EPERM, errno.ENODATA), os.removexattr, self.path("B"),
                         "user.varve.clone_of")
        self.assertEqual(self.clone_of("B"), "A")
        self.assertEqual(os.listdir(self.path("B")), [])

    def inner_clone(self):
        self.clone("A", "C")
        return "C/empty"

    def test_emptied_directories_may(self):
        self.grow()
        os.mkdir(self.path("B"))
        write_file(self.path("B/log"), b"of before")
        self.assertErrno(errno.ENOTEMPTY, self.attempt, "A")
        os.unlink(self.path("B/log"))
        self.attempt("A")
        self.assertSame(self.path("A"), self.path("B"))
        # Its name's history goes on.
        self.assertBytes(self.version("B/log"), b"of before")
        self.assertBytes(self.version("B/log", "0002"), b"line\n")

    def test_while_somebody_is_in_it(self):
        self.grow()
        os.mkdir(self.path("B"))
        fd = self.open("B", os.O_RDONLY | os.O_DIRECTORY)
        self.assertEqual(os.listdir(fd), [])
        self.attempt("A")
        os.lseek(fd, 0, os.SEEK_SET)
        self.assertIn("model", os.listdir(fd))
        self.assertEqual(os.stat("model", dir_fd=fd).st_size, 100_000)
        os.mkdir("made", dir_fd=fd)
        self.assertFalse(os.path.exists(self.path("A/made")))

    def test_negative_lookups_are_forgotten(self):
        self.grow()
        os.mkdir(self.path("B"))
        self.assertErrno(errno.ENOENT, os.stat, self.path("B/model"))
        self.assertErrno(errno.ENOENT, os.stat, self.path("B/sub"))
        self.attempt("A")
        self.assertEqual(os.stat(self.path("B/model")).st_size, 100_000)
        self.assertBytes(self.path("B/sub/weights"), b"w" * 30_000)


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


class Large(CloneTestCase):
    FILES = 2000

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("A"))
        for i in range(self.FILES):
            write_file(self.path(f"A/f{i}"), b"%d" % i)

    def test_it_is_made_at_once(self):
        started = time.monotonic()
        self.clone("A", "B")
        self.assertLess(time.monotonic() - started, 1.0)
        os.mkdir(self.path("small"))
        started = time.monotonic()
        for i in range(100):
            self.clone("B", f"B{i}")
        self.assertLess(time.monotonic() - started, 10.0)

    def test_all_of_its_files(self):
        self.clone("A", "B")
        self.clone("B", "C")
        inodes = set()
        for top in "BC":
            for i in range(self.FILES):
                info = os.stat(self.path(f"{top}/f{i}"))
                self.assertEqual((info.st_size, info.st_nlink), (len(str(i)), 1))
                inodes.add(info.st_ino)
        self.assertEqual(len(inodes), 2 * self.FILES)
        self.assertEqual(len(os.listdir(self.path("C"))), self.FILES)
        shutil.rmtree(self.path("B"))
        for i in range(0, self.FILES, 50):
            self.assertBytes(self.path(f"C/f{i}"), b"%d" % i)
        self.assertEqual(len(os.listdir(self.path("A"))), self.FILES)

    def test_listed_while_it_changes(self):
        """What stays is listed once, also with seeks back; what was removed before is not."""
        self.clone("A", "B")
        directory = Listing(self.path("B"))
        self.addCleanup(directory.close)
        r = random.Random(harness.seed())
        stays = {f"f{i}" for i in range(self.FILES)}
        removed_first = set(r.sample(sorted(stays), 100))
        for name in removed_first:
            os.unlink(self.path("B", name))
        stays -= removed_first
        seen, places = [], [(0, 0)]
        while entries := directory.read():
            seen += entries
            places.append((entries[-1][1], len(seen)))
            for name in r.sample(sorted(stays), min(10, len(stays))):
                stays.discard(name)
                choice = r.randrange(3)
                if choice == 0:
                    os.unlink(self.path("B", name))
                elif choice == 1:
                    os.rename(self.path("B", name), self.path("B", "x" + name))
                else:
                    os.rename(self.path("B", name), self.path(name))
                write_file(self.path("B", f"new{len(seen)}"), b"")
            if r.random() < 0.2:
                place, count = r.choice(places)
                directory.seek(place)
                del seen[count:]
                places = [entry for entry in places if entry[1] <= count]
        names = [name for name, _ in seen]
        self.assertEqual(len(names), len(set(names)), "listed twice")
        self.assertEqual(stays - set(names), set())
        self.assertEqual(removed_first & set(names), set())
        self.assertEqual(len(os.listdir(self.path("A"))), self.FILES)
        with os.scandir(self.path("B")) as listing:
            for entry in listing:
                self.assertEqual(entry.inode(), os.lstat(entry.path).st_ino)

    def test_removed_while_it_is_listed(self):
        """As rm -r does it, from a clone that nobody has looked at."""
        self.clone("A", "B")
        self.clone("A", "C")
        directory = Listing(self.path("B"))
        self.addCleanup(directory.close)
        while entries := directory.read():
            for name, _ in entries:
                if name not in (".", ".."):
                    os.unlink(self.path("B", name))
        self.assertEqual(os.listdir(self.path("B")), [])
        os.rmdir(self.path("B"))
        run("rm", "-r", self.path("C"))
        self.assertEqual(len(os.listdir(self.path("A"))), self.FILES)


class Listing:
    """A directory read in small pieces, as getdents64 gives them."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.buffer = ctypes.create_string_buffer(2048)

    def read(self):
        """(name, where the next one is) of some names; nothing at the end."""
        size = self.libc.getdents64(self.fd, self.buffer, ctypes.c_size_t(len(self.buffer)))
        if size < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        entries, at = [], 0
        while at < size:
            _, offset, length = struct.unpack_from("<QqH", self.buffer, at)
            name = self.buffer.raw[at + 19:at + length].split(b"\0", 1)[0]
            entries.append((os.fsdecode(name), offset))
            at += length
        return entries

    def seek(self, place):
        os.lseek(self.fd, place, os.SEEK_SET)

    def close(self):
        os.close(self.fd)


class Modes(CloneTestCase):
    """Modes, seals and owners."""

    def test_read_only_files(self):
        self.grow()
        self.make("A/sub/deep/closed", b"x", 0o400)
        os.chmod(self.path("A/sub"), 0o555)
        self.clone("A", "B")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("B/sub")).st_mode), 0o555)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("B/readonly")).st_mode), 0o444)
        if harness.mode() == "user":
            self.assertErrno(errno.EACCES, write_file, self.path("B/readonly"), b"y")
            self.assertErrno(errno.EACCES, os.unlink, self.path("B/sub/weights"))
            self.assertErrno(errno.EACCES, write_file, self.path("B/sub/new"), b"y")
        os.chmod(self.path("B/sub"), 0o755)
        os.chmod(self.path("B/readonly"), 0o644)
        write_file(self.path("B/readonly"), b"y")
        os.unlink(self.path("B/sub/weights"))
        self.assertBytes(self.path("A/readonly"), b"r")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("A/sub")).st_mode), 0o555)
        os.chmod(self.path("A/sub"), 0o755)

    def test_a_clone_is_not_sealed(self):
        self.grow()
        os.setxattr(self.path("A/sub/deep"), "user.varve.seal", b"1")
        os.setxattr(self.path("A"), "user.varve.seal", b"1")
        self.clone("A", "B")
        self.assertSame(self.path("A"), self.path("B"))
        for name in ("B", "B/sub", "B/sub/deep"):
            self.assertErrno(errno.ENODATA, os.getxattr, self.path(name), "user.varve.seal")
        write_file(self.path("B/model"), b"changed")
        write_file(self.path("B/sub/deep/state"), b"changed")
        os.unlink(self.path("B/sub/weights"))
        self.assertErrno(errno.EPERM, write_file, self.path("A/model"), b"changed")
        self.assertBytes(self.path("A/model"), b"m" * 100_000)
        self.mount.kill_and_remount()
        shutil.rmtree(self.path("B"))
        os.removexattr(self.path("A"), "user.varve.seal")
        os.removexattr(self.path("A/sub/deep"), "user.varve.seal")

    def test_in_a_sealed_directory(self):
        self.grow()
        os.makedirs(self.path("P/B"))
        os.setxattr(self.path("P"), "user.varve.seal", b"1")
        self.assertErrno(errno.EPERM, os.mkdir, self.path("P/C"))
        self.assertErrno(errno.EPERM, os.setxattr, self.path("P/B"), "user.varve.clone_of",
                         b"../A")
        self.assertErrno(errno.ENODATA, self.clone_of, "P/B")
        os.removexattr(self.path("P"), "user.varve.seal")
        os.setxattr(self.path("P/B"), "user.varve.clone_of", b"../A")
        self.assertSame(self.path("A"), self.path("P/B"))
        # A sealed clone is as immutable as others.
        os.setxattr(self.path("P/B"), "user.varve.seal", b"1")
        self.assertErrno(errno.EPERM, write_file, self.path("P/B/sub/weights"), b"x")
        self.assertErrno(errno.EPERM, os.unlink, self.path("P/B/sub/deep/state"))
        self.assertErrno(errno.EPERM, os.rename, self.path("P/B/sub"), self.path("sub"))
        os.removexattr(self.path("P/B"), "user.varve.seal")

    @needs_root
    def test_whose_directory(self):
        self.grow()
        os.chmod(self.dir, 0o777)
        os.chmod(self.path("A"), 0o755)
        os.chown(self.path("A"), 4201, 4201)
        for name in ("B", "C"):
            as_user(4202, os.mkdir, self.path(name))
        self.assertErrno(errno.EPERM, as_user, 4202, os.setxattr, self.path("B"),
                         "user.varve.clone_of", b"A")
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4201, os.setxattr, self.path("C"),
                         "user.varve.clone_of", b"A")
        self.assertEqual(os.listdir(self.path("B")) + os.listdir(self.path("C")), [])
        as_user(4201, os.mkdir, self.path("D"))
        os.chmod(self.path("A"), 0o500)
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4202, os.setxattr, self.path("B"),
                         "user.varve.clone_of", b"A/sub")
        as_user(4201, os.setxattr, self.path("D"), "user.varve.clone_of", b"A")
        # A directory of root in it.
        as_user(4201, os.mkdir, self.path("E"))
        self.assertErrno(errno.EPERM, as_user, 4201, os.setxattr, self.path("E"),
                         "user.varve.clone_of", b"A/sub")
        self.assertEqual(as_user(4201, varve, "clone", self.path("A"), self.path("F")), "")
        self.assertEqual(os.stat(self.path("F")).st_uid, 4201)
        varve("clone", self.path("A"), self.path("G"))
        self.assertEqual(os.stat(self.path("G")).st_uid, 4201)

    @needs_root
    def test_owners_in_it(self):
        os.mkdir(self.path("A"))
        os.chmod(self.dir, 0o777)
        os.chown(self.path("A"), 4201, 4201)
        self.make("A/mine", b"mine")
        self.make("A/other", b"other", 0o600)
        self.make("A/setuid", b"x")
        os.chown(self.path("A/mine"), 4201, 4201)
        os.chown(self.path("A/other"), 4203, 4203)
        os.chmod(self.path("A/setuid"), 0o4755)
        as_user(4201, os.mkdir, self.path("B"))
        as_user(4201, os.setxattr, self.path("B"), "user.varve.clone_of", b"A")
        for name in ("mine", "other", "setuid"):
            was, now = os.stat(self.path("A", name)), os.stat(self.path("B", name))
            self.assertEqual((now.st_uid, now.st_gid, now.st_mode),
                             (was.st_uid, was.st_gid, was.st_mode))
        for path in (self.path("B/other"), self.version("B/other"), self.history("B", "v1/other")):
            self.assertErrno(errno.EACCES, as_user, 4201, read_file, path)
            self.assertEqual(as_user(4203, read_file, path), b"other")
        self.assertErrno(errno.EACCES, as_user, 4201, os.truncate, self.path("B/other"), 0)
        as_user(4201, write_file, self.path("B/mine"), b"changed")
        self.assertErrno(errno.EPERM, as_user, 4201, os.chmod, self.path("B/other"), 0o644)
        # But it is his directory.
        as_user(4201, os.unlink, self.path("B/other"))
        self.assertBytes(self.path("A/other"), b"other")
        self.assertBytes(self.path("A/mine"), b"mine")
        self.assertErrno(errno.EACCES, as_user, 4202, write_file, self.path("B/new"), b"x")

    @needs_root
    def test_captured_trees_of_others(self):
        self.grow()
        os.chmod(self.dir, 0o777)
        os.chown(self.path("A"), 4201, 4201)
        self.pin("A", "p")
        as_user(4202, os.mkdir, self.path("B"))
        self.assertErrno((errno.EPERM, errno.EACCES), as_user, 4202, os.setxattr, self.path("B"),
                         "user.varve.clone_of", b"A/.varve/history/p")
        as_user(4201, os.mkdir, self.path("C"))
        as_user(4201, os.setxattr, self.path("C"), "user.varve.clone_of", b"A/.varve/history/p")
        self.assertBytes(self.path("C/model"), b"m" * 100_000)


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
