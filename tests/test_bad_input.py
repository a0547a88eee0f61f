"""The battery of bad and odd inputs, in the process that serves such tests."""

import json

import pytest

from tests._discovery import quick_labels

PATIENCE = 300  # wall seconds a case may take on a crowded machine before it hangs
LIMIT = 10  # processor seconds a case may take


@pytest.mark.parametrize("label", quick_labels())
def test_battery(label, child):
    bad, count, case = {}, 0, "nothing yet"
    try:
        for case, *outcome in child.run("tests._battery:run", label, patience=PATIENCE):
            if outcome:
                complaint, seconds = outcome
                count += 1
                if not complaint and seconds > LIMIT:
                    complaint = f"took {seconds:.0f} s of processor time"
                if complaint:
                    bad[case] = complaint
    except AssertionError as error:
        bad[case] = str(error)
    assert not bad, json.dumps(bad, indent=1)
    # from 59 for one that only predicts and takes no weights to over a hundred
    assert count >= 55
