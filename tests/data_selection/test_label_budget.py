"""Studies of label budgets."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from skdiff.data_selection import label_budget_frontier
from skdiff.data_selection._label_budget._numbers import (
    judge,
    purchase,
    weak_weight,
)

STRATEGIES = ("pool", "weighted", "sequential", "correct")


def pilot(n=900, d=10):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, d))
    theta = rng.normal(size=d)
    y = (X @ theta + 0.5 * rng.logistic(size=n) > 0).astype(int)
    systematic = (X[:, : d // 2] @ theta[: d // 2] > 0).astype(int)
    return X, y, systematic, rng


def study(X, weak, y, **how):
    options = {"fractions": (0, 0.5, 1), "n_repeats": 2, "cv": 3, "random_state": 0}
    return label_budget_frontier(LogisticRegression(), X, weak, y, **{**options, **how})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_regimes_that_are_known(strategy):
    X, y, _, rng = pilot()
    same = study(X, y, y, budgets=[200], strategy=strategy)
    assert same.regime_ == {200.0: "quantity"} and same.best_fraction_[200.0] < 1
    noise = rng.randint(0, 2, len(y))
    # a budget that buys enough expert labels to beat chance
    assert study(X, noise, y, budgets=[500], strategy=strategy).regime_ == {
        500.0: "quality"
    }
    flipped = np.where(rng.uniform(size=len(y)) < 0.3, 1 - y, y)
    equal = study(X, flipped, y, budgets=[200], cost_expert=1.0, strategy=strategy)
    assert equal.regime_ == {200.0: "quality"}


def test_systematic_errors_have_a_ceiling():
    X, y, weak, _ = pilot(1500)
    found = study(X, weak, y, budgets=[100, 2500], n_repeats=3)
    assert found.regime_ == {100.0: "quantity", 2500.0: "quality"}


def test_scores_do_not_depend_on_the_order_of_rows():
    X, y, weak, rng = pilot(300)
    order = rng.permutation(300)
    mask = rng.uniform(size=300) < 0.7
    first = study(X, weak, y, budgets=[100, 300], expert_mask=mask)
    second = study(
        X[order], weak[order], y[order], budgets=[100, 300], expert_mask=mask[order]
    )
    np.testing.assert_array_equal(first.scores, second.scores)


def test_budgets_are_never_exceeded():
    rng = np.random.RandomState(0)
    for _ in range(200):
        budget, fraction = rng.uniform(1, 500), rng.choice([0, 0.1, 0.3, 0.5, 1])
        cheap, costly = rng.uniform(0.1, 3), rng.uniform(1, 20)
        bought = purchase(budget, fraction, cheap, costly, (100, 300))
        spent = bought.n_weak * cheap + bought.n_expert * costly
        assert spent <= budget * (1 + 1e-6) and bought.n_expert <= 100
        assert bought.n_weak + bought.n_expert <= 300
    assert purchase(10, 0.3, 1, 1, (50, 50)) == (7, 3)


def test_mixed_needs_two_standard_errors():
    fractions = np.array([0.0, 0.5, 1.0])
    base = np.random.RandomState(0).normal(size=10) * 0.01
    clear = judge(fractions, np.stack([base, base + 0.1, base + 0.01]))
    assert clear.regime == "mixed" and clear.interval[0] > 0
    noise = np.random.RandomState(1).normal(size=10)
    assert judge(fractions, np.stack([base, base + 0.01 + noise, base - 1])).regime in (
        "quantity",
        "mixed",
    )
    assert judge(fractions, np.stack([base, base - 1, base + 1])).regime == "quality"


def test_weights_of_weak_labels():
    assert weak_weight(0.75, 2) == pytest.approx(0.25)
    assert weak_weight(0.5, 2) == 0 and weak_weight(1.0, 3) == 1
    assert weak_weight(0.2, 2) == 0


def test_the_table_and_its_continuation():
    pytest.importorskip("pandas")
    X, y, weak, _ = pilot(300)
    found = study(X, weak, y, budgets=[300, 50, 100])
    table = found.frame()
    assert list(table) == ["budget", "fraction", "n_weak", "n_expert", "score", "se"]
    assert table["budget"].tolist()[:4] == [50, 50, 50, 100]
    later = found.extrapolate(1000)
    assert (
        set(later["fraction"]) == {0, 0.5, 1} and later["score"].between(0, 1.2).all()
    )
    with pytest.raises(ValueError, match="three budgets"):
        study(X, weak, y, budgets=[100]).extrapolate(500)
    with pytest.raises(AttributeError):
        found.scores = None


def test_bad_input():
    X, y, weak, _ = pilot(200)
    for how, message in (
        ({"strategy": "best"}, "strategy must be one of"),
        ({"fractions": (0.1, 0.5)}, "must hold 0 and 1"),
        ({"budgets": [0.5]}, "too small for a single label"),
        ({"budgets": [-1]}, "from 0 to inf"),
        ({"cost_expert": 0}, "must be positive"),
        ({"n_repeats": 0}, "n_repeats"),
        ({"expert_mask": np.ones(200)}, "booleans"),
    ):
        with pytest.raises(ValueError, match=message):
            study(X, weak, y, **{"budgets": [50], **how})
    with pytest.raises(ValueError, match="needs a classifier"):
        label_budget_frontier(Ridge(), X, weak, y, budgets=[50])
    with pytest.raises(ValueError, match="takes no sample_weight"):
        label_budget_frontier(
            KNeighborsClassifier(), X, weak, y, budgets=[50], strategy="weighted"
        )
    with pytest.raises(ValueError, match="inconsistent numbers"):
        study(X, weak[1:], y, budgets=[50])
