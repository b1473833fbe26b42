"""torch.save and torch.load of a state dict; without torch, NumPy writes the same layout."""

import os
import statistics
import time
import zipfile

from backends import Native, Varve, warm

GIB = 1 << 30
TENSORS = 16


def framework(size):
    """(what it is, save(path), load(path))."""
    try:
        import torch
    except ImportError:
        return numpy_framework(size)
    generator = torch.Generator().manual_seed(1)
    state = {f"layer.{i}.weight": torch.randn(size // 4 // TENSORS, generator=generator)
             for i in range(TENSORS)}

    def save(path, step):
        state["layer.0.weight"][0] = step
        torch.save(state, path)
    return f"torch {torch.__version__}", save, torch.load


def numpy_framework(size):
    import numpy
    generator = numpy.random.default_rng(1)
    state = [generator.standard_normal(size // 4 // TENSORS, dtype=numpy.float32)
             for _ in range(TENSORS)]

    def save(path, step):
        state[0][0] = step
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for i, array in enumerate(state):
                archive.writestr(f"archive/data/{i}", memoryview(array).cast("B"))

    def load(path):
        with zipfile.ZipFile(path) as archive:
            return [numpy.frombuffer(archive.read(name), dtype=numpy.float32)
                    for name in archive.namelist()]
    return "torch is not installed; a stored zip by NumPy and zipfile", save, load


def frameworks(table, settings):
    size = min(settings.size, GIB)
    what, save, load = framework(size)
    rows = {"save": table.figure("torch_save", "torch.save, time / native", 1.10, "max", "times"),
            "load": table.figure("torch_load", "torch.load, time / native", 1.10, "max", "times")}
    native = Native(settings.base)
    backend = Varve(settings.base, settings.program, settings.options, "varve-torch")
    seconds = {}

    def once(where, step):
        path = os.path.join(where.root, "last.pt")
        where.settle()  # first: warm memory does not stay so
        warm(2 * size)
        start = time.perf_counter()
        save(path, step)
        saved = time.perf_counter()
        where.settle()
        loading = time.perf_counter()
        load(path)
        times = {"save": saved - start, "load": time.perf_counter() - loading}
        for key, value in times.items():
            seconds.setdefault((where.name, key), []).append(value)
        return times

    try:
        for number in range(settings.rounds + 1):
            pair = [native, backend] if number % 2 == 0 else [backend, native]
            times = {where.name: once(where, number) for where in pair}
            if number == 0:
                seconds.clear()
                continue  # warms the allocator
            for key, row in rows.items():
                row.add_ratio(times[backend.name][key], times["native"][key])
        for key, row in rows.items():
            ours, theirs = (statistics.median(seconds[name, key])
                            for name in (backend.name, "native"))
            row.denominators = f"{ours:.2f} of {theirs:.2f} s, {size / GIB:g} GiB, {what}"
    finally:
        backend.close()
        native.close()
