"""What a search needs to know of itself in order to be deepened."""

import pickle

import joblib


def digest(value):
    """A digest of a parameter or table, to tell whether it changed."""
    try:
        return joblib.hash(value)
    except (AttributeError, TypeError, pickle.PicklingError):  # a lambda, say
        return repr(value)


def deepened(race, settled, most, s_max, factor):
    """The race in the numbering of a deeper schedule."""
    changed = [k for k, v in settled.items() if race["settled"].get(k) != v]
    if changed:
        raise ValueError(
            f"warm_start=True deepens the search on the same rows with the same "
            f"parameters, and these have changed: {', '.join(changed)}. Clone the "
            "search to start afresh."
        )
    shift, grown = 0, race["most"]
    while grown < most:
        shift, grown = shift + 1, grown * factor
    if grown != most:
        raise ValueError(
            f"max_resource={most} does not deepen a search with "
            f"max_resource={race['most']}: take a power of factor={factor} times that."
        )
    shift = s_max - race["s_max"]
    race["brackets"] = {s + shift: rungs for s, rungs in race["brackets"].items()}
    race["rows"] = {(s + shift, *key): out for (s, *key), out in race["rows"].items()}
    return race
