"""Run every benchmark, or those whose names are given: ``python -m benchmarks nn``.

With ``--quick`` on small data and one round, to see that every script still runs.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main():
    quick = ["--quick"] if "--quick" in sys.argv else []
    wanted = [f"bench_{name}" for name in sys.argv[1:] if name not in quick]
    scripts = [
        s for s in sorted(HERE.glob("bench_*.py")) if not wanted or s.stem in wanted
    ]
    if not scripts:
        sys.exit(f"no benchmark of the names {sys.argv[1:]}")
    # a process each: what one imports or warms up must not favour the next
    failed = [
        script.name
        for script in scripts
        if subprocess.run([sys.executable, script, *quick], check=False).returncode
    ]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
