"""Build wheel and sdist, install both outside the tree, and use them there.

Run by ``make release-check``. For each Python that is found (3.11 to 3.14) and each
artefact: a fresh environment, the quick start, the doctests of the installed package
and its metadata. ``--python`` names one interpreter instead.
"""

import argparse
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "constraints.txt",
    "examples/quickstart.py",
    "tests/test_common.py",
    "skdiff/py.typed",
}


def run(*command, **options):
    """Run a command and show it; stop where it fails."""
    print("$", *command, flush=True)
    subprocess.run(command, check=True, **options)


def say(text):
    """Print what has been found."""
    print(text, flush=True)


def interpreters(wanted):
    """Every Python of a supported version on the path."""
    if wanted:
        return [wanted]
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(11, 15):
        path = shutil.which(f"python3.{minor}")
        works = path and not subprocess.run([path, "-c", ""], check=False).returncode
        if works:
            found.setdefault((3, minor), path)
    return list(found.values())


def build(folder):
    """Wheel and sdist of the tree."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    wheel, sdist = next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))
    return wheel, sdist


def check_contents(wheel, sdist):
    """What must and what must not be inside, and what the metadata state."""
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    missing = EXPECTED - names
    if missing:
        sys.exit(f"the sdist lacks {sorted(missing)}")
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
        strange = [n for n in inside if not re.match(r"skdiff[/-]", n)]
        if strange or "skdiff/py.typed" not in inside:
            sys.exit(f"the wheel holds {strange} or lacks skdiff/py.typed")
        record = next(n for n in inside if n.endswith("METADATA"))
        metadata = email.message_from_bytes(archive.read(record))
    for key in ("Summary", "License-Expression", "Requires-Python", "Project-URL"):
        if not metadata.get_all(key):
            sys.exit(f"the metadata lack {key}")
    placeholders = [u for u in metadata.get_all("Project-URL") if "example.org" in u]
    say(f"{len(inside)} files in the wheel, {len(names)} in the sdist")
    if placeholders:
        say(f"placeholders to replace before a release: {placeholders}")


def use(python, artefact, folder):
    """Install an artefact in a fresh environment and run it there."""
    where = folder / f"env-{Path(python).name}-{artefact.suffix.strip('.')}"
    run(python, "-m", "venv", where)
    inside = where / "bin" / "python"
    constraints = ["-c", ROOT / "constraints.txt"]
    index = os.environ.get("TORCH_INDEX")  # of torch's CPU build, as in the Makefile
    source = ["--index-url", index] if index else []
    run(inside, "-m", "pip", "install", "-q", *constraints, *source, "torch")
    extras = f"{artefact}[plot,dataframe,graph]"
    run(inside, "-m", "pip", "install", "-q", *constraints, extras, "pytest")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    shutil.copy(ROOT / "examples" / "quickstart.py", work)
    # the installed package, not the tree
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    clean["OMP_NUM_THREADS"] = "1"
    run(inside, "quickstart.py", cwd=work, env=clean)
    options = ["-q", "--pyargs", "skdiff", "-p", "no:cacheprovider"]
    run(inside, "-m", "pytest", "--doctest-modules", *options, cwd=work, env=clean)
    shutil.rmtree(where)


def main():
    """Build once, then use both artefacts on every Python."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--python", help="one interpreter instead of all that are found"
    )
    wanted = parser.parse_args().python
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, sdist = build(folder)
        check_contents(wheel, sdist)
        for python in interpreters(wanted):
            for artefact in (wheel, sdist):
                use(python, artefact, folder)
                say(f"{artefact.name} works on {python}")


if __name__ == "__main__":
    main()
