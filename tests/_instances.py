"""Fast constructor arguments for the common tests, gathered from the families.

``tests/<family>/_instances_<method>.py`` holds ``QUICK``: for each class name one or
more keyword dictionaries. An estimator that no file names is tested with its defaults.
``ADAPTED`` holds subclasses whose ``fit`` needs X and y only, where the class itself
needs more; they have the name of the class and are tested in its place.
``EXPECTED_FAILURES[name]`` maps a check to the reason why it fails; it is strict, so a
check that passes again must be removed.
"""

from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent

QUICK: dict[str, list[dict]] = {}
ADAPTED: dict[str, type] = {}
for _path in sorted(HERE.glob("*/_instances_*.py")):
    _module = import_module(f"tests.{_path.parent.name}.{_path.stem}")
    QUICK |= _module.QUICK
    ADAPTED |= getattr(_module, "ADAPTED", {})

EXPECTED_FAILURES: dict[str, dict[str, str]] = {}

#: checks that call themselves off for a class, and why; no other skip is accepted
SKIPPED: dict[str, dict[str, str]] = {
    f"{kind}ConformalSelector": {
        "check_pipeline_consistency": "a selection belongs to its batch, so the "
        "selectors carry the tag of what is not deterministic"
    }
    for kind in ("", "CrossFit", "Optimized")
}
SKIPPED["PrivateGSDSynthesizer"] = {
    "check_pipeline_consistency": "noise has no seed, so that two fits differ"
}
