"""Memory mappings: shared, private, across processes, and over removal, replacement, remount."""

import ctypes
import errno
import mmap
import os
import signal

import harness
from harness import MountTestCase
from processes import Child, Gate

MIB = 1 << 20


class Shared(MountTestCase):
    def mapping(self, fd, size, **kwargs):
        mapping = mmap.mmap(fd, size, **kwargs)
        self.addCleanup(mapping.close)
        return mapping

    def test_store_seen_by_read(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, MIB)
        mapping = self.mapping(fd, MIB)
        other = self.open("f", os.O_RDONLY)
        for at in range(0, MIB, 50021):
            mapping[at:at + 5] = b"store"
            self.assertEqual(os.pread(fd, 5, at), b"store")
            self.assertEqual(os.pread(other, 5, at), b"store")

    def test_write_seen_by_mapping(self):
        fd = self.open(self.make("f", b"a" * MIB), os.O_RDWR)
        mapping = self.mapping(fd, MIB)
        self.assertEqual(mapping[500000:500003], b"aaa")
        for at in range(0, MIB - 10, 60013):
            os.pwrite(fd, b"written", at)
            self.assertEqual(mapping[at:at + 7], b"written")

    def test_two_mappings_through_two_descriptors(self):
        path = self.make("f", bytes(MIB))
        first = self.mapping(self.open(path, os.O_RDWR), MIB)
        second = self.mapping(self.open(path, os.O_RDWR), MIB)
        first[70000:70005] = b"first"
        self.assertEqual(second[70000:70005], b"first")
        second[70000:70006] = b"second"
        self.assertEqual(first[70000:70006], b"second")

    def test_between_processes(self):
        fd = self.open(self.make("f", bytes(8192)), os.O_RDWR)
        mapping = self.mapping(fd, 8192)
        go, done = Gate(), Gate()

        def peer():
            own = mmap.mmap(os.open(self.path("f"), os.O_RDWR), 8192)
            go.wait()
            self.assertEqual(own[0:4], b"ping")
            own[4096:4100] = b"pong"
            done.open()
            own.close()
        child = Child(peer)
        mapping[0:4] = b"ping"
        go.open()
        done.wait()
        self.assertEqual(mapping[4096:4100], b"pong")
        child.result()

    def test_store_after_close_of_the_descriptor(self):
        """A mapping outlives its descriptor: what it stores then is part of the file."""
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 100000)
        mapping = mmap.mmap(fd, 100000)
        mapping[0:5] = b"early"
        os.close(fd)
        self.mount.sync(self.path("f"), timeout_s=30)
        mapping[50000:50004] = b"late"
        mapping.flush()
        fd = self.open("f", os.O_RDONLY)
        self.assertEqual(os.pread(fd, 4, 50000), b"late")
        mapping[60000:60005] = b"later"
        mapping.flush()
        mapping.close()
        self.assertEqual(os.pread(fd, 5, 60000), b"later")

        def stored():
            data = harness.read_file(self.path("f"))
            return (data[:5], data[50000:50004], data[60000:60005]) == (b"early", b"late", b"later")
        self.assertTrue(stored())
        self.mount.sync(self.path("f"))
        self.assertTrue(stored())

    def test_survives_unlink(self):
        fd = os.open(self.make("f", b"x" * 50000), os.O_RDWR)
        mapping = self.mapping(fd, 50000)
        os.close(fd)
        os.unlink(self.path("f"))
        self.assertEqual(mapping[49990:50000], b"x" * 10)
        mapping[0:3] = b"new"
        mapping.flush()
        self.assertEqual(mapping[0:4], b"newx")

    def test_survives_replacement(self):
        """Weights stay as loaded while the next checkpoint takes their name."""
        path = self.make("f", b"old" * 100000)
        fd = os.open(path, os.O_RDONLY)
        mapping = self.mapping(fd, 300000, prot=mmap.PROT_READ)
        os.close(fd)
        for i in range(5):
            os.rename(self.make("t", b"%d" % i * 300000), path)
        self.mount.sync(path)
        harness.drop_caches()
        self.assertSameBytes(mapping[:], b"old" * 100000)
        self.assertBytes(path, b"4" * 300000)

    def test_tail_of_last_page(self):
        fd = self.open(self.make("f", b"x" * 100), os.O_RDWR)
        mapping = self.mapping(fd, 100)
        os.ftruncate(fd, 5000)
        self.assertEqual(os.pread(fd, 5000, 0), b"x" * 100 + bytes(4900))
        mapping[0:1] = b"y"
        self.assertEqual(os.pread(fd, 1, 0), b"y")

    def test_beyond_the_end_is_sigbus(self):
        fd = self.open(self.make("f", b"x" * 100), os.O_RDWR)
        os.ftruncate(fd, 3 * 4096)

        def touch():
            mapping = mmap.mmap(fd, 3 * 4096)
            os.ftruncate(fd, 100)
            return mapping[2 * 4096]
        child = Child(touch)
        data = child.pipe.read()
        child.pipe.close()
        _, status = os.waitpid(child.pid, 0)
        self.assertEqual((data, os.WTERMSIG(status)), (b"", signal.SIGBUS))

    def test_msync_reaches_the_file(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, MIB)
        mapping = self.mapping(fd, MIB)
        mapping[:] = b"m" * MIB
        mapping.flush()
        os.fsync(fd)
        self.assertBytes(self.path("f"), b"m" * MIB)

    def test_store_moves_mtime(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 8192)
        os.utime(fd, ns=(10**18, 10**18))
        mapping = self.mapping(fd, 8192)
        mapping[0:4] = b"touch"[:4]
        mapping.flush()
        self.assertGreater(os.fstat(fd).st_mtime_ns, 10**18)

    def test_read_only_descriptor(self):
        fd = self.open(self.make("f", b"x" * 4096), os.O_RDONLY)
        self.assertErrno(errno.EACCES, mmap.mmap, fd, 4096, mmap.MAP_SHARED,
                         mmap.PROT_READ | mmap.PROT_WRITE)

    def test_read_into_own_mapping(self):
        """A read whose target buffer is a mapping of the same file must not deadlock."""
        fd = self.open(self.make("f", bytes(range(256)) * 1024), os.O_RDWR)
        mapping = self.mapping(fd, 256 * 1024)
        target = memoryview(mapping)[131072:131072 + 65536]
        self.assertEqual(os.preadv(fd, [target], 0), 65536)
        target.release()
        self.assertSameBytes(mapping[131072:131072 + 65536], bytes(range(256)) * 256)
        source = memoryview(mapping)[0:65536]
        self.assertEqual(os.pwrite(fd, source, 65536), 65536)
        source.release()
        self.assertSameBytes(mapping[65536:131072], bytes(range(256)) * 256)


class Private(MountTestCase):
    def test_stores_stay_private(self):
        path = self.make("f", b"a" * 20000)
        fd = self.open(path, os.O_RDONLY)
        with mmap.mmap(fd, 20000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
            mapping[0:5] = b"local"
            self.assertEqual(os.pread(fd, 5, 0), b"aaaaa")
            self.assertBytes(path, b"a" * 20000)
            self.assertEqual(mapping[0:6], b"locala")

    def test_cold_file(self):
        """torch.load(mmap=True) of a stored checkpoint: faults all over the file."""
        data = os.urandom(6 * MIB)
        path = self.make("f", data)
        self.mount.sync(path)
        harness.drop_caches()
        fd = self.open(path, os.O_RDONLY)
        with mmap.mmap(fd, len(data), mmap.MAP_PRIVATE, mmap.PROT_READ) as mapping:
            for at in range(len(data) - 4096, 0, -300007):
                self.assertSameBytes(mapping[at:at + 100], data[at:at + 100])
            self.assertSameBytes(mapping[:], data)

    def test_executable(self):
        with open("/bin/true", "rb") as source:
            path = self.make("true", source.read(), 0o755)
        self.mount.sync(path)
        harness.drop_caches()
        self.assertEqual(os.spawnv(os.P_WAIT, path, [path]), 0)

    def test_shared_library(self):
        import _ctypes
        with open(_ctypes.__file__, "rb") as source:
            path = self.make("library.so", source.read(), 0o755)

        def load():
            return bool(ctypes.CDLL(path))
        self.assertTrue(Child(load).result())


class Remount(MountTestCase):
    uses_shared_mount = False

    def test_stores_through_mappings_are_kept(self):
        mount = self.own_mount()
        self.dir = mount.root
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, MIB)
        mapping = mmap.mmap(fd, MIB)
        for at in range(0, MIB, 4096):
            mapping[at:at + 4] = at.to_bytes(4, "little")
        mapping.close()
        os.close(fd)
        if not harness.NATIVE:
            mount.remount()
        data = harness.read_file(self.path("f"))
        for at in range(0, MIB, 4096):
            self.assertEqual(data[at:at + 4], at.to_bytes(4, "little"))


if __name__ == "__main__":
    harness.main()
