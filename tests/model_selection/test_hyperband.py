"""HyperbandSearchCV: tables, counting, promotion, continuation, and the surface."""

import warnings
from collections import Counter
from itertools import pairwise

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import loguniform, randint, uniform
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import HyperbandSearchCV
from skdiff.model_selection._sampled._hyperband._schedule import (
    hyperband_schedule,
    most_halvings,
    promote,
    ranked,
)
from skdiff.model_selection._sampled._training import adds_iterations, nested_order
from tests.model_selection._curves import Curve, table

SPACE = {"quality": uniform(0, 1), "rate": loguniform(0.05, 1)}


def hyperband(estimator=None, space=None, **options):
    options = {"max_resource": 27, "resource": "partial_fit", "cv": 2} | options
    return HyperbandSearchCV(
        Curve() if estimator is None else estimator,
        SPACE if space is None else space,
        random_state=0,
        **options,
    )


@pytest.fixture
def counted():
    Curve.work, Curve.rows = Counter(), []
    return Curve


# --- tables ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "first", "total", "continuing", "restarting"),
    [
        (27, (27, 12, 6, 4), 49, 357, 423),
        (81, (81, 34, 15, 8, 5), 143, 1581, 1902),
    ],
)
def test_the_tables_of_the_paper(most, first, total, continuing, restarting):
    schedule = hyperband_schedule(most, 1, 3)
    starts = [(n, r) for _, rung, n, r in schedule if rung == 0]
    assert tuple(n for n, _ in starts) == first and sum(first) == total
    assert sum(n * r for _, _, n, r in schedule) == restarting
    last, units = None, 0
    for _, rung, n, r in schedule:
        units += n * (r - (last if rung else 0))
        last = r
    assert units == continuing


def test_the_whole_table_of_27():
    assert hyperband_schedule(27, 1, 3) == [
        (3, 0, 27, 1), (3, 1, 9, 3), (3, 2, 3, 9), (3, 3, 1, 27),
        (2, 0, 12, 3), (2, 1, 4, 9), (2, 2, 1, 27),
        (1, 0, 6, 9), (1, 1, 2, 27),
        (0, 0, 4, 27),
    ]  # fmt: skip


@pytest.mark.parametrize("factor", [2, 3, 5, 10])
@pytest.mark.parametrize("power", [1, 2, 3, 5, 12])
def test_exact_powers_are_not_one_short(factor, power):
    assert most_halvings(factor**power, 1, factor) == power
    assert most_halvings(factor**power - 1, 1, factor) == power - 1
    assert most_halvings(7 * factor**power, 7, factor) == power


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 7))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_every_schedule_keeps_its_promises(one, other, factor):
    least, most = sorted((one, other))
    schedule = hyperband_schedule(most, least, factor)
    s_max = most_halvings(most, least, factor)
    assert least * factor**s_max <= most < least * factor ** (s_max + 1)
    for s in range(s_max + 1):
        rungs = [(n, r) for b, _, n, r in schedule if b == s]
        assert len(rungs) == s + 1 and rungs[-1][1] == most
        assert all(r >= least for _, r in rungs) and rungs[-1][0] >= 1
        for (n, r), (n2, r2) in pairwise(rungs):
            assert n2 <= n / factor and abs(r2 - factor * r) <= factor
    deeper = hyperband_schedule(most * factor, least, factor)
    for s, rung, n, r in schedule:  # bracket s is the head of bracket s + 1
        (grown,) = [x for x in deeper if x[:2] == (s + 1, rung)]
        assert grown[2] >= n and grown[3] == r


def test_get_schedule_before_and_after_a_fit():
    search = hyperband(brackets=2)
    assert search.get_schedule() == hyperband_schedule(27, 1, 3, 2)
    assert {row[0] for row in search.get_schedule()} == {3, 2}
    rows = HyperbandSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=2)
    with pytest.raises(ValueError, match="is larger than"):
        hyperband(min_resource=28).get_schedule()
    with pytest.raises(NotFittedError, match="max_resource='auto'"):
        rows.get_schedule()
    rows.fit(*table(40))
    assert rows.get_schedule() == rows.schedule_ == hyperband_schedule(20, 4, 3)
    assert rows.max_resource_ == 20 and rows.min_resource_ == 4


# --- what is trained -------------------------------------------------------------


def test_units_are_those_of_the_table(counted):
    search = hyperband().fit(*table())
    assert counted.work["units"] == 2 * 357 + 27  # two folds, and the last training
    assert search.resource_used_ == 357 and search.n_candidates_ == 49
    assert search.schedule_ == hyperband_schedule(27, 1, 3)
    results = search.cv_results_
    for s, rung, n, r in search.schedule_:
        here = (results["bracket"] == s) & (results["iter"] == rung)
        assert here.sum() == n and set(results["resource"][here]) == {r}


def test_what_cannot_continue_starts_again(counted):
    class Forgetful(Curve):
        def __init__(self, quality=0.0, rate=1.0, broken=False, n_steps=1):
            super().__init__(quality, rate, broken, n_steps)
            del self.warm_start

        def fit(self, X, y):
            self.__dict__.pop("epochs_", None)
            self._train(X, self.n_steps)
            return self

    search = hyperband(Forgetful(), resource="n_steps").fit(*table())
    assert counted.work["units"] == 2 * 423 + 27
    assert search.resource_used_ == 423


def test_a_total_count_is_set_and_continued(counted):
    search = hyperband(resource="n_steps").fit(*table())
    assert counted.work["units"] == 2 * 357 + 27
    assert search.best_params_["n_steps"] == 27
    assert search.best_estimator_.get_params()["warm_start"] is False
    assert search.best_estimator_.epochs_ == 27


def test_deepening_costs_the_difference_and_repeats_nothing(counted):
    X, y = table()
    search = hyperband(warm_start=True).fit(X, y)
    counted.work.clear()
    before = search.cv_results_
    search.set_params(max_resource=81).fit(X, y)
    assert counted.work["units"] == 2 * (1581 - 357) + 81
    assert search.resource_used_ == 1581 and search.n_candidates_ == 143
    assert search.schedule_ == hyperband_schedule(81, 1, 3)
    keys = [
        (tuple(p.values()), r)
        for p, r in zip(
            search.cv_results_["params"], search.cv_results_["resource"], strict=True
        )
    ]
    assert len(keys) == len(set(keys))
    for s, rung, n, _ in search.schedule_:
        here = search.cv_results_["bracket"] == s
        assert (here & (search.cv_results_["iter"] == rung)).sum() == n
    old = {
        (tuple(p.values()), r): m
        for p, r, m in zip(
            before["params"], before["resource"], before["mean_test_score"], strict=True
        )
    }
    new = dict(zip(keys, search.cv_results_["mean_test_score"], strict=True))
    assert all(new[key] == score for key, score in old.items())


def test_a_second_fit_without_change_trains_nothing_but_the_best(counted):
    X, y = table()
    search = hyperband(warm_start=True).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    counted.work.clear()
    search.fit(X, y)
    assert counted.work["units"] == 27
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)


@pytest.mark.parametrize("rule", ["efficient", "preserve", "discard"])
def test_deepening_by_each_rule(rule, counted):
    X, y = table()
    search = hyperband(warm_start=True, max_resource=9, promotion=rule).fit(X, y)
    old = search.cv_results_
    dropped = {
        (s + 1, rung, tuple(p.values()))
        for s, rung, p, went in zip(
            old["bracket"], old["iter"], old["params"], old["promoted"], strict=True
        )
        if rung < s and not went
    }
    search.set_params(max_resource=27).fit(X, y)
    results = search.cv_results_
    for s, rung, n, _ in search.schedule_:
        here = (results["bracket"] == s) & (results["iter"] == rung)
        assert here.sum() >= n if rule == "preserve" else here.sum() == n
        if rung < s and rule == "preserve":
            scores = results["mean_test_score"][here]
            went = results["promoted"][here]
            size = next(x[2] for x in search.schedule_ if x[:2] == (s, rung + 1))
            # everything a fresh run would promote is promoted
            assert went[np.argsort(-scores, kind="stable")[:size]].all()
    again = {
        (s, rung, tuple(p.values()))
        for s, rung, p, went in zip(
            results["bracket"],
            results["iter"],
            results["params"],
            results["promoted"],
            strict=True,
        )
        if went and (s, rung, tuple(p.values())) in dropped
    }
    assert (rule == "discard") == (not again)
    assert len(search.cv_results_["params"]) == len(
        {
            (tuple(p.values()), r)
            for p, r in zip(results["params"], results["resource"], strict=True)
        }
    )


def test_promotion_rules_on_one_rung():
    members, scores = [0, 1, 2, 3, 4, 5], np.array([5.0, 1, 2, 9, 8, np.nan])
    assert ranked(scores) == [3, 4, 0, 2, 1]
    assert promote(members, scores, 2) == [3, 4]
    assert promote(members, scores, 3, settled=[1]) == [3, 4]
    assert promote(members, scores, 3, settled=[1], rule="preserve") == [3, 4, 0]
    assert promote(members, scores, 3, settled=[1], eliminated=[3], rule="discard") == [
        4,
        0,
    ]
    assert promote(members, np.full(6, np.nan), 3) == []
    assert promote([7, 8, 9], np.ones(3), 2) == [7, 8]  # ties keep their order


@given(
    st.lists(st.integers(0, 5), min_size=6, max_size=20),
    st.integers(1, 6),
    st.sets(st.integers(0, 5), max_size=3),
)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_preserving_promotes_no_worse_than_a_fresh_run(scores, size, settled):
    members, scores = list(range(len(scores))), np.array(scores, dtype=float)
    fresh = promote(members, scores, size)
    joined = promote(members, scores, size, settled=sorted(settled), rule="preserve")
    after = sorted({*joined, *settled}, key=lambda m: -scores[m])[:size]
    assert scores[after].mean() >= scores[fresh].mean()
    efficient = promote(members, scores, size, settled=sorted(settled))
    assert len({*efficient, *settled}) == max(size, len(settled))


@pytest.mark.parametrize(
    ("estimator", "resource", "grow"),
    [
        (
            SGDClassifier(random_state=0),
            "partial_fit",
            lambda m, X, y, r: [m.partial_fit(X, y, np.unique(y)) for _ in range(r)],
        ),
        (
            make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0)),
            "gradientboostingclassifier__n_estimators",
            None,
        ),
        (
            make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0)),
            "randomforestclassifier__n_estimators",
            None,
        ),
        (
            HistGradientBoostingClassifier(random_state=0, early_stopping=False),
            "max_iter",
            None,
        ),
    ],
)
def test_continued_training_is_uninterrupted_training(estimator, resource, grow):
    X, y = load_iris(return_X_y=True)
    if resource == "partial_fit":
        space = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}
    else:
        name = resource.rsplit("__", 1)[0] + "__" if "__" in resource else ""
        deep = "max_leaf_nodes" if name == "" else "max_depth"
        space = {f"{name}{deep}": [2, 3, 4, 5]}
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    search = HyperbandSearchCV(
        estimator, space, resource=resource, max_resource=9, cv=cv, random_state=0
    ).fit(X, y)
    results = search.cv_results_
    assert (results["resource"][results["iter"] > 0] > 1).any()
    for i, params in enumerate(results["params"]):
        scores = []
        for train, test in cv.split(X, y):
            model = clone(estimator).set_params(**params)
            if grow is None:
                model.fit(X[train], y[train])
            else:
                grow(model, X[train], y[train], results["resource"][i])
            scores.append(model.score(X[test], y[test]))
        assert results["mean_test_score"][i] == pytest.approx(
            np.mean(scores), abs=1e-12
        )


def test_iterations_are_given_the_difference():
    X, y = load_iris(return_X_y=True)

    class Counting(MLPClassifier):
        epochs = Counter()

        def fit(self, X, y):
            super().fit(X, y)
            Counting.epochs["all"] += self.max_iter
            return self

    estimator = Counting(hidden_layer_sizes=(2,), tol=0, n_iter_no_change=1000)
    space = {"alpha": loguniform(1e-6, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hyperband(
            estimator, space, resource="max_iter", max_resource=9, brackets=1
        ).fit(X, y)
    # nine settings one epoch, three two more, one six more; two folds; the refit
    assert Counting.epochs["all"] == 2 * (9 + 6 + 6) + 9


@pytest.mark.parametrize(
    ("model", "resource", "more"),
    [
        (MLPClassifier(), "max_iter", True),
        (SGDClassifier(), "max_iter", True),
        (LogisticRegression(), "max_iter", True),
        (make_pipeline(StandardScaler(), SGDClassifier()), "sgdclassifier__max_iter",
         True),
        (HistGradientBoostingClassifier(), "max_iter", False),
        (GradientBoostingClassifier(), "n_estimators", False),
        (Curve(), "n_steps", False),
    ],
)  # fmt: skip
def test_what_a_warm_start_counts(model, resource, more):
    assert adds_iterations(model, resource) is more


def test_samples_are_nested_and_stratified(counted):
    X, y = table(90)
    search = hyperband(resource="n_samples", max_resource="auto", cv=3).fit(X, y)
    seen = {}
    for rows in counted.rows[:-1]:
        seen.setdefault(len(rows), set()).add(tuple(rows))
    sizes = sorted({r for _, _, _, r in search.schedule_})
    assert sorted(seen) == sizes and sizes[-1] == 60 and len(counted.rows[-1]) == 90
    for small, large in pairwise(sizes):
        for rows in seen[small]:
            assert any(set(rows) <= set(more) for more in seen[large])
    labels = np.repeat([0, 1, 2], [60, 30, 3])
    rng = np.random.RandomState(0)
    order = nested_order(labels, np.arange(93), rng, stratify=True)
    assert set(order) == set(range(93))
    for n in range(3, 93):
        share = np.bincount(labels[order[:n]], minlength=3)
        assert share.min() >= 1
        assert np.abs(share - n * np.array([60, 30, 3]) / 93).max() <= 2


def test_max_resource_may_be_the_number_of_rows():
    X, y = table(60)
    search = HyperbandSearchCV(
        Ridge(), {"alpha": loguniform(1e-3, 1e3)}, max_resource=60, min_resource=20,
        cv=3, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert search.cv_results_["resource"].max() == 60


# --- what is found ---------------------------------------------------------------


def test_the_best_of_known_curves_is_found():
    good = {"quality": [0.7], "rate": [1.0]}
    rest = {"quality": [0.1, 0.2, 0.3, 1.0], "rate": [0.1, 0.2, 0.3, 0.5, 0.9, 1.1]}
    search = hyperband(space=[good, rest]).fit(*table())
    assert search.best_params_ == {"quality": 0.7, "rate": 1.0}
    assert search.best_score_ == pytest.approx(-np.exp(-27))
    assert search.cv_results_["resource"][search.best_index_] == 27


def test_a_slow_learner_is_found_by_the_bracket_that_does_not_stop():
    # quick ones look better after one epoch and two thirds of everything is dropped
    slow = {"quality": [0.7], "rate": [0.4]}
    quick = {"quality": list(np.linspace(0.1, 0.2, 11)), "rate": [3.0]}
    aggressive = hyperband(space=[slow, quick], max_resource=9, brackets=1)
    everything = hyperband(space=[slow, quick], max_resource=9)
    assert aggressive.fit(*table()).best_params_["rate"] == 3.0
    results = everything.fit(*table()).cv_results_
    met = [p["rate"] == 0.4 for p in results["params"]]
    assert everything.best_params_["rate"] == (
        0.4 if np.any(np.array(met) & (results["bracket"] == 0)) else 3.0
    )


def test_one_bracket_decides_as_the_halving_search_does():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    X, y = load_iris(return_X_y=True)
    space = {"learning_rate": np.logspace(-3, 1, 27).tolist()}
    model = GradientBoostingClassifier(max_depth=2, random_state=0)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    halving = HalvingRandomSearchCV(
        model, space, resource="n_estimators", n_candidates=27, factor=3, cv=cv,
        min_resources=1, max_resources=27, random_state=0,
    ).fit(X, y)  # fmt: skip
    ours = HyperbandSearchCV(
        model, space, resource="n_estimators", max_resource=27, brackets=1, cv=cv,
        random_state=0,
    ).fit(X, y)  # fmt: skip

    def by_rate(results, rung):
        rows = np.flatnonzero(results["iter"] == rung)
        return {
            results["params"][i]["learning_rate"]: results["mean_test_score"][i]
            for i in rows
        }

    for rung in range(4):
        theirs, mine = (by_rate(s.cv_results_, rung) for s in (halving, ours))
        assert len(theirs) == len(mine)
        shared = theirs.keys() & mine.keys()
        assert all(theirs[k] == pytest.approx(mine[k], abs=1e-12) for k in shared)
        # where they part company, it is over equal scores
        assert sorted(theirs.values()) == pytest.approx(sorted(mine.values())) or rung


def test_select_any_looks_on_every_rung():
    class Overtrained(Curve):
        def score(self, X, y):
            return -abs(self.epochs_ - 3.0) - self.quality

    search = hyperband(Overtrained(), max_resource=9, select="any").fit(*table())
    assert search.cv_results_["resource"][search.best_index_] == 3
    assert search.best_estimator_.epochs_ == 3
    search.set_params(select="max_resource").fit(*table())
    assert search.best_estimator_.epochs_ == 9


def test_nan_is_never_promoted_nor_selected():
    space = {"broken": [True, False], "quality": np.linspace(0, 1, 30).tolist()}
    with (
        pytest.warns(FitFailedWarning, match="broken on purpose"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="One or more of the test scores")
        search = hyperband(space=space, max_resource=9).fit(*table())
    results = search.cv_results_
    broken = np.array([p["broken"] for p in results["params"]])
    assert np.isnan(results["mean_test_score"][broken]).all()
    assert not results["promoted"][broken].any()
    assert (results["iter"][broken] == 0).all()
    assert search.best_params_["broken"] is False
    worst = results["rank_test_score"][broken].min()
    assert worst > results["rank_test_score"][~broken].max()


def test_failures_of_every_fit_name_a_setting_and_its_error():
    search = hyperband(space={"broken": [True], "quality": uniform(0, 1)})
    words = r"All 54 fits .* failed .*'broken': True.*broken on purpose"
    with pytest.raises(ValueError, match=words) as caught:
        search.fit(*table())
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(NotFittedError):
        search.predict(table()[0])

    def scoring(estimator, X, y):
        raise ZeroDivisionError("no score")

    with pytest.raises(ValueError, match="No setting has a score"):
        hyperband(scoring=scoring, max_resource=3).fit(*table())
    with pytest.raises(ZeroDivisionError):
        hyperband(scoring=scoring, max_resource=3, error_score="raise").fit(*table())


def test_a_number_as_error_score_keeps_going():
    space = {"broken": [True], "quality": uniform(0, 1)}
    mixed = [space, {"quality": uniform(0, 1)}]
    with pytest.warns(FitFailedWarning):
        search = hyperband(space=mixed, max_resource=9, error_score=-9.0)
        search.fit(*table())
    assert (search.cv_results_["mean_test_score"] >= -9).all()
    assert search.best_score_ > -9


# --- the surface -----------------------------------------------------------------


def classifier_search(**options):
    options = {"max_resource": 9, "cv": 3} | options
    return hyperband(
        SGDClassifier(random_state=0), {"alpha": loguniform(1e-6, 1)}, **options
    )


def test_delegation_columns_and_the_estimator_left_alone():
    X, y = load_iris(return_X_y=True, as_frame=True)
    estimator = SGDClassifier(loss="log_loss", random_state=0)
    space = {"alpha": loguniform(1e-6, 1)}
    search = hyperband(estimator, space, max_resource=9, return_train_score=True)
    search.fit(X, y)
    assert not hasattr(estimator, "coef_")
    assert search.predict_proba(X).shape == (150, 3)
    assert list(search.feature_names_in_) == list(X.columns)
    assert list(search.classes_) == [0, 1, 2]
    assert search.score(X, y) == search.best_estimator_.score(X, y)
    for column in (
        "bracket", "iter", "resource", "promoted", "params", "param_alpha",
        "mean_test_score", "std_test_score", "rank_test_score", "split0_test_score",
        "mean_train_score", "mean_fit_time", "mean_score_time",
    ):  # fmt: skip
        assert len(search.cv_results_[column]) == len(search.cv_results_["params"])
    direct = clone(estimator).set_params(**search.best_params_)
    for _ in range(9):
        direct.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(direct.coef_, search.best_estimator_.coef_)


def test_several_metrics():
    X, y = load_breast_cancer(return_X_y=True)
    search = classifier_search(scoring=["accuracy", "roc_auc"], refit="roc_auc")
    search.fit(X, y)
    results = search.cv_results_
    assert search.multimetric_ and set(search.scorer_) == {"accuracy", "roc_auc"}
    assert {"rank_test_accuracy", "rank_test_roc_auc"} <= set(results)
    full = results["resource"] == 9
    assert search.best_score_ == results["mean_test_roc_auc"][full].max()

    def both(estimator, X, y):
        right = float(np.mean(estimator.predict(X) == y))
        return {"right": right, "wrong": 1 - right}

    search = classifier_search(scoring=both, refit="right").fit(X, y)
    assert (
        search.best_score_ == search.cv_results_["mean_test_right"][search.best_index_]
    )
    for scoring in (["accuracy", "roc_auc"], both):
        with pytest.raises(ValueError, match="refit must"):
            classifier_search(scoring=scoring, refit=False).fit(X, y)


def test_refit_false_and_callable():
    X, y = load_iris(return_X_y=True)
    search = classifier_search(refit=False).fit(X, y)
    assert search.best_params_ and not hasattr(search, "best_estimator_")
    with pytest.raises(AttributeError, match="no attribute"):
        search.predict(X)
    search = classifier_search(refit=lambda results: 5).fit(X, y)
    assert search.best_index_ == 5 and search.predict(X).shape == (150,)


def test_groups_reach_the_splitter():
    X, y = load_iris(return_X_y=True)
    groups = np.arange(150) % 5
    search = classifier_search(cv=GroupKFold(5)).fit(X, y, groups=groups)
    assert search.n_splits_ == 5
    with pytest.raises(ValueError, match="groups"):
        classifier_search(cv=GroupKFold(5)).fit(X, y)


@pytest.mark.parametrize("resource", ["partial_fit", "n_samples"])
def test_weights_are_routed(resource):
    X, y = load_iris(return_X_y=True)
    weight = np.where(y == 2, 0.0, 1.0)
    options = {"resource": resource, "max_resource": 9}
    if resource == "n_samples":
        options["max_resource"] = "auto"
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = SGDClassifier(random_state=0)
        estimator.set_partial_fit_request(sample_weight=True)
        estimator.set_fit_request(sample_weight=True)
        scorer = make_scorer(recall_score, average="macro", zero_division=0)
        search = hyperband(
            estimator, {"alpha": loguniform(1e-6, 1e-2)},
            scoring=scorer.set_score_request(sample_weight=True), **options
        )  # fmt: skip
        search.fit(X, y, sample_weight=weight)
        assert not np.any(search.predict(X) == 2)
        with pytest.raises(TypeError, match="unexpected argument"):
            search.fit(X, y, nothing=weight)
    # without routing all of it goes to the estimator
    search = classifier_search(max_resource=3).fit(X, y, sample_weight=weight)
    direct = SGDClassifier(random_state=0).set_params(**search.best_params_)
    for _ in range(3):
        direct.partial_fit(X, y, np.unique(y), sample_weight=weight)
    np.testing.assert_array_equal(search.best_estimator_.coef_, direct.coef_)


def test_two_processes_give_the_serial_answer():
    X, y = load_iris(return_X_y=True)
    one, two = (
        classifier_search(n_jobs=n, max_resource=3, warm_start=True).fit(X, y)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    deeper = [s.set_params(max_resource=9).fit(X, y) for s in (one, two)]
    scores = [s.cv_results_["mean_test_score"] for s in deeper]
    np.testing.assert_array_equal(*scores)


def test_it_nests_and_sits_in_a_pipeline():
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), classifier_search())
    assert cross_val_score(model, X, y, cv=3).mean() > 0.8
    outer = HyperbandSearchCV(
        classifier_search(), {"factor": [2, 3]}, max_resource="auto", cv=2,
        random_state=0, brackets=1,
    ).fit(X, y)  # fmt: skip
    assert outer.best_estimator_.n_candidates_ > 0


def test_callbacks_stop_between_rungs():
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    from tests.test_common import Recorder

    search = hyperband().set_callbacks(Recorder(stop=True)).fit(*table())
    assert set(search.cv_results_["iter"]) == {0}
    assert search.cv_results_["resource"].max() == 1 == search.best_estimator_.epochs_


def test_verbose_says_where_it_is(capsys):
    hyperband(max_resource=3, verbose=2).fit(*table())
    out = capsys.readouterr().out
    assert "bracket 1, rung 0, partial_fit = 1: 3 settings on 2 folds" in out
    assert "score = " in out


def test_a_small_grid_runs_out_gracefully():
    grid = {"quality": [0.1, 0.7, 0.9], "rate": [0.5, 1.0]}
    search = hyperband(space=grid).fit(*table())
    results = search.cv_results_
    for s in range(4):
        here = (results["bracket"] == s) & (results["iter"] == 0)
        rows = np.flatnonzero(here)
        distinct = {tuple(results["params"][i].values()) for i in rows}
        assert len(distinct) == len(rows) <= 6
    assert search.best_params_ == {"quality": 0.7, "rate": 1.0}


def test_conformal_sampler_beats_random_starts():
    X, y = table()
    space = {"quality": uniform(-10, 20), "rate": loguniform(0.5, 1)}
    best = {"random": [], "conformal": []}
    for seed in range(3):
        for sampler, found in best.items():
            search = hyperband(space=space, sampler=sampler, max_resource=27)
            found.append(search.set_params(random_state=seed).fit(X, y).best_score_)
    assert np.mean(best["conformal"]) > np.mean(best["random"])


def test_pickled_and_saved_searches_deepen(tmp_path):
    X, y = load_iris(return_X_y=True)
    space = {"alpha": np.logspace(-6, 0, 60).tolist()}
    # the state of this classifier is arrays and plain values
    from sklearn.naive_bayes import GaussianNB

    search = hyperband(
        GaussianNB(), {"var_smoothing": space["alpha"]}, max_resource=3, warm_start=True
    ).fit(X, y)
    import pickle

    direct = clone(search).fit(X, y).set_params(max_resource=9).fit(X, y)
    search.save(tmp_path / "search.npz")
    for again in (
        pickle.loads(pickle.dumps(search)),
        HyperbandSearchCV.load(tmp_path / "search.npz"),
    ):
        again.set_params(max_resource=9).fit(X, y)
        assert again.resource_used_ == direct.resource_used_
        np.testing.assert_array_equal(
            again.cv_results_["mean_test_score"], direct.cv_results_["mean_test_score"]
        )


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resource": "quality"}, "cannot be in param_distributions"),
        ({"resource": "nothing"}, "a parameter of Curve"),
        ({"max_resource": "auto"}, "is the number of rows"),
        ({"min_resource": 28}, "is larger than max_resource"),
        ({"resource": "n_samples", "max_resource": 25}, "more than the 24 rows"),
        ({"resource": "n_samples", "min_resource": 20, "max_resource": "auto"},
         "more than the 12 rows"),
        ({"factor": 1}, "factor"),
        ({"estimator": Ridge()}, "Ridge has none"),
        ({"space": {}}, "No setting|param|names|empty"),
        ({"space": {"quality": []}}, "empty list"),
    ],
)  # fmt: skip
def test_bad_plans_are_refused(change, word, counted):
    if change == {"space": {}}:
        search = hyperband(space={}, max_resource=3)
        assert search.fit(*table()).best_params_ == {}  # one setting: the estimator's
        return
    with pytest.raises(ValueError, match=word):
        hyperband(**change).fit(*table())
    assert not counted.work


@pytest.mark.parametrize("space", [[], "quality", {"quality": 3}, [1]])
def test_what_is_no_space_is_refused(space):
    with pytest.raises((TypeError, ValueError), match=r"param_distributions"):
        hyperband(space=space).fit(*table())


def test_deepening_refuses_other_data_and_other_plans():
    X, y = table()
    search = hyperband(warm_start=True, max_resource=9).fit(X, y)
    with pytest.raises(ValueError, match="have changed: X"):
        search.fit(X + 1, y)
    with pytest.raises(ValueError, match="take a power of factor=3"):
        search.set_params(max_resource=18).fit(X, y)
    with pytest.raises(ValueError, match="take a power"):
        search.set_params(max_resource=3).fit(X, y)
    with pytest.raises(ValueError, match="have changed: cv"):
        search.set_params(max_resource=27, cv=3).fit(X, y)
    search.set_params(cv=2).fit(X, y)  # and none of this has done harm
    assert search.resource_used_ == 357


class Interrupted(Curve):
    """Is interrupted at given calls of ``partial_fit``."""

    calls = 0
    at: tuple = ()

    def partial_fit(self, X, y):
        Interrupted.calls += 1
        if Interrupted.calls in Interrupted.at:
            raise KeyboardInterrupt
        return super().partial_fit(X, y)


def test_an_interrupt_before_any_result_leaves_no_half_search():
    Interrupted.calls, Interrupted.at = 0, (2,)
    search = hyperband(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        search.fit(*table())
    with pytest.raises(NotFittedError):
        search.predict(table()[0])
    assert search.fit(*table()).resource_used_ == 357


def test_an_interrupted_search_keeps_its_best():
    Interrupted.calls, Interrupted.at = 0, (40,)
    search = hyperband(Interrupted())
    with pytest.warns(UserWarning, match="its results so far are kept"):
        search.fit(*table())
    assert search.stopped_ == "interrupted"
    scores = search.cv_results_["mean_test_score"]
    # 19 settings had both folds behind them
    assert len(scores) == 19 and search.best_score_ == scores.max()
    assert not hasattr(search, "_race")
    Interrupted.at = ()
    assert search.fit(*table()).stopped_ == "complete"
    assert search.resource_used_ == 357


@pytest.mark.parametrize("at", [(1,), (2,), (30,), (100, 101), (150,), (400,)])
def test_a_resumed_race_survives_interrupts(at):
    options = {"warm_start": True, "max_resource": 9}
    whole = hyperband(Interrupted(), **options)
    broken = clone(whole)
    for search, when in ((whole, ()), (broken, at)):
        Interrupted.at = ()
        search.fit(*table()).set_params(max_resource=27)
        Interrupted.calls, Interrupted.at = 0, when
        for _ in range(4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    search.fit(*table())
                except KeyboardInterrupt:
                    continue
            if search.stopped_ == "complete":
                break
    assert broken.stopped_ == "complete"
    for name in ("mean_test_score", "bracket", "iter", "resource", "promoted"):
        np.testing.assert_array_equal(broken.cv_results_[name], whole.cv_results_[name])
    assert broken.best_params_ == whole.best_params_


def test_the_time_limit_keeps_the_best_so_far_and_can_be_resumed(monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("skdiff._base.progress.time.monotonic", lambda: next(now))
    search = hyperband(warm_start=True, time_limit=20).fit(*table())
    assert search.stopped_ == "time"
    n_rows = len(search.cv_results_["params"])
    assert 0 < n_rows < 27
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    search.set_params(time_limit=None).fit(*table())
    straight = hyperband(warm_start=True).fit(*table())
    assert search.stopped_ == "complete"
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], straight.cv_results_["mean_test_score"]
    )
    assert search.resource_used_ == straight.resource_used_
    # however short the time, one setting is scored
    assert len(hyperband(time_limit=1e-9).fit(*table()).cv_results_["params"]) == 1


def test_two_processes_keep_what_they_had_in_time():
    X, y = load_iris(return_X_y=True)
    search = classifier_search(n_jobs=2, time_limit=1e-9).fit(X, y)
    assert search.stopped_ == "time" and len(search.cv_results_["params"]) == 1


def test_ctrl_c_that_a_training_catches_ends_the_search():
    import os
    import signal

    class Catching(Curve):
        calls = 0

        def partial_fit(self, X, y):
            Catching.calls += 1
            if Catching.calls == 9:
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    for _ in range(1000):
                        pass
                except KeyboardInterrupt:
                    pass
            return super().partial_fit(X, y)

    with pytest.warns(UserWarning, match="its results so far are kept"):
        search = hyperband(Catching()).fit(*table())
    assert search.stopped_ == "interrupted"
    assert len(search.cv_results_["params"]) == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- what can be a resource -------------------------------------------------------


def test_epochs_reach_the_last_step_of_a_pipeline():
    X, y = load_iris(return_X_y=True)
    space = {"sgdclassifier__alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]}
    pipe = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    search = hyperband(pipe, space, max_resource=9, cv=3).fit(X, y)
    best = search.best_params_["sgdclassifier__alpha"]
    direct = SGDClassifier(random_state=0, alpha=best)
    Z = StandardScaler().fit_transform(X)
    for _ in range(9):
        direct.partial_fit(Z, y, np.unique(y))
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, direct.coef_)
    np.testing.assert_array_equal(search.predict(X), direct.predict(Z))
    # folds: earlier steps see the training rows alone, and only once
    train, test = next(StratifiedKFold(3).split(X, y))
    scaler = StandardScaler().fit(X[train])
    fold = SGDClassifier(random_state=0, alpha=best)
    for _ in range(9):
        fold.partial_fit(scaler.transform(X[train]), y[train], np.unique(y))
    row = search.best_index_
    assert search.cv_results_["resource"][row] == 9
    score = fold.score(scaler.transform(X[test]), y[test])
    assert search.cv_results_["split0_test_score"][row] == score


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_the_epochs_of_a_pipeline(routing):
    X, y = load_iris(return_X_y=True)
    weight = np.where(y == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=routing):
        last, scaler = SGDClassifier(random_state=0), StandardScaler()
        name = "sgdclassifier__sample_weight"
        if routing:
            name = "sample_weight"
            last.set_fit_request(sample_weight=True)
            last.set_score_request(sample_weight=True)
            scaler.set_fit_request(sample_weight=False)
        search = hyperband(
            make_pipeline(scaler, last), {"sgdclassifier__alpha": [1e-4, 1e-3]},
            max_resource=3, cv=3,
        ).fit(X, y, **{name: weight})  # fmt: skip
        assert not np.any(search.predict(X) == 2)


def test_a_pipeline_whose_memory_copies_steps_continues(tmp_path):
    X, y = load_iris(return_X_y=True)
    space = {"sgdclassifier__alpha": [1e-5, 1e-4, 1e-3]}
    plain = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    cached = clone(plain).set_params(memory=str(tmp_path))
    scores = [
        hyperband(pipe, space, max_resource=9, cv=3).fit(X, y).cv_results_
        for pipe in (plain, cached)
    ]
    np.testing.assert_array_equal(*(s["mean_test_score"] for s in scores))


class Wrapped(SGDClassifier):
    """Takes whatever ``partial_fit`` is given."""

    def partial_fit(self, *args, **kwargs):
        return super().partial_fit(*args, **kwargs)


def test_classes_reach_a_partial_fit_of_any_arguments():
    X, y = load_iris(return_X_y=True)
    space = {"alpha": [1e-5, 1e-4, 1e-3]}
    found = [
        hyperband(model, space, max_resource=3, cv=3).fit(X, y)
        for model in (SGDClassifier(random_state=0), Wrapped(random_state=0))
    ]
    assert found[0].best_score_ == found[1].best_score_


@pytest.mark.parametrize(
    "resource", ["penalty", "tol", "fit_intercept", "random_state", "n_jobs", "verbose"]
)
def test_what_does_not_count_is_no_resource(resource):
    search = classifier_search(resource=resource)
    with pytest.raises(ValueError, match="no parameter that counts"):
        search.fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize(
    ("bounds", "interval"),
    [
        ((1e-3, 1e3), r"scipy.stats.loguniform\(0.001, 1000.0\)"),
        ((1, 9), r"scipy.stats.randint\(1, 10\)"),
        ((-1.0, 3.0), r"scipy.stats.uniform\(-1.0, 4.0\)"),
    ],
)
def test_a_tuple_of_two_bounds_is_no_list(bounds, interval):
    with pytest.raises(ValueError, match=interval):
        classifier_search().set_params(
            param_distributions={"alpha": bounds}
        ).fit(*load_iris(return_X_y=True))  # fmt: skip
    search = hyperband(MLPClassifier(), {"hidden_layer_sizes": (64, 32, 16)})
    search._check_search()


def test_scores_that_are_all_nan_raise_whatever_refits():
    def scoring(estimator, X, y):
        return np.nan

    for refit in (True, False, lambda results: 0):
        search = hyperband(scoring=scoring, max_resource=3, refit=refit)
        with (
            pytest.raises(ValueError, match="No setting has a score"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            search.fit(*table())


# --- distributions ----------------------------------------------------------------


def test_discrete_distributions_are_drawn_without_repeats():
    search = hyperband(space={"n_steps": randint(1, 40)}, max_resource=9, brackets=1)
    found = [p["n_steps"] for p in search.fit(*table()).cv_results_["params"]]
    assert len(set(found[:9])) == 9 and all(type(v) is int for v in found)


# --- elsewhere -------------------------------------------------------------------


def test_a_dask_cluster_gives_the_serial_answer():
    distributed = pytest.importorskip(
        "distributed", reason="a dask cluster needs skdiff[dask]"
    )
    X, y = load_iris(return_X_y=True)
    search = HyperbandSearchCV(
        RandomForestClassifier(random_state=0),
        {"min_samples_leaf": randint(1, 30)},
        resource="n_estimators",
        max_resource=4,
        factor=2,
        cv=2,
        random_state=0,
    )
    serial = clone(search).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a cluster says when it starts and ends
        with (
            distributed.LocalCluster(
                n_workers=1,
                threads_per_worker=2,
                processes=False,
                dashboard_address=None,
            ) as cluster,
            distributed.Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            spread = search.fit(X, y)
    np.testing.assert_array_equal(
        serial.cv_results_["mean_test_score"], spread.cv_results_["mean_test_score"]
    )


@pytest.mark.slow
def test_digits_as_in_the_reference_measurement():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    model = MLPClassifier(hidden_layer_sizes=(32,), random_state=0)
    space = {"alpha": loguniform(1e-6, 1), "learning_rate_init": loguniform(1e-4, 0.3)}
    search = hyperband(model, space, cv=3).fit(X[:629], y[:629])
    assert search.score(X[629:], y[629:]) > 0.9
