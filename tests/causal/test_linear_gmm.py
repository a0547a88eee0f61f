"""Linear regression with instruments: peers, streams, tests and what is refused."""

import warnings

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.causal import LinearGMMRegressor

METHODS = ("2sls", "two-step", "iterated", "cue")


def design(seed, n=400, spread=0.5):
    """One endogenous column, two exogenous ones, four excluded instruments."""
    rng = np.random.default_rng(seed)
    W, Z, u = rng.normal(size=(n, 2)), rng.normal(size=(n, 4)), rng.normal(size=n)
    x = Z @ [1, 0.5, 0.3, 0] + W @ [0.5, 0.2] + 0.6 * u + rng.normal(size=n)
    y = 2 * x + W @ [1, -1] + 3 + u * (1 + spread * Z[:, 0] ** 2)
    return np.c_[x, W], y, np.c_[Z, W]


def weighted(S, A, b):
    """argmin g'S^-1 g, g = b - A beta."""
    W = np.linalg.inv(S)
    return np.linalg.solve(A.T @ W @ A, A.T @ W @ b)


def by_hand(X, y, Z, w=None, steps=1):
    """Two-stage least squares and further steps, as in a textbook."""
    w = np.ones(len(y)) if w is None else w
    X, Z = np.c_[X, np.ones(len(y))], np.c_[Z, np.ones(len(y))]
    A, b = (Z * w[:, None]).T @ X, (Z * w[:, None]).T @ y
    beta = weighted((Z * w[:, None]).T @ Z, A, b)
    for _ in range(steps - 1):
        u = y - X @ beta
        beta = weighted((Z * (w * u**2)[:, None]).T @ Z, A, b)
    return beta


@pytest.mark.parametrize(("method", "steps"), [("2sls", 1), ("two-step", 2)])
def test_is_the_textbook_formula(method, steps):
    X, y, Z = design(0)
    model = LinearGMMRegressor(method).fit(X, y, instruments=Z)
    expected = by_hand(X, y, Z, steps=steps)
    np.testing.assert_allclose(model.coef_, expected[:-1], rtol=1e-11)
    assert model.intercept_ == pytest.approx(expected[-1], rel=1e-11)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_equals_linearmodels(method, scale):
    iv = pytest.importorskip("linearmodels.iv")
    X, y, Z = design(1)
    X, y = X + scale, y * scale
    exogenous = np.c_[np.ones(len(y)), X[:, 1:]]
    Z = np.c_[Z[:, :4], X[:, 1:]]
    model = LinearGMMRegressor(method).fit(X, y, instruments=Z)
    kind = {"2sls": iv.IV2SLS, "cue": iv.IVGMMCUE}.get(method, iv.IVGMM)
    peer = kind(y, exogenous, X[:, 0], Z[:, :4])
    how = {"iter_limit": 1000, "tol": 1e-15} if method == "iterated" else {}
    found = peer.fit(cov_type="robust", **how)
    params, errors = found.params.to_numpy(), found.std_errors.to_numpy()
    # their minimiser of the continuously updated criterion stops at about 1e-6
    rtol = 1e-5 if method == "cue" else 1e-10
    np.testing.assert_allclose(model.coef_, params[[3, 1, 2]], rtol=rtol)
    np.testing.assert_allclose(model.coef_std_, errors[[3, 1, 2]], rtol=rtol)
    if method != "cue":
        peer_j = found.sargan if method == "2sls" else found.j_stat
        assert model.j_stat_ == pytest.approx(peer_j.stat, rel=1e-8)
        assert model.j_pvalue_ == pytest.approx(peer_j.pval, rel=1e-8)
    if method == "2sls":
        assert model.endogeneity_stat_ == pytest.approx(found.durbin().stat, rel=1e-8)
        simple = peer.fit(cov_type="unadjusted", debiased=True)
        table = simple.first_stage.diagnostics
        assert model.first_stage_f_[0] == pytest.approx(
            float(table["f.stat"].iloc[0]), rel=1e-8
        )


def continuous(beta, X, y, Z):
    u = y - X @ beta
    g = Z.T @ u / len(y)
    S = (Z * (u**2)[:, None]).T @ Z / len(y)
    return g @ np.linalg.solve(S, g)


@pytest.mark.parametrize("seed", range(4))
def test_the_continuously_updated_criterion_is_at_its_minimum(seed):
    X, y, Z = design(seed, n=120)
    model = LinearGMMRegressor("cue").fit(X, y, instruments=Z)
    arguments = np.c_[X, np.ones(120)], y, np.c_[Z, np.ones(120)]
    at = np.append(model.coef_, model.intercept_)
    value = continuous(at, *arguments)
    assert model.j_stat_ == pytest.approx(120 * value, rel=1e-9)
    simplex = minimize(
        continuous, at + 0.05, arguments, "Nelder-Mead", options={"maxfev": 4000}
    )
    assert value <= simplex.fun * (1 + 1e-9)
    for shift in 1e-4 * np.eye(4):
        slope = continuous(at + shift, *arguments) - continuous(at - shift, *arguments)
        assert abs(slope) <= 1e-9


@settings(max_examples=16)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.integers(1, 12))
def test_blocks_and_the_order_of_rows_change_nothing(seed, method, n_blocks):
    X, y, Z = design(seed, n=120)
    model = LinearGMMRegressor(method).fit(X, y, instruments=Z)
    rng = np.random.default_rng(seed)
    streamed = LinearGMMRegressor(method)
    for rows in np.array_split(rng.permutation(120), n_blocks):
        streamed.partial_fit(X[rows], y[rows], instruments=Z[rows])
    np.testing.assert_allclose(streamed.coef_, model.coef_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(streamed.coef_std_, model.coef_std_, rtol=1e-8)
    assert streamed.j_stat_ == pytest.approx(model.j_stat_, rel=1e-6, abs=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(-5, 5))
def test_units_shifts_and_dependent_instruments_change_nothing(seed, a, b):
    X, y, Z = design(seed, n=150)
    model = LinearGMMRegressor().fit(X, y, instruments=Z)
    moved = Z * 10**a + 7.0 * 10**a
    moved = np.c_[moved, moved.sum(axis=1), moved[:, 0]]
    other = LinearGMMRegressor().fit(X * 10**b, y, instruments=moved)
    np.testing.assert_allclose(other.coef_ * 10**b, model.coef_, rtol=1e-7)
    assert other.j_stat_ == pytest.approx(model.j_stat_, rel=1e-6)
    assert other.j_pvalue_ == pytest.approx(model.j_pvalue_, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_repeated_rows(method):
    X, y, Z = design(3, n=100)
    w = np.random.default_rng(0).integers(0, 4, 100)
    one = LinearGMMRegressor(method).fit(X, y, instruments=Z, sample_weight=w)
    again = [np.repeat(a, w, axis=0) for a in (X, y, Z)]
    two = LinearGMMRegressor(method).fit(again[0], again[1], instruments=again[2])
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-9)
    np.testing.assert_allclose(one.coef_std_, two.coef_std_, rtol=1e-9)


def test_exogenous_columns_give_least_squares_and_sandwich_errors():
    X, y = load_diabetes(return_X_y=True)
    model = LinearGMMRegressor().fit(X, y, instruments=X)
    peer = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-8)
    assert not model.endogenous_.any() and len(model.first_stage_f_) == 0
    assert (model.j_stat_, model.j_pvalue_) == (0.0, 1.0)
    assert (model.endogeneity_stat_, model.endogeneity_pvalue_) == (0.0, 1.0)
    centred = X - X.mean(axis=0)
    bread = np.linalg.inv(centred.T @ centred)
    u = y - peer.predict(X)
    cov = bread @ (centred * (u**2)[:, None]).T @ centred @ bread
    np.testing.assert_allclose(model.coef_std_, np.sqrt(np.diag(cov)), rtol=1e-8)


def test_rows_take_the_place_of_sums_that_would_be_too_large(monkeypatch):
    X, y, Z = design(4)
    fitted = {m: LinearGMMRegressor(m).fit(X, y, instruments=Z) for m in METHODS}
    monkeypatch.setattr("skdiff.causal._linear_gmm._stream.LARGEST_STATE", 100)
    for method, model in fitted.items():
        other = LinearGMMRegressor(method).fit(X, y, instruments=Z)
        np.testing.assert_allclose(other.coef_, model.coef_, rtol=1e-8)
        np.testing.assert_allclose(other.coef_std_, model.coef_std_, rtol=1e-8)
        with pytest.raises(ValueError, match='Use streaming="sgmm"'):
            other.partial_fit(X, y, instruments=Z)
    simple = LinearGMMRegressor("2sls", cov="unadjusted")  # needs none of them
    simple.partial_fit(X, y, instruments=Z)


def recursion(X, y, Z, start=100, exponent=0.501):
    """SGMM of Chen et al. (2023): stochastic steps, Sherman-Morrison, averaging."""
    X, Z = np.c_[X, np.ones(len(y))], np.c_[Z, np.ones(len(y))]
    beta = by_hand(X[:start, :-1], y[:start], Z[:start, :-1])
    phi = Z[:start].T @ X[:start] / start
    u = y[:start] - X[:start] @ beta
    W = np.linalg.inv((Z[:start] * (u**2)[:, None]).T @ Z[:start] / start)
    mean = np.zeros_like(beta)
    for i, (x, target, z) in enumerate(
        zip(X[start:], y[start:], Z[start:], strict=True), 1
    ):
        n = start + i
        g = z * (x @ beta - target)
        phi += (np.outer(z, x) - phi) / n
        Wg = W @ g
        W = n / (n - 1) * (W - np.outer(Wg, Wg) / (n - 1 + g @ Wg))
        half = phi.T @ W
        beta = beta - i**-exponent * np.linalg.solve(half @ phi, half @ g)
        mean += (beta - mean) / i
    return mean[:-1]


def test_running_weights_come_nearer_to_two_steps_than_stochastic_steps():
    ours, theirs = [], []
    for seed in range(6):
        X, y, Z = design(seed, n=3000)
        exact = LinearGMMRegressor().fit(X, y, instruments=Z)
        model = LinearGMMRegressor(streaming="sgmm")
        for rows in np.array_split(np.arange(3000), 17):
            model.partial_fit(X[rows], y[rows], instruments=Z[rows])
        ours.append((model.coef_ - exact.coef_) / exact.coef_std_)
        theirs.append((recursion(X, y, Z) - exact.coef_) / exact.coef_std_)
        np.testing.assert_allclose(model.coef_std_, exact.coef_std_, rtol=0.05)
        assert model.j_stat_ == pytest.approx(exact.j_stat_, rel=0.2, abs=0.3)
    ours, theirs = np.abs(ours), np.abs(theirs)
    assert ours.max() < 0.1  # standard errors
    assert ours.mean() < 0.3 * theirs.mean()


def test_many_instruments_stream_in_small_memory():
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(3000, 70)), rng.normal(size=3000)
    X = Z @ rng.normal(size=(70, 30)) + u[:, None]
    y = X.sum(axis=1) + 5 * u
    model = LinearGMMRegressor(streaming="sgmm")
    for rows in np.array_split(np.arange(3000), 6):
        model.partial_fit(X[rows], y[rows], instruments=Z[rows])
    assert np.abs(model.coef_ - 1).max() < 0.3
    with pytest.raises(ValueError, match="71 instruments and 31 regressors"):
        LinearGMMRegressor().partial_fit(X, y, instruments=Z)


# --- what the tests of the method detect ----------------------------------------------


def linear_iv(rng, n=500, invalid=0.0):
    """The design of the specification: corr(u, v) = .6, three instruments."""
    Z = rng.normal(size=(n, 3))
    u, e = rng.normal(size=(2, n))
    x = Z @ [0.5, 0.5, 0.5] + 0.6 * u + 0.8 * e
    return x[:, None], x + invalid * Z[:, 0] + u, Z


@pytest.mark.slow
def test_sizes_and_power_in_the_linear_design():
    rng = np.random.default_rng(0)
    rejected, covered, biases, ols = 0, 0, [], []
    repeats = 2000
    for _ in range(repeats):
        X, y, Z = linear_iv(rng)
        model = LinearGMMRegressor().fit(X, y, instruments=Z)
        rejected += model.j_pvalue_ < 0.05
        biases.append(model.coef_[0] - 1)
        covered += abs(model.coef_[0] - 1) < 1.96 * model.coef_std_[0]
        ols.append(np.cov(X[:, 0], y)[0, 1] / X.var() - 1)
    assert rejected / repeats == pytest.approx(0.05, abs=0.015)
    assert covered / repeats == pytest.approx(0.95, abs=0.015)
    assert np.mean(ols) == pytest.approx(0.6 / 1.75, abs=0.01)
    assert abs(np.mean(biases)) < 0.01
    found = [
        LinearGMMRegressor()
        .fit(*(d := linear_iv(rng, 1000, 0.3))[:2], instruments=d[2])
        .j_pvalue_
        < 0.05
        for _ in range(200)
    ]
    assert np.mean(found) >= 0.9


def test_weak_instruments_warn():
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(300, 3)), rng.normal(size=300)
    x = 0.05 * Z[:, 0] + u + rng.normal(size=300)
    with pytest.warns(UserWarning, match=r"instruments are weak: .* F is \d"):
        model = LinearGMMRegressor().fit(x[:, None], x + u, instruments=Z)
    assert model.first_stage_f_[0] < 10
    # each column has its instrument, but both have the same one
    a = Z[:, 0] + 0.01 * rng.normal(size=300)
    both = np.c_[a + u, a + rng.normal(size=300)]
    with pytest.warns(UserWarning, match="instruments are weak"):
        model = LinearGMMRegressor().fit(both, u, instruments=Z)
    assert model.first_stage_f_.min() > 10 > model.cragg_donald_f_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X, y, Z = design(0)
        LinearGMMRegressor().fit(X, y, instruments=Z)


# --- what is refused ------------------------------------------------------------------


def test_bad_designs_are_named():
    X, y, Z = design(0)
    model = LinearGMMRegressor()
    with pytest.raises(ValueError, match="needs `instruments`"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="2 instruments for 3 regressors"):
        model.fit(X, y, instruments=Z[:, :2])
    with pytest.raises(ValueError, match=r"linearly dependent.*condition number"):
        model.fit(X[:, [0, 0, 1]], y, instruments=Z)
    with pytest.raises(ValueError, match=r"linearly dependent.*condition number"):
        model.fit(np.c_[X, np.ones(len(y))], y, instruments=Z)
    with pytest.raises(ValueError, match=r"rank below .* 4 of regressors: 3 instrum"):
        model.fit(X, y, instruments=Z[:, [0, 1, 1, 1]])
    empty = np.random.default_rng(99).normal(size=(len(y), 2))
    noise = (
        empty
        - np.c_[X, np.ones(len(y))]
        @ np.linalg.lstsq(np.c_[X, np.ones(len(y))], empty, rcond=None)[0]
    )
    with pytest.raises(ValueError, match="not identified"):
        model.fit(X, y, instruments=np.c_[X[:, 1:], noise])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y, instruments=Z[:-1])
    for bad in (np.nan, np.inf):
        broken = Z.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match="instruments contains"):
            model.fit(X, y, instruments=broken)
    with pytest.raises(ValueError, match='needs the sums of streaming="exact"'):
        LinearGMMRegressor("cue", streaming="sgmm").fit(X, y, instruments=Z)
    with pytest.raises(TypeError, match="instruments has columns of dates"):
        model.fit(X, y, instruments=Z.astype("datetime64[s]"))


def test_a_stream_that_has_just_begun_counts_as_not_fitted():
    X, y, Z = design(0)
    model = LinearGMMRegressor()
    for k in range(3):
        model.partial_fit(X[k : k + 1], y[k : k + 1], instruments=Z[k : k + 1])
        with pytest.raises(NotFittedError, match="too few rows"):
            model.predict(X)
        assert not hasattr(model, "coef_")
    model.partial_fit(X[3:], y[3:], instruments=Z[3:])
    full = LinearGMMRegressor().fit(X, y, instruments=Z)
    np.testing.assert_allclose(model.predict(X), full.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="instruments has 5 columns"):
        model.partial_fit(X, y, instruments=Z[:, 1:])


def test_errorless_targets_and_huge_offsets():
    X, _, Z = design(5)
    for method in METHODS:
        model = LinearGMMRegressor(method).fit(X, X @ [1, 2, 3] + 4, instruments=Z)
        np.testing.assert_allclose(model.coef_, [1, 2, 3], rtol=1e-9)
        assert np.isfinite(model.j_stat_) and np.isfinite(model.coef_std_).all()
    X, y, Z = design(6)
    near, far = (
        LinearGMMRegressor().fit(X + s, y + s, instruments=Z + s) for s in (0, 1e6)
    )
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-7)
    np.testing.assert_allclose(far.coef_std_, near.coef_std_, rtol=1e-7)


# --- in the hands of scikit-learn -----------------------------------------------------


def test_summary_and_names():
    pd = pytest.importorskip("pandas")
    X, y, Z = design(0)
    frame = pd.DataFrame(X, columns=["price", "age", "size"])
    tools = pd.DataFrame(Z, columns=["a", "b", "c", "d", "age", "size"])
    model = LinearGMMRegressor().fit(frame, y, instruments=tools)
    assert list(model.instrument_names_in_) == list(tools.columns)
    summary = model.summary_frame()
    assert list(summary.index) == ["intercept", "price", "age", "size"]
    assert list(summary) == ["coef", "std_err", "z", "pvalue", "ci_low", "ci_high"]
    assert summary.loc["price", "ci_low"] < 2 < summary.loc["price", "ci_high"]
    np.testing.assert_array_equal(summary["coef"][1:], model.coef_)
    with pytest.raises(ValueError, match="column names of instruments"):
        model.partial_fit(frame, y, instruments=tools[tools.columns[::-1]])
    plain = LinearGMMRegressor(fit_intercept=False).fit(X, y, instruments=Z)
    assert list(plain.summary_frame().index) == ["x0", "x1", "x2"]


def test_instruments_are_routed_through_a_search(child):
    rng = np.random.default_rng(0)
    X, _ = load_diabetes(return_X_y=True)
    Z = np.c_[X[:, :4], X[:, 4] + X[:, 5], X[:, 6]]
    hidden = rng.normal(scale=0.05, size=len(X))
    x = (Z @ [1, 1, 1, 1, 1, 1] + hidden)[:, None]
    y = 3 * x[:, 0] - 2 * hidden
    with sklearn.config_context(enable_metadata_routing=True):
        model = LinearGMMRegressor().set_fit_request(instruments=True)
        pipeline = make_pipeline(StandardScaler(), model)
        grid = {"lineargmmregressor__weights": ["2sls", "two-step"]}
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
        with joblib.parallel_config(backend="child"):
            search.fit(x, y, instruments=Z)
    best = search.best_estimator_[-1]
    assert best.coef_[0] / x.std() == pytest.approx(3, abs=0.15)
    with pytest.raises(ValueError, match="needs `instruments`"):
        clone(best).fit(x, y)
