"""What tests of clones have in common."""

import os
import subprocess
import unittest

import harness
from harness import MountTestCase


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
