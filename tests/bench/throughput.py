"""Sequential writes and reads, hot and cold; fsync of small appends."""

import mmap
import os
import shutil
import statistics
import time

from backends import PASSTHROUGH, Native, PassthroughExample, UserVarve, Varve, warm
from mounts import drop_caches

MIB = 1 << 20
GIB = 1 << 30


def write_file(path, data, size):
    """Seconds to create, write in 1 MiB pieces and close."""
    view = memoryview(data)
    start = time.perf_counter()
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    for at in range(0, size, MIB):
        os.write(fd, view[at:at + MIB])
    os.close(fd)
    return time.perf_counter() - start


def read_file(path):
    """Seconds to read all of it in 1 MiB pieces."""
    buffer = bytearray(MIB)
    start = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    while os.readv(fd, [buffer]):
        pass
    os.close(fd)
    return time.perf_counter() - start


def read_mapping(path):
    """Seconds to map the file and copy all of it out."""
    buffer = bytearray(MIB)
    target = memoryview(buffer)
    start = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
        source = memoryview(mapping)
        for at in range(0, size, MIB):
            part = source[at:at + MIB]
            target[:len(part)] = part
            part.release()
        source.release()
    os.close(fd)
    return time.perf_counter() - start


def append_synced(path, count):
    """Median seconds of a 4 KiB append with fsync."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    block = os.urandom(4096)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        os.write(fd, block)
        os.fsync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    return statistics.median(times)


class Data:
    """Incompressible bytes; each round starts elsewhere, so that no chunk of it is known.

    They are in shared memory: a forked child that writes as an ordinary user would else pay for
    copy on write, because a write that bypasses the page cache takes the pages for itself.
    """

    def __init__(self, size):
        self.size = size
        self.slack = 8 * MIB
        self.bytes = mmap.mmap(-1, size + self.slack)
        while self.bytes.tell() < len(self.bytes):
            self.bytes.write(os.urandom(min(64 * MIB, len(self.bytes) - self.bytes.tell())))
        self.round = 0

    def next(self):
        self.round += 1
        return memoryview(self.bytes)[self.round * 4099 % self.slack:]


def measure_hot(table, settings, backend, data, bars, label, peer=None):
    """Writes and hot reads of `backend` beside the native filesystem, interleaved.

    `peer` is measured, too: its hot reads are what the kernel makes possible without passthrough.
    """
    native = Native(settings.base)
    size = data.size
    rows = {key: table.figure(f"{label}_{key}", text, bar, "min") for key, text, bar in bars}
    peer_row = peer and table.figure(f"{label}_read_of_peer", f"the same / {peer.name}", None, "min")
    rates = {}

    def once(where, part):
        path = os.path.join(where.root, "big")
        where.settle()  # first: warm memory does not stay so
        warm(2 * size)
        times = {"write": where.act(write_file, path, part, size)}
        if len(rows) > 1:
            where.settle()
            where.act(read_file, path)
            times["read"] = where.act(read_file, path)
            times["mmap"] = where.act(read_mapping, path)
        where.act(os.unlink, path)
        for key, seconds in times.items():
            rates.setdefault((where.name, key), []).append(size / seconds / 1e6)
        return times

    for number in range(settings.rounds):
        pair = [native, backend] if number % 2 == 0 else [backend, native]
        part = data.next()
        times = {where.name: once(where, part) for where in [*pair, *([peer] if peer else [])]}
        for key, row in rows.items():
            row.add_ratio(times["native"][key], times[backend.name][key])
        if peer:
            peer_row.add_ratio(times[peer.name]["read"], times[backend.name]["read"])
    for key, row in rows.items():
        ours, theirs = (statistics.median(rates[name, key]) for name in (backend.name, "native"))
        row.denominators = f"{ours:,.0f} of {theirs:,.0f} MB/s, {size / GIB:g} GiB"
    native.close()


def hot(table, settings):
    data = Data(settings.size)
    backend = Varve(settings.base, settings.program, settings.options, "varve-hot")
    try:
        measure_hot(table, settings, backend, data, (
            ("write", "sequential write incl. close, root / native", 0.90),
            ("read", "hot read, root / native", 0.95),
            ("mmap", "hot mmap read, root / native", 0.95)), "root")
    finally:
        backend.close()
    backend = UserVarve(settings.base, settings.program, settings.options)
    peer = None
    try:
        if os.geteuid() == 0 and os.access(PASSTHROUGH, os.X_OK):
            peer = PassthroughExample(settings.base, "--nopassthrough")
            peer.name = "passthrough_hp without passthrough"
        measure_hot(table, settings, backend, data, (
            ("write", "sequential write incl. close, ordinary user / native", 0.40),
            ("read", "hot read, ordinary user / native", 0.90)), "user", peer)
    finally:
        if peer:
            peer.close()
        backend.close()


def measure_cold(table, settings, backend, data, bar, label, mapped):
    native = Native(settings.base)
    row = table.figure(f"{label}_cold_read", f"cold read from packs, {label} / native", bar, "min")
    map_row = None
    if mapped:
        map_row = table.figure("mmap_of_cold", "mmap of a cold file / cat of it", 0.80, "min")
    rates = {"native": [], "ours": [], "mapped": []}
    size = data.size
    part = data.next()
    for where in (native, backend):
        where.act(write_file, os.path.join(where.root, "cold"), part, size)
        where.settle()

    def read_cold(where, function):
        if where is backend:
            # No hot copy and nothing in the daemon's memory.
            backend.remount()
        warm(2 * size)
        drop_caches()
        return where.act(function, os.path.join(where.root, "cold"))

    for number in range(settings.rounds):
        pair = [native, backend] if number % 2 == 0 else [backend, native]
        times = {where.name: read_cold(where, read_file) for where in pair}
        row.add_ratio(times["native"], times[backend.name])
        rates["native"].append(size / times["native"] / 1e6)
        rates["ours"].append(size / times[backend.name] / 1e6)
        if map_row:
            seconds = read_cold(backend, read_mapping)
            map_row.add_ratio(times[backend.name], seconds)
            rates["mapped"].append(size / seconds / 1e6)
    median = {key: statistics.median(values) for key, values in rates.items() if values}
    row.denominators = (f"{median['ours']:,.0f} of {median['native']:,.0f} MB/s, "
                        f"{size / GIB:g} GiB, incompressible")
    if map_row:
        map_row.denominators = f"{median['mapped']:,.0f} of {median['ours']:,.0f} MB/s"
    native.close()


def cold(table, settings):
    if os.geteuid() != 0:
        return
    data = Data(settings.size)
    # One byte of hot copies: everything comes from packs.
    for kind, bar, label in ((Varve, 0.85, "root"), (UserVarve, 0.70, "ordinary user")):
        backend = kind(settings.base, settings.program, [*settings.options, "hot=1"],
                       f"varve-cold-{label.split()[0]}")
        try:
            measure_cold(table, settings, backend, data, bar, label, mapped=kind is Varve)
        finally:
            backend.close()


def fsync(table, settings):
    native = Native(settings.base)
    backend = Varve(settings.base, settings.program, settings.options, "varve-fsync")
    row = table.figure("fsync_append", "fsync of a 4 KiB append, time / native", 2.5, "max",
                       "times")
    ours, theirs = [], []
    count = 40 if settings.quick else 200
    try:
        for number in range(settings.rounds):
            pair = [native, backend] if number % 2 == 0 else [backend, native]
            times = {where.name: where.act(append_synced, os.path.join(where.root,
                                                                       f"log{number}"), count)
                     for where in pair}
            row.add_ratio(times[backend.name], times["native"])
            ours.append(times[backend.name])
            theirs.append(times["native"])
        row.denominators = (f"{statistics.median(ours) * 1e6:,.0f} of "
                            f"{statistics.median(theirs) * 1e6:,.0f} µs, {count} appends a round")
    finally:
        backend.close()
        native.close()


def free_bytes(path):
    return shutil.disk_usage(path).free
