"""Learned mutual information: invariances, known values, coverage, selection."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import expon, gamma, norm, spearmanr
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import (
    SelectKBest,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff._base.weights import load_weights
from skdiff.inspection import (
    MutualInformationDisplay,
    MutualInformationEstimator,
    MutualInformationSelector,
    learned_mutual_info,
    mutual_information,
)
from skdiff.inspection._mutual_information import _network as network
from skdiff.inspection._mutual_information import _null as null_distribution
from skdiff.inspection._mutual_information import _statistics as statistics
from skdiff.inspection._mutual_information._neighbours import (
    block_terms,
    class_terms,
    pair_terms,
)
from skdiff.inspection._mutual_information._null import pattern, tail_probability
from skdiff.inspection._mutual_information._pairs import column
from skdiff.inspection._mutual_information._ranks import (
    legendre,
    normal_scores,
    rank,
    soft_bins,
)
from skdiff.inspection._mutual_information._table import rejected

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import _information_families as families  # noqa: E402

MAPS = [np.exp, np.negative, lambda v: v**3, lambda v: -np.arctan(v), np.sinh]
METHODS = ("learned", "ksg", "gaussian_copula", "binned")


def pair(n=80, seed=0, noise=0.7):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    return x, np.sin(2 * x) + noise * rng.standard_normal(n)


# --- invariance -----------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([20, 33, 64]),
    st.sampled_from(MAPS),
    st.sampled_from(METHODS),
    st.booleans(),
)
def test_monotone_maps_and_swapping_change_nothing(seed, n, function, method, tied):
    x, y = pair(n, seed)
    if tied:
        x, y = np.round(x, 1), np.round(y)
    value = mutual_information(x, y, method=method)
    for other in (
        (function(x), y),
        (x, function(y)),
        (function(y), function(x)),
        (y, x),
        (-x, -y),
    ):
        found = mutual_information(*other, method=method)
        assert found == pytest.approx(value, abs=1e-9)
    order = np.random.default_rng(seed).permutation(n)
    again = mutual_information(x[order], y[order], method=method)
    assert again == pytest.approx(value, abs=1e-9)


def test_names_of_classes_change_nothing():
    rng = np.random.default_rng(0)
    code = rng.integers(4, size=100)
    x = code % 3 + rng.standard_normal(100)
    names = np.array(["d", "a", "c", "b"])[code]
    for method in METHODS:
        value = mutual_information(x, names, method=method)
        for other in ((-x, names), (names, np.exp(x))):
            found = mutual_information(*other, method=method)
            assert found == pytest.approx(value, abs=1e-9)
        renamed = mutual_information(x, code, discrete_y=True, method=method)
        assert renamed == pytest.approx(value, abs=1e-9)
    two = mutual_information(names, code > 1)
    assert mutual_information(code > 1, names) == pytest.approx(two, abs=1e-9)


def test_quantiles_increase_and_bound_the_entropy():
    levels = np.array([0.01, 0.05, 0.3, 0.5, 0.8, 0.95, 0.99])
    for seed in range(5):
        found = mutual_information(*pair(40, seed), quantiles=levels)
        assert np.all(np.diff(found) >= 0) and found[0] >= 0
    rng = np.random.default_rng(0)
    code = rng.integers(2, size=60)
    x = code + 1e-3 * rng.standard_normal(60)
    p = np.bincount(code) / 60
    top = mutual_information(x, code, discrete_y=True, quantiles=[0.5, 0.99])
    assert top[-1] <= -(p * np.log(p)).sum() + 1e-12
    assert top[0] > 0.5


def test_blocks_of_columns():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 2))
    Y = X @ rng.standard_normal((2, 3)) + 0.5 * rng.standard_normal((150, 3))
    value = mutual_information(X, Y)
    assert mutual_information(Y, X) == pytest.approx(value, abs=1e-9)
    turned = mutual_information(-np.exp(X[:, ::-1]), Y**3)
    assert turned == pytest.approx(value, abs=1e-9)
    assert 0.5 < value < 4
    none = mutual_information(X, rng.standard_normal((150, 3)))
    assert none < 0.15
    low, high = mutual_information(X, Y, quantiles=[0.05, 0.95])
    assert low < value < high
    with pytest.warns(UserWarning, match='method="ksg" is used'):
        wide = mutual_information(rng.standard_normal((60, 9)), X[:60])
    assert wide >= 0
    assert mutual_information(X, Y, method="gaussian_copula") > 0.5
    assert mutual_information(X, np.ones((150, 2))) == 0
    with pytest.raises(ValueError, match="binned"):
        mutual_information(X, Y, method="binned")
    with pytest.raises(ValueError, match="several columns"):
        mutual_information(X, Y.astype(str))


# --- known values ---------------------------------------------------------------------


def test_families_have_the_information_they_state():
    """By quadrature, and by estimates from very many draws."""
    rng = np.random.default_rng(0)
    assert families.student_constant(1e7) == pytest.approx(0, abs=1e-5)
    cases = [
        families.gaussian(rng, 6000, 0.4),
        families.student(rng, 6000, 3.0),
        families.additive_uniform(rng, 6000, 0.3),
        families.additive_uniform(rng, 6000, 0.8),
        families.from_grid(rng, families.grid_copulas(rng, 1)[0], 6000),
    ]
    for x, y, information in cases:
        scores = [normal_scores(rank(v)) for v in (x, y)]
        found = pair_terms(*scores, (5,))[0].mean()
        assert found == pytest.approx(information, abs=0.06)
    grids = families.grid_copulas(rng, 20)
    assert np.abs(grids.sum(axis=1) - 1 / families.GRID).max() < 1e-6
    q, _ = families.coarsen(rng, grids[0])
    assert families.information_of(q[None])[0] <= families.information_of(grids[:1])[0]
    X, Y, information = families.gaussian_blocks(rng, 4000, 2, 2)
    assert block_terms(X, Y, (5,))[0].mean() == pytest.approx(information, abs=0.12)


def test_nearest_neighbours_are_those_of_scikit_learn():
    """On untransformed columns of unit spread, as scikit-learn scales them.

    Of classes of a dozen rows scikit-learn takes rounded distances, which count others.
    """
    for n in (200, 400):
        x, y = (v / v.std() for v in pair(n))
        ours = pair_terms(x, y, (3,))[0].mean()
        theirs = mutual_info_regression(x[:, None], y, random_state=0)[0]
        assert max(ours, 0) == pytest.approx(theirs, abs=1e-8)
        code = (y > 0).astype(int) + (y > 1)
        ours = class_terms(x, code, (3,))[0].mean()
        theirs = mutual_info_classif(x[:, None], code, random_state=0)[0]
        assert max(ours, 0) == pytest.approx(theirs, abs=1e-8)


def test_ranks_bins_and_polynomials():
    x = np.array([3.0, 1.0, 3.0, 2.0, 5.0])
    ranks = rank(x)
    assert ranks.signed.tolist() == [1.0, -4.0, 1.0, -2.0, 4.0]
    assert np.array_equal(normal_scores(rank(-x)), -normal_scores(ranks))
    bins = soft_bins(ranks, 4)
    assert bins.sum(axis=1) == pytest.approx(1)
    assert bins.sum(axis=0) == pytest.approx(5 / 4)
    assert soft_bins(rank(-x), 4) == pytest.approx(bins[:, ::-1], abs=1e-12)
    u = np.linspace(-1, 1, 20001)
    P = legendre(u, 4)
    assert P.T @ P / len(u) == pytest.approx(np.eye(4), abs=2e-3)


@pytest.mark.parametrize(
    ("family", "n", "most"),
    [
        (families.gaussian, 60, 1.0),
        (families.student, 100, 1.05),
        (families.additive_uniform, 60, 0.8),
        (families.independent, 100, 0.8),
    ],
)
def test_errors_are_no_larger_than_those_of_neighbours(family, n, most):
    rng, found = np.random.default_rng(1), []
    for _ in range(120):
        x, y, truth = family(rng, n)
        low, high = mutual_information(x, y, quantiles=[0.05, 0.95])
        found.append(
            [
                mutual_information(x, y) - truth,
                mutual_information(x, y, method="ksg") - truth,
                low <= truth <= high,
            ]
        )
    ours, theirs, covers = np.array(found).T
    assert np.sqrt((ours**2).mean()) <= most * np.sqrt((theirs**2).mean())
    assert covers.mean() > 0.8


def test_rounding_loses_information():
    gains = []
    for seed in range(20):
        x, y = pair(150, seed, 0.3)
        gains.append(mutual_information(x, y) - mutual_information(x, np.round(y)))
    assert np.mean(gains) > 0


def test_more_rows_than_max_samples_are_cut():
    x, y = pair(900, 3)
    whole = mutual_information(x, y)
    parts = [
        mutual_information(x, y, max_samples=300, random_state=s) for s in (0, 0, 1)
    ]
    assert parts[0] == parts[1] != parts[2]
    assert parts[0] == pytest.approx(whole, abs=0.08)
    wide = mutual_information(x[:300], y[:300], quantiles=[0.05, 0.95])
    narrow = mutual_information(
        x, y, max_samples=300, quantiles=[0.05, 0.95], random_state=0
    )
    assert np.diff(narrow) < np.diff(wide)
    few = pair(10)
    with pytest.warns(UserWarning, match="10 rows are fewer"):
        assert np.diff(mutual_information(*few, quantiles=[0.05, 0.95])) > 0.2
    with pytest.warns(UserWarning, match="classes are more"):
        mutual_information(np.arange(60.0), np.arange(60) % 20, discrete_y=True)


def test_networks_in_numpy_and_torch_agree_and_short_training_learns(tmp_path):
    torch = pytest.importorskip("torch")
    script = runpy.run_path(str(TOOLS / "train_mutual_information.py"))
    data = script["collect"]("tables", 800, 0)
    again = script["collect"]("tables", 800, 0)
    assert np.array_equal(data, again)
    arrays = script["train"](data, 0, epochs=15, report=lambda *a, **k: None)
    reached = script["scores"](script["collect"]("tables", 300, 5), arrays, 0)
    part = reached["rows_20_50"]
    assert part["rmse"] < part["rmse_reference"]
    module = script["Network"](data.shape[1] - 2)
    module.load_state_dict({k: torch.as_tensor(arrays[k]) for k in module.state_dict()})
    S, n = data[:50, :-2], data[:50, -2]
    h = np.clip((S - arrays["centre"]) / arrays["scale"], -network.CLIP, network.CLIP)
    with torch.no_grad():
        out = module(torch.as_tensor(h, dtype=torch.float32))
        twin = script["quantiles"](out).numpy() / np.sqrt(n)[:, None] + S[:, :1]
    ours = network.forward(S, n, arrays, 0)
    assert ours.quantiles == pytest.approx(twin, abs=1e-5)
    script["write"]("tables", arrays, reached, tmp_path)
    assert (tmp_path / "mutual_information_tables.npz").stat().st_size < 100_000


def test_shipped_networks_say_what_they_reach():
    for name in ("", "_classes", "_tables", "_blocks"):
        card = load_weights("mutual_information" + name).card
        # blocks are experimental: few training sets, too low on average
        least, most = (0.8, 0.25) if name == "_blocks" else (0.85, 0.03)
        for part in card["scores"].values():
            assert part["rmse"] < part["rmse_reference"]
            assert least < part["coverage_90"] < 0.95
            assert abs(part["bias"]) < most


# --- tables ---------------------------------------------------------------------------


def test_columns_of_a_table_are_pairs():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X, y = X.iloc[:150, :4], y[:150]
    model = MutualInformationEstimator(n_permutations=0).fit(X, y)
    for k, name in enumerate(X):
        assert model.mutual_information_[k] == pytest.approx(
            mutual_information(X[name], y), abs=1e-12
        )
    assert np.isnan(model.pvalue_).all()
    assert model.frame().index[0] == "bmi"
    bits = MutualInformationEstimator(n_permutations=0, units="bits").fit(X, y)
    assert bits.interval_ == pytest.approx(model.interval_ / np.log(2))
    scores = learned_mutual_info(X, y)
    assert np.array_equal(scores, model.mutual_information_)


def test_missing_cells_constants_and_sparse_columns():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    y = X[:, 0] + X[:, 1]
    X[:, 3] = 1.0
    holes = X.copy()
    holes[:40, 0] = np.nan
    holes[:, 2] = np.nan
    model = MutualInformationEstimator(n_permutations=20, random_state=0)
    found = model.fit(holes, y).mutual_information_
    assert found[0] == pytest.approx(mutual_information(X[40:, 0], y[40:]))
    assert found[2] == found[3] == 0 and model.pvalue_[3] == 1
    dense = MutualInformationEstimator(n_permutations=0).fit(X, y)
    thin = MutualInformationEstimator(n_permutations=0).fit(sparse.csr_array(X), y)
    assert np.array_equal(dense.mutual_information_, thin.mutual_information_)


def test_classes_in_columns_and_targets():
    X, y = load_iris(return_X_y=True)
    coded = np.column_stack([X, np.random.default_rng(0).permutation(5)[y]])
    model = MutualInformationEstimator(discrete_features=[4], n_permutations=0)
    assert model.fit(coded, y).mutual_information_[4] > 1.0
    strings = np.array(["a", "b", "c"])[y]
    named = MutualInformationEstimator(n_permutations=0).fit(X, strings)
    plain = MutualInformationEstimator(n_permutations=0).fit(X, y)
    assert np.array_equal(named.mutual_information_, plain.mutual_information_)
    ordered = MutualInformationEstimator(discrete_target=False, n_permutations=0)
    assert not np.array_equal(
        ordered.fit(X, y).mutual_information_, plain.mutual_information_
    )
    mask = [False] * 4 + [True]
    same = MutualInformationEstimator(discrete_features=mask, n_permutations=0)
    assert same.fit(coded, y).mutual_information_[4] > 1.0


def test_several_targets_are_one_block():
    X, _ = load_iris(return_X_y=True)
    model = MutualInformationEstimator(n_permutations=10, random_state=0)
    model.fit(X[:, :2], X[:, 2:])
    assert model.mutual_information_[0] > 0.3 and model.pvalue_[0] < 0.2
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X[:9], X[:, 2:])


def test_the_size_of_the_test():
    rng, below = np.random.default_rng(0), []
    for _ in range(3):
        X = rng.standard_normal((40, 60))
        for y in (rng.standard_normal(40), rng.integers(2, size=40)):
            model = MutualInformationEstimator(random_state=0, n_permutations=100)
            below.append((model.fit(X, y).pvalue_ <= 0.05).mean())
    assert np.mean(below) == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("law", ["exponential", "gamma", "normal"])
def test_extrapolated_p_values_are_not_too_small(law):
    # 200 permutations, and values that only 1 in 1000 or 10 000 reaches
    rng, sets = np.random.default_rng(3), 400
    upper = 1 - np.geomspace(1e-6, 1e-2, 60)
    values = {"exponential": expon, "gamma": gamma(0.35), "normal": norm}[law]
    passed = {0.01: [], 0.001: [], 0.0001: []}
    for _ in range(sets):
        null = values.rvs(size=200, random_state=rng)
        p = np.array([tail_probability(v, null) for v in values.ppf(upper)])
        for level, found in passed.items():
            low = p <= level
            found.append(1 - upper[low].min() if low.any() else 0.0)
    for level, found in passed.items():
        assert np.mean(found) < 1.2 * level, level


def test_extrapolation_ends_at_the_square_of_the_counted_p_value():
    null = np.arange(200.0)  # the ten excesses over 189 have the sum 55
    fitted = 11 / 201 * (1 + np.array([0.5, 1.5])) ** -7.0
    found = [tail_probability(189 + 55 * share, null) for share in (0.5, 1.5, 2.5, 99)]
    assert found[:2] == pytest.approx(fitted, rel=1e-12)
    assert found[2:] == pytest.approx(2 * [1 / 201**2], rel=1e-12)


def test_columns_of_one_frequent_value_at_other_places_share_no_permutations():
    rng = np.random.default_rng(0)
    frequent = rng.random(200) < 0.6
    middle = rng.standard_normal(200)
    lowest = np.abs(middle)
    middle[frequent] = lowest[frequent] = 0.0
    patterns = [pattern(column(x, False)) for x in (middle, lowest, -lowest)]
    assert patterns[0] != patterns[1] == patterns[2]


def test_benjamini_and_hochberg():
    p = np.array([0.001, 0.2, 0.02, 0.04, 0.9])
    assert rejected(p, 0.05).tolist() == [True, False, True, False, False]
    assert not rejected(p + 0.3, 0.05).any()


# --- selection ------------------------------------------------------------------------


def test_the_selector_finds_what_was_planted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 12))
    y = X[:, 3] + X[:, 7] ** 2
    selector = MutualInformationSelector(random_state=0, n_permutations=60).fit(X, y)
    assert set(selector.get_support(indices=True)) >= {3, 7}
    assert selector.get_support().sum() <= 3
    assert set(selector.ranking_[:2]) == {3, 7}
    two = MutualInformationSelector(k=2).fit(X, y)
    assert sorted(two.ranking_) == [3, 7] and two.transform(X).shape == (150, 2)
    few = MutualInformationSelector(k=5, threshold=0.1).fit(X, y)
    assert sorted(few.ranking_) == [3, 7]
    with pytest.warns(UserWarning, match="No column passes"):
        none = MutualInformationSelector(random_state=0, n_permutations=20)
        none.fit(X[:, :2], rng.permutation(150) * 1.0)
    assert len(none.ranking_) == 1


@pytest.mark.parametrize("redundancy", ["mrmr", "jmi"])
def test_repeated_columns_are_avoided(redundancy):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200))
    X = np.column_stack([a, a + 0.05 * rng.standard_normal(200), b])
    y = (a + 0.8 * b + 0.3 * rng.standard_normal(200) > 0).astype(int)
    assert sorted(MutualInformationSelector(k=2).fit(X, y).ranking_) == [0, 1]
    selector = MutualInformationSelector(k=2, redundancy=redundancy).fit(X, y)
    assert 2 in selector.ranking_
    number = MutualInformationSelector(k=2, redundancy=redundancy)
    assert 2 in number.fit(X, a + 0.8 * b).ranking_


def greedy(scores, pairwise, k, sign):
    """Columns one by one, from a whole matrix of pairs."""
    chosen = [int(np.argmax(scores))]
    while len(chosen) < k:
        mean = pairwise[chosen].mean(axis=0)
        gain = scores - mean if sign < 0 else mean.copy()
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def test_the_order_is_that_of_the_whole_matrix_of_pairs():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 3))
    X = np.column_stack([X, X + 0.3 * rng.standard_normal((80, 3))])
    y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    how = {"k": 5, "method": "gaussian_copula"}
    model = MutualInformationSelector(redundancy="mrmr", **how).fit(X, y)
    pairs = [
        [mutual_information(a, b, method="gaussian_copula") for b in X.T] for a in X.T
    ]
    assert model.ranking_.tolist() == greedy(model.scores_, np.array(pairs), 5, -1)
    # 80 rows without ties: twenty per bin; the last column has two classes
    bins = np.argsort(np.argsort(X, axis=0), axis=0) // 20
    X[:, 5] = bins[:, 5] = (X[:, 0] + 1.5 * rng.standard_normal(80)) > 0
    how |= {"discrete_features": [5]}
    model = MutualInformationSelector(redundancy="jmi", **how).fit(X, y)
    both = np.empty((6, 6))
    for i, j in np.ndindex(6, 6):
        cells, labels = 4 * bins[:, i] + bins[:, j], [y == 0, y == 1]
        joint = np.array([np.bincount(cells[rows], minlength=16) for rows in labels])
        joint = joint[:, joint.any(axis=0)] / 80
        free = joint.sum(axis=1)[:, None] * joint.sum(axis=0)
        seen = joint > 0
        value = (joint[seen] * np.log(joint[seen] / free[seen])).sum()
        both[i, j] = max(value - (joint.shape[1] - 1) / 160, 0)
    assert model.ranking_.tolist() == greedy(model.scores_, both, 5, 1)


@pytest.mark.parametrize("target", ["number", "classes", "several"])
def test_the_number_of_jobs_changes_nothing(target):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    X[:, 1] = np.round(X[:, 1])
    X[:9, 2] = np.nan
    y = np.nan_to_num(X[:, 0]) + rng.standard_normal(60)
    y = {"number": y, "classes": y > 0, "several": np.stack([y, y**2], axis=1)}[target]
    X = X[:, :2] if target == "several" else X
    for method in ("learned", "ksg"):
        one, two = (
            MutualInformationEstimator(
                method, n_permutations=20, n_jobs=n_jobs, random_state=0
            ).fit(X, y)
            for n_jobs in (None, 2)
        )
        assert np.array_equal(one.quantiles_, two.quantiles_)
        assert np.array_equal(one.mutual_information_, two.mutual_information_)
        assert np.array_equal(one.pvalue_, two.pvalue_)
    if target == "several":
        return
    for how in ({}, {"k": 2, "redundancy": "mrmr"}):
        kept = X if not how else X[:, [0, 1, 3]]
        one, two = (
            MutualInformationSelector(
                n_permutations=20, n_jobs=n_jobs, random_state=0, **how
            ).fit(kept, y)
            for n_jobs in (None, 2)
        )
        assert np.array_equal(one.scores_, two.scores_)
        assert np.array_equal(one.pvalues_, two.pvalues_, equal_nan=True)
        assert np.array_equal(one.ranking_, two.ranking_)


# --- limits ---------------------------------------------------------------------------


def few_columns():
    X = np.random.default_rng(0).standard_normal((60, 4))
    return X, X[:, 0] + X[:, 1] ** 2


@pytest.mark.parametrize("several", [False, True])
def test_a_time_limit_leaves_tests_out(several):
    X, y = few_columns()
    y = np.stack([y, -y], axis=1) if several else y
    free = MutualInformationEstimator(n_permutations=20, random_state=0).fit(X, y)
    model = MutualInformationEstimator(time_limit=1e-9, random_state=0)
    with pytest.warns(ConvergenceWarning, match="after 0 of 4 tests"):
        model.fit(X, y)
    assert (free.stopped_, model.stopped_) == ("converged", "time")
    assert np.array_equal(model.quantiles_, free.quantiles_)
    assert np.isnan(model.pvalue_).all() and not np.isnan(free.pvalue_).any()


def test_a_time_limit_of_a_selection():
    X, y = few_columns()
    model = MutualInformationSelector(time_limit=1e-9)
    with (
        pytest.warns(ConvergenceWarning, match="after 0 of 4 tests"),
        pytest.warns(UserWarning, match="No column passes"),
    ):
        model.fit(X, y)
    assert model.ranking_.tolist() == [np.argmax(model.scores_)]
    model = MutualInformationSelector(3, redundancy="mrmr", time_limit=1e-9)
    with pytest.warns(ConvergenceWarning, match="after 1 of 3 columns"):
        model.fit(X, y)
    assert model.ranking_.tolist() == [np.argmax(model.scores_)]
    assert model.stopped_ == "time"


class StopAfter:
    """A scikit-learn callback that ends a fit after some tasks."""

    def __init__(self, count):
        self.left = count

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context, **data):
        pass

    def on_fit_task_end(self, estimator, context, **data):
        self.left -= 1
        return self.left == 0


def test_a_callback_ends_tests_and_additions():
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    X, y = few_columns()
    model = MutualInformationEstimator(n_permutations=20, random_state=0)
    p = model.fit(X, y).pvalue_
    model.set_callbacks(StopAfter(2)).fit(X, y)
    assert model.stopped_ == "callback"
    assert model.pvalue_ == pytest.approx([*p[:2], np.nan, np.nan], nan_ok=True)
    model = MutualInformationSelector(4, redundancy="mrmr")
    ranking = model.fit(X, y).ranking_
    model.set_callbacks(StopAfter(2)).fit(X, y)
    assert np.array_equal(model.ranking_, ranking[:3])


def test_an_interrupted_fit_keeps_what_was_tested(monkeypatch):
    X, y = few_columns()
    model = MutualInformationEstimator(n_permutations=20, random_state=0)
    p, tested = model.fit(X, y).pvalue_, null_distribution.tail_probability
    values = iter(p[:2])

    def interrupted(*given):
        if (value := next(values, None)) is None:
            raise KeyboardInterrupt
        assert value == tested(*given)
        return value

    monkeypatch.setattr(null_distribution, "tail_probability", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.stopped_ == "interrupted"
    assert model.pvalue_ == pytest.approx([*p[:2], np.nan, np.nan], nan_ok=True)


def test_verbose_tells_of_every_test_and_addition(capsys):
    X, y = few_columns()
    model = MutualInformationEstimator(n_permutations=20, random_state=0, verbose=1)
    p = model.fit(X, y).pvalue_
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Columns with an estimate from 60 rows: 4"
    assert lines[1:] == [f"Column {k}: p-value = {p[k]:.3g}" for k in range(4)]
    model = MutualInformationSelector(3, redundancy="jmi", verbose=1).fit(X, y)
    added = [f"Column {k} is added." for k in model.ranking_[1:]]
    assert capsys.readouterr().out.splitlines() == [lines[0], *added]


def test_intervals_of_parts_shrink_with_their_number():
    x, y = pair(600, noise=1.0)
    found = mutual_information(x, y, max_samples=150, quantiles=[0.05, 0.5, 0.95])
    part = np.random.RandomState(0).permutation(600)[:150]
    one = mutual_information(x[part], y[part], quantiles=[0.05, 0.5, 0.95])
    assert np.ptp(found) == pytest.approx(np.ptp(one) / 2, rel=0.2)


def test_in_a_search_over_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(
        StandardScaler(), MutualInformationSelector(k=3), LogisticRegression()
    )
    grid = {"mutualinformationselector__k": [1, 4]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2, error_score="raise")
    search.fit(X.iloc[:200], y[:200])
    assert search.best_score_ > 0.85
    best = SelectKBest(learned_mutual_info, k=3).fit(X, y)
    assert best.get_support().sum() == 3
    selector = MutualInformationSelector(k=2).set_output(transform="pandas")
    assert selector.fit_transform(X, y).shape == (569, 2)


def test_ranks_of_columns_agree_with_scikit_learn_on_wine():
    X, y = load_wine(return_X_y=True)
    theirs = mutual_info_classif(X, y, random_state=0)
    assert spearmanr(learned_mutual_info(X, y), theirs)[0] > 0.9


def test_display():
    X, y = load_iris(return_X_y=True)
    model = MutualInformationEstimator(random_state=0, n_permutations=20).fit(X, y)
    display = MutualInformationDisplay.from_estimator(model, max_features=3).plot()
    assert len(display.frame()) == 3
    assert "nats" in display.ax_.get_xlabel()
    bare = MutualInformationDisplay(["a"], [0.1], [[0, 0.2]]).plot()
    assert list(bare.frame()) == ["name", "mutual_information", "low", "high"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: mutual_information(x, y[:5]), "inconsistent"),
        (lambda x, y: mutual_information(x[:3], y[:3]), "4 rows"),
        (lambda x, y: mutual_information(x, y, method="mine"), "method must"),
        (lambda x, y: mutual_information(x, y, quantiles=2), "quantiles"),
        (
            lambda x, y: mutual_information(x, y, method="ksg", quantiles=0.5),
            'need method="learned"',
        ),
        (lambda x, y: mutual_information(x, y, max_samples=5), "max_samples"),
        (lambda x, y: mutual_information(x, y, discrete_x="no"), "discrete_x"),
        (lambda x, y: mutual_information(x * np.nan, y), "NaN"),
        (lambda x, y: mutual_information(np.ones((30, 2, 2)), y), "dim"),
        (
            lambda x, y: MutualInformationEstimator(quantiles=(0.9, 0.1)).fit(
                x[:, None], y
            ),
            "increase",
        ),
        (
            lambda x, y: MutualInformationEstimator(discrete_features=[7]).fit(
                x[:, None], y
            ),
            "discrete_features",
        ),
        (lambda x, y: MutualInformationSelector(k=3).fit(x[:, None], y), "k=3"),
        (
            lambda x, y: MutualInformationSelector(redundancy="jmi").fit(x[:, None], y),
            "number k",
        ),
        (
            lambda x, y: MutualInformationSelector(k=1, redundancy="mrmr").fit(
                x[:, None], ["a"] * 30
            ),
            "one class",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*pair(30))


def test_statistics_have_the_shapes_of_the_weights():
    x, y = (rank(v) for v in pair(16))
    code = np.arange(16) % 3
    sizes = {
        "": statistics.pair_statistics(x, y),
        "_classes": statistics.class_statistics(x, code),
        "_tables": statistics.table_statistics(code, code % 2),
        "_blocks": statistics.block_statistics(
            np.random.default_rng(0).standard_normal((16, 2)), np.arange(16.0)[:, None]
        ),
    }
    for name, found in sizes.items():
        arrays = load_weights("mutual_information" + name).arrays
        assert found.shape == arrays["centre"].shape and np.isfinite(found).all()


def test_unknown_classes_are_refused():
    for unknown in (None, np.nan):
        x = np.array(["a", unknown] * 20, dtype=object)
        with pytest.raises(ValueError, match="x contains unknown values"):
            mutual_information(x, np.arange(40.0))
