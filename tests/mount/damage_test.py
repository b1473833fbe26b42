"""A store that decays: never wrong bytes, never a crash; what is lost is said, and a rebuild gives back the rest.

Each round copies a store, damages one of its files at random, and then does what its owner would: mounts and reads all
of it, checks it, makes its index anew, and reads again. `--scale 80` makes about a thousand rounds.
"""

import errno
import os
import random
import re
import shutil
import subprocess
import unittest

import harness
from harness import MountTestCase, read_file, write_file

KIB = 1 << 10
DONE, FAILED, DAMAGED = 0, 1, 5
ROUNDS = 12
LOST = (errno.EIO, errno.ENOENT)


def make_model(chance):
    """The bytes of each version of some files: small and large ones, equal and similar ones, compressible ones."""
    noise = chance.randbytes(500 * KIB)
    text = b"".join(b"line %d of a text\n" % chance.randrange(5000) for _ in range(8000))
    return {
        "config.json": [b'{"layers": 2}', b'{"layers": 3}'],
        "model.bin": [noise, noise[:200 * KIB] + b"changed" + noise[200 * KIB:]],
        "run/copy.bin": [noise],
        "run/log.txt": [text[:40000], text],
        "run/deep/er/weights": [chance.randbytes(150 * KIB), chance.randbytes(90 * KIB), noise[:70 * KIB]],
        **{f"many/{i:02}": [chance.randbytes(chance.randrange(1, 9000))] for i in range(30)},
    }


def files_of(store):
    """What may decay: all but what holds no data of the store's."""
    for directory, _, names in os.walk(store):
        for name in names:
            path = os.path.join(directory, name)
            if name not in ("lock", "lock.mdb", "ballast", "varve.log") and os.path.getsize(path) > 0:
                yield path


def damage(chance, path):
    """Returns what was done."""
    # What was not stored yet has no checksum, as in any file of the disk below.
    kinds = ["gone"] if "/stage/" in path else ["flip", "flip", "flip", "zero", "noise", "swap", "cut", "gone"]
    kind = chance.choice(kinds)
    size = os.path.getsize(path)
    at = chance.randrange(size)
    if kind == "gone":
        os.unlink(path)
        return "removed"
    with open(path, "r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return f"cut to {at} of {size}"
        file.seek(at)
        old = file.read(1 if kind == "flip" else chance.randrange(1, 5000))
        if kind == "flip":
            new = bytes([old[0] ^ 1 << chance.randrange(8)])
        elif kind == "zero":
            new = bytes(len(old))
        elif kind == "noise":
            new = chance.randbytes(len(old))
        else:
            file.seek(chance.randrange(size))
            new = file.read(len(old))
        file.seek(at)
        file.write(new)
        return f"{kind} {len(new)} bytes at {at} of {size}"


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Damage(MountTestCase):
    uses_shared_mount = False
    limit_s = 3600

    def setUp(self):
        super().setUp()
        self.random = random.Random(harness.seed())
        self.model = make_model(self.random)
        # Nothing stays hot: what is read comes from packs.
        self.mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        self.template = self.mount.store + ".template"

    def at(self, name):
        return os.path.join(self.mount.root, name)

    def fill(self):
        for number in range(3):
            for name, versions in self.model.items():
                if number < len(versions):
                    os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
                    write_file(self.at(name), versions[number])
            self.mount.sync()
        os.mkdir(self.at("run/.varve/history/pin"))
        os.mkdir(self.at("clone"))
        os.setxattr(self.at("clone"), "user.varve.clone_of", b"run")
        os.setxattr(self.at("model.bin"), "user.loss", b"0.5")
        os.symlink("model.bin", self.at("best"))
        self.mount.sync()

    def keep_as_template(self):
        shutil.copytree(self.mount.store, self.template, ignore=shutil.ignore_patterns("ballast"))

    def restore_template(self):
        shutil.rmtree(self.mount.store)
        shutil.copytree(self.template, self.mount.store)

    def run_varve(self, *arguments, codes):
        done = subprocess.run([harness.program(), *arguments], capture_output=True, stdin=subprocess.DEVNULL,
                              timeout=100, check=False)
        text = (done.stdout + done.stderr).decode(errors="replace")
        self.assertIn(done.returncode, codes, text)
        return done.returncode, text

    def mounts(self):
        """Whether it can be mounted; a refusal names the store and the remedy."""
        options = ["-o", ",".join(self.mount.options)]
        code, text = self.mount.command("mount", *options, self.mount.store, self.mount.root, check=False)
        if code == DONE:
            return True
        self.assertEqual(code, FAILED, text)
        self.assertIn(self.mount.store, text)
        self.assertRegex(text, "varve fsck|format")
        return False

    def check_file(self, path, allowed, older=False):
        """Its bytes are some of `allowed`, or it cannot be read. Returns whether it could be.

        `older`: the newest journals may be lost, and it be as it was before its first version.
        """
        try:
            data = read_file(path)
        except OSError as error:
            self.assertIn(error.errno, LOST, path)
            return False
        if older and data == b"" and os.getxattr(path, "user.varve.complete") == b"0":
            return False
        if data not in allowed:
            self.assertSameBytes(data, allowed[-1], path)
        return True

    def check_tree(self, whole=False, older=False):
        """No wrong byte anywhere. `whole`: nothing is lost. Returns whether all could be read."""
        all_read = True
        for name, versions in self.model.items():
            allowed = versions[-1:] if whole else versions
            all_read &= self.check_file(self.at(name), allowed, older)
            directory, base = os.path.split(name)
            for number, data in enumerate(versions, 1):
                path = os.path.join(self.at(directory), ".varve/versions", base, f"{number:04}")
                all_read &= self.check_file(path, [data], older)
            if name.startswith("run/"):
                all_read &= self.check_file(self.at("run/.varve/history/pin/" + name[4:]), versions, older)
                all_read &= self.check_file(self.at("clone/" + name[4:]), versions, older)
        if whole:
            self.assertTrue(all_read)
            self.assertEqual(os.readlink(self.at("best")), "model.bin")
            self.assertEqual(os.getxattr(self.at("model.bin"), "user.loss"), b"0.5")
        self.assertTrue(self.mount.alive(), "the daemon is dead")
        return all_read

    def end_mount(self):
        self.mount.command("umount", "--timeout", "20", self.mount.root, check=False)
        if self.mount.pid is not None or os.path.ismount(self.mount.root):
            self.mount.destroy()

    def one_round(self, clean):
        self.restore_template()
        path = self.random.choice(sorted(files_of(self.mount.store)))
        what = os.path.relpath(path, self.mount.store) + ": " + damage(self.random, path)
        # Packs and superblocks are all that a rebuild has.
        in_packs = re.match("packs|superblock", what) is not None
        with self.subTest(what):
            return self.check_damaged(lossless=clean and not in_packs, in_packs=in_packs)
        self.mount.destroy()  # it failed, and the next round goes on
        return False

    def check_damaged(self, lossless, in_packs):
        """Returns whether it could be mounted."""
        mounted = self.mounts()
        if mounted:
            all_read = self.check_tree()
            self.end_mount()
            code, text = self.run_varve("fsck", "--verify-data", self.mount.store, codes=(DONE, DAMAGED))
            if not all_read:
                self.assertEqual(code, DAMAGED, text)
        else:
            self.run_varve("fsck", self.mount.store, codes=(FAILED, DAMAGED))
        code, text = self.run_varve("fsck", "--rebuild-index", self.mount.store, codes=(DONE, FAILED, DAMAGED))
        if code == FAILED:
            self.assertTrue(in_packs, text)
            return mounted
        self.run_varve("fsck", "--repair", "--verify-data", self.mount.store, codes=(DONE, DAMAGED))
        self.assertTrue(self.mounts())
        self.check_tree(whole=lossless, older=in_packs)
        self.end_mount()
        return mounted

    def rounds(self, clean):
        mounted = sum(bool(self.one_round(clean)) for _ in range(harness.scaled(ROUNDS)))
        print(f"{harness.scaled(ROUNDS)} corruptions, {mounted} of them mounted")

    def test_of_an_unmounted_store(self):
        self.fill()
        self.mount.stop()
        self.keep_as_template()
        self.rounds(clean=True)

    def test_of_a_store_that_was_in_use(self):
        self.fill()
        write_file(self.at("config.json"), self.model["config.json"][-1])
        os.mkdir(self.at("new"))
        self.mount.kill()
        self.mount.detach()
        self.keep_as_template()
        self.rounds(clean=False)


if __name__ == "__main__":
    harness.main(modes=("root",))
