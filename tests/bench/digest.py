"""How much the digester stores per second of one core, and how much memory the daemon takes."""

import os
import threading
import time

from backends import UserVarve, Varve, warm
from mounts import drop_caches
from throughput import MIB, GIB, Data, free_bytes, read_file, write_file


def digest(table, settings):
    fresh_row = table.figure("digest_fresh", "digest of incompressible data, per core", 600, "min",
                             "MB/s")
    known_row = table.figure("digest_known", "digest of a duplicate, stored copy cached, per core",
                             1200, "min", "MB/s")
    data = Data(settings.size)
    backend = Varve(settings.base, settings.program, settings.options, "varve-digest")
    walls = {fresh_row: [], known_row: []}

    def measure(path, part):
        warm(2 * data.size)
        cpu = backend.cpu_seconds()
        start = time.perf_counter()
        write_file(path, part, data.size)
        backend.settle()
        return backend.cpu_seconds() - cpu, time.perf_counter() - start

    try:
        for number in range(settings.rounds):
            part = data.next()
            for row, name in ((fresh_row, "fresh"), (known_row, "known")):
                path = os.path.join(backend.root, f"{name}{number}")
                cpu, wall = measure(path, part)
                row.add(data.size / max(cpu, 0.001) / 1e6)
                walls[row].append(data.size / wall / 1e6)
                if row is fresh_row:
                    # A first duplicate brings the packs into the cache.
                    write_file(os.path.join(backend.root, f"cached{number}"), part, data.size)
                    backend.settle()
            for name in ("fresh", "cached", "known"):
                os.unlink(os.path.join(backend.root, f"{name}{number}"))
        for row, values in walls.items():
            row.denominators = (f"{data.size / GIB:g} GiB by the daemon's CPU seconds; "
                                f"{sorted(values)[len(values) // 2]:,.0f} MB/s from the first "
                                f"write to durable")
    finally:
        backend.close()


def change(table, settings):
    """One byte of a cold file: time until close returns, and what is stored for it."""
    size = settings.size * 2
    time_row = table.figure("change_time", f"one byte of a cold {size / GIB:g} GiB file, open to "
                            "close", 100, "max", "ms")
    space_row = table.figure("change_space", "the same, stored", 4, "max", "MiB")
    data = Data(settings.size)
    backend = Varve(settings.base, settings.program, [*settings.options, "hot=1"], "varve-change")
    path = os.path.join(backend.root, "big")
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(2):
                part = data.next()
                for at in range(0, data.size, MIB):
                    file.write(part[at:at + MIB])
        for number in range(settings.rounds):
            backend.settle()
            backend.remount()
            drop_caches()
            before = backend.mount.status()["space"]["pack_bytes"]
            start = time.perf_counter()
            fd = os.open(path, os.O_WRONLY)
            os.pwrite(fd, b"%d" % (number % 10), number * 12345678 % size)
            os.close(fd)
            time_row.add((time.perf_counter() - start) * 1000)
            backend.settle()
            space_row.add((backend.mount.status()["space"]["pack_bytes"] - before) / MIB)
    finally:
        backend.close()


class Peak:
    """The daemon's highest RssAnon + RssShmem while it is entered, sampled."""

    def __init__(self, backend):
        self.backend = backend
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.done.wait(0.05):
            try:
                self.peak = max(self.peak, self.backend.memory_bytes())
            except OSError:
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def memory_files(table, settings):
    count = 50_000 if settings.quick else 1_000_000
    row = table.figure("memory_files", f"memory with {count:,} files", 400, "max", "MiB")
    backend = Varve(settings.base, settings.program, settings.options, "varve-files")
    try:
        with Peak(backend) as peak:
            start = time.perf_counter()
            for top in range(count // 1000):
                directory = os.path.join(backend.root, f"d{top:04}")
                os.mkdir(directory)
                for i in range(1000):
                    with open(f"{directory}/f{i:03}", "wb") as file:
                        file.write(b"%d" % i)
            seconds = time.perf_counter() - start
            backend.settle()
            for root, _, files in os.walk(backend.root):
                for name in files:
                    os.stat(os.path.join(root, name))
        row.add(peak.peak / MIB)
        row.denominators = f"{count:,} files of 1 to 3 bytes made in {seconds:,.0f} s, then listed"
    finally:
        backend.close()


def memory_digest(table, settings):
    size = 2 * GIB if settings.quick else 20 * GIB
    size = min(size, free_bytes(settings.base) // 3)
    row = table.figure("memory_digest", f"memory while digesting {size / GIB:.0f} GiB", 300, "max",
                       "MiB")
    data = Data(GIB)
    backend = Varve(settings.base, settings.program, settings.options, "varve-memory")
    try:
        with Peak(backend) as peak:
            for i in range(size // GIB):
                write_file(os.path.join(backend.root, f"big{i}"), data.next(), GIB)
            backend.settle()
        row.add(peak.peak / MIB)
        row.denominators = f"{size // GIB} files of 1 GiB, incompressible"
    finally:
        backend.close()


def memory_streams(table, settings):
    row = table.figure("memory_streams", "memory with 8 cold streams", 500, "max", "MiB")
    size = (64 if settings.quick else 512) * MIB
    data = Data(size)
    for kind in (Varve, UserVarve):
        backend = kind(settings.base, settings.program, [*settings.options, "hot=1"],
                       f"varve-streams-{kind.__name__}")
        try:
            for i in range(8):
                backend.act(write_file, os.path.join(backend.root, f"s{i}"), data.next(), size)
            backend.settle()
            backend.remount()
            drop_caches()
            with Peak(backend) as peak:
                backend.act(read_together, [os.path.join(backend.root, f"s{i}") for i in range(8)])
            row.add(peak.peak / MIB)
        finally:
            backend.close()
    row.denominators = f"8 files of {size // MIB} MiB at once; as root, and as an ordinary user"


def read_together(paths):
    threads = [threading.Thread(target=read_file, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory(table, settings):
    memory_files(table, settings)
    memory_digest(table, settings)
    memory_streams(table, settings)
