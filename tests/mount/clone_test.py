"""Clones of directories: what they show, who may make them, and what is refused."""

import ctypes
import errno
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import time

import checkpoint_writers as writers
from clones import CloneTestCase, make_clone, run, varve
import harness
from harness import needs_root, read_file, write_file
from processes import as_user


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


if __name__ == "__main__":
    harness.main()
