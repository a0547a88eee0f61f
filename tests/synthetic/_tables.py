"""A table about people that nobody knows, and a source of noise with a seed."""

import numpy as np
import pandas as pd

from skdiff.synthetic import TableSchema


class SeededSource:
    """Random bits that can be repeated; a release with it has no guarantee."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def below(self, bound):
        return int(self.rng.integers(2**62)) * bound >> 62

    def words(self, count):
        return self.rng.integers(2**64, size=count, dtype=np.uint64)


def people(n=600, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n)
    sex = rng.choice(["F", "M"], n)
    works = rng.uniform(size=n) < np.where(age < 65, 0.8, 0.2)
    pay = np.exp(rng.normal(7 + works, 0.5, n))
    return pd.DataFrame(
        {
            "age": age,
            "sex": pd.Categorical(sex, ["M", "F"]),
            "works": works,
            "pay": pay,
            "job": rng.choice(["clerk", "nurse", "cook"], n),
        }
    )


SCHEMA = TableSchema(
    {
        "age": (18, 90),
        "sex": ["M", "F"],
        "works": [False, True],
        "pay": (100, 50_000),
        "job": ["clerk", "cook", "nurse"],
    },
    log=["pay"],
)


def everything_in(thing, seen=None):
    """All objects that can be reached from one."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return seen
    seen[id(thing)] = thing
    if isinstance(thing, dict):
        inner = [*thing, *thing.values()]
    elif isinstance(thing, list | tuple | set):
        inner = list(thing)
    else:
        inner = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    for part in inner:
        everything_in(part, seen)
    return seen
