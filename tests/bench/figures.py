"""The table of figures: bars, samples, medians of ratios, and how they are printed."""

import json
import os
import platform
import statistics
import sys


class Figure:
    """One row. `bar` is what the measured value is compared with; `sense` is "min" or "max".

    Without a bar it only explains another row.
    """

    def __init__(self, name, text, bar, sense, unit="ratio"):
        self.name, self.text, self.bar, self.sense, self.unit = name, text, bar, sense, unit
        self.samples = []
        self.denominators = ""
        self.note = ""

    def add(self, value):
        self.samples.append(value)

    def add_ratio(self, ours, theirs):
        """One interleaved round: both in the same unit."""
        self.samples.append(ours / theirs)

    @property
    def value(self):
        return statistics.median(self.samples) if self.samples else None

    @property
    def verdict(self):
        if self.value is None:
            return "not run"
        if self.bar is None:
            return "-"
        good = self.value >= self.bar if self.sense == "min" else self.value <= self.bar
        return "pass" if good else "SHORT"

    def as_dict(self):
        return {"name": self.name, "figure": self.text, "bar": self.bar, "sense": self.sense,
                "unit": self.unit, "value": self.value, "samples": self.samples,
                "verdict": self.verdict, "denominators": self.denominators, "note": self.note}


def _number(value, unit):
    if value is None:
        return "-"
    return f"{value:.2f}" if unit in ("ratio", "times") else f"{value:,.0f} {unit}"


class Table:
    def __init__(self, seed):
        self.seed = seed
        self.figures = []

    def figure(self, *args, **kwargs):
        self.figures.append(Figure(*args, **kwargs))
        return self.figures[-1]

    def machine(self):
        with open("/proc/meminfo", encoding="ascii") as file:
            memory_kib = int(file.readline().split()[1])
        return {"kernel": platform.release(), "cores": os.cpu_count(),
                "memory_bytes": memory_kib * 1024, "load": os.getloadavg()}

    def print_text(self, out=sys.stdout):
        machine = self.machine()
        print(f"kernel {machine['kernel']}, {machine['cores']} cores, "
              f"{machine['memory_bytes'] >> 30} GiB, load {machine['load'][0]:.1f}, "
              f"seed {self.seed}", file=out)
        rows = [("figure", "bar", "measured", "verdict", "denominators")]
        for f in self.figures:
            sign = "≥" if f.sense == "min" else "≤"
            spread = ""
            if len(f.samples) > 1:
                low, high = (_number(v, f.unit) for v in (min(f.samples), max(f.samples)))
                spread = f" ({low} … {high}, n={len(f.samples)})"
            bar = "-" if f.bar is None else f"{sign} {_number(f.bar, f.unit)}"
            rows.append((f.text, bar,
                         _number(f.value, f.unit) + spread, f.verdict,
                         "; ".join(part for part in (f.denominators, f.note) if part)))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) + "  " + row[4],
                  file=out)

    def print_json(self, out=sys.stdout):
        json.dump({"seed": self.seed, "machine": self.machine(),
                   "figures": [f.as_dict() for f in self.figures]}, out, indent=1)
        print(file=out)
