"""Fast constructor arguments for the common tests: the only list of estimators.

``QUICK[name]`` holds one or more keyword dictionaries; an estimator that is not named
is tested with its defaults. ``EXPECTED_FAILURES[name]`` maps a check to the reason why
it fails; it is strict, so a check that passes again must be removed.
"""

QUICK: dict[str, list[dict]] = {}

EXPECTED_FAILURES: dict[str, dict[str, str]] = {}
