"""Random operations against a model, in every mode; --seed N replays, --scale X runs longer."""

import os

import harness
from exerciser import Exerciser
from harness import MountTestCase


class Integrity(MountTestCase):
    uses_shared_mount = False
    limit_s = 3600

    def exercise(self, number, operations, options=None, **kwargs):
        mount = self.own_mount(options=options)
        directory = os.path.join(mount.root, "files")
        os.mkdir(directory)
        hooks = {"wait_stored": mount.sync, "drop_caches": harness.drop_caches,
                 "remount": (lambda: None) if harness.NATIVE else mount.remount}
        seed = harness.seed() + number
        exerciser = Exerciser(directory, seed, hooks=hooks, **kwargs)
        exerciser.run(harness.scaled(operations))
        exerciser.close()
        if not harness.NATIVE:
            mount.sync()
            exerciser.check_all()
            mount.remount()
            harness.drop_caches()
        exerciser.check_all()
        if not harness.NATIVE:
            mount.stop()
            self.assertEqual(mount.fsck()[0], 0, mount.fsck()[1])

    def test_small_files(self):
        self.exercise(0, 2500, size_max=1 << 17)

    def test_large_files(self):
        self.exercise(1, 1000, size_max=6 << 20, files=3)

    def test_with_remounts(self):
        self.exercise(2, 600, weights={"remount": 2, "wait_stored": 4})

    def test_stored_files_are_modified(self):
        """Most files are stored when they are changed, so overlays are what is tested."""
        options = [*harness.default_options(), "hot=1"] if not harness.NATIVE else None
        self.exercise(3, 800, options=options, size_max=3 << 20,
                      weights={"wait_stored": 16, "reopen": 16, "drop_caches": 2})


if __name__ == "__main__":
    harness.main()
