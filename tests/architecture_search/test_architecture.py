"""Descriptions of networks: what they hold, and what they refuse."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiff.architecture_search import Architecture

NAMES = ("skip", "relu", "tanh", "silu", "glu", "residual_relu")


@st.composite
def architectures(draw):
    n = draw(st.integers(1, 5))
    space = draw(st.sampled_from(["cell", "hypercuboid", "mlp"]))
    if space == "mlp":
        return Architecture.mlp(
            draw(st.lists(st.integers(1, 99), min_size=n, max_size=n))
        )
    widths = (draw(st.integers(1, 99)),) * (n + 1)
    name = st.sampled_from(NAMES)
    if space == "hypercuboid":
        return Architecture(tuple(((k, draw(name)),) for k in range(n)), widths, space)
    nodes = []
    for k in range(1, n + 1):
        sources = draw(st.sets(st.integers(0, k - 1), min_size=1, max_size=3))
        nodes.append(tuple((j, draw(name)) for j in sorted(sources)))
    return Architecture(tuple(nodes), widths, space, draw(st.integers(1, 3)))


@given(architectures())
def test_json_is_there_and_back(one):
    text = one.to_json()
    again = Architecture.from_json(text)
    assert again == one and hash(again) == hash(one)
    assert Architecture.from_dict(one.to_dict()) == one
    assert again.to_json() == text and "\n" not in text
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(one.operations()) == sum(map(len, one.nodes))
    assert str(one).count("node") >= (one.space != "mlp")


def test_descriptions_cannot_be_changed():
    one = Architecture([[[0, "relu"]]], [4, 4])
    assert one.nodes == (((0, "relu"),),) and one.widths == (4, 4)
    with pytest.raises(AttributeError):
        one.widths = (8, 8)


def test_words_for_readers():
    one = Architecture(
        (((0, "relu"),), ((0, "glu"), (1, "skip"))), (8, 8, 8), "cell", 2
    )
    assert str(one).splitlines() == [
        "cell of width 8, 2 times",
        "node 1: relu(stem)",
        "node 2: glu(stem) + skip(node 1)",
    ]
    assert str(Architecture.mlp((8, 4))).endswith("[8, 4]")
    chain = Architecture((((0, "relu"),),), (8, 4), "hypercuboid")
    assert str(chain).startswith("chain of widths 8, 4")


def test_integers_of_numpy_are_integers():
    one = Architecture((((0, "relu"),),), np.array([4, 4]), n_cells=np.int64(2))
    assert Architecture.from_json(one.to_json()) == one
    assert Architecture.mlp(np.array([4, 2])).to_json() == (
        Architecture.mlp((4, 2)).to_json()
    )


GOOD = {"nodes": [[[0, "relu"]], [[1, "tanh"]]], "widths": [4, 4, 4]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "sphere"}, "space must be one of"),
        ({"widths": [4, 4]}, "needs 3 widths"),
        ({"widths": [4, 4, 0]}, "widths must be positive integers"),
        ({"widths": [4, 4, 4.0]}, "widths must be positive integers"),
        ({"widths": [4, 8, 4]}, "All widths of a cell are equal"),
        ({"widths": "444"}, "holds lists"),
        ({"n_cells": 0}, "n_cells must be positive"),
        ({"n_cells": True}, "n_cells must be positive"),
        ({"nodes": [], "widths": [4]}, "at least one node"),
        ({"nodes": [[[0, "relu"]], []]}, "Node 2 has no input"),
        ({"nodes": [[[1, "relu"]], [[0, "tanh"]]]}, "Node 1 reads source 1"),
        ({"nodes": [[[0, "relu"]], [[-1, "tanh"]]]}, "Node 2 reads source -1"),
        ({"nodes": [[[0, "relu"]], [[0, "zero"]]]}, "operation 'zero'"),
        ({"nodes": [[[0, "relu"]], [[0, "cosine"]]]}, "operation 'cosine'"),
        ({"nodes": [[[0, "relu"]], [[0, "tanh"], [0, "relu"]]]}, "a source twice"),
        ({"nodes": [[[0, "relu"]], [["0", "tanh"]]]}, "pair of a source"),
        ({"nodes": [[[0, "relu"]], [[0, 1]]]}, "pair of a source"),
        ({"nodes": 3}, "holds lists"),
        ({"space": "hypercuboid", "nodes": [[[0, "relu"]], [[0, "relu"]]]}, "alone"),
        (
            {"space": "hypercuboid", "nodes": [[[0, "skip"]], [[1, "relu"]]]}
            | {"widths": [4, 8, 4]},
            "'skip' cannot",
        ),
        ({"space": "hypercuboid", "n_cells": 2}, "has one cell"),
        ({"space": "mlp", "widths": [4, 4]}, "'mlp' is 'relu'"),
    ],
)
def test_what_is_no_network_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(json.dumps(GOOD | change))


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"nodes": []}', None, 3, 100_000 * "["]
)
def test_what_is_no_description_is_refused(text):
    with pytest.raises(ValueError, match=r"not JSON|is a dictionary"):
        Architecture.from_json(text)
    with pytest.raises(ValueError, match="is a dictionary"):
        Architecture.from_dict({**GOOD, "depth": 3})
