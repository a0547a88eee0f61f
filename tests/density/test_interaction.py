"""Interaction screening: closed forms, exact distributions, cvxpy, grids, bad input."""

import sys
import warnings

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skdiff import load, save
from skdiff.density import (
    InteractionGraphDisplay,
    InteractionScreening,
    InteractionScreeningCV,
)
from skdiff.density._features import Energy, features, layout
from tests.density._models import (
    all_states,
    chain,
    conditional_variation,
    grid,
    ising,
    probabilities,
)

METHODS = ["rise", "logrise", "pseudolikelihood"]
every_method = pytest.mark.parametrize("method", METHODS)


# --- 1 to 3: closed forms and exact distributions ---------------------------------


@every_method
def test_two_spins_have_a_closed_form(method):
    X = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    pp, pm, mp, mm = n = np.array([40.0, 15.0, 22.0, 31.0])
    model = InteractionScreening(method, alpha=0, tol=1e-12).fit(X, sample_weight=n)
    coupling = np.log(pp * mm / (pm * mp)) / 4
    first, second = np.log(pp * pm / (mp * mm)) / 4, np.log(pp * mp / (pm * mm)) / 4
    np.testing.assert_allclose(model.coef_, [[0, coupling], [coupling, 0]], atol=1e-9)
    np.testing.assert_allclose(model.intercept_, [first, second], atol=1e-9)


@every_method
def test_independent_columns_have_no_edges(method):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = np.column_stack(
            [
                rng.choice(3, 3000, p=[0.6, 0.3, 0.1])
                if j % 3 == 0
                else rng.integers(0, 2, 3000)
                for j in range(12)
            ]
        )
        model = InteractionScreening(method).fit(X)
        assert not model.adjacency_.any()
        binary = np.arange(12) % 3 != 0
        assert model.strength_[np.ix_(binary, binary)].max() <= model.threshold_


@every_method
@pytest.mark.parametrize("order", [2, 3])
def test_the_exact_distribution_gives_the_exact_model(method, order):
    J, h, S, P = ising(5)
    model = InteractionScreening(method, alpha=0, order=order, tol=1e-12)
    model.fit(S, sample_weight=P)
    np.testing.assert_allclose(model.coef_, J, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, h, atol=1e-8)
    assert model.asymmetry_.max() < 1e-8
    assert all(np.abs(b).max() < 1e-8 for b in model._higher.values())
    np.testing.assert_allclose(probabilities(model.score_samples(S)), P, atol=1e-9)


@every_method
def test_the_exact_distribution_of_many_categories_and_a_higher_order(method):
    sizes = [3, 2, 4, 2]
    where = layout(sizes)
    codes = all_states(sizes)
    rng = np.random.default_rng(0)
    A = np.triu(rng.normal(scale=0.3, size=(where.width,) * 2))
    for span in where.spans:
        A[span, span] = 0
    triple = rng.normal(scale=0.3, size=(2, 1, 3))
    truth = Energy(
        rng.normal(scale=0.2, size=where.width), A + A.T, {(0, 1, 2): triple}
    )
    P = probabilities(truth.joint(features(codes, where), where))
    model = InteractionScreening(method, order=3, alpha=0, tol=1e-12)
    model.fit(codes, sample_weight=P)
    np.testing.assert_allclose(model._pairs, truth.pairs, atol=1e-8)
    np.testing.assert_allclose(model._higher[0, 1, 2], triple, atol=1e-8)
    others = [b for T, b in model._higher.items() if T != (0, 1, 2)]
    assert max(np.abs(b).max() for b in others) < 1e-8
    block = model.coef_[0, 2]  # the zero-sum gauge
    assert block.shape == (3, 4)
    assert np.abs(block.sum(0)).max() < 1e-9 > np.abs(block.sum(1)).max()
    np.testing.assert_allclose(
        model.strength_[0, 3], np.linalg.norm(model.coef_[0, 3]) / 2
    )
    for u, q in enumerate(sizes):  # conditionals by brute force
        table = P.reshape(sizes)
        exact = table / table.sum(axis=u, keepdims=True)
        exact = np.moveaxis(exact, u, -1).reshape(-1, q)
        rows = codes[codes[:, u] == 0]
        np.testing.assert_allclose(model.predict_proba(rows, u), exact, atol=1e-8)


# --- 4 and 6: the statement as the papers write it, in cvxpy -----------------------


def potts_by_cvxpy(codes, u, sizes, strength):
    """GRISE of a node with centred indicators, nothing reduced (arXiv 1902.00600)."""
    phi = [np.eye(q)[codes[:, j]] - 1 / q for j, q in enumerate(sizes)]
    field = cp.Variable(sizes[u])
    blocks = {j: cp.Variable((sizes[u], q)) for j, q in enumerate(sizes) if j != u}
    H = sum(phi[j] @ B.T for j, B in blocks.items()) + np.ones((len(codes), 1)) @ (
        cp.reshape(field, (1, sizes[u]), order="C")
    )
    loss = cp.sum(cp.exp(-cp.sum(cp.multiply(phi[u], H), axis=1))) / len(codes)
    penalty = sum(cp.norm(B, "fro") for B in blocks.values())
    problem = cp.Problem(cp.Minimize(loss + strength * penalty))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant added to all fields is free
        problem.solve("CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    return {j: B.value for j, B in blocks.items()}


def test_two_potts_states_are_spins_and_three_agree_with_the_published_objective():
    rng = np.random.default_rng(0)
    sizes = [2, 2, 3, 3]
    codes = np.column_stack([rng.integers(0, q, 200) for q in sizes])
    codes[:, 1] ^= (codes[:, 0] ^ codes[:, 1]) & (rng.uniform(size=200) < 0.7)
    codes[:, 2] = np.where(rng.uniform(size=200) < 0.5, codes[:, 3], codes[:, 2])
    model = InteractionScreening(tol=1e-10).fit(codes)
    # a block's Frobenius norm is twice its length over contrasts
    found = [
        potts_by_cvxpy(codes, u, sizes, model.penalty_strength_ / 2) for u in range(4)
    ]
    for i in range(4):
        for j in range(i + 1, 4):
            mean = (found[i][j] + found[j][i].T) / 2
            got = model.coef_.get((i, j), np.zeros_like(mean))
            np.testing.assert_allclose(got, mean, atol=1e-5)
    spins = InteractionScreening(tol=1e-10).fit(codes[:, :2])
    both = [
        potts_by_cvxpy(codes[:, :2], u, [2, 2], spins.penalty_strength_ / 2)[1 - u]
        for u in range(2)
    ]
    signs = np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(
        (both[0] + both[1].T) / 2, spins.coef_[0, 1] * signs, atol=1e-5
    )


@every_method
@pytest.mark.parametrize(
    ("sizes", "order", "penalty"),
    [
        ([2] * 5, 2, "l1"),
        ([2] * 4, 3, "l1"),
        ([3, 2, 4, 3], 2, "group"),
        ([3, 2, 3], 2, "l1"),
    ],
)
def test_agreement_with_cvxpy(method, sizes, order, penalty):
    rng = np.random.default_rng(1)
    codes = np.column_stack([rng.integers(0, q, 250) for q in sizes])
    codes[:, 1] = np.where(rng.uniform(size=250) < 0.6, codes[:, 0] > 0, codes[:, 1])
    arguments = {"order": order, "penalty": penalty, "tol": 1e-10}
    direct = InteractionScreening(method, **arguments).fit(codes)
    referee = InteractionScreening(method, solver="cvxpy", **arguments).fit(codes)
    np.testing.assert_allclose(direct._pairs, referee._pairs, atol=1e-6)
    np.testing.assert_allclose(direct._field, referee._field, atol=1e-6)
    np.testing.assert_allclose(
        direct.predict_proba(codes), referee.predict_proba(codes), atol=1e-6
    )
    assert direct.gap_ <= 1e-8


# --- 5: symmetries -----------------------------------------------------------------


def mixed_table(seed=0, n=400):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, n)
    b = np.where(rng.uniform(size=n) < 0.6, a, rng.integers(0, 3, n))
    c = (b > 0) ^ (rng.uniform(size=n) < 0.2)
    return np.column_stack([a, b, c, rng.integers(0, 2, n)])


@every_method
def test_names_of_categories_do_not_matter(method):
    codes = mixed_table()
    plain = InteractionScreening(method, tol=1e-10).fit(codes)
    words = np.array(["tau", "alpha", "kappa"], dtype=object)
    renamed = codes.astype(object)
    renamed[:, 0] = words[codes[:, 0]]
    other = InteractionScreening(method, tol=1e-10).fit(renamed)
    assert other.categories_[0].tolist() == ["alpha", "kappa", "tau"]
    np.testing.assert_allclose(other.strength_, plain.strength_, atol=1e-8)
    order = [1, 2, 0]
    np.testing.assert_allclose(
        other.predict_proba(renamed, 0),
        plain.predict_proba(codes, 0)[:, order],
        atol=1e-8,
    )
    np.testing.assert_array_equal(other.adjacency_, plain.adjacency_)


@given(
    order=st.permutations(range(4)),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 5),
)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_order_of_columns_and_rows_does_not_matter(order, method, seed):
    codes = mixed_table(seed, 150)
    plain = InteractionScreening(method, tol=1e-10).fit(codes)
    moved = InteractionScreening(method, tol=1e-10).fit(codes[::-1, order])
    np.testing.assert_allclose(
        moved.strength_, plain.strength_[np.ix_(order, order)], atol=1e-8
    )
    np.testing.assert_allclose(moved.threshold_, plain.threshold_, rtol=1e-6)


@given(seed=st.integers(0, 50))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_weights_are_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    codes = mixed_table(seed, 60)
    times = rng.integers(0, 4, len(codes))
    weighted = InteractionScreening().fit(codes, sample_weight=times)
    repeated = InteractionScreening().fit(np.repeat(codes, times, axis=0))
    np.testing.assert_allclose(weighted.strength_, repeated.strength_, atol=1e-12)
    X = rng.normal(size=(60, 3))
    weighted = InteractionScreening().fit(X, sample_weight=times)
    repeated = InteractionScreening().fit(np.repeat(X, times, axis=0))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X))


# --- 7: structure of a grid; 8: a chain of order six -------------------------------


@every_method
def test_a_grid_is_found_exactly(method):
    J, S = grid(7, 5000, sweeps=60)
    model = InteractionScreening(method).fit(S)
    np.testing.assert_array_equal(model.adjacency_, J != 0)
    np.testing.assert_array_equal(np.sign(model.coef_)[J != 0], np.sign(J[J != 0]))
    assert np.abs(model.coef_ - J).max() < 0.15


def test_a_higher_order_is_needed_where_it_is_there():
    S, P = chain(10)
    pairs = InteractionScreening(alpha=0).fit(S, sample_weight=P)
    six = InteractionScreening(order=6, alpha=0, tol=1e-10).fit(
        S[:, :7], sample_weight=P
    )
    assert conditional_variation(pairs, S, P) > 0.1
    # seven of the columns: the sixth order is there once or twice
    assert (0, 1, 2, 3, 4, 5) in six._higher
    assert np.isfinite(six.score(S[:, :7], sample_weight=P))


# --- choices -----------------------------------------------------------------------


def test_symmetrisation_keeps_the_shorter_the_longer_or_the_mean():
    codes = mixed_table()
    models = {
        how: InteractionScreening(symmetrize=how).fit(codes)
        for how in ("min", "mean", "max")
    }
    low, middle, high = (models[how].strength_ for how in ("min", "mean", "max"))
    assert (low <= middle + 1e-12).all() and (middle <= high + 1e-12).all()
    assert (low < high).any()
    gap = models["max"].asymmetry_
    assert (high - low <= gap + 1e-12).all() and gap.max() > 0
    for model in models.values():
        np.testing.assert_array_equal(model._pairs, model._pairs.T)


def test_threshold_and_penalty():
    J, S = grid(3, 2000)
    # a threshold of one's own is in the units of couplings
    half = InteractionScreening(threshold=0.15).fit(S)
    assert half.threshold_ == 0.15
    np.testing.assert_array_equal(half.adjacency_, half.strength_ > 0.15)
    np.testing.assert_array_equal(half.adjacency_, J != 0)
    heavy = InteractionScreening(alpha=100).fit(S)
    assert not heavy.strength_.any() and heavy.interactions_.empty
    np.testing.assert_allclose(  # columns alone: their frequencies
        heavy.predict_proba(S[:1], 0)[0], heavy.marginals_[0], atol=1e-6
    )
    expected = 0.4 * np.sqrt(np.log(81 / 0.05) / 2000)
    np.testing.assert_allclose(half.penalty_strength_, expected)


def test_two_processes_give_the_serial_answer():
    codes = mixed_table()
    one = InteractionScreening().fit(codes)
    two = InteractionScreening(n_jobs=2).fit(codes)
    np.testing.assert_array_equal(one._pairs, two._pairs)


def test_cross_validation_is_the_score_of_each_penalty():
    codes = mixed_table()
    alphas = [0.1, 0.4, 2.0]
    model = InteractionScreeningCV(alphas=alphas, cv=3, tol=1e-10).fit(codes)
    assert list(model.cv_results_["alpha"]) == alphas[::-1]
    for k, alpha in enumerate(alphas[::-1]):
        scores = cross_val_score(
            InteractionScreening(alpha=alpha, tol=1e-10), codes, cv=3
        )
        np.testing.assert_allclose(
            [model.cv_results_[f"split{i}_test_score"][k] for i in range(3)],
            scores,
            rtol=1e-6,
        )
    best = model.cv_results_["mean_test_score"].argmax()
    assert model.alpha_ == alphas[::-1][best]
    assert model.cv_results_["rank_test_score"][best] == 1
    again = InteractionScreening(alpha=model.alpha_, tol=1e-10).fit(codes)
    np.testing.assert_allclose(model.strength_, again.strength_, atol=1e-9)
    assert (
        len(InteractionScreeningCV(alphas=2, cv=2).fit(codes).cv_results_["alpha"]) == 2
    )


def test_a_grid_search_over_the_penalty_of_strings():
    table = pd.DataFrame(mixed_table(), columns=list("abcd")).astype(str)
    search = GridSearchCV(
        InteractionScreening(), {"alpha": [0.2, 3.0]}, cv=2, n_jobs=2
    ).fit(table)
    assert search.best_params_ == {"alpha": 0.2}


# --- what a user does with it ------------------------------------------------------


def test_words_in_words_out():
    table = pd.DataFrame(
        {
            "drinks": ["tea", "coffee", "tea", "milk"] * 50,
            "adult": [True, True, True, False] * 50,
            "cups": [1, 2, 1, 0] * 50,
            "weight": np.linspace(50, 90, 200),
        }
    )
    model = InteractionScreening().fit(table)
    assert model.categories_[0].tolist() == ["coffee", "milk", "tea"]
    assert model.categories_[1].dtype == bool
    assert model.bin_edges_[2] is None and len(model.bin_edges_[3]) == 3
    proba = model.predict_proba(table, "drinks")
    assert proba.shape == (200, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (model.predict(table, "drinks") == table["drinks"]).all()
    assert model.predict(table).shape == table.shape
    np.testing.assert_array_equal(
        model.predict(table, 0), model.predict(table, "drinks")
    )
    names = model.get_feature_names_out()
    assert names[:3].tolist() == ["drinks=milk", "drinks=tea", "adult=True"]
    logits = model.transform(table)
    assert logits.shape == (200, len(names))
    np.testing.assert_allclose(logits[:, 1], np.log(proba[:, 2] / proba[:, 0]))
    frame = model.interactions_
    assert {"columns", "order", "strength", "coefficient", "selected"} == set(frame)
    assert frame["strength"].is_monotonic_decreasing
    assert ("drinks", "adult") in set(frame["columns"])


def test_scores_are_those_of_the_conditionals():
    codes = mixed_table()
    model = InteractionScreening().fit(codes)
    cells = model.conditional_log_likelihood(codes)
    for u in range(4):
        p = model.predict_proba(codes, u)[np.arange(len(codes)), codes[:, u]]
        np.testing.assert_allclose(cells[:, u], np.log(p))
    weight = np.arange(len(codes)) % 3
    np.testing.assert_allclose(
        model.score(codes, sample_weight=weight),
        np.average(cells.sum(axis=1), weights=weight),
    )
    joint = model.score_samples(all_states([3, 3, 2, 2]))
    P = probabilities(joint).reshape(3, 3, 2, 2)
    np.testing.assert_allclose(
        model.predict_proba([[0, 1, 0, 1]], 2)[0], P[0, 1, :, 1] / P[0, 1, :, 1].sum()
    )


def test_a_downstream_pipeline():
    codes = mixed_table(n=600)
    y = codes[:, 0] == codes[:, 1]
    pipeline = make_pipeline(InteractionScreening(), LogisticRegression())
    assert np.isfinite(cross_val_score(pipeline, codes, y, cv=3)).all()


def test_samples_have_the_moments_of_the_model():
    _, _, S, P = ising(4)
    model = InteractionScreening(alpha=0).fit(S, sample_weight=P)
    drawn = model.sample(20_000, burn_in=50, thin=3, random_state=0)
    assert set(np.unique(drawn)) == {-1, 1}
    np.testing.assert_allclose(drawn.mean(axis=0), P @ S, atol=0.03)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), (S.T * P) @ S, atol=0.03)
    np.testing.assert_array_equal(
        model.sample(7, n_chains=2, random_state=1),
        model.sample(7, n_chains=2, random_state=1),
    )
    seeded = InteractionScreening(random_state=3).fit(S, sample_weight=1e3 * P)
    np.testing.assert_array_equal(seeded.sample(5), seeded.sample(5))


def test_imputation_beats_the_most_frequent_value():
    _, S = grid(4, 4000)
    model = InteractionScreening().fit(S[:2000])
    holes = np.random.default_rng(0).uniform(size=(2000, 16)) < 0.2
    broken = np.where(holes, np.nan, S[2000:])
    filled = model.impute(broken)
    np.testing.assert_array_equal(filled[~holes], S[2000:][~holes])
    common = SimpleImputer(strategy="most_frequent").fit(S[:2000]).transform(broken)
    right = (filled == S[2000:])[holes].mean()
    assert right > (common == S[2000:])[holes].mean() + 0.15
    drawn = model.impute(broken, method="sample", random_state=0)
    assert 0.5 < (drawn == S[2000:])[holes].mean() < right
    assert np.isfinite(drawn).all()


def test_one_missing_cell_is_filled_by_its_conditional():
    codes = mixed_table()
    model = InteractionScreening().fit(codes)
    row = codes[:20].astype(float)
    row[:, 1] = np.nan
    want = model.predict(codes[:20], 1)
    np.testing.assert_array_equal(model.impute(row)[:, 1], want)
    frame = pd.DataFrame(codes[:20].astype(str), columns=list("abcd"))
    words = InteractionScreening().fit(
        pd.DataFrame(codes.astype(str), columns=list("abcd"))
    )
    frame.loc[:, "b"] = None
    out = words.impute(frame)
    assert isinstance(out, pd.DataFrame) and frame["b"].isna().all()
    assert out["b"].tolist() == [str(v) for v in want]
    nullable = pd.DataFrame(codes[:20], columns=list("abcd")).astype("Int64")
    nullable.loc[3, "a"] = pd.NA
    whole = InteractionScreening().fit(pd.DataFrame(codes, columns=list("abcd")))
    assert whole.impute(nullable)["a"].notna().all()
    # a cell of a row does not change what its row mates get
    np.testing.assert_allclose(
        model.transform(np.vstack([row[:3], codes[3:6]]))[:3], model.transform(row[:3])
    )


def test_missing_cells_at_fit_leave_the_couplings_where_they_are():
    J, S = grid(3, 6000)
    broken = np.where(np.random.default_rng(0).uniform(size=S.shape) < 0.15, np.nan, S)
    whole = InteractionScreening().fit(S)
    model = InteractionScreening(random_state=0).fit(broken)
    np.testing.assert_array_equal(model.adjacency_, J != 0)
    assert np.abs(model.coef_ - whole.coef_).max() < 0.1
    # rows without the gaps, or gaps filled by the most frequent value, do worse
    filled = SimpleImputer(strategy="most_frequent").fit_transform(broken)
    naive = InteractionScreening().fit(filled)
    error = [np.abs(m.coef_ - J)[J != 0].mean() for m in (model, naive)]
    assert error[0] < 0.7 * error[1]
    chosen = InteractionScreeningCV(alphas=[0.4, 4], cv=2, random_state=0).fit(broken)
    assert chosen.alpha_ == 0.4
    np.testing.assert_array_equal(
        model.conditional_log_likelihood(broken)[np.isnan(broken)], 0
    )


def test_a_file_keeps_higher_orders_and_words(tmp_path):
    codes = mixed_table().astype(str).astype(object)
    model = InteractionScreening(order=3, alpha=0.1).fit(codes)
    assert model._higher
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(
        model.predict_proba(codes), again.predict_proba(codes)
    )
    assert again.interactions_.equals(model.interactions_)


# --- columns of numbers, rare words, odd tables ------------------------------------


def test_measurements_are_cut_at_quantiles_and_codes_are_kept():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.normal(size=400), rng.integers(0, 8, 400), rng.integers(0, 15, 400)]
    )
    model = InteractionScreening(n_bins=3, max_categories=8).fit(X)
    sizes = [len(c) for c in model.categories_]
    assert sizes == [3, 8, 3]
    edges = model.bin_edges_[0]
    assert set(edges) <= set(X[:, 0])  # values that were seen
    shares = np.bincount(np.searchsorted(edges, X[:, 0])) / 400
    np.testing.assert_allclose(shares, 1 / 3, atol=0.01)
    exact = InteractionScreening(
        n_bins=3, max_categories=8, categorical_features=[2], alpha=5
    ).fit(X)
    assert len(exact.categories_[2]) == len(np.unique(X[:, 2]))
    halves = InteractionScreening().fit(np.array([[0.0, 0.5], [1.0, 1.5]] * 20))
    np.testing.assert_array_equal(halves.predict([[0, 0.6]], 1), [0.5])
    # numbers of a few values are exact: the next one is in the same category
    assert halves.bin_edges_[0] is None and halves.bin_edges_[1].tolist() == [1.0]


def test_rare_words_share_a_category():
    rng = np.random.default_rng(0)
    words = np.array([f"w{k}" for k in rng.integers(0, 40, 500)], dtype=object)
    words[:300] = "common"
    X = np.column_stack([words, rng.integers(0, 2, 500).astype(str)])
    with pytest.warns(UserWarning, match=r"column 0 \(41 values\) share one.*=5"):
        model = InteractionScreening(max_categories=5).fit(X)
    assert len(model.categories_[0]) == 5 and "common" in model.categories_[0]
    assert model.predict_proba(X, 0).shape == (500, 5)
    as_frame = pd.DataFrame({"a": pd.Categorical(X[:, 0]), "b": X[:, 1]})
    whole = InteractionScreening(max_categories=5, alpha=5).fit(as_frame)
    assert len(whole.categories_[0]) == len(np.unique(X[:, 0]))


def test_a_column_of_one_category_is_told_and_left_out():
    codes = mixed_table()
    with pytest.warns(UserWarning, match="Columns 4 have one category"):
        model = InteractionScreening().fit(np.c_[codes, np.full(len(codes), 7)])
    plain = InteractionScreening().fit(codes)
    assert not model.strength_[4].any()
    np.testing.assert_array_equal(
        model.predict_proba(np.c_[codes, codes[:, 0] * 0 + 7], 4), 1
    )
    assert model.transform(np.c_[codes, np.full(len(codes), 7)]).shape[1] == 6
    # lambda depends on the number of columns, so a little of the rest moves
    np.testing.assert_allclose(model.strength_[:4, :4], plain.strength_, atol=0.01)


def test_columns_that_repeat_each_other():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 500)
    X = np.column_stack([a, a, rng.integers(0, 2, 500)])
    for method in METHODS:
        with pytest.warns(ConvergenceWarning, match="nearly determined"):
            model = InteractionScreening(method, alpha=0, max_iter=20).fit(X)
        assert np.isfinite(model._pairs).all() and model.strength_[0, 1] > 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = InteractionScreening().fit(X)
    assert model.adjacency_[0, 1] and model.adjacency_.sum() == 2
    # S = exp(-J) + penalty J at its least, but for the field of a slight imbalance
    np.testing.assert_allclose(
        model.strength_[0, 1], -np.log(model.penalty_strength_), rtol=0.05
    )


def test_not_converging_is_told():
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        InteractionScreening(max_iter=1, tol=1e-14).fit(mixed_table())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 5}, "order=5 needs interactions of more columns than the 4"),
        ({"alpha": -1}, "alpha"),
        ({"method": "nothing"}, "method"),
        ({"threshold": "high"}, "threshold"),
    ],
)
def test_parameters_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        InteractionScreening(**arguments).fit(mixed_table())


@pytest.mark.parametrize("alphas", [[], [-1.0], [np.nan], [[1.0]]])
def test_alphas_that_make_no_sense(alphas):
    with pytest.raises(ValueError, match="alphas"):
        InteractionScreeningCV(alphas=alphas).fit(mixed_table())


def test_what_is_refused():
    codes = mixed_table()
    model = InteractionScreening(handle_unknown="error").fit(codes)
    with pytest.raises(ValueError, match=r"(?i)negative"):
        InteractionScreening().fit(codes, sample_weight=-np.ones(len(codes)))
    with pytest.raises(
        ValueError, match="Column 0 of X holds categories that were not"
    ):
        model.predict_proba(np.where(codes == 2, 9, codes), 1)
    lenient = InteractionScreening(handle_unknown="missing").fit(codes)
    strange, gap = codes[:5].astype(float), codes[:5].astype(float)
    strange[:, 0], gap[:, 0] = 9, np.nan
    np.testing.assert_array_equal(
        lenient.predict_proba(strange, 1), lenient.predict_proba(gap, 1)
    )
    np.testing.assert_array_equal(lenient.impute(strange), strange)
    with pytest.raises(ValueError, match="fitted on numbers and holds texts"):
        model.predict(codes.astype(str))
    with pytest.raises(TypeError, match="mixes strings"):
        InteractionScreening().fit(np.array([["a", 1], [2, 1]], dtype=object))
    with pytest.raises(TypeError, match="string or a number"):
        InteractionScreening().fit(np.array([[{}, 1], [{}, 2]], dtype=object))
    with pytest.raises(ValueError, match="inf"):
        InteractionScreening().fit(np.array([[np.inf, 1], [2, 1]], dtype=object))
    with pytest.raises(ValueError, match="nothing but missing"):
        InteractionScreening().fit([[np.nan, 1], [np.nan, 2]])
    for node in (4, "a", 1.5, True, [0]):
        with pytest.raises(ValueError, match="node must be"):
            model.predict_proba(codes, node)
    np.testing.assert_array_equal(
        model.predict_proba(codes, -1), model.predict_proba(codes, 3)
    )
    with pytest.raises(ValueError, match="method must be"):
        model.impute(codes, method="mean")
    for name, value in [
        ("n_samples", 0),
        ("thin", 0),
        ("burn_in", -1),
        ("n_chains", 1.5),
    ]:
        with pytest.raises(ValueError, match=name):
            model.sample(**{"n_samples": 3, name: value})
    with pytest.raises(ValueError, match="GB"):
        InteractionScreening(order=8).fit(
            np.random.default_rng(0).integers(0, 2, (300, 60))
        )


# --- the picture -------------------------------------------------------------------


def test_the_graph_is_drawn(monkeypatch):
    _, S = grid(3, 2000)
    model = InteractionScreening().fit(S)
    display = InteractionGraphDisplay.from_estimator(model)
    edges = int(model.adjacency_.sum() / 2)
    assert len(display.plot().lines_) == edges == len(display.frame())
    assert set(display.frame()["sign"]) == {-1, 1}
    places = np.random.default_rng(0).normal(size=(9, 2))
    drawn = display.plot(layout=places)
    assert drawn.figure_ is drawn.ax_.figure
    assert display.plot(kind="matrix").lines_.get_array().shape == (9, 9)
    assert display.to_networkx().number_of_edges() == edges
    for arguments in ({"kind": "pie"}, {"layout": "x"}, {"layout": places[:3]}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            display.plot(**arguments)
    monkeypatch.setitem(sys.modules, "networkx", None)
    display.plot()
    with pytest.raises(ImportError, match="graph"):
        display.plot(layout="spring")
    with pytest.raises(NotFittedError):
        InteractionGraphDisplay.from_estimator(InteractionScreening())
    import matplotlib.pyplot as plt

    plt.close("all")
