"""What a trained series takes in a store, beside what peers make of the same files.

The series is trained first (train_series.py), which takes some minutes; --series DIRECTORY has one
that was kept. Each run of it is stored alone, then all of them together.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import time

from backends import Varve
from mounts import drop_caches

# name, bar, what it is
RUNS = (("pretraining-model", 1.30, "pretraining, fp32 weights"),
        ("pretraining-optimizer", 1.23, "pretraining, Adam's moments"),
        ("pretraining-bf16", 1.88, "pretraining, bf16 alone"),
        ("finetuning-bf16", 3.8, "fine-tuning, bf16, small rate"),
        ("sgd", 2.8, "SGD"),
        ("finetuning-frozen", 5.3, "fine-tuning, three of four blocks frozen"))


def files_of(directory):
    return sorted(os.path.relpath(os.path.join(top, name), directory)
                  for top, _, names in os.walk(directory) for name in names)


def bytes_of(directory):
    return sum(os.path.getsize(os.path.join(directory, name)) for name in files_of(directory))


def used_bytes(path):
    """As du has it."""
    text = subprocess.run(["du", "-s", "--block-size=1", path], check=True, capture_output=True,
                          text=True).stdout
    return int(text.split()[0])


def train(settings):
    if settings.series:
        return settings.series
    out = os.path.join(settings.base, "series")
    program = os.path.join(os.path.dirname(__file__), "train_series.py")
    size = ["--width", "64", "--layers", "4", "--start", "20", "--every", "5"] \
        if settings.quick else []
    subprocess.run([sys.executable, program, out, *size, "--seed", str(settings.seed)],
                   check=True, stdout=sys.stderr)
    return out


def split_pretraining(series, out):
    """Weights and moments apart: each has a bar of its own."""
    for name in files_of(os.path.join(series, "pretraining")):
        kind = os.path.basename(name).partition(".")[0]
        target = os.path.join(out, "pretraining-" + kind, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(os.path.join(series, "pretraining", name), target)


def cold_read(directory):
    drop_caches()
    start = time.perf_counter()
    for name in files_of(directory):
        with open(os.path.join(directory, name), "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    return time.perf_counter() - start


def copy_in_order(source, target):
    """As they were made: a run is saved step by step."""
    for name in files_of(source):
        path = os.path.join(target, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), path)


class Stored:
    """A directory, saved through a mount, collected and unmounted."""

    def __init__(self, settings, source, name):
        self.source = source
        self.backend = Varve(settings.base, settings.program, settings.options, name)
        start = time.perf_counter()
        copy_in_order(source, self.backend.root)
        self.backend.settle()
        self.seconds = time.perf_counter() - start
        mount = self.backend.mount
        mount.command("gc", "--hot", mount.root, timeout_s=600)
        self.collected = time.perf_counter() - start
        mount.stop(600)
        store = mount.store
        packs = os.path.join(store, "packs")
        self.data_bytes = os.path.getsize(os.path.join(store, "index", "data.mdb")) + sum(
            os.path.getsize(os.path.join(packs, pack)) for pack in os.listdir(packs)
            if pack.endswith(".pack"))
        self.used_bytes = used_bytes(store) - used_bytes(os.path.join(store, "ballast"))
        mount.start()

    def check(self):
        drop_caches()
        for name in files_of(self.source):
            if not filecmp.cmp(os.path.join(self.source, name),
                               os.path.join(self.backend.root, name), shallow=False):
                raise AssertionError(f"{name} is not what was saved")

    def describe(self, raw):
        return (f"{raw / 1e6:,.0f} MB in {self.data_bytes / 1e6:,.0f} of packs and index; du of the "
                f"store less its ballast {self.used_bytes / 1e6:,.0f}")


def alone(table, settings, source, name, bar, text):
    raw = bytes_of(source)
    stored = Stored(settings, source, "varve-" + name)
    try:
        stored.check()
        row = table.figure("series_" + name, "ratio, " + text, bar, "min")
        row.add(raw / stored.data_bytes)
        row.denominators = stored.describe(raw)
    finally:
        stored.backend.close()


def corpus(table, settings, series):
    raw = bytes_of(series)
    stored = Stored(settings, series, "varve-corpus")
    try:
        stored.check()
        row = table.figure("series_corpus", "ratio, all of it", 1.56, "min")
        row.add(raw / stored.used_bytes)
        row.denominators = stored.describe(raw)
        row = table.figure("series_cold", "cold read of all of it / native", None, "min")
        for _ in range(settings.rounds):
            native = cold_read(series)
            stored.backend.remount()
            ours = cold_read(stored.backend.root)
            row.add_ratio(native, ours)
        row.denominators = f"native {raw / native / 1e6:,.0f} MB/s in the last round"
        row = table.figure("series_seconds", "until stored", None, "max", "s")
        row.add(stored.seconds)
        row.denominators = f"collected after {stored.collected:.1f} s"
    finally:
        stored.backend.close()


def patches(series, out):
    """zstd -3 --patch-from the file of that name in the step before."""
    os.makedirs(out)
    total, before = 0, {}
    for name in files_of(series):
        run, _, rest = name.partition("/")
        key = (run, os.path.basename(rest))
        source, target = os.path.join(series, name), os.path.join(out, str(len(before)) + "-" +
                                                                  name.replace("/", "-"))
        patch = ["--patch-from", before[key]] if key in before else []
        subprocess.run(["zstd", "-q", "-3", "--long=27", *patch, source, "-o", target], check=True)
        total += os.path.getsize(target)
        before[key] = source
    return total


def borg(series, out):
    env = {**os.environ, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
           "BORG_BASE_DIR": out + "-home"}
    subprocess.run(["borg", "init", "-e", "none", out], check=True, env=env, capture_output=True)
    steps = sorted({os.path.dirname(name) for name in files_of(series)})
    for number, step in enumerate(steps):
        subprocess.run(["borg", "create", "-C", "zstd,3", f"{out}::{number}", step], check=True,
                       env=env, cwd=series, capture_output=True)
    return used_bytes(out)


PEERS = (("zstd", "zstd", "zstd -3 --patch-from", patches),
         ("borg", "borgbackup", "borg zstd,3", borg))


def peers(table, settings, series):
    raw = bytes_of(series)
    for program, package, text, store in PEERS:
        row = table.figure("series_" + program, f"ratio, all of it, {text}", None, "min")
        if shutil.which(program) is None:
            subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
                           check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if shutil.which(program) is None:
            row.note = f"not run: there is no package {package}"
            continue
        start = time.perf_counter()
        used = store(series, os.path.join(settings.base, "peer-" + program))
        row.add(raw / used)
        row.denominators = f"{used / 1e6:,.0f} MB, {time.perf_counter() - start:.1f} s"


def series(table, settings):
    source = train(settings)
    apart = os.path.join(settings.base, "apart")
    split_pretraining(source, apart)
    for name, bar, text in RUNS:
        directory = os.path.join(apart if name.startswith("pretraining-") and "bf16" not in name
                                 else source, name)
        alone(table, settings, directory, name, None if settings.quick else bar, text)
    corpus(table, settings, source)
    peers(table, settings, source)
