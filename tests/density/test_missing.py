"""Missing cells: exact sums, sampling beyond them, fits with gaps, and queries."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.model_selection import GridSearchCV, cross_val_score

from skdiff.density import (
    InteractionScreening,
    InteractionScreeningCV,
    NeuralInteractionScreening,
)
from skdiff.density import _missing as missing
from skdiff.density._features import Energy, layout
from skdiff.density._model import linear_model
from skdiff.density._query import eliminate, marginal, reduce_by

SIZES = [2, 3, 2, 4]


def tied(n=4000, seed=0):
    """Two columns that agree in 95 % of the rows, and a free one."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, n)
    b = np.where(rng.uniform(size=n) < 0.95, a, 1 - a)
    return np.column_stack([a, b, rng.integers(0, 2, n)]).astype(float)


def some_energy(sizes=SIZES, seed=0, higher=True):
    rng = np.random.default_rng(seed)
    where = layout(sizes)
    pairs = rng.normal(scale=0.6, size=(where.width, where.width))
    pairs = pairs + pairs.T
    for span in where.spans:
        pairs[span, span] = 0
    blocks = {}
    if higher:
        blocks[0, 1, 3] = rng.normal(scale=0.5, size=(1, 2, 3))
    return Energy(rng.normal(size=where.width), pairs, blocks), where


def table_of(energy, where):
    """Log-probability of every state, as an array with one axis per column."""
    from skdiff.density._features import features

    sizes = [len(b) for b in where.bases]
    states = np.array(list(itertools.product(*map(range, sizes))))
    log = energy.joint(features(states, where), where)
    return (log - logsumexp(log)).reshape(sizes)


def brute_conditional(table, row, u):
    """Log-probabilities of column u given the known other cells of a row."""
    place = [slice(None) if j == u or c < 0 else c for j, c in enumerate(row)]
    kept = table[tuple(place)]
    axes = [j for j, c in enumerate(row) if j == u or c < 0]
    away = tuple(k for k, j in enumerate(axes) if j != u)
    log = logsumexp(kept, axis=away) if away else kept
    return log - logsumexp(log)


def holey_codes(n=60, seed=1, sizes=SIZES):
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, q, n) for q in sizes])
    codes[rng.uniform(size=codes.shape) < 0.4] = -1
    return codes


# --- right probabilities ----------------------------------------------------------


def test_conditionals_sum_over_what_is_missing():
    energy, where = some_energy()
    model, table, codes = (
        linear_model(energy, where),
        table_of(energy, where),
        holey_codes(),
    )
    both = missing.log_conditionals_of(model, codes, range(4))
    for u in range(4):
        want = np.array([brute_conditional(table, row, u) for row in codes])
        np.testing.assert_allclose(both[u], want, atol=1e-10)
        np.testing.assert_allclose(
            missing.log_conditionals(model, codes, u), want, atol=1e-10
        )


def test_marginals_of_rows_with_gaps_are_sums_of_probabilities():
    energy, where = some_energy()
    table, codes = table_of(energy, where), holey_codes()
    got = missing.log_marginals(linear_model(energy, where), codes)
    want = np.array(
        [
            logsumexp(table[tuple(slice(None) if c < 0 else c for c in row)])
            for row in codes
        ]
    )
    np.testing.assert_allclose(got - got[0], want - want[0], atol=1e-10)


def test_where_conditionals_agree_the_sampler_settles_on_the_joint_model():
    energy, where = some_energy()
    joint = linear_model(energy, where)
    alone = type(joint)(where, joint.energies)
    codes = holey_codes()
    for u in range(4):
        np.testing.assert_allclose(
            missing.log_conditionals(alone, codes, u),
            missing.log_conditionals(joint, codes, u),
            atol=1e-6,
        )


def test_sampling_takes_over_beyond_the_sums_and_depends_on_the_row_alone(monkeypatch):
    energy, where = some_energy(seed=3)
    model, codes = linear_model(energy, where), holey_codes(40)
    exact = [missing.log_conditionals(model, codes, u) for u in range(4)]
    whole = missing.log_marginals(model, codes)
    monkeypatch.setattr(missing, "STATES", 1)
    monkeypatch.setattr(missing, "SWEEPS", 800)
    order = np.random.default_rng(0).permutation(len(codes))
    for u in range(4):
        got = missing.log_conditionals(model, codes, u)
        assert np.abs(np.exp(got) - np.exp(exact[u])).max() < 0.04
        np.testing.assert_allclose(
            missing.log_conditionals(model, codes[order], u), got[order], atol=1e-12
        )
        np.testing.assert_allclose(
            missing.log_conditionals(model, codes[:1], u), got[:1], atol=1e-12
        )
    assert np.abs(missing.log_marginals(model, codes) - whole).max() < 0.15


def both_kinds(X, **options):
    yield InteractionScreening(**options).fit(X)
    for variant in ("conditional", "energy"):
        yield NeuralInteractionScreening(
            (6,), variant=variant, max_iter=150, alpha=1e-3, random_state=0
        ).fit(X)


def test_the_asked_cell_is_masked_before_gaps_are_filled():
    """Two tied columns and a free one: a gap tells nothing of the other."""
    rows = [[0, np.nan, 0], [1, np.nan, 0], [np.nan, np.nan, 0]]
    X = tied()
    for model in both_kinds(X):
        p = model.predict_proba(rows, 0)[:, 1]
        np.testing.assert_allclose(p, X[X[:, 2] == 0, 0].mean(), atol=0.04)
        np.testing.assert_allclose(p, p[0], atol=1e-9)
        known = model.conditional_log_likelihood(rows)
        assert abs(known[0, 0] - np.log(0.5)) < 0.1 and known[0, 1] == 0
        assert np.abs(model.transform(rows)[:2, 0]).max() < 0.2
        alone = [model.predict_proba([row], 0)[0, 1] for row in rows]
        np.testing.assert_allclose(alone, p, atol=1e-12)
        if hasattr(model, "score_samples"):
            # the marginal of what is known is a sum over what is not
            ends = [[0, 0, 0], [0, 1, 0]]
            total = logsumexp(model.score_samples(ends))
            assert abs(model.score_samples(rows[:1])[0] - total) < 1e-10
        # and the score of a table with gaps is no better than that of one without
        holey = X[:500].copy()
        holey[:, 1] = np.nan
        assert model.score(holey) < 1.2 * np.log(0.5)


def test_the_cross_validation_does_not_leak_either():
    X = tied(2000)
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.3] = np.nan
    model = InteractionScreeningCV(alphas=3, random_state=0).fit(X)
    # no better than the entropy of what is known
    assert model.cv_results_["mean_test_score"].max() < -0.7


# --- fitting ----------------------------------------------------------------------


def chain(couplings, n, seed):
    rng = np.random.default_rng(seed)
    X = np.empty((n, len(couplings) + 1))
    X[:, 0] = rng.integers(0, 2, n) * 2 - 1
    for i, J in enumerate(couplings):
        keep = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * J))
        X[:, i + 1] = np.where(keep, X[:, i], -X[:, i])
    return X


def error(model, couplings):
    truth = np.diag(couplings, 1) + np.diag(couplings, -1)
    return np.sqrt(np.mean((model.coef_ - truth)[np.triu_indices(len(truth), 1)] ** 2))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3, 0.4])
def test_rows_with_gaps_never_make_a_fit_worse(fraction):
    J = np.array([1.2, 0.9, 1.1, 0.8, 1.0])
    with_gaps, complete = [], []
    for seed in range(2):
        X = chain(J, 10_000, seed)
        X[np.random.default_rng(9 + seed).uniform(size=X.shape) < fraction] = np.nan
        whole = X[~np.isnan(X).any(axis=1)]
        fits = (
            InteractionScreening(alpha=0.1, random_state=0).fit(rows)
            for rows in (X, whole)
        )
        for errors, model in zip((with_gaps, complete), fits, strict=True):
            errors.append(error(model, J))
    assert np.mean(with_gaps) < np.mean(complete)


def test_weak_links_stay_in_the_graph_beside_strong_ones():
    J = np.tile([0.2, 0.9], 7)
    found, false = 0, 0
    for seed in range(5):
        A = InteractionScreening().fit(chain(J, 2000, 100 + seed)).adjacency_
        found += np.diag(A, 1).sum()
        false += A.sum() // 2 - np.diag(A, 1).sum()
    assert found >= 13 * 5 and false <= 1  # of 14, where the largest gap keeps 8.4


def test_independent_columns_have_no_graph():
    rng = np.random.default_rng(0)
    for method in ("rise", "logrise", "pseudolikelihood"):
        edges = [
            InteractionScreening(method).fit(rng.integers(0, 3, (500, 12))).adjacency_
            for _ in range(5)
        ]
        assert np.sum(edges) <= 2


def test_a_sparse_first_layer_is_cut_at_the_noise_of_strengths():
    J = np.tile([0.1, 0.9], 3)
    X = chain(J, 20_000, 0)
    model = NeuralInteractionScreening(
        (6,), l1_input=0.005, max_iter=200, random_state=0
    ).fit(X)
    truth = np.diag(np.ones(6, dtype=bool), 1)
    np.testing.assert_array_equal(model.adjacency_, truth | truth.T)
    # the threshold is in the units of strengths, in which noise is known
    assert 0.02 < model.threshold_ < 0.03
    assert model.input_norm_[truth].min() < model.strength_[truth].min()


def test_a_refit_on_the_graph_does_not_shrink():
    J = np.array([0.6, 0.5, 0.7, 0.6])
    X = chain(J, 20_000, 0)
    shrunk = InteractionScreening(alpha=1.0).fit(X)
    free = InteractionScreening(alpha=1.0, refit=True).fit(X)
    np.testing.assert_array_equal(free.adjacency_, shrunk.adjacency_)
    assert error(free, J) < 0.7 * error(shrunk, J)
    assert not free.coef_[~free.adjacency_].any()
    assert free.interactions_["selected"].all()
    # over the whole graph it is the fit without a penalty
    dense = InteractionScreening(threshold=0.0, alpha=1e-6, refit=True).fit(X)
    plain = InteractionScreening(alpha=0.0).fit(X)
    np.testing.assert_allclose(dense.coef_, plain.coef_, atol=1e-6)
    flip = np.where(np.random.default_rng(0).uniform(size=2000) < 0.1, -1, 1)
    parity = np.column_stack(
        [X[:2000, 0], X[:2000, 4], X[:2000, 0] * X[:2000, 4] * flip]
    )
    three = InteractionScreening(order=3, refit=True).fit(parity)
    assert three.strength_[0, 1] > 0.8


# --- weights and categories -------------------------------------------------------


def test_weights_that_sum_to_one_are_taken_for_proportions_with_a_warning():
    X = tied(1000)
    with pytest.warns(UserWarning, match="taken for proportions"):
        model = InteractionScreening().fit(X, sample_weight=np.full(1000, 1e-3))
    plain = InteractionScreening().fit(X)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-8)
    assert model.adjacency_[0, 1]


def rare_frame(n=300):
    rng = np.random.default_rng(0)
    a = np.array(["x", "y"], dtype="U5")[rng.integers(0, 2, n)]
    a[7] = "rare"
    b = np.where(rng.uniform(size=n) < 0.9, a, "x")
    return pd.DataFrame(
        {"a": pd.Categorical(a, ["x", "y", "rare", "never"]), "b": pd.Categorical(b)}
    )


def test_a_rare_category_is_missing_in_a_fold_with_a_warning():
    X = rare_frame()
    with pytest.warns(UserWarning, match=r"not seen in fit .* a \('rare'\)"):
        scores = cross_val_score(InteractionScreening(), X, cv=5)
    assert np.isfinite(scores).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = InteractionScreening(handle_unknown="missing")
        np.testing.assert_array_equal(cross_val_score(quiet, X, cv=5), scores)
    with pytest.warns(UserWarning, match="not seen in fit"):
        search = GridSearchCV(InteractionScreening(), {"alpha": [0.2, 0.4]}, cv=3).fit(
            X
        )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_asked_column_may_hold_anything():
    X = rare_frame()
    model = InteractionScreening(handle_unknown="error").fit(X)
    strange = X.astype(str).assign(a="never")
    np.testing.assert_array_equal(
        model.predict_proba(strange, "a"), model.predict_proba(X, "a")
    )
    with pytest.raises(ValueError, match="not seen in fit"):
        model.predict_proba(strange, "b")


# --- frames -----------------------------------------------------------------------


def mixed_frame(n=300):
    rng = np.random.default_rng(0)
    k = rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "word": np.array(["x", "y", "z"])[k],
            "level": pd.Categorical(
                np.array(["low", "mid", "top"])[k], ["low", "mid", "top"], ordered=True
            ),
            "count": pd.array(k, dtype="Int64"),
            "number": k.astype("int32"),
            "flag": k > 0,
            "size": rng.normal(size=n) + k,
        }
    )


def test_samples_after_a_frame_are_a_frame_of_its_dtypes(tmp_path):
    X = mixed_frame()
    model = InteractionScreening(random_state=0).fit(X)
    drawn = model.sample(50, burn_in=10)
    assert isinstance(drawn, pd.DataFrame)
    assert drawn.dtypes.to_dict() == X.dtypes.to_dict()
    words = drawn["level"].map({"low": "x", "mid": "y", "top": "z"})
    assert (drawn["word"] == words).mean() > 0.5
    model.save(tmp_path / "model.npz")
    again = InteractionScreening.load(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(again.sample(50, burn_in=10), drawn)
    network = NeuralInteractionScreening((4,), max_iter=20, random_state=0).fit(X)
    assert network.sample(5, burn_in=2).dtypes.to_dict() == X.dtypes.to_dict()
    assert isinstance(InteractionScreening().fit(tied(200)).sample(3), np.ndarray)


def test_frames_of_polars_come_back_as_such():
    pl = pytest.importorskip("polars")
    k = np.random.default_rng(0).integers(0, 3, 200)
    X = pl.DataFrame(
        {
            "word": pl.Series([None if i == 3 else "xyz"[v] for i, v in enumerate(k)]),
            "level": pl.Series(["abc"[v] for v in k]).cast(
                pl.Enum(["a", "b", "c", "d"])
            ),
            "number": pl.Series(
                [None if i == 5 else v for i, v in enumerate(k.tolist())]
            ),
        }
    )
    model = InteractionScreening(random_state=0).fit(X)
    filled = model.impute(X)
    assert isinstance(filled, pl.DataFrame) and filled.schema == X.schema
    assert filled["word"][3] == "xyz"[k[3]] and filled["number"][5] == k[5]
    assert filled.null_count().row(0) == (0, 0, 0) and X["word"][3] is None
    drawn = model.sample(20, burn_in=5)
    assert isinstance(drawn, pl.DataFrame) and drawn.schema == X.schema


# --- queries ----------------------------------------------------------------------


def test_elimination_is_a_sum_over_the_joint_table():
    energy, where = some_energy()
    factors = linear_model(energy, where).factors
    table = np.exp(table_of(energy, where))
    got = np.exp(eliminate(factors, [3, 0], SIZES))
    want = table.sum(axis=(1, 2)).T
    np.testing.assert_allclose(got / got.sum(), want, atol=1e-12)
    given = np.exp(eliminate(reduce_by(factors, {1: 2}), [2], SIZES))
    want = table[:, 2].sum(axis=(0, 2))
    np.testing.assert_allclose(given / given.sum(), want / want.sum(), atol=1e-12)


def test_queries_count_rows_of_the_exact_distribution():
    X = tied()
    model = InteractionScreening(alpha=0.0).fit(X)
    both = model.query({}, [0, 1])
    counts = np.histogram2d(X[:, 0], X[:, 1], bins=2)[0] / len(X)
    np.testing.assert_allclose(both, counts, atol=2e-3)
    np.testing.assert_allclose(
        model.query({0: 1}, 1), both[1] / both[1].sum(), atol=2e-3
    )
    # with evidence everywhere else it is the conditional
    np.testing.assert_allclose(
        model.query({0: 1, 2: 0}, [1]), model.predict_proba([[1, 0, 0]], 1)[0]
    )
    for options in ({"variant": "energy"}, {}):
        network = NeuralInteractionScreening(
            (6,), max_iter=150, alpha=1e-3, random_state=0, **options
        ).fit(X)
        np.testing.assert_allclose(network.query({}, [0, 1]), both, atol=0.02)


def test_a_chain_of_sixty_columns_is_exact_and_a_clique_is_sampled(monkeypatch):
    J = np.full(59, 0.5)
    where = layout([2] * 60)
    pairs = np.diag(J, 1) + np.diag(J, -1)
    model = linear_model(Energy(np.zeros(60), pairs, {}), where)
    both = marginal(model, {}, [0, 59], n_samples=1, rng=None)
    np.testing.assert_allclose(
        both[0, 0] - both[0, 1], np.tanh(0.5) ** 59 / 2, atol=1e-12
    )
    energy, where = some_energy()
    model = linear_model(energy, where)
    exact = marginal(model, {1: 1}, [0, 3], n_samples=1, rng=None)
    monkeypatch.setattr("skdiff.density._query.LARGEST", 1)
    monkeypatch.setattr(missing, "STATES", 1)
    rng = np.random.RandomState(0)
    drawn = marginal(model, {1: 1}, [0, 3], n_samples=20_000, rng=rng)
    np.testing.assert_allclose(drawn, exact, atol=0.02)


def test_what_is_no_query():
    model = InteractionScreening().fit(rare_frame())
    assert model.query({"a": "y"}, "b").shape == (3,)
    for evidence, columns, word in (
        ({"a": "never"}, "b", "one of its categories"),
        ({"a": None}, "b", "one of its categories"),
        ({"c": "x"}, "b", "node must be"),
        ({"a": "x"}, ["a"], "name columns once"),
        ({}, ["b", "b"], "name columns once"),
        ({}, [], "name columns once"),
    ):
        with pytest.raises(ValueError, match=word):
            model.query(evidence, columns)


# --- the loop guard ---------------------------------------------------------------


def test_folds_that_are_in_choose_the_penalty_when_time_is_over():
    X = tied(400)
    model = InteractionScreeningCV(alphas=3, time_limit=1e-9).fit(X)
    assert model.stopped_ == "time" and "split1_test_score" not in model.cv_results_
    assert InteractionScreeningCV(alphas=3).fit(X).stopped_ == "complete"


def test_interrupts_keep_folds_and_networks(monkeypatch):
    X = tied(400)

    def hurt(self, **seen):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 2:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr("skdiff._base.progress.Progress.step", hurt)
    for model in (
        InteractionScreeningCV(alphas=3),
        NeuralInteractionScreening((4,), max_iter=20, random_state=0),
        NeuralInteractionScreening((4,), solver="adam", max_iter=20, random_state=0),
    ):
        with pytest.warns(UserWarning, match="its best state is kept"):
            model.fit(X)
        assert model.stopped_ == "interrupted"
        assert np.isfinite(model.score(X))


def test_networks_stop_in_time_whatever_is_missing():
    X = tied(400)
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.2] = np.nan
    for solver in ("lbfgs", "adam"):
        model = NeuralInteractionScreening(
            (4,), solver=solver, time_limit=1e-9, random_state=0
        ).fit(X)
        assert model.stopped_ == "time" and np.isfinite(model.score(X))


def test_callbacks_predict_with_the_network_on_its_way():
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")

    class Watch:
        scores: list = []

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            if fitted_estimator is not None:
                self.scores.append(fitted_estimator.score(X))

        def teardown(self, estimator, context):
            pass

    watch = Watch()
    model = NeuralInteractionScreening((4,), max_iter=12, random_state=0)
    model.set_callbacks(watch).fit(tied(400))
    assert len(watch.scores) == model.n_iter_
    assert watch.scores[-1] == pytest.approx(model.score(tied(400)))


def test_global_switches_of_torch_do_not_matter():
    import torch

    X = tied(300)
    plain = NeuralInteractionScreening((4,), max_iter=10, random_state=0).fit(X)
    for switch in (torch.no_grad, torch.inference_mode):
        with switch():
            model = NeuralInteractionScreening((4,), max_iter=10, random_state=0).fit(X)
        np.testing.assert_array_equal(model.score(X), plain.score(X))


def test_cells_that_no_path_leads_to_are_not_summed_over():
    """Forty missing columns of which a chain of five matters: exact, and fast."""
    rng = np.random.default_rng(0)
    J = np.zeros((42, 42))
    J[range(5), range(1, 6)] = rng.uniform(0.5, 1, 5)
    J[30, 31] = 0.7
    where = layout([2] * 42)
    model = linear_model(Energy(rng.normal(size=42), J + J.T, {}), where)
    row = np.full((1, 42), -1)
    row[0, 5], row[0, 20] = 1, 0
    assert missing.count_states(row, model.sizes)[0] == 2.0**40
    small = layout([2] * 6)
    part = linear_model(
        Energy(
            np.array([model.factors[u][1][1] for u in range(6)]), (J + J.T)[:6, :6], {}
        ),
        small,
    )
    np.testing.assert_allclose(
        missing.log_conditionals(model, row, 0),
        missing.log_conditionals(part, row[:, :6], 0),
        atol=1e-10,
    )
    known = row.copy()
    known[0, 0] = 1
    ratio = missing.log_marginals(model, known) - missing.log_marginals(model, row)
    want = missing.log_conditionals(model, row, 0)[0, 1]
    np.testing.assert_allclose(ratio, want, atol=1e-10)


@pytest.mark.parametrize("device", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_named(device):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used"):
        NeuralInteractionScreening((3,), device=device).fit(tied(100))


@pytest.mark.parametrize("states", [missing.STATES, 4])
def test_cells_are_scored_side_by_side_as_one_at_a_time(monkeypatch, states):
    monkeypatch.setattr(missing, "STATES", states)
    monkeypatch.setattr(missing, "CHAIN_CELLS", 400)
    energy, where = some_energy([2, 3, 2, 4, 2])
    model, codes = linear_model(energy, where), holey_codes(40, sizes=[2, 3, 2, 4, 2])
    want = np.zeros(codes.shape)
    for i, u in zip(*np.nonzero(codes >= 0), strict=True):
        want[i, u] = missing.log_conditionals(model, codes[[i]], u)[0, codes[i, u]]
    got = missing.cell_log_likelihood(model, codes)
    np.testing.assert_allclose(got, want, atol=1e-10)


def test_a_score_draws_for_known_cells_alone():
    """Forty of forty-two cells are missing: two chains of draws, not forty-two."""
    rng = np.random.default_rng(0)
    pairs = np.triu(rng.normal(scale=0.2, size=(42, 42)), 1)
    energy = Energy(rng.normal(size=42), pairs + pairs.T, {})
    model, rows = linear_model(energy, layout([2] * 42)), []

    def energies(F, u):
        rows.append(len(F))
        return model.energies(F, u)

    counted = type(model)(model.where, energies, model.joint, model.factors)
    row = np.full((1, 42), -1)
    row[0, [3, 30]] = 1
    scored = missing.cell_log_likelihood(counted, row)
    sweeps = missing.BURN_IN + missing.SWEEPS
    # a column that only one of the two asks for may be computed for both
    assert sum(rows) <= 2 * missing.CHAINS * sweeps * 42
    one = missing.log_conditionals(model, row, 3)[0, 1]
    np.testing.assert_allclose(scored[0, 3], one, atol=1e-10)
