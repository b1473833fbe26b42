"""Stores that are mounted for a test or a measurement, and the namespace they are mounted in."""

import glob
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time

from syscalls import MS_BIND, MS_PRIVATE, MS_REC, bind_mount, unshare_mounts


def wait_until(condition, timeout_s, what):
    """Polls `condition` until it is true; fails with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout_s} s still waiting for {what}")
        time.sleep(0.02)


def runs(pid, program):
    """Is `pid` a process of this program? False for one that is dead and not yet waited for."""
    try:
        return os.path.realpath(f"/proc/{pid}/exe").removesuffix(" (deleted)") == program
    except OSError:
        return False


def lock_pid(store, program):
    """The pid in STORE/lock if that process runs `program`, else None."""
    try:
        with open(os.path.join(store, "lock"), encoding="utf-8") as file:
            pid = int(file.readline().split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return pid if runs(pid, program) else None


def drop_caches():
    """Drops clean pages, dentries and inodes; False without the privilege."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")
        return True
    except OSError:
        return False


class Mount:
    """One store and its mount point. Without a program: a plain directory."""

    def __init__(self, base, name, program, options=()):
        self.program = program
        self.store = os.path.join(base, name, "store")
        self.root = os.path.join(base, name, "mnt")
        self.options = list(options)
        os.makedirs(self.root, exist_ok=True)
        os.makedirs(self.store, mode=0o700, exist_ok=True)

    def command(self, *args, timeout_s=60, check=True):
        """Runs `varve ARGS`; output goes through a file, so a daemon cannot hold a pipe open."""
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            code = subprocess.run([self.program, *args], stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=output, timeout=timeout_s).returncode
            output.seek(0)
            text = output.read()
        if check and code != 0:
            raise AssertionError(f"varve {' '.join(args)}: exit status {code}: {text.strip()}")
        return code, text

    def start(self, *extra, timeout_s=60):
        if not self.program:
            return self
        options = ",".join([*self.options, *extra])
        args = ["-o", options] if options else []
        self.command("mount", *args, self.store, self.root, timeout_s=timeout_s)
        if not os.path.ismount(self.root):
            raise AssertionError("varve mount returned 0 but nothing is mounted")
        return self

    @property
    def pid(self):
        return lock_pid(self.store, self.program)

    def alive(self):
        return not self.program or (self.pid is not None and os.path.ismount(self.root))

    def stop(self, timeout_s=60):
        if self.program:
            self.command("umount", "--timeout", str(timeout_s), self.root, timeout_s=timeout_s + 10)
            wait_until(lambda: self.pid is None, 10, "the end of the daemon")

    def kill(self):
        """SIGKILLs the daemon; the dead mount stays."""
        pid = self.pid
        assert pid is not None, "no daemon to kill"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not runs(pid, self.program), 20, "the death of the daemon")

    def detach(self):
        """Takes the mount away, dead or alive, without asking the daemon."""
        if not self.program:
            return
        tool = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", "-q"]
        subprocess.run([*tool, self.root], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)

    def remount(self, *extra):
        """A clean umount and a new mount."""
        self.stop()
        return self.start(*extra)

    def kill_and_remount(self, *extra):
        self.kill()
        self.detach()
        return self.start(*extra)

    def sync(self, path=None, timeout_s=60):
        """Returns when `path` (default: everything) is captured and stored."""
        if not self.program:
            os.sync()
        else:
            code, text = self.command("sync", "--timeout", str(timeout_s), path or self.root,
                                      timeout_s=timeout_s + 10, check=False)
            if code != 0:
                raise AssertionError(f"varve sync: exit status {code}: {text.strip()}; pending: "
                                     f"{self.status().get('pending')}")

    def status(self):
        with open(os.path.join(self.root, ".varve", "status"), encoding="utf-8") as file:
            return json.load(file)

    def fsck(self):
        """Checks the store, which must not be mounted; returns (exit status, output)."""
        if "\n  fsck " not in self.command("--help", check=False)[1]:
            print("harness: this program has no fsck; the store is not checked", file=sys.stderr)
            return 0, ""
        return self.command("fsck", self.store, timeout_s=300, check=False)

    def destroy(self):
        """Ends the daemon whatever state it is in."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        self.detach()


def kill_daemons(base, program):
    """Ends every daemon whose store Mount has made below `base`."""
    for lock in glob.glob(glob.escape(base) + "/*/store/lock"):
        pid = lock_pid(os.path.dirname(lock), program)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            try:
                wait_until(lambda p=pid: not runs(p, program), 20, f"the end of daemon {pid}")
            except TimeoutError as error:
                print(f"harness: {error}", file=sys.stderr)


def enter_namespace(base, for_users):
    """A mount namespace of our own; `for_users`: with a /dev/fuse that everybody may open."""
    unshare_mounts()
    bind_mount(None, "/", MS_REC | MS_PRIVATE)
    if for_users and stat.S_IMODE(os.stat("/dev/fuse").st_mode) & 0o006 != 0o006:
        node = os.path.join(base, "fuse-device")
        os.mknod(node, stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
        os.chmod(node, 0o666)
        bind_mount(node, "/dev/fuse", MS_BIND)
