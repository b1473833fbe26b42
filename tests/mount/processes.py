"""Child processes for tests: other users, lock holders, writers."""

import os
import pickle
import signal
import struct
import traceback


def drop_privileges(uid, gid, groups=()):
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


class Child:
    """A forked process that runs `function`; result() gives its value or raises its error."""

    def __init__(self, function, *args):
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read_end)
            signal.alarm(300)
            try:
                answer = (True, function(*args))
            except OSError as error:
                answer = (False, OSError(error.errno, os.strerror(error.errno or 0)))
            except BaseException:
                answer = (False, AssertionError("in the child process:\n" + traceback.format_exc()))
            try:
                with os.fdopen(write_end, "wb") as pipe:
                    pickle.dump(answer, pipe)
            finally:
                os._exit(0)
        os.close(write_end)
        self.pipe = os.fdopen(read_end, "rb")

    def result(self):
        with self.pipe:
            data = self.pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if not data:
            raise AssertionError(f"the child process died: wait status {status}")
        good, value = pickle.loads(data)
        if not good:
            raise value
        return value

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pipe.close()


def in_child(function, *args):
    return Child(function, *args).result()


def as_user(uid, function, *args, gid=None, groups=()):
    """Runs function(*args) in a child with these credentials."""
    def run():
        drop_privileges(uid, uid if gid is None else gid, groups)
        return function(*args)
    return in_child(run)


class Gate:
    """Lets a parent and its children wait for each other: open() wakes one wait()."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()

    def open(self, count=1):
        os.write(self.write_end, b"x" * count)

    def wait(self):
        if os.read(self.read_end, 1) != b"x":
            raise AssertionError("the gate's other side is gone")

    def close(self):
        os.close(self.read_end)
        os.close(self.write_end)


def pack_struct_flock(kind, whence=os.SEEK_SET, start=0, length=0):
    """struct flock of 64-bit Linux."""
    return struct.pack("hhqqi4x", kind, whence, start, length, 0)


def unpack_struct_flock(data):
    kind, whence, start, length, pid = struct.unpack("hhqqi4x", data)
    return {"kind": kind, "whence": whence, "start": start, "length": length, "pid": pid}
