#!/usr/bin/env python3
"""A mounted filesystem whose power can be cut, for tests of what survives.

A plain file is served as a disk with a volatile cache by tests/support/power_cut_disk_main.cc, the
kernel's loop driver makes a block device of it, and an ordinary filesystem is made and mounted on
that. cut() loses writes that the filesystem has not flushed; after that every access fails, as on
a machine that is off. recover() mounts what has survived.

    with PowerCutDisk(directory) as disk:           # ext4, 512 MiB
        mount_varve(store=disk.path + "/store")     # or any other load on disk.path
        run_load()
        disk.cut("random", seed=7)
        kill_daemon()                               # nothing may keep files of disk.path open
        disk.recover()
        mount_varve(store=disk.path + "/store")
        check()

Only what was acknowledged before cut() was called counts as acknowledged: on a machine that is off
nothing runs, but here the kernel goes on, and not all that it says after its disk has gone is true.

The losses are "all" (everything unflushed), "tail" (all behind a random point in the order of
writing) and "random" (each 512-byte sector for itself, older bytes or newest).

The same from a shell, with the state kept in DIR:

    powercut.py start DIR [--size BYTES] [--filesystem ext4|xfs]    prints the path to use
    powercut.py counts DIR              writes, flushes and what is unflushed, "NAME NUMBER" a line
    powercut.py cut DIR [--loss all|tail|random] [--seed N]         prints the counts
    powercut.py recover DIR
    powercut.py stop DIR                a clean unmount; DIR/image stays

Needs root, loop devices and the program power_cut_disk, which is built with the tests: the one in
$VARVE_POWER_CUT_DISK, else beside $VARVE, else in build/release. unavailable() says what is
missing.
Everything goes away with the last unmount, also when the test is killed in a mount namespace of
its own.
"""

import argparse
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIZE_BYTES = 512 << 20
LOSSES = ("all", "tail", "random")
# Discards would need more of the loop driver; lazy initialisation would write in the background.
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-K", "-f"],
}
MOUNT_OPTIONS = {"ext4": "errors=remount-ro", "xfs": "nouuid"}
RELEASE_LIMIT_S = 20


def program():
    named = os.environ.get("VARVE_POWER_CUT_DISK")
    varve = os.path.abspath(os.environ.get("VARVE") or SOURCE_DIR + "/build/release/varve")
    return named or os.path.join(os.path.dirname(varve), "tests", "power_cut_disk")


def unavailable(filesystem="ext4"):
    """Why a PowerCutDisk cannot be had here, or None."""
    if os.geteuid() != 0:
        return "a power cut needs root"
    if not os.path.exists("/dev/loop-control"):
        return "a power cut needs loop devices"
    if not os.access(program(), os.X_OK):
        return f"a power cut needs {program()}, which is not built"
    tool = MAKE[filesystem][0]
    if shutil.which(tool, path=_search_path()) is None:
        return f"a power cut needs {tool}"
    return None


def _search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _run(*command):
    environment = {**os.environ, "PATH": _search_path()}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: "
                           f"{done.stderr.strip()}")
    return done.stdout.strip()


class _LoopDevice:
    """A block device over a file, which ends with its last user: this, then the mount."""

    # linux/loop.h
    GET_FREE = 0x4C82
    CONFIGURE = 0x4C0A
    AUTOCLEAR = 4
    # struct loop_config: fd, block size, loop_info64 up to lo_flags and its rest, reserved.
    CONFIG = struct.Struct("=II 52xI 176x 64x")

    def __init__(self, path):
        backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._configure(control, self.CONFIG.pack(backing, 0, self.AUTOCLEAR))
        finally:
            os.close(control)
            os.close(backing)

    def _configure(self, control, config):
        while True:
            self.path = f"/dev/loop{fcntl.ioctl(control, self.GET_FREE)}"
            self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(self.fd, self.CONFIGURE, config)
                return
            except OSError as error:
                os.close(self.fd)
                if error.errno != errno.EBUSY:  # somebody else was faster
                    raise

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        os.close(self.fd)


def _mounted(path):
    """Unlike os.path.ismount(), also right for a filesystem that only answers EIO."""
    escaped = path.replace("\\", r"\134").replace(" ", r"\040")
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        return any(line.split(" ")[1] == escaped for line in file)


def _unmount(path):
    """Unmounts, waiting for what still uses it; the loop driver lets go a moment later."""
    deadline = time.monotonic() + RELEASE_LIMIT_S
    while _mounted(path):
        try:
            _run("umount", path)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class PowerCutDisk:
    """Below `directory`: image (a plain file), filesystem (the name of what is in it), device/ (the
    disk), fs/ (where it is mounted)."""

    def __init__(self, directory, size_bytes=SIZE_BYTES, filesystem="ext4"):
        self.directory = os.path.abspath(directory)
        self.size_bytes = size_bytes
        self.filesystem = filesystem
        self.image = os.path.join(self.directory, "image")
        self.kind_path = os.path.join(self.directory, "filesystem")
        self.device_path = os.path.join(self.directory, "device")
        self.path = os.path.join(self.directory, "fs")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()

    def start(self):
        """Mounts the image; makes it and the filesystem in it if there is none."""
        for path in (self.device_path, self.path):
            os.makedirs(path, exist_ok=True)
        new = not os.path.exists(self.image)
        if new:
            with open(self.image, "wb") as file:
                file.truncate(self.size_bytes)
            with open(self.kind_path, "w", encoding="ascii") as file:
                file.write(self.filesystem)
        else:
            with open(self.kind_path, encoding="ascii") as file:
                self.filesystem = file.read()
        _run(program(), self.image, self.device_path)
        with _LoopDevice(os.path.join(self.device_path, "disk.img")) as device:
            if new:
                _run(*MAKE[self.filesystem], device)
            _run("mount", "-t", self.filesystem, "-o", MOUNT_OPTIONS[self.filesystem], device,
                 self.path)
        return self

    def counts(self):
        with open(os.path.join(self.device_path, "control"), encoding="ascii") as file:
            return {name: int(number) for name, number in (line.split() for line in file)}

    def cut(self, loss="random", seed=0):
        """Cuts the power now; returns the counts."""
        with open(os.path.join(self.device_path, "control"), "wb", buffering=0) as file:
            file.write(f"cut {loss} {seed}\n".encode("ascii"))
        return self.counts()

    def stop(self):
        """Unmounts; without a cut, everything is written. Fails while files are open."""
        _unmount(self.path)
        _unmount(self.device_path)

    def recover(self):
        self.stop()
        return self.start()

    def destroy(self):
        """Unmounts in any state and removes the image."""
        for path in (self.path, self.device_path):
            if _mounted(path):
                subprocess.run(["umount", "-l", path], check=False)
        if os.path.exists(self.image):
            os.unlink(self.image)


def main():
    parser = argparse.ArgumentParser(
        description="A mounted filesystem whose power can be cut; see the head of the file.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "counts", "cut", "recover", "stop"):
        command = commands.add_parser(name)
        command.add_argument("directory", metavar="DIR")
        if name == "start":
            command.add_argument("--filesystem", choices=sorted(MAKE), default="ext4")
            command.add_argument("--size", type=int, default=SIZE_BYTES, metavar="BYTES")
        if name == "cut":
            command.add_argument("--loss", choices=LOSSES, default="random")
            command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    filesystem = getattr(options, "filesystem", "ext4")
    reason = unavailable(filesystem)
    if reason:
        sys.exit(f"powercut.py: {reason}")
    disk = PowerCutDisk(options.directory, getattr(options, "size", SIZE_BYTES), filesystem)
    try:
        if options.command in ("start", "recover"):
            print(getattr(disk, options.command)().path)
        elif options.command == "stop":
            disk.stop()
        else:
            counts = disk.counts() if options.command == "counts" else disk.cut(options.loss,
                                                                               options.seed)
            print("\n".join(f"{name} {number}" for name, number in counts.items()))
    except (OSError, RuntimeError) as error:
        sys.exit(f"powercut.py: {error}")


if __name__ == "__main__":
    main()
