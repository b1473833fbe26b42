"""A store of each format version, kept with the tests: it is read as it was, and goes on.

  golden_test.py              the test
  golden_test.py --make       makes tests/golden/store-N.tar.xz anew, with what is in it; for a new format version

A store of a later version is refused by name, and left as it is.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

import harness
from harness import MountTestCase, read_file, write_file

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
VERSION = 1
TIME_NS = 1_700_000_000_123_456_789
REFUSED = 1


def fill(mount):
    """Something of everything, and some of it twice."""
    def at(name):
        return os.path.join(mount.root, name)

    def noise(name, size):
        return hashlib.shake_128(name.encode()).digest(size)
    os.makedirs(at("run/checkpoint-1"))
    for step in range(3):
        write_file(at("run/last.pt"), noise(f"last {step // 2}", 70_000) + noise(f"end {step}", 500))
        write_file(at("run/checkpoint-1/trainer.json"), b'{"step": %d}' % step * 400)
        mount.sync()
    os.link(at("run/last.pt"), at("run/best.pt"))
    os.symlink("checkpoint-1", at("run/latest"))
    os.mkfifo(at("fifo"), 0o640)
    os.setxattr(at("run/last.pt"), "user.loss", b"0.25")
    os.setxattr(at("run"), "user.varve.keep", b"last=9")
    os.mkdir(at("run/.varve/history/before"))
    write_file(at("run/removed"), b"removed")
    mount.sync()
    os.unlink(at("run/removed"))
    with open(at("sparse"), "wb") as file:
        file.truncate(1 << 20)
        file.seek(300_000)
        file.write(b"data")
    os.mkdir(at("fork"))
    os.setxattr(at("fork"), "user.varve.clone_of", b"run")
    write_file(at("fork/last.pt"), b"forked")
    os.chmod(at("run/checkpoint-1"), 0o2750)
    mount.sync()
    for name in ("run/last.pt", "run/checkpoint-1/trainer.json", "sparse"):
        os.utime(at(name), ns=(TIME_NS, TIME_NS))


def describe(root):
    """What a user sees, but for times of directories."""
    seen = {}

    def look(path):
        status = os.lstat(os.path.join(root, path))
        entry = {"mode": oct(status.st_mode), "links": status.st_nlink}
        if stat.S_ISLNK(status.st_mode):
            entry["target"] = os.readlink(os.path.join(root, path))
        elif stat.S_ISREG(status.st_mode):
            entry["mtime_ns"] = status.st_mtime_ns
            entry["sha256"] = hashlib.sha256(read_file(os.path.join(root, path))).hexdigest()
        if not stat.S_ISLNK(status.st_mode):
            names = os.listxattr(os.path.join(root, path))
            entry["xattrs"] = {name: os.getxattr(os.path.join(root, path), name).decode() for name in names
                               if not name.startswith("user.varve.")}
        seen[path] = entry

    def walk(path):
        for name in sorted(os.listdir(os.path.join(root, path))):
            child = os.path.join(path, name)
            look(child)
            if stat.S_ISDIR(os.lstat(os.path.join(root, child)).st_mode):
                walk(child)
    walk("")
    for directory in ("run", "run/checkpoint-1", "fork"):
        versions = os.path.join(directory, ".varve/versions")
        for name in sorted(os.listdir(os.path.join(root, versions))):
            for number in sorted(os.listdir(os.path.join(root, versions, name))):
                look(os.path.join(versions, name, number))
    look("run/.varve/history/before")
    walk("run/.varve/history/before")
    return seen


def paths_of(version):
    return os.path.join(GOLDEN, f"store-{version}.tar.xz"), os.path.join(GOLDEN, f"store-{version}.json")


class Golden(MountTestCase):
    uses_shared_mount = False

    def unpacked(self, version=VERSION):
        mount = self.own_mount(start=False)
        with tarfile.open(paths_of(version)[0]) as archive:
            archive.extractall(mount.store)
        return mount

    def test_it_is_read_as_it_was_and_goes_on(self):
        mount = self.unpacked()
        self.assertEqual(mount.fsck()[0], 0)
        mount.start()
        with open(paths_of(VERSION)[1], encoding="utf-8") as file:
            expected = json.load(file)
        self.maxDiff = None
        self.assertEqual(describe(mount.root), expected)
        write_file(os.path.join(mount.root, "run/last.pt"), b"a new one")
        mount.remount()
        self.assertBytes(os.path.join(mount.root, "run/.varve/versions/last.pt/0004"), b"a new one")
        mount.stop()
        code, text = mount.command("fsck", "--rebuild-index", mount.store, check=False)
        self.assertEqual(code, 0, text)
        mount.start()
        seen = describe(mount.root)
        # Two names of one file.
        for name in ("last.pt", "best.pt"):
            for path in (f"run/{name}", f"run/.varve/versions/{name}/latest"):
                self.assertNotEqual(seen[path], expected.pop(path), path)
        self.assertEqual({path: seen[path] for path in expected}, expected)

    def test_a_later_version_is_refused_by_name(self):
        mount = self.unpacked()
        for name in ("superblock", "superblock.copy"):
            with open(os.path.join(mount.store, name), "r+b") as file:
                file.seek(8)
                file.write((99).to_bytes(4, "little"))
        before = files_and_bytes(mount.store)
        for command in (["mount", mount.store, mount.root], ["fsck", mount.store], ["fsck", "--repair", mount.store],
                        ["fsck", "--rebuild-index", mount.store]):
            code, text = mount.command(*command, check=False)
            self.assertEqual(code, REFUSED, text)
            self.assertIn("99", text)
            self.assertIn(mount.store, text)
        self.assertEqual(files_and_bytes(mount.store), before)


def files_and_bytes(store):
    return {os.path.join(directory, name): read_file(os.path.join(directory, name))
            for directory, _, names in os.walk(store) for name in names if name not in ("lock", "ballast")}


def make():
    with tempfile.TemporaryDirectory() as base:
        os.environ["TMPDIR"] = base
        mount = harness.Mount(base, "golden", harness.PROGRAM, ["hot=1"])
        mount.start()
        try:
            fill(mount)
            mount.remount()
            expected = describe(mount.root)
            mount.stop()
        finally:
            mount.destroy()
        os.makedirs(GOLDEN, exist_ok=True)
        archive, description = paths_of(VERSION)
        for name in ("ballast", "lock", "varve.log", "index/lock.mdb"):
            path = os.path.join(mount.store, name)
            if os.path.exists(path):
                os.unlink(path)
        subprocess.run(["tar", "--sparse", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-cJf",
                        archive, "-C", mount.store, "."], check=True)
        with open(description, "w", encoding="utf-8") as file:
            json.dump(expected, file, indent=1, sort_keys=True)
            file.write("\n")
        shutil.rmtree(mount.store)


if __name__ == "__main__":
    if sys.argv[1:] == ["--make"]:
        make()
    else:
        harness.main(modes=("root",))
