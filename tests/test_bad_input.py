"""The battery of bad and odd inputs, every estimator in a process of its own."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests._discovery import quick_instances

CONFIGURATIONS = []
_seen = Counter()
for _estimator in quick_instances():
    _name = type(_estimator).__name__
    CONFIGURATIONS.append((_name, _seen[_name]))
    _seen[_name] += 1


@pytest.mark.parametrize(("name", "index"), CONFIGURATIONS)
def test_battery(name, index):
    done = subprocess.run(
        [sys.executable, "-m", "tests._battery", name, str(index)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=400,  # far above the half minute it takes: only a hang gets here
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line]
    # fewer for an estimator that can only predict than for one that also transforms
    assert len(results) >= 65
    bad = {case: complaint for case, complaint in results if complaint}
    assert not bad, json.dumps(bad, indent=1)
