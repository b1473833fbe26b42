"""Random operations on several files at once, each compared with a model in memory.

An Exerciser works on the files f0, f1, … of one directory. The model of a file is a bytearray.
Every operation is chosen by a random.Random(seed), so a seed and a count of operations replay a
run. What was read is compared at once; check_all() compares everything.
"""

import mmap
import os
import random

from syscalls import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, fallocate


class Mismatch(AssertionError):
    pass


class ModelFile:
    def __init__(self, path):
        self.path = path
        self.data = bytearray()
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Exerciser:
    # How often each operation is chosen.
    WEIGHTS = {
        "read": 20, "write": 24, "append": 6, "map_read": 8, "map_write": 8, "truncate": 6,
        "punch_hole": 5, "zero_range": 4, "allocate": 3, "copy_range": 6, "fsync": 2,
        "reopen": 8, "truncating_open": 2, "replace": 3, "recreate": 2, "read_other": 6,
        "direct_read": 3, "direct_write": 3, "seek_data": 4, "check": 2, "rename_pair": 2,
        "wait_stored": 1, "drop_caches": 1, "remount": 0,
    }

    def __init__(self, directory, seed, files=4, size_max=1 << 20, hooks=None, weights=None):
        """`hooks` has functions for wait_stored(path), drop_caches() and remount()."""
        self.directory = directory
        self.random = random.Random(seed)
        self.seed = seed
        self.size_max = size_max
        self.hooks = hooks or {}
        self.log = []
        weights = {**self.WEIGHTS, **(weights or {})}
        self.names = [name for name, weight in weights.items() if weight]
        self.weights = [weights[name] for name in self.names]
        self.files = [ModelFile(os.path.join(directory, f"f{i}")) for i in range(files)]

    def run(self, operations):
        try:
            for i in range(operations):
                name = self.random.choices(self.names, self.weights)[0]
                file = self.random.choice(self.files)
                self.log.append(f"{i}: {os.path.basename(file.path)} {name}")
                getattr(self, name)(file)
            self.check_all()
        except (Mismatch, OSError) as error:
            tail = "\n  ".join(self.log[-40:])
            raise AssertionError(f"seed {self.seed}: {error!r}; the last operations:\n  {tail}") \
                from error

    def close(self):
        for file in self.files:
            file.close()

    # What the operations share.

    def note(self, *values):
        self.log[-1] += " " + " ".join(str(value) for value in values)

    def range_within(self, size, length_max=1 << 17):
        """A random (offset, length) with offset <= size; often small, often aligned."""
        r = self.random
        offset = r.randrange(size + 1)
        if r.random() < 0.3:
            offset &= ~4095
        length = int(length_max ** r.random())
        if r.random() < 0.2:
            length = (length + 4095) & ~4095
        return offset, max(1, length)

    def bytes_of(self, length):
        kind = self.random.random()
        if kind < 0.5:
            return self.random.randbytes(length)
        return bytes([self.random.randrange(256)]) * length

    def overwrite(self, file, offset, data):
        if offset > len(file.data):
            file.data.extend(bytes(offset - len(file.data)))
        file.data[offset:offset + len(data)] = data

    def compare(self, file, offset, actual, expected, what):
        if actual == expected:
            return
        size = min(len(actual), len(expected))
        at = next((i for i in range(size) if actual[i] != expected[i]), size)
        raise Mismatch(
            f"{os.path.basename(file.path)}: {what} at {offset}: got {len(actual)} bytes of "
            f"{len(expected)}; first difference at {offset + at}: "
            f"{bytes(actual[at:at + 8]).hex()}, not {bytes(expected[at:at + 8]).hex()}")

    # The operations.

    def read(self, file):
        offset, length = self.range_within(len(file.data))
        self.note(offset, length)
        self.compare(file, offset, os.pread(file.fd, length, offset),
                     bytes(file.data[offset:offset + length]), "read")

    def read_other(self, file):
        """Through a descriptor of its own, opened for this read."""
        offset, length = self.range_within(len(file.data))
        self.note(offset, length)
        fd = os.open(file.path, os.O_RDONLY)
        try:
            got = os.pread(fd, length, offset)
        finally:
            os.close(fd)
        self.compare(file, offset, got, bytes(file.data[offset:offset + length]), "read")

    def write(self, file):
        offset, length = self.range_within(min(len(file.data) + 20000, self.size_max))
        length = min(length, self.size_max - offset)
        data = self.bytes_of(length)
        self.note(offset, length)
        if os.pwrite(file.fd, data, offset) != length:
            raise Mismatch("short write")
        if length:
            self.overwrite(file, offset, data)

    def append(self, file):
        if len(file.data) > self.size_max:
            return
        data = self.bytes_of(self.random.randrange(1, 5000))
        self.note(len(file.data), len(data))
        fd = os.open(file.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        file.data += data

    def map_read(self, file):
        if not file.data:
            return
        offset, length = self.range_within(len(file.data) - 1)
        self.note(offset, length)
        with mmap.mmap(file.fd, len(file.data), prot=mmap.PROT_READ) as mapping:
            self.compare(file, offset, mapping[offset:offset + length],
                         bytes(file.data[offset:offset + length]), "mapped read")

    def map_write(self, file):
        if not file.data:
            return
        offset, length = self.range_within(len(file.data) - 1, 1 << 15)
        length = min(length, len(file.data) - offset)
        data = self.bytes_of(length)
        self.note(offset, length)
        with mmap.mmap(file.fd, len(file.data)) as mapping:
            mapping[offset:offset + length] = data
            if self.random.random() < 0.3:
                mapping.flush()
        self.overwrite(file, offset, data)

    def truncate(self, file):
        size = self.random.randrange(self.size_max) if self.random.random() < 0.5 else \
            self.random.randrange(len(file.data) + 1)
        self.note(size)
        if self.random.random() < 0.5:
            os.ftruncate(file.fd, size)
        else:
            os.truncate(file.path, size)
        if size <= len(file.data):
            del file.data[size:]
        else:
            file.data.extend(bytes(size - len(file.data)))

    def punch_hole(self, file):
        offset, length = self.range_within(len(file.data))
        self.note(offset, length)
        fallocate(file.fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, length)
        end = min(offset + length, len(file.data))
        if end > offset:
            file.data[offset:end] = bytes(end - offset)

    def zero_range(self, file):
        offset, length = self.range_within(len(file.data))
        length = min(length, max(1, self.size_max - offset))
        keep = self.random.random() < 0.5
        self.note(offset, length, keep)
        fallocate(file.fd, FALLOC_ZERO_RANGE | (FALLOC_KEEP_SIZE if keep else 0), offset, length)
        end = min(offset + length, len(file.data)) if keep else offset + length
        if end > offset:
            self.overwrite(file, offset, bytes(end - offset))

    def allocate(self, file):
        offset, length = self.range_within(len(file.data))
        length = min(length, max(1, self.size_max - offset))
        self.note(offset, length)
        fallocate(file.fd, 0, offset, length)
        if offset + length > len(file.data):
            file.data.extend(bytes(offset + length - len(file.data)))

    def copy_range(self, file):
        source = self.random.choice(self.files)
        offset, length = self.range_within(len(source.data))
        length = min(length, len(source.data) - offset)
        target = self.random.randrange(min(len(file.data) + 10000, self.size_max))
        if source is file and offset < target + length and target < offset + length:
            return
        self.note(os.path.basename(source.path), offset, length, "->", target)
        done = 0
        while done < length:
            part = os.copy_file_range(source.fd, file.fd, length - done, offset + done,
                                      target + done)
            if part == 0:
                raise Mismatch("copy_file_range ended early")
            done += part
        if length:
            self.overwrite(file, target, bytes(source.data[offset:offset + length]))

    def direct_read(self, file):
        length = 4096 * self.random.randrange(1, 17)
        offset = self.random.randrange(len(file.data) + 1) & ~4095
        self.note(offset, length)
        buffer = mmap.mmap(-1, length)
        fd = os.open(file.path, os.O_RDONLY | os.O_DIRECT)
        try:
            got = os.preadv(fd, [buffer], offset)
        finally:
            os.close(fd)
        self.compare(file, offset, buffer[:got], bytes(file.data[offset:offset + length]),
                     "O_DIRECT read")

    def direct_write(self, file):
        length = 4096 * self.random.randrange(1, 17)
        offset = self.random.randrange(min(len(file.data) + 8192, self.size_max)) & ~4095
        data = self.bytes_of(length)
        self.note(offset, length)
        buffer = mmap.mmap(-1, length)
        buffer[:] = data
        fd = os.open(file.path, os.O_WRONLY | os.O_DIRECT)
        try:
            if os.pwrite(fd, buffer, offset) != length:
                raise Mismatch("short O_DIRECT write")
        finally:
            os.close(fd)
        self.overwrite(file, offset, data)

    def seek_data(self, file):
        """No data in what is reported as a hole."""
        at = self.random.randrange(len(file.data) + 1)
        try:
            start = os.lseek(file.fd, at, os.SEEK_DATA)
        except OSError:
            start = len(file.data)
        self.note(at, start)
        if any(file.data[at:start]):
            raise Mismatch(f"SEEK_DATA from {at} skipped data before {start}")

    def fsync(self, file):
        os.fsync(file.fd) if self.random.random() < 0.5 else os.fdatasync(file.fd)

    def reopen(self, file):
        file.close()
        if self.random.random() < 0.3:
            self.compare_whole(file)
        file.fd = os.open(file.path, os.O_RDWR)

    def truncating_open(self, file):
        if self.random.random() < 0.5:
            file.close()
        fd = os.open(file.path, os.O_RDWR | os.O_TRUNC)
        file.close()
        file.fd = fd
        file.data.clear()

    def replace(self, file):
        """A new file is renamed over this one; the old descriptor must keep the old bytes."""
        data = self.bytes_of(self.random.randrange(100000))
        temporary = file.path + ".tmp"
        with open(temporary, "wb") as new:
            new.write(data)
        os.rename(temporary, file.path)
        if os.pread(file.fd, len(file.data) + 1, 0) != file.data:
            raise Mismatch("the replaced file changed under its descriptor")
        file.close()
        file.fd = os.open(file.path, os.O_RDWR)
        file.data = bytearray(data)

    def recreate(self, file):
        os.unlink(file.path)
        if os.pread(file.fd, len(file.data) + 1, 0) != file.data:
            raise Mismatch("the removed file changed under its descriptor")
        file.close()
        file.fd = os.open(file.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        file.data = bytearray()

    def rename_pair(self, file):
        """Two files change names, by way of a third name."""
        other = self.random.choice(self.files)
        if other is file:
            return
        self.note(os.path.basename(other.path))
        aside = os.path.join(self.directory, "aside")
        os.rename(file.path, aside)
        os.rename(other.path, file.path)
        os.rename(aside, other.path)
        file.path, other.path = other.path, file.path

    def check(self, file):
        self.compare_whole(file)

    def wait_stored(self, file):
        if self.random.random() < 0.5:
            file.close()
            self.hooks["wait_stored"](file.path)
            file.fd = os.open(file.path, os.O_RDWR)
        else:
            self.hooks["wait_stored"](file.path)

    def drop_caches(self, _):
        self.hooks["drop_caches"]()

    def remount(self, _):
        self.close()
        self.hooks["remount"]()
        for file in self.files:
            self.compare_whole(file)
            file.fd = os.open(file.path, os.O_RDWR)

    def compare_whole(self, file):
        size = os.stat(file.path).st_size
        if size != len(file.data):
            raise Mismatch(f"{os.path.basename(file.path)}: size {size}, not {len(file.data)}")
        with open(file.path, "rb") as opened:
            self.compare(file, 0, opened.read(), bytes(file.data), "whole file")

    def check_all(self):
        for file in self.files:
            self.compare_whole(file)
