"""One small harness: ours against a peer and the physical limit, in the same run.

Every figure is processor time of one thread, the best of several rounds, and the
variants of a comparison take turns within a round, so that a busy machine slows all of
them alike. Import this module before numpy: it pins the thread pools.
"""

import os
import platform
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

for _pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_pool}_NUM_THREADS", "1")

#: ``--quick``: small data and one round, to see that every script still runs
QUICK = "--quick" in sys.argv


def pick(full, quick):
    """Return the size of a benchmark, or that of a quick run."""
    return quick if QUICK else full


def run(*parts):
    """Run the parts named on the command line, or all; a quick run only the first."""
    named = [name for name in sys.argv[1:] if not name.startswith("--")]
    chosen = [part for part in parts if part.__name__ in named]
    for part in chosen or parts[: pick(None, 1)]:
        part()


@dataclass
class Row:
    """One comparison: seconds of ours, of the peer, and of the physical limit."""

    task: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    limit: float | None = None
    target: str = ""
    note: str = field(default="", kw_only=True)

    @property
    def speedup(self):
        """How many times faster than the peer."""
        return None if self.peer is None else self.peer / self.ours

    @property
    def over_limit(self):
        """How many times the physical limit."""
        return None if self.limit is None else self.ours / self.limit


def seconds(function):
    """Processor seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def interleaved(functions, repeats=5, warmup=1):
    """Time ``{name: function}`` in turn; return ``{name: best seconds}``."""
    if QUICK:
        repeats, warmup = 1, 0
    for _ in range(warmup):
        for function in functions.values():
            function()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            best[name] = min(best[name], seconds(function))
    return best


def best_of(function, repeats=5, warmup=1):
    """Best processor seconds of several calls."""
    return interleaved({"it": function}, repeats, warmup)["it"]


def machine():
    """The machine in words."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = [
                x.split(":")[1].strip() for x in file if x.startswith("model name")
            ]
        model = names[0] if names else model
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def versions(*packages):
    """Versions of the packages that took part."""
    found = []
    for package in ("skdiff", "numpy", "scipy", "scikit-learn", *packages):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return ", ".join(found)


def _cell(value, unit=""):
    return "-" if value is None else f"{value:.3g}{unit}"


def print_table(title, rows, *packages):
    """Print the rows as one table, with the machine and the versions."""
    print(f"\n{title}\n{machine()}; one thread, best of several\n{versions(*packages)}")
    head = ("task", "ours", "peer", "faster", "limit", "over limit", "target", "note")
    table = [head]
    for row in rows:
        peer = _cell(row.peer, " s")
        if row.peer_name:
            peer += f" ({row.peer_name})"
        table.append(
            (
                row.task,
                _cell(row.ours, " s"),
                peer,
                _cell(row.speedup, "x"),
                _cell(row.limit, " s"),
                _cell(row.over_limit, "x"),
                row.target,
                row.note,
            )
        )
    widths = [max(len(line[k]) for line in table) for k in range(len(head))]
    for line in table:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
