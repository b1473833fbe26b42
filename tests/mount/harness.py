"""Mounts stores for the tests of this folder, and always cleans up after them.

A test file defines classes derived from MountTestCase and ends with `harness.main()`. Its suite
runs once for each mode:

  root            as root, with fast paths
  no_passthrough  as root, -o no_passthrough
  user            as the ordinary user "nobody", through the setuid fusermount3

Each mode is a child process in a mount namespace of its own, so a mount cannot outlive its test
or be seen by another one. /dev/fuse is often 0600: in the namespace of the mode `user` a device
node with mode 0666 is bound over it, and the machine's own stays as it is. The parent kills the
daemons of its own stores (by the pid in STORE/lock, after a look at what that process runs) and
removes the files, even when the child was killed.

Environment:
  VARVE                the program; default: build/release/varve of this source tree
  VARVE_TEST_BACKEND   varve (default), or native: plain directories, to validate the tests
  VARVE_TEST_OPTIONS   more -o options for every mount, comma-separated
  TMPDIR               where stores and mount points are made; a local disk
Arguments: [--mode MODE]... [--seed N] [--scale X] and those of unittest (-v, -k PATTERN,
Class.test). The seed of random tests is printed and replays them; --scale multiplies their length.
Exit status: 0 passed, 1 failed, 77 nothing could run here; the reason is printed.
"""

import faulthandler
import glob
import os
import pwd
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

from mounts import Mount, drop_caches, enter_namespace, kill_daemons, runs, wait_until
from processes import drop_privileges

MODES = ("root", "no_passthrough", "user")
BACKEND = os.environ.get("VARVE_TEST_BACKEND", "varve")
NATIVE = BACKEND == "native"
SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.realpath(os.environ.get("VARVE") or SOURCE_DIR + "/build/release/varve")
TEST_LIMIT_S = 120
SLOW_S = 8
EXIT_SKIPPED = 77


class _State:
    """What the child process of one mode knows."""
    mode = "root"
    base = None
    program = PROGRAM
    shared = None
    seed = 0
    seed_printed = False
    scale = 1.0
    extra_options = [o for o in os.environ.get("VARVE_TEST_OPTIONS", "").split(",") if o]


_STATE = _State()


def mode():
    return _STATE.mode


def program():
    """The program under test, as this mode can run it."""
    return _STATE.program


def seed():
    """The seed of this run's random choices; printed, so that --seed N replays them."""
    if not _STATE.seed_printed:
        _STATE.seed_printed = True
        print(f"seed {_STATE.seed}", flush=True)
    return _STATE.seed


def scaled(count):
    """`count` operations or rounds in the normal run, more with --scale."""
    return max(1, int(count * _STATE.scale))


def is_our_daemon(pid):
    return runs(pid, _STATE.program)


def default_options(allow_other=True):
    options = []
    if _STATE.mode != "user" and allow_other:
        options.append("allow_other")
    if _STATE.mode == "no_passthrough":
        options.append("no_passthrough")
    return options


def new_mount(name, options=None):
    """A fresh store, not mounted yet. `name` must be unique in the test file."""
    options = default_options() if options is None else options
    return Mount(_STATE.base, name, None if NATIVE else _STATE.program,
                 [*options, *_STATE.extra_options])


def shared_mount():
    """The store that tests of a file share; mounted anew if a test killed its daemon."""
    if _STATE.shared is None:
        _STATE.shared = new_mount("shared")
        _STATE.shared.start()
    elif not _STATE.shared.alive():
        print("harness: the daemon is gone; mounting again", file=sys.stderr)
        _STATE.shared.destroy()
        _STATE.shared.start()
    return _STATE.shared


def varve_only(item):
    return unittest.skipIf(NATIVE, "not a property of a plain directory")(item)


def needs_root(item):
    """Decorates what has to act as several users or needs capabilities."""
    if isinstance(item, type):
        original = item.setUp

        def set_up(self):
            if os.geteuid() != 0:
                self.skipTest("needs root")
            original(self)
        item.setUp = set_up
        return item

    def run(self, *args, **kwargs):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        return item(self, *args, **kwargs)
    run.__name__, run.__doc__ = item.__name__, item.__doc__
    return run


class _Watchdog:
    """Kills the daemons of a test that hangs, which ends blocked system calls."""

    def __init__(self, limit_s, name):
        self.timer = threading.Timer(limit_s, self.fire, (limit_s, name))
        self.timer.daemon = True
        self.timer.start()

    def fire(self, limit_s, name):
        print(f"harness: {name} hangs for {limit_s} s; killing its daemons", file=sys.stderr)
        faulthandler.dump_traceback()
        kill_daemons(_STATE.base, _STATE.program)
        self.timer = threading.Timer(20, os._exit, (3,))
        self.timer.daemon = True
        self.timer.start()

    def stop(self):
        self.timer.cancel()


class MountTestCase(unittest.TestCase):
    """A test in a directory of its own, self.dir, of the shared mount self.mount."""
    limit_s = TEST_LIMIT_S
    uses_shared_mount = True

    def run(self, result=None):
        watchdog = _Watchdog(self.limit_s, self.id())
        start = time.monotonic()
        try:
            return super().run(result)
        finally:
            watchdog.stop()
            seconds = time.monotonic() - start
            if seconds > SLOW_S:
                print(f"slow: {self.id().removeprefix('__main__.')} {seconds:.0f} s",
                      file=sys.stderr)

    def setUp(self):
        os.umask(0o022)
        if self.uses_shared_mount:
            self.mount = shared_mount()
            self.dir = tempfile.mkdtemp(prefix=self._testMethodName[:100] + "-",
                                        dir=self.mount.root)
            os.chmod(self.dir, 0o755)

    def tearDown(self):
        for mount in getattr(self, "_mounts", []):
            mount.destroy()

    def own_mount(self, name="own", options=None, start=True):
        """A store for this test only; ended with the test."""
        number = getattr(self, "_mount_number", 0)
        self._mount_number = number + 1
        mount = new_mount(f"{self._testMethodName}-{name}{number}", options)
        self._mounts = [*getattr(self, "_mounts", []), mount]
        return mount.start() if start else mount

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def make(self, name, data=b"", mode=0o644):
        path = self.path(name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        return path

    def open(self, path, flags=os.O_RDWR, mode=0o644):
        """os.open() of a path in self.dir, closed when the test ends."""
        fd = os.open(os.path.join(self.dir, path), flags, mode)
        self.addCleanup(_close_quietly, fd)
        return fd

    def assertErrno(self, expected, function, *args, **kwargs):
        """`function` must fail with OSError; `expected` is an errno or several."""
        codes = (expected,) if isinstance(expected, int) else tuple(expected)
        names = "/".join(errno_name(code) for code in codes)
        try:
            result = function(*args, **kwargs)
        except OSError as error:
            if error.errno not in codes:
                self.fail(f"{function.__name__}{args}: {errno_name(error.errno)}, not {names}")
            return
        self.fail(f"{function.__name__}{args}: succeeded with {result!r}, not {names}")

    def assertBytes(self, path, expected):
        self.assertSameBytes(read_file(path), expected, path)

    def assertSameBytes(self, actual, expected, what=""):
        if actual != expected:
            size = min(len(actual), len(expected))
            at = next((i for i in range(size) if actual[i] != expected[i]), size)
            self.fail(f"{what}: {len(actual)} bytes, not {len(expected)}; first difference at {at}:"
                      f" {bytes(actual[at:at + 16])!r}, not {bytes(expected[at:at + 16])!r}")


def errno_name(code):
    import errno
    return errno.errorcode.get(code, str(code))


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def write_file(path, data):
    with open(path, "wb") as file:
        file.write(data)


def _close_quietly(fd):
    try:
        os.close(fd)
    except OSError:
        pass


def _program_copy(base):
    """Where an ordinary user finds the program, whose own folder may be closed to users."""
    return os.path.join(base, "varve")


def _mode_unavailable(name):
    """Why this mode cannot run here, or None."""
    if NATIVE:
        if name == "no_passthrough":
            return "there is nothing to switch off in a plain directory"
        return "needs root" if name == "root" and os.geteuid() != 0 else None
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if name != "user":
        return None if os.geteuid() == 0 else "needs root"
    if shutil.which("fusermount3") is None:
        return "there is no fusermount3"
    if os.geteuid() != 0 and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is closed to this user"
    return None


def _child(name, base, unittest_args, setup):
    """Runs the suite in one mode; returns the process's exit status."""
    _STATE.mode, _STATE.base = name, base
    if os.geteuid() == 0:
        if not NATIVE:
            enter_namespace(base, for_users=name == "user")
        if name == "user":
            user = pwd.getpwnam("nobody")
            if not NATIVE:
                _STATE.program = os.path.realpath(shutil.copy2(PROGRAM, _program_copy(base)))
                os.chmod(_STATE.program, 0o755)
            os.chown(base, user.pw_uid, user.pw_gid)
            drop_privileges(user.pw_uid, user.pw_gid)
            os.environ.update(HOME=base, USER="nobody", LOGNAME="nobody")
    os.chdir(base)
    if setup is not None:
        setup()
    program = unittest.main(module="__main__", argv=[sys.argv[0], *unittest_args], exit=False,
                            verbosity=1, buffer=False)
    result = program.result
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    status = 0 if failed == 0 else 1
    if _STATE.shared is not None and not NATIVE:
        try:
            _STATE.shared.stop()
        except Exception as error:  # the last check: a clean umount
            print(f"harness: {error}", file=sys.stderr)
            status = 1
    print(f"{os.path.basename(sys.argv[0])}: {name}: {result.testsRun - len(result.skipped)} run, "
          f"{failed} failed, {len(result.skipped)} skipped")
    return status


def _sweep_stale(parent):
    """Removes what a harness that was killed has left."""
    for base in glob.glob(os.path.join(glob.escape(parent), "varve-test-*-*")):
        pid = os.path.basename(base).split("-")[2]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            kill_daemons(base, PROGRAM)
            shutil.rmtree(base, ignore_errors=True)


def _run_mode(name, unittest_args, setup):
    base = tempfile.mkdtemp(prefix=f"varve-test-{os.getpid()}-")
    os.chmod(base, 0o755)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _child(name, base, unittest_args, setup)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 2
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    try:
        while True:
            try:
                _, wait_status = os.waitpid(pid, 0)
                break
            except InterruptedError:
                continue
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        copied = name == "user" and os.geteuid() == 0
        kill_daemons(base, os.path.realpath(_program_copy(base)) if copied else PROGRAM)
        shutil.rmtree(base, ignore_errors=True)
    return os.waitstatus_to_exitcode(wait_status)


def main(modes=MODES, setup=None):
    """Runs the calling file's suite in each of `modes`; `setup` runs first in each child."""
    args = sys.argv[1:]

    def take(option):
        """Removes one `option VALUE` from the arguments; None if there is none."""
        if option not in args:
            return None
        at = args.index(option)
        value = args[at + 1]
        del args[at:at + 2]
        return value
    chosen = []
    while (name := take("--mode")) is not None:
        chosen.append(name)
    _STATE.scale = float(take("--scale") or 1)
    _STATE.seed = int(take("--seed") or random.SystemRandom().randrange(1 << 32))
    if not NATIVE and not os.access(PROGRAM, os.X_OK):
        sys.exit(f"there is no program {PROGRAM}; build it or set VARVE")
    # SIGTERM must reach the cleanup.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _STATE.program = PROGRAM
    _sweep_stale(tempfile.gettempdir())
    statuses = []
    for name in chosen or modes:
        reason = _mode_unavailable(name)
        if reason is not None:
            print(f"{os.path.basename(sys.argv[0])}: {name}: skipped: {reason}")
            continue
        statuses.append(_run_mode(name, args, setup))
    if not statuses:
        sys.exit(EXIT_SKIPPED)
    sys.exit(0 if all(status == 0 for status in statuses) else 1)
