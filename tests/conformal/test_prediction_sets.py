"""The page on prediction sets says what runs: its code, where MAPIE is installed."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from skdiff.conformal import ConformalSelector
from skdiff.neural_network import AnyLossClassifier

PAGE = Path(__file__).parents[2] / "docs/user_guide/conformal/prediction_sets.rst"


@pytest.fixture
def names():
    """The names that the code of the page leaves behind."""
    pytest.importorskip("mapie", reason="MAPIE is a neighbour, not a dependency")
    blocks = re.findall(
        r"code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text(encoding="utf8")
    )
    space = {}
    for block in blocks:
        exec(re.sub(r"(?m)^   ", "", block), space)
    return space


def test_the_code_of_the_page_covers(names):
    assert names["coverage"] > 0.8
    assert names["inside_crossed"].mean() > 0.8
    assert names["inside_quantiles"].mean() > 0.8


def test_mapie_takes_our_estimators(names):
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = ((X - X.mean(axis=0)) / X.std(axis=0))[order], y[order]
    words = np.array(["malignant", "benign"])[y]
    model = AnyLossClassifier(metric="f1", hidden_layer_sizes=(), random_state=0)
    model.fit(X[:200], words[:200])
    sets = names["SplitConformalClassifier"](model, confidence_level=0.9, prefit=True)
    _, inside = sets.conformalize(X[200:400], words[200:400]).predict_set(X[400:])
    column = np.searchsorted(model.classes_, words[400:])
    assert inside[np.arange(len(column)), column, 0].mean() > 0.8
    # and the same model selects
    selector = ConformalSelector(model, prefit=True, target="benign", random_state=0)
    selected = selector.fit(X[200:400], words[200:400]).select(X[400:])
    assert (words[400:][selected] == "benign").mean() > 0.8
