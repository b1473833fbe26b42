"""Locks between processes: POSIX record locks, open file description locks, flock, leases."""

import errno
import fcntl
import os

import harness
from harness import MountTestCase
from processes import Child, Gate, in_child, pack_struct_flock, unpack_struct_flock
from syscalls import F_OFD_GETLK, F_OFD_SETLK


def set_lock(fd, command, kind, start=0, length=0):
    fcntl.fcntl(fd, command, pack_struct_flock(kind, os.SEEK_SET, start, length))


class LockTestCase(MountTestCase):
    def setUp(self):
        super().setUp()
        self.fd = self.open(self.make("f", b"x" * 1000), os.O_RDWR)

    def other(self, function):
        """function(fd) in another process, with a descriptor of its own."""
        def run():
            fd = os.open(self.path("f"), os.O_RDWR)
            return function(fd)
        return in_child(run)

    def blocked(self, kind=fcntl.F_WRLCK, start=0, length=0, command=fcntl.F_SETLK):
        try:
            self.other(lambda fd: set_lock(fd, command, kind, start, length))
        except OSError as error:
            self.assertIn(error.errno, (errno.EAGAIN, errno.EACCES))
            return True
        return False


class RecordLocks(LockTestCase):
    def test_exclusive(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK)
        self.assertTrue(self.blocked())
        self.assertTrue(self.blocked(fcntl.F_RDLCK))
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_UNLCK)
        self.assertFalse(self.blocked())

    def test_shared(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_RDLCK)
        self.assertFalse(self.blocked(fcntl.F_RDLCK))
        self.assertTrue(self.blocked(fcntl.F_WRLCK))

    def test_ranges(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK, 100, 100)
        self.assertFalse(self.blocked(start=0, length=100))
        self.assertFalse(self.blocked(start=200, length=100))
        self.assertTrue(self.blocked(start=199, length=1))
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_UNLCK, 150, 10)
        self.assertFalse(self.blocked(start=150, length=10))
        self.assertTrue(self.blocked(start=149, length=1))

    def test_who_holds_it(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK, 10, 20)
        answer = self.other(lambda fd: unpack_struct_flock(
            fcntl.fcntl(fd, fcntl.F_GETLK, pack_struct_flock(fcntl.F_WRLCK))))
        self.assertEqual(answer, {"kind": fcntl.F_WRLCK, "whence": 0, "start": 10, "length": 20,
                                  "pid": os.getpid()})

    def test_any_close_of_the_process_drops_it(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK)
        os.close(os.open(self.path("f"), os.O_RDONLY))
        self.assertFalse(self.blocked())

    def test_death_of_the_owner_drops_it(self):
        locked = Gate()

        def hold():
            fd = os.open(self.path("f"), os.O_RDWR)
            set_lock(fd, fcntl.F_SETLK, fcntl.F_WRLCK)
            locked.open()
            Gate().wait()
        child = Child(hold)
        locked.wait()
        self.assertErrno((errno.EAGAIN, errno.EACCES), set_lock, self.fd, fcntl.F_SETLK,
                         fcntl.F_WRLCK)
        child.kill()
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK)

    def test_waiting(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK)
        waiting = Gate()

        def wait_for_it():
            fd = os.open(self.path("f"), os.O_RDWR)
            waiting.open()
            set_lock(fd, fcntl.F_SETLKW, fcntl.F_WRLCK)
            return os.pread(fd, 5, 0)
        child = Child(wait_for_it)
        waiting.wait()
        os.pwrite(self.fd, b"ready", 0)
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_UNLCK)
        self.assertEqual(child.result(), b"ready")

    def test_deadlock_is_detected(self):
        set_lock(self.fd, fcntl.F_SETLK, fcntl.F_WRLCK, 0, 10)
        locked = Gate()

        def other_side():
            fd = os.open(self.path("f"), os.O_RDWR)
            set_lock(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 10, 10)
            locked.open()
            set_lock(fd, fcntl.F_SETLKW, fcntl.F_WRLCK, 0, 10)
        child = Child(other_side)
        locked.wait()
        # One of the two, whoever waits last, is told.
        try:
            set_lock(self.fd, fcntl.F_SETLKW, fcntl.F_WRLCK, 10, 10)
        except OSError as error:
            self.assertEqual(error.errno, errno.EDEADLK)
            set_lock(self.fd, fcntl.F_SETLK, fcntl.F_UNLCK)
            child.result()
        else:
            self.assertErrno(errno.EDEADLK, child.result)

    def test_needs_matching_access(self):
        reader = self.open("f", os.O_RDONLY)
        writer = self.open("f", os.O_WRONLY)
        self.assertErrno(errno.EBADF, set_lock, reader, fcntl.F_SETLK, fcntl.F_WRLCK)
        self.assertErrno(errno.EBADF, set_lock, writer, fcntl.F_SETLK, fcntl.F_RDLCK)

    def test_counter_under_lock(self):
        """Processes that increment a number under a lock lose no increment."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, (0).to_bytes(8, "little"), 0)

        def increment():
            fd = os.open(self.path("f"), os.O_RDWR)
            for _ in range(100):
                set_lock(fd, fcntl.F_SETLKW, fcntl.F_WRLCK)
                value = int.from_bytes(os.pread(fd, 8, 0), "little")
                os.pwrite(fd, (value + 1).to_bytes(8, "little"), 0)
                set_lock(fd, fcntl.F_SETLK, fcntl.F_UNLCK)
        children = [Child(increment) for _ in range(4)]
        for child in children:
            child.result()
        self.assertEqual(int.from_bytes(os.pread(self.fd, 8, 0), "little"), 400)


class DescriptionLocks(LockTestCase):
    def test_between_descriptors_of_one_process(self):
        second = self.open("f", os.O_RDWR)
        set_lock(self.fd, F_OFD_SETLK, fcntl.F_WRLCK)
        self.assertErrno((errno.EAGAIN, errno.EACCES), set_lock, second, F_OFD_SETLK,
                         fcntl.F_WRLCK)
        os.close(os.open(self.path("f"), os.O_RDONLY))
        self.assertTrue(self.blocked(command=F_OFD_SETLK))
        self.assertTrue(self.blocked())
        answer = unpack_struct_flock(fcntl.fcntl(second, F_OFD_GETLK,
                                                 pack_struct_flock(fcntl.F_WRLCK)))
        self.assertEqual((answer["kind"], answer["pid"]), (fcntl.F_WRLCK, -1))

    def test_close_drops_it(self):
        fd = os.open(self.path("f"), os.O_RDWR)
        set_lock(fd, F_OFD_SETLK, fcntl.F_WRLCK)
        copy = os.dup(fd)
        os.close(fd)
        self.assertTrue(self.blocked())
        os.close(copy)
        self.assertFalse(self.blocked())


class Flock(LockTestCase):
    def flock_blocked(self, kind=fcntl.LOCK_EX):
        try:
            self.other(lambda fd: fcntl.flock(fd, kind | fcntl.LOCK_NB))
        except BlockingIOError:
            return True
        return False

    def test_exclusive_and_shared(self):
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        self.assertTrue(self.flock_blocked())
        self.assertTrue(self.flock_blocked(fcntl.LOCK_SH))
        fcntl.flock(self.fd, fcntl.LOCK_SH)
        self.assertTrue(self.flock_blocked())
        self.assertFalse(self.flock_blocked(fcntl.LOCK_SH))
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        self.assertFalse(self.flock_blocked())

    def test_close_and_death_drop_it(self):
        fd = os.open(self.path("f"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.assertTrue(self.flock_blocked())
        os.close(fd)
        self.assertFalse(self.flock_blocked())
        locked = Gate()

        def hold():
            fcntl.flock(os.open(self.path("f"), os.O_RDONLY), fcntl.LOCK_EX)
            locked.open()
            Gate().wait()
        child = Child(hold)
        locked.wait()
        self.assertTrue(self.flock_blocked())
        child.kill()
        self.assertFalse(self.flock_blocked())

    def test_waits(self):
        fcntl.flock(self.fd, fcntl.LOCK_EX)

        def wait_for_it():
            fd = os.open(self.path("f"), os.O_RDWR)
            fcntl.flock(fd, fcntl.LOCK_EX)
            return os.pread(fd, 5, 0)
        child = Child(wait_for_it)
        os.pwrite(self.fd, b"ready", 0)
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        self.assertEqual(child.result(), b"ready")

    def test_directory(self):
        fd = self.open(self.dir, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)

        def try_it():
            fcntl.flock(os.open(self.dir, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.assertErrno(errno.EWOULDBLOCK, in_child, try_it)

    def test_lock_file_is_checked_for_replacement(self):
        """TensorStore: take the lock, then compare st_dev and st_ino of name and descriptor."""
        path = self.path("f.lock")
        for _ in range(20):
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            fcntl.flock(fd, fcntl.LOCK_EX)
            held, named = os.fstat(fd), os.stat(path)
            self.assertEqual((held.st_dev, held.st_ino), (named.st_dev, named.st_ino))
            os.rename(self.make("t", b"x"), path)
            self.assertNotEqual(os.fstat(fd).st_ino, os.stat(path).st_ino)
            os.close(fd)
            os.unlink(path)


if __name__ == "__main__":
    harness.main()
