"""What clones cost: to make one, and to look names up in one that is many clones deep.

  clones.py [--files N] [--depth N] [--changed N] [--program VARVE] [--base DIR]

Clones directories of 10 and of N files, then a clone of a clone and so on, each with some files
rewritten, and stats all names of the first and of the last one, after a remount each: when nobody
has looked at them yet, and when somebody has. Prints one JSON object. The bars: 10 ms a clone,
and half the speed of the original.
"""

import argparse
import os
import shutil
import statistics
import time

import one_mount

NAMES = 2000  # of the directory that is cloned again and again


def make_files(directory, count):
    os.makedirs(directory)
    for i in range(count):
        with open(f"{directory}/f{i:06}", "wb") as file:
            file.write(b"%08d" % i)


def clone_ms(original, clone):
    os.mkdir(clone)
    path = os.path.relpath(original, os.path.dirname(clone))
    start = time.perf_counter()
    os.setxattr(clone, "user.varve.clone_of", path.encode())
    return (time.perf_counter() - start) * 1000


def stats_per_second(directory):
    start = time.perf_counter()
    for i in range(NAMES):
        os.stat(f"{directory}/f{i:06}")
    return NAMES / (time.perf_counter() - start)


def median_of(values):
    return {"median": statistics.median(values), "max": max(values)}


def measure(settings, mount):
    root = mount.root
    make_files(root + "/small", 10)
    make_files(root + "/large", settings.files)
    make_files(root + "/c0", NAMES)
    mount.sync()
    small = [clone_ms(root + "/small", f"{root}/s{i}") for i in range(20)]
    large = [clone_ms(root + "/large", f"{root}/l{i}") for i in range(20)]
    deep = []
    for i in range(settings.depth):
        deep.append(clone_ms(f"{root}/c{i}", f"{root}/c{i + 1}"))
        for j in range(settings.changed):
            with open(f"{root}/c{i + 1}/f{(i * settings.changed + j) % NAMES:06}", "wb") as file:
                file.write(b"changed %d %d" % (i, j))
    last = f"{root}/c{settings.depth}"
    ratios = {"first": [], "again": []}
    speeds = {}
    for _ in range(settings.rounds):
        # A clone of the last one that nobody looked at, as deep as that.
        copy = f"{root}/copy"
        clone_ms(last, copy)
        for key in ("first", "again"):
            mount.stop(600)
            mount.start()
            original = stats_per_second(root + "/c0")
            cloned = stats_per_second(copy)
            ratios[key].append(cloned / original)
            speeds[key] = [original, cloned]
        shutil.rmtree(copy)
    return {"clone_of_10_ms": median_of(small), "clone_of_large_ms": median_of(large),
            "files": settings.files, "nested_clone_ms": median_of(deep), "depth": settings.depth,
            "changed": settings.changed,
            "lookup_ratio": {key: statistics.median(value) for key, value in ratios.items()},
            "lookups_per_second": speeds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--changed", type=int, default=1, help="files, in each clone")
    parser.add_argument("--rounds", type=int, default=5)
    one_mount.run(parser, "clones", measure)


if __name__ == "__main__":
    main()
