"""Every benchmark still runs, on small data, and prints a table with a peer."""

import math
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
#: compares each class with itself at another number of rows, and so has no peer
GROWTH = FOLDER / "bench_growth.py"
SCRIPTS = sorted(set(FOLDER.glob("bench_*.py")) - {GROWTH})
#: task, seconds of ours, seconds of the peer (its name), how many times faster
COMPARED = re.compile(r"^\S.*?  ([\d.e+-]+) s +([\d.e+-]+) s .*?  ([\d.e+-]+)x", re.M)


def run_quickly(send, script):
    """A job of the child: run the script, and send what it prints."""
    import io
    import runpy
    import sys
    import warnings
    from contextlib import redirect_stdout

    sys.argv[:] = [script, "--quick"]
    printed = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(printed):
        runpy.run_path(script, run_name="__main__")
    send(printed.getvalue())


@pytest.mark.bench
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_quick_benchmark_prints_a_table(script, child):
    (printed,) = child.run("tests.test_benchmarks:run_quickly", str(script))
    assert "task  " in printed and "faster" in printed, printed
    rows = COMPARED.findall(printed)
    assert rows, f"no line compares with a peer:\n{printed}"
    for ours, peer, faster in rows:
        assert float(peer) / float(ours) == pytest.approx(float(faster), rel=0.02)


@pytest.mark.bench
def test_the_growth_of_every_class_is_that_of_its_times(child):
    (printed,) = child.run("tests.test_benchmarks:run_quickly", str(GROWTH))
    low, high = map(int, re.search(r"^ +(\d+) +(\d+) +power$", printed, re.M).groups())
    rows = re.findall(r"^\S.*? +([\d.]+) +([\d.]+) +(-?[\d.]+)$", printed, re.M)
    assert len(rows) >= 10
    for first, second, power in rows:
        if float(first) >= 0.05:  # below, the printed digits do not give the power
            expected = math.log(float(second) / float(first)) / math.log(high / low)
            assert float(power) == pytest.approx(expected, abs=0.07)


def test_an_empty_benchmark_would_fail(tmp_path, child):
    script = tmp_path / "bench_nothing.py"
    script.write_text("")
    (printed,) = child.run("tests.test_benchmarks:run_quickly", str(script))
    assert not COMPARED.findall(printed)
