"""What benchmarks of one store have in common: a fresh mount, measured, printed, and taken away."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
from mounts import Mount  # noqa: E402


def run(parser, name, measure):
    """Parses the command line, and prints as JSON what measure(settings, mount) returns."""
    parser.add_argument("--program", default=os.environ.get("VARVE", "build/release/varve"))
    parser.add_argument("--base", help="where the store and the mount point are made")
    settings = parser.parse_args()
    base = tempfile.mkdtemp(prefix="varve-bench-", dir=settings.base)
    mount = Mount(base, name, os.path.realpath(settings.program))
    try:
        mount.start()
        print(json.dumps(measure(settings, mount), indent=1))
    finally:
        subprocess.run([mount.program, "umount", mount.root], check=False)
        mount.destroy()
        shutil.rmtree(base, ignore_errors=True)
