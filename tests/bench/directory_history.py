"""What captures of a large directory cost: time and index growth per capture, and browsing.

  directory_history.py [--files N] [--captures N] [--changed N] [--program VARVE] [--base DIR]

Makes a tree of N files, then captures it (mkdir .varve/history/NAME) again and again with a few
files rewritten in between, which is what a training run does. Prints one JSON object. The bars:
20 ms and 64 KiB per capture, 200 ms to list 10,000 versions, 5 ms to open a file in the first one,
which is v1 unless making the tree took so long that it was captured meanwhile.
"""

import argparse
import os
import random
import statistics
import time

import one_mount
from mounts import drop_caches  # found by one_mount


def milliseconds(function):
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def settled(mount):
    mount.sync()
    time.sleep(1.5)  # one beat commits
    return mount.status()["space"]["index_bytes"]


def make_tree(top, count, per_directory=1000):
    files = []
    for i in range(count):
        directory = f"{top}/d{i // per_directory:04}"
        if i % per_directory == 0:
            os.makedirs(directory)
        files.append(f"{directory}/f{i:06}")
        with open(files[-1], "wb") as file:
            file.write(b"%08d" % i)
    return files


def rewrite(paths, text):
    for path in paths:
        with open(path, "wb") as file:
            file.write(text)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def measure(settings, mount):
    top = mount.root + "/run"
    os.mkdir(top)
    history = top + "/.varve/history"
    rng = random.Random(1)
    files = make_tree(top, settings.files)
    os.mkdir(history + "/first")
    before = settled(mount)
    # The same changes without captures: what they cost the index by themselves.
    rounds = max(1, settings.captures // 10)
    for i in range(rounds):
        rewrite(rng.sample(files, settings.changed), b"uncaptured %08d" % i)
    plain = (settled(mount) - before) / rounds
    before = settled(mount)
    times, expected = [], {}
    for i in range(settings.captures):
        chosen = rng.sample(files, settings.changed)
        rewrite(chosen, b"captured %08d" % i)
        expected[i] = (chosen[0], b"captured %08d" % i)
        times.append(milliseconds(lambda i=i: os.mkdir(f"{history}/p{i}")))
    growth = (settled(mount) - before) / settings.captures
    for i, (path, data) in expected.items():
        found = read(f"{history}/p{i}" + path[len(top):])
        assert found == data, (i, path, found)
    for _ in range(settings.versions - settings.captures):
        os.mkdir(history + "/x")
        os.rmdir(history + "/x")
    drop_caches()
    listed = milliseconds(lambda: os.listdir(history))
    names = len(os.listdir(history))
    cold, warm = [], []
    for path in rng.sample(files, 20):
        frozen = f"{history}/first" + path[len(top):]
        drop_caches()  # of the index, too
        cold.append(milliseconds(lambda frozen=frozen: read(frozen)))
    for path in rng.sample(files, 20):
        frozen = f"{history}/first" + path[len(top):]
        warm.append(milliseconds(lambda frozen=frozen: read(frozen)))
    return {"files": settings.files, "captures": settings.captures, "changed": settings.changed,
            "capture_ms": {"median": statistics.median(times), "max": max(times),
                           "p99": sorted(times)[int(len(times) * 0.99)]},
            "index_bytes_per_capture": growth, "index_bytes_per_round_without": plain,
            "names_listed": names, "list_ms": listed,
            "open_in_first_ms": {"median": statistics.median(warm), "max": max(warm)},
            "open_in_first_cold_ms": {"median": statistics.median(cold), "max": max(cold)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--captures", type=int, default=1000)
    parser.add_argument("--changed", type=int, default=10)
    parser.add_argument("--versions", type=int, default=10_000, help="at the end, to be listed")
    one_mount.run(parser, "history", measure)


if __name__ == "__main__":
    main()
