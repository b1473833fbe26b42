"""File content: truncate, holes, fallocate, copy_file_range, O_DIRECT, appenders, writers."""

import errno
import mmap
import os
import resource
import signal

import harness
import syscalls
from harness import MountTestCase, read_file
from processes import Child
from syscalls import (FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE, FALLOC_KEEP_SIZE,
                      FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, fallocate)

MIB = 1 << 20
TIB = 1 << 40


def pattern(size, seed=0):
    """Bytes whose every 8-byte word tells its place."""
    words = b"".join((i * 2654435761 + seed).to_bytes(8, "little")
                     for i in range(min(size, 65536) // 8 + 1))
    return (words * (size // len(words) + 1))[:size]


class Truncate(MountTestCase):
    def test_down_and_up_reads_zeros(self):
        path = self.make("f", b"x" * 10000)
        for size in (5000, 4096, 4095, 1, 0, 1, 4097, 123456):
            os.truncate(path, size)
            self.assertEqual(os.stat(path).st_size, size)
        self.assertBytes(path, bytes(123456))

    def test_cut_bytes_never_come_back(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"secret" * 2000)
        os.ftruncate(fd, 5)
        os.ftruncate(fd, 12000)
        self.assertSameBytes(os.pread(fd, 20000, 0), b"secre" + bytes(11995))
        os.ftruncate(fd, 5)
        os.pwrite(fd, b"E", 8000)
        self.assertSameBytes(os.pread(fd, 20000, 0), b"secre" + bytes(7995) + b"E")

    def test_closed_stored_file(self):
        data = pattern(3 * MIB)
        path = self.make("f", data)
        self.mount.sync(path)
        os.truncate(path, MIB + 17)
        os.truncate(path, 2 * MIB)
        self.assertBytes(path, data[:MIB + 17] + bytes(MIB - 17))

    def test_while_open_elsewhere(self):
        path = self.make("f", pattern(MIB))
        reader = self.open(path, os.O_RDONLY)
        mapping = mmap.mmap(reader, MIB, prot=mmap.PROT_READ)
        self.assertEqual(mapping[0:8], pattern(8))
        os.truncate(path, 4096)
        self.assertEqual(os.fstat(reader).st_size, 4096)
        self.assertEqual(os.pread(reader, 10, 5000), b"")
        os.truncate(path, MIB)
        self.assertEqual(os.pread(reader, 10, 5000), bytes(10))
        self.assertEqual(mapping[5000:5010], bytes(10))
        mapping.close()

    def test_errors(self):
        self.make("f")
        os.mkdir(self.path("d"))
        os.mkfifo(self.path("p"))
        self.assertErrno(errno.EISDIR, os.truncate, self.path("d"), 0)
        self.assertErrno(errno.ENOENT, os.truncate, self.path("no"), 0)
        self.assertErrno(errno.ENOTDIR, os.truncate, self.path("f/x"), 0)
        self.assertErrno(errno.EINVAL, os.truncate, self.path("f"), -1)
        self.assertErrno(errno.EINVAL, os.truncate, self.path("p"), 0)

    def test_up_to_sixteen_tebibytes(self):
        path = self.make("f", b"start")
        fd = self.open(path, os.O_RDWR)
        os.ftruncate(fd, 8 * TIB)
        self.assertEqual(os.fstat(fd).st_size, 8 * TIB)
        os.pwrite(fd, b"far away", 15 * TIB + 12345)
        self.assertEqual(os.fstat(fd).st_size, 15 * TIB + 12353)
        self.assertEqual(os.pread(fd, 100, 15 * TIB + 12345), b"far away")
        self.assertEqual(os.pread(fd, 10, 7 * TIB), bytes(10))
        self.assertErrno((errno.EFBIG, errno.EINVAL), os.ftruncate, fd, 1 << 62)
        self.assertErrno((errno.EFBIG, errno.EINVAL), os.pwrite, fd, b"x", (1 << 63) - 2)
        self.assertEqual(os.fstat(fd).st_size, 15 * TIB + 12353)
        os.close(fd)
        # Mostly holes: capture and digest must be quick.
        self.mount.sync(path, timeout_s=30)
        fd = self.open(path, os.O_RDONLY)
        self.assertEqual(os.pread(fd, 5, 0), b"start")
        self.assertEqual(os.pread(fd, 100, 15 * TIB + 12345), b"far away")

    def test_file_size_limit_of_the_process(self):
        path = self.make("f")

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
            fd = os.open(path, os.O_RDWR)
            self.assertEqual(os.pwrite(fd, b"x" * 100, 8150), 42)
            self.assertErrno(errno.EFBIG, os.pwrite, fd, b"x", 8192)
            self.assertErrno(errno.EFBIG, os.ftruncate, fd, 8193)
            return os.fstat(fd).st_size
        self.assertEqual(Child(limited).result(), 8192)


class Holes(MountTestCase):
    def setUp(self):
        super().setUp()
        self.fd = self.open("f", os.O_CREAT | os.O_RDWR)

    def map_of(self, fd):
        """The data ranges that SEEK_DATA and SEEK_HOLE report."""
        size, at, ranges = os.fstat(fd).st_size, 0, []
        while at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENXIO)
                break
            end = os.lseek(fd, start, os.SEEK_HOLE)
            self.assertGreater(end, start)
            self.assertLessEqual(end, size)
            ranges.append((start, end))
            at = end
        return ranges

    def check_map(self, fd, data):
        """`data`, (start, end) ranges, lies in what is reported; the rest is zeros and small."""
        ranges = self.map_of(fd)
        for start, end in data:
            self.assertTrue(any(a <= start and end <= b for a, b in ranges), (ranges, start, end))
        reported = sum(b - a for a, b in ranges)
        self.assertLess(reported, sum(b - a for a, b in data) + 4 * MIB, ranges)
        content = os.pread(fd, os.fstat(fd).st_size, 0)
        at = 0
        for start, end in [*ranges, (len(content), len(content))]:
            self.assertFalse(any(content[at:start]), "a hole with data")
            at = end

    def test_sparse_file(self):
        os.pwrite(self.fd, b"a" * MIB, 8 * MIB)
        os.pwrite(self.fd, b"b" * MIB, 20 * MIB)
        os.ftruncate(self.fd, 32 * MIB)
        data = [(8 * MIB, 9 * MIB), (20 * MIB, 21 * MIB)]
        self.check_map(self.fd, data)
        self.mount.sync(self.path("f"))
        self.check_map(self.fd, data)
        os.close(self.fd)
        self.mount.sync(self.path("f"))
        harness.drop_caches()
        self.check_map(self.open("f", os.O_RDONLY), data)

    def test_dirty_data_is_seen(self):
        os.ftruncate(self.fd, MIB)
        os.pwrite(self.fd, b"x", 500000)
        start = os.lseek(self.fd, 0, os.SEEK_DATA)
        self.assertLessEqual(start, 500000)
        self.assertGreater(os.lseek(self.fd, start, os.SEEK_HOLE), 500000)
        other = self.open("f", os.O_RDONLY)
        self.assertLessEqual(os.lseek(other, 0, os.SEEK_DATA), 500000)

    def test_errors_and_ends(self):
        os.pwrite(self.fd, b"x" * 4096, 0)
        self.assertEqual(os.lseek(self.fd, 0, os.SEEK_DATA), 0)
        self.assertEqual(os.lseek(self.fd, 0, os.SEEK_HOLE), 4096)
        self.assertEqual(os.lseek(self.fd, 4095, os.SEEK_HOLE), 4096)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            self.assertErrno(errno.ENXIO, os.lseek, self.fd, 4096, whence)
            self.assertErrno(errno.ENXIO, os.lseek, self.fd, 10 * MIB, whence)
            self.assertErrno(errno.ENXIO, os.lseek, self.fd, -1, whence)
        self.assertErrno(errno.EINVAL, os.lseek, self.fd, -1, os.SEEK_SET)

    def test_empty_and_all_hole(self):
        self.assertErrno(errno.ENXIO, os.lseek, self.fd, 0, os.SEEK_DATA)
        os.ftruncate(self.fd, 64 * MIB)
        self.assertEqual(self.map_of(self.fd), [])
        self.assertEqual(os.lseek(self.fd, 0, os.SEEK_HOLE), 0)

    def test_directory(self):
        fd = self.open(self.dir, os.O_RDONLY)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_SET), 0)


class Allocate(MountTestCase):
    def setUp(self):
        super().setUp()
        self.data = pattern(MIB)
        self.fd = self.open(self.make("f", self.data), os.O_RDWR)

    def check(self, expected):
        self.assertEqual(os.fstat(self.fd).st_size, len(expected))
        self.assertSameBytes(os.pread(self.fd, len(expected) + 1, 0), expected)

    def zeroed(self, start, end):
        return self.data[:start] + bytes(end - start) + self.data[end:]

    def test_plain(self):
        fallocate(self.fd, 0, 0, MIB // 2)
        self.check(self.data)
        fallocate(self.fd, 0, MIB - 100, 8192)
        self.check(self.data + bytes(8092))

    def test_keep_size(self):
        fallocate(self.fd, FALLOC_KEEP_SIZE, MIB, 4 * MIB)
        self.check(self.data)
        os.pwrite(self.fd, b"x", MIB)
        self.check(self.data + b"x")

    def test_punch_hole(self):
        for start, end in ((4096, 65536), (100, 200), (5000, 300001)):
            fallocate(self.fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, start, end - start)
            self.data = self.zeroed(start, end)
            self.check(self.data)
        fallocate(self.fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, MIB - 10, MIB)
        self.data = self.zeroed(MIB - 10, MIB)
        self.check(self.data)

    def test_zero_range(self):
        fallocate(self.fd, FALLOC_ZERO_RANGE, 1000, 50000)
        self.data = self.zeroed(1000, 51000)
        self.check(self.data)
        fallocate(self.fd, FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE, MIB - 10, 100)
        self.data = self.zeroed(MIB - 10, MIB)
        self.check(self.data)
        fallocate(self.fd, FALLOC_ZERO_RANGE, MIB - 10, 100)
        self.check(self.data + bytes(90))

    def test_holes_of_a_stored_file_are_zeros(self):
        """Punched ranges of an overlay must not show the stored bytes below."""
        os.close(self.fd)
        self.mount.sync(self.path("f"))
        self.fd = self.open("f", os.O_RDWR)
        fallocate(self.fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 8192, 400000)
        os.ftruncate(self.fd, 700000)
        os.ftruncate(self.fd, MIB)
        expected = self.data[:8192] + bytes(400000) + self.data[408192:700000] + bytes(348576)
        self.check(expected)
        os.close(self.fd)
        self.mount.sync(self.path("f"))
        harness.drop_caches()
        self.fd = self.open("f", os.O_RDONLY)
        self.check(expected)

    def test_mapping_sees_punched_hole(self):
        with mmap.mmap(self.fd, MIB) as mapping:
            mapping[0:4] = b"ABCD"
            fallocate(self.fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 8192)
            self.assertEqual(mapping[0:8192], bytes(8192))

    def test_collapse_and_insert_work_or_are_refused(self):
        for flag in (FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE):
            try:
                fallocate(self.fd, flag, 65536, 65536)
            except OSError as error:
                self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.EINVAL))
                continue
            if flag == FALLOC_COLLAPSE_RANGE:
                self.data = self.data[:65536] + self.data[131072:]
            else:
                self.data = self.data[:65536] + bytes(65536) + self.data[65536:]
            self.check(self.data)

    def test_errors(self):
        self.assertErrno(errno.EINVAL, fallocate, self.fd, 0, 0, 0)
        self.assertErrno(errno.EINVAL, fallocate, self.fd, 0, -1, 10)
        self.assertErrno((errno.EOPNOTSUPP, errno.EINVAL), fallocate, self.fd, FALLOC_PUNCH_HOLE,
                         0, 4096)
        self.assertErrno((errno.EFBIG, errno.EINVAL), fallocate, self.fd, 0, (1 << 63) - 4096, 4096)
        reader = self.open("f", os.O_RDONLY)
        self.assertErrno(errno.EBADF, fallocate, reader, 0, 0, 4096)
        directory = self.open(self.dir, os.O_RDONLY)
        self.assertErrno((errno.EBADF, errno.EISDIR), fallocate, directory, 0, 0, 4096)
        self.check(self.data)


class CopyFileRange(MountTestCase):
    def copy(self, source, target, count, source_at=None, target_at=None):
        done = 0
        while done < count:
            part = os.copy_file_range(
                source, target, count - done,
                None if source_at is None else source_at + done,
                None if target_at is None else target_at + done)
            if part == 0:
                break
            done += part
        return done

    def test_whole_file(self):
        data = pattern(5 * MIB + 123)
        source = self.open(self.make("a", data), os.O_RDONLY)
        target = self.open("b", os.O_CREAT | os.O_RDWR)
        self.assertEqual(self.copy(source, target, len(data)), len(data))
        self.assertEqual(self.copy(source, target, 100), 0)
        self.assertBytes(self.path("b"), data)
        self.mount.sync(self.path("b"))
        self.assertBytes(self.path("b"), data)
        os.pwrite(target, b"changed", 1000)
        self.assertBytes(self.path("a"), data)
        self.assertBytes(self.path("b"), data[:1000] + b"changed" + data[1007:])

    def test_stored_source(self):
        data = pattern(3 * MIB + 5)
        self.make("a", data)
        self.mount.sync(self.path("a"))
        source = self.open("a", os.O_RDONLY)
        target = self.open("b", os.O_CREAT | os.O_RDWR)
        self.copy(source, target, MIB, 12345, 777)
        self.assertSameBytes(os.pread(target, 4 * MIB, 0),
                             bytes(777) + data[12345:12345 + MIB])
        os.close(target)
        self.mount.sync(self.path("b"))
        self.assertBytes(self.path("b"), bytes(777) + data[12345:12345 + MIB])

    def test_inside_one_file(self):
        data = pattern(MIB)
        fd = self.open(self.make("f", data), os.O_RDWR)
        self.copy(fd, fd, 100000, 0, 500000)
        self.assertBytes(self.path("f"), data[:500000] + data[:100000] + data[600000:])
        self.assertErrno(errno.EINVAL, os.copy_file_range, fd, fd, 1000, 0, 500)

    def test_dirty_source(self):
        source = self.open("a", os.O_CREAT | os.O_RDWR)
        target = self.open("b", os.O_CREAT | os.O_RDWR)
        os.ftruncate(source, 100000)
        with mmap.mmap(source, 100000) as mapping:
            mapping[70000:70005] = b"store"
            os.pwrite(source, b"write", 10)
            self.copy(source, target, 100000, 0, 0)
        self.assertEqual(os.pread(target, 5, 70000), b"store")
        self.assertEqual(os.pread(target, 5, 10), b"write")

    def test_errors(self):
        source = self.open(self.make("a", b"x" * 100), os.O_RDONLY)
        target = self.open("b", os.O_CREAT | os.O_WRONLY)
        append = self.open("c", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        directory = self.open(self.dir, os.O_RDONLY)
        self.assertErrno(errno.EBADF, os.copy_file_range, target, target, 10, 0, 50)
        self.assertErrno(errno.EBADF, os.copy_file_range, source, source, 10, 0, 50)
        self.assertErrno(errno.EBADF, os.copy_file_range, source, append, 10)
        self.assertErrno((errno.EISDIR, errno.EBADF, errno.EINVAL), os.copy_file_range, directory,
                         target, 10)
        self.assertEqual(os.copy_file_range(source, target, 10, 100, 0), 0)

    def test_from_and_to_another_filesystem(self):
        outside = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
        self.addCleanup(os.close, outside)
        os.write(outside, b"outside" * 1000)
        target = self.open("f", os.O_CREAT | os.O_RDWR)
        try:
            self.copy(outside, target, 7000, 0, 0)
        except OSError as error:
            self.assertIn(error.errno, (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP))
            return
        self.assertBytes(self.path("f"), b"outside" * 1000)

    def test_clone_ioctl_is_refused_or_works(self):
        source = self.open(self.make("a", b"x" * 8192), os.O_RDONLY)
        target = self.open("b", os.O_CREAT | os.O_RDWR)
        try:
            syscalls.ioctl_clone(target, source)
        except OSError as error:
            self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL,
                                        errno.EXDEV, errno.ENOSYS))
            return
        self.assertBytes(self.path("b"), b"x" * 8192)


class DirectIo(MountTestCase):
    def setUp(self):
        super().setUp()
        self.buffer = mmap.mmap(-1, MIB)

    def direct(self, flags, name="f"):
        try:
            return self.open(name, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno == errno.EINVAL and harness.NATIVE:
                self.skipTest("no O_DIRECT here")
            raise

    def test_write_then_buffered_read(self):
        self.buffer[:] = pattern(MIB, 1)
        fd = self.direct(os.O_CREAT | os.O_RDWR)
        self.assertEqual(os.pwrite(fd, self.buffer, 0), MIB)
        self.assertBytes(self.path("f"), pattern(MIB, 1))
        out = mmap.mmap(-1, MIB)
        self.assertEqual(os.preadv(fd, [out], 0), MIB)
        self.assertSameBytes(out[:], pattern(MIB, 1))

    def test_beside_buffered_descriptor(self):
        fd = self.direct(os.O_CREAT | os.O_RDWR)
        buffered = self.open("f", os.O_RDWR)
        page = mmap.mmap(-1, 4096)
        for i in range(40):
            byte = bytes([i + 1])
            page[:] = byte * 4096
            os.pwrite(fd, page, i * 4096)
            self.assertSameBytes(os.pread(buffered, 4096, i * 4096), byte * 4096, f"round {i}")
            os.pwrite(buffered, b"B" * 100, i * 4096 + 1000)
            os.preadv(fd, [page], i * 4096)
            self.assertSameBytes(page[:], byte * 1000 + b"B" * 100 + byte * 2996, f"round {i}")

    def test_unaligned_tail_appended_buffered(self):
        """DeepSpeed's FastPersist: aligned O_DIRECT, then a buffered tail."""
        self.buffer[:] = pattern(MIB, 2)
        fd = self.direct(os.O_CREAT | os.O_WRONLY)
        for i in range(4):
            os.pwrite(fd, self.buffer, i * MIB)
        os.close(fd)
        with open(self.path("f"), "ab") as file:
            file.write(b"tail" * 33)
        self.assertBytes(self.path("f"), pattern(MIB, 2) * 4 + b"tail" * 33)

    def test_read_of_stored_file_at_its_end(self):
        data = pattern(300000, 3)
        self.make("f", data)
        self.mount.sync(self.path("f"))
        harness.drop_caches()
        fd = self.direct(os.O_RDONLY)
        got = os.preadv(fd, [self.buffer], 0)
        self.assertSameBytes(self.buffer[:got], data)
        self.assertEqual(os.preadv(fd, [self.buffer], 303104), 0)


class Writers(MountTestCase):
    def test_appenders_in_several_processes(self):
        """Every record once and whole."""
        path = self.make("log")

        def appender(who):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            for i in range(300):
                os.write(fd, b"%d:%04d;" % (who, i) * 5)
            os.close(fd)
        children = [Child(appender, who) for who in range(4)]
        for child in children:
            child.result()
        data = read_file(path)
        self.assertEqual(len(data), 4 * 300 * 35)
        records = [data[at:at + 35] for at in range(0, len(data), 35)]
        for who in range(4):
            mine = [record for record in records if record.startswith(b"%d:" % who)]
            self.assertEqual(mine, [b"%d:%04d;" % (who, i) * 5 for i in range(300)])

    def test_disjoint_writers(self):
        """DataStates-LLM: many processes write one file at disjoint offsets."""
        path = self.make("f")
        count, block, rounds = 4, 10000, 40

        def writer(who):
            fd = os.open(path, os.O_WRONLY)
            for i in range(rounds):
                os.pwrite(fd, bytes([who + 1]) * block, (i * count + who) * block)
            os.close(fd)
        children = [Child(writer, who) for who in range(count)]
        for child in children:
            child.result()
        self.assertBytes(path, b"".join(bytes([who + 1]) * block for who in range(count)) * rounds)

    def test_shared_offset_after_fork(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)

        def write_some():
            for _ in range(100):
                os.write(fd, b"0123456789")
        children = [Child(write_some) for _ in range(3)]
        for child in children:
            child.result()
        self.assertEqual(os.lseek(fd, 0, os.SEEK_CUR), 3000)
        self.assertBytes(self.path("f"), b"0123456789" * 300)

    def test_many_sizes(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        expected = bytearray()
        for size in (1, 7, 511, 512, 4095, 4096, 4097, 65537, 131072, 1000003, 3 * MIB + 1):
            data = pattern(size, size)
            self.assertEqual(os.write(fd, data), size)
            expected += data
        self.assertSameBytes(os.pread(fd, len(expected), 0), bytes(expected))
        self.assertBytes(self.path("f"), bytes(expected))

    def test_vectored(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        self.assertEqual(os.pwritev(fd, [b"one", b"", b"twothree", b"4" * 5000], 10), 5011)
        first, second = bytearray(16), bytearray(6000)
        self.assertEqual(os.preadv(fd, [first, second], 5), 5016)
        self.assertEqual(bytes(first), bytes(5) + b"onetwothree")

    def test_zero_length(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        self.assertEqual(os.pwrite(fd, b"", 1000), 0)
        self.assertEqual(os.fstat(fd).st_size, 0)
        self.assertEqual(os.read(fd, 10), b"")

    def test_sync_calls(self):
        fd = self.open("f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x" * 100000)
        os.fsync(fd)
        os.fdatasync(fd)
        syscalls.syncfs(fd)
        directory = self.open(self.dir, os.O_RDONLY)
        os.fsync(directory)
        os.fdatasync(directory)
        reader = self.open("f", os.O_RDONLY)
        os.fsync(reader)

    def test_fadvise_and_readahead(self):
        data = pattern(2 * MIB)
        fd = self.open(self.make("f", data), os.O_RDWR)
        for advice in (os.POSIX_FADV_WILLNEED, os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM,
                       os.POSIX_FADV_DONTNEED, os.POSIX_FADV_NOREUSE):
            os.posix_fadvise(fd, 0, 0, advice)
            self.assertSameBytes(os.pread(fd, 2 * MIB, 0), data)

    def test_sendfile_and_splice(self):
        data = pattern(300000)
        source = self.open(self.make("a", data), os.O_RDONLY)
        target = self.open("b", os.O_CREAT | os.O_RDWR)
        done = 0
        while done < len(data):
            done += os.sendfile(target, source, done, len(data) - done)
        self.assertBytes(self.path("b"), data)
        read_end, write_end = os.pipe()
        moved = os.splice(source, write_end, 65536, 1000)
        os.splice(read_end, target, moved, None, 400000)
        os.close(read_end)
        os.close(write_end)
        self.assertSameBytes(os.pread(target, moved, 400000), data[1000:1000 + moved])


if __name__ == "__main__":
    harness.main()
