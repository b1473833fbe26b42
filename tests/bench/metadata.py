"""Metadata operations per second, beside libfuse's passthrough example on the same transport."""

import os
import statistics
import time

from backends import PASSTHROUGH, PassthroughExample, Varve
from mounts import drop_caches

OPERATIONS = ("create", "stat", "getxattr", "rename", "unlink")


def operations_once(root, count):
    """Seconds for `count` of each, in a fresh directory of `root`."""
    directory = os.path.join(root, f"d{time.monotonic_ns()}")
    os.mkdir(directory)
    names = [os.path.join(directory, f"file-{i:06}") for i in range(count)]
    times = {}

    def timed(key, function):
        start = time.perf_counter()
        for name in names:
            function(name)
        times[key] = time.perf_counter() - start

    def create(name):
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def getxattr(name):
        try:
            os.getxattr(name, "user.loss")
        except OSError:
            pass

    timed("create", create)
    # Cached attributes would measure the kernel; after this each stat is a LOOKUP.
    drop_caches()
    timed("stat", os.stat)
    timed("getxattr", getxattr)
    timed("rename", lambda name: os.rename(name, name + "x"))
    names = [name + "x" for name in names]
    timed("unlink", os.unlink)
    os.rmdir(directory)
    return times


def metadata(table, settings):
    rows = {key: table.figure(f"meta_{key}", f"{key} per second / passthrough_hp", 0.80, "min")
            for key in OPERATIONS}
    if not os.access(PASSTHROUGH, os.X_OK):
        for row in rows.values():
            row.note = f"{PASSTHROUGH} is missing; run scripts/setup"
        return
    count = 1000 if settings.quick else 5000
    example = PassthroughExample(settings.base)
    backend = Varve(settings.base, settings.program, settings.options, "varve-meta")
    rates = {}
    try:
        for number in range(settings.rounds + 1):
            pair = [example, backend] if number % 2 == 0 else [backend, example]
            times = {}
            for where in pair:
                where.settle()
                times[where.name] = operations_once(where.root, count)
            if number == 0:
                continue  # the first round warms both
            for key, row in rows.items():
                row.add_ratio(times[example.name][key], times[backend.name][key])
                for name in times:
                    rates.setdefault((name, key), []).append(count / times[name][key])
        for key, row in rows.items():
            ours, theirs = (statistics.median(rates[name, key])
                            for name in (backend.name, example.name))
            row.denominators = f"{ours:,.0f} of {theirs:,.0f} per second, {count} files a round"
    finally:
        backend.close()
        example.close()
