"""systemd understands the service, and its time limits fit each other."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = pathlib.Path(__file__).resolve().parent.parent.parent
UNIT = (SOURCE_DIR / "packaging/systemd/varve@.service.in").read_text(encoding="utf-8")
EXIT_SKIPPED = 77


class Service(unittest.TestCase):
    def test_systemd_understands_it(self):
        with tempfile.TemporaryDirectory(prefix="varve-test-") as folder:
            file = pathlib.Path(folder) / "varve@mnt-runs.service"
            # Any program that is there will do: verify looks whether it is.
            file.write_text(UNIT.replace("@VARVE_PROGRAM@", "/bin/true"), encoding="utf-8")
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)],
                                  capture_output=True, text=True, timeout=60, check=False)
        said = [line for line in done.stderr.splitlines() if "varve" in line]
        self.assertEqual((done.returncode, said), (0, []), done.stderr)

    def test_the_daemons_time_ends_before_systemds(self):
        limit = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.M)[1])
        for ours in re.findall(r"timeout[= ](\d+)", UNIT):
            self.assertLess(int(ours), limit)


if __name__ == "__main__":
    if shutil.which("systemd-analyze") is None:
        print("there is no systemd-analyze")
        sys.exit(EXIT_SKIPPED)
    unittest.main()
