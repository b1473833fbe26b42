"""What is measured: the filesystem below, libfuse's passthrough example, and VarveFS in its modes.

Every backend has a `root` to work in and knows how to act there: act(function) calls it as whoever
may use that mount. They live in one mount namespace of the benchmark's own.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "mount"))

from mounts import Mount, wait_until  # noqa: E402
from processes import as_user  # noqa: E402

LIBFUSE_PREFIX = os.environ.get("VARVE_LIBFUSE_PREFIX", "/usr/local/lib/varve/libfuse")
PASSTHROUGH = os.path.join(LIBFUSE_PREFIX, "libexec", "passthrough_hp")


class Native:
    """A plain directory on the filesystem that the stores are on, too."""
    name = "native"

    def __init__(self, base):
        self.root = os.path.join(base, "native")
        os.makedirs(self.root, exist_ok=True)

    def act(self, function, *args):
        return function(*args)

    def settle(self):
        """Returns when nothing is left to do in the background."""
        os.sync()

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


class PassthroughExample(Native):
    """libfuse's passthrough_hp over a plain directory, with its defaults."""
    name = "passthrough_hp"

    def __init__(self, base, *arguments):
        self.source = os.path.join(base, "hp-source")
        self.root = os.path.join(base, "hp-mnt")
        for path in (self.source, self.root):
            os.makedirs(path, exist_ok=True)
        # A session of its own, as a daemon has: the scheduler groups processes by session.
        self.process = subprocess.Popen(
            [PASSTHROUGH, "--foreground", *arguments, self.source, self.root],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        wait_until(lambda: os.path.ismount(self.root), 10, "passthrough_hp")

    def close(self):
        subprocess.run(["umount", "-l", self.root], check=False)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.source, ignore_errors=True)


class Varve:
    """A store of its own, mounted as root."""

    def __init__(self, base, program, options=(), name="varve"):
        self.name = name
        self.mount = Mount(base, name, program, [*options])
        self.root = self.mount.root
        self.act(self.mount.start)

    def act(self, function, *args):
        return function(*args)

    def settle(self):
        self.act(self.mount.sync, None, 600)
        os.sync()

    def remount(self):
        self.act(self.mount.stop, 600)
        self.act(self.mount.start)

    def cpu_seconds(self):
        """User and system time of the daemon so far."""
        with open(f"/proc/{self.mount.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self):
        """RssAnon + RssShmem of the daemon."""
        total = 0
        with open(f"/proc/{self.mount.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
        return total

    def close(self):
        try:
            self.act(self.mount.stop, 600)
        except (AssertionError, OSError, subprocess.SubprocessError, TimeoutError) as error:
            print(f"bench: {self.name}: {error}", file=sys.stderr)
            self.mount.destroy()
        shutil.rmtree(os.path.dirname(self.root), ignore_errors=True)


class UserVarve(Varve):
    """Mounted and used by the ordinary user `nobody`; no fast paths."""

    def __init__(self, base, program, options=(), name="varve-user"):
        user = pwd.getpwnam("nobody")
        self.uid, self.gid = user.pw_uid, user.pw_gid
        copy = os.path.join(base, "varve-for-users")
        if not os.path.exists(copy):
            shutil.copy2(program, copy)
            os.chmod(copy, 0o755)
        top = os.path.join(base, name)
        for path in (top, top + "/store", top + "/mnt"):
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chown(path, self.uid, self.gid)
        super().__init__(base, os.path.realpath(copy), options, name)

    def act(self, function, *args):
        return as_user(self.uid, function, *args, gid=self.gid)


def warm(size_bytes):
    """Touches memory that the machine may not have backed yet; then it is free, but warm."""
    import mmap
    with mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        page = b"\1" * (1 << 20)
        for at in range(0, size_bytes - len(page) + 1, len(page)):
            area[at:at + len(page)] = page
