"""R-learners: error of effects and averages on tables, time beside econml, a graph.

``SKDIFF_DATA`` names the folder of the tables ihdp (effects known), lalonde (average
known from an experiment) and acic2018_nslm. Peers: ``econml`` and ``doubleml`` where
they are installed.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip
from benchmarks._causal_tables import read  # isort: skip

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    RidgeCV,
)
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skdiff.causal import GraphRLearner, RLearner

warnings.simplefilter("ignore")


def ridge():
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 7)))


def logistic():
    return make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=5, l1_ratios=(0,), max_iter=500)
    )


def boosting():
    return HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=8, random_state=0)


def boosted_classes():
    return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)


def learners():
    """R-learners by name."""
    return {
        "R, linear": RLearner(ridge(), logistic(), ridge(), random_state=0),
        "R, boosted nuisances": RLearner(
            boosting(), boosted_classes(), ridge(), random_state=0
        ),
        "R, all boosted": RLearner(
            boosting(), boosted_classes(), boosting(), random_state=0
        ),
        "R, defaults": RLearner(random_state=0),
    }


def two_models(make, X, y, t):
    """Difference of one model for the treated and one for the others."""
    treated, other = make().fit(X[t == 1], y[t == 1]), make().fit(X[t == 0], y[t == 0])
    return treated.predict(X) - other.predict(X)


def peers(X, y, t, final=None):
    """Effects by econml's LinearDML with the same models, or None."""
    try:
        from econml.dml import LinearDML
    except ImportError:
        return None
    model = LinearDML(
        model_y=ridge(),
        model_t=logistic(),
        discrete_treatment=True,
        cv=5,
        random_state=0,
    )
    return model.fit(y, t, X=X).effect(X)


def ihdp():
    """Root of the mean squared error of effects, and error of the average."""
    table = read("ihdp")
    if table is None:
        return
    columns = [f"x{k}" for k in range(1, 26)]
    found = {}
    for _, part in table.groupby("replication"):
        X, y = part[columns].to_numpy(), part["y_factual"].to_numpy()
        t, effect = part["treatment"].to_numpy(), (part["mu1"] - part["mu0"]).to_numpy()
        for name, model in learners().items():
            model.fit(X, y, treatment=t)
            note(found, name, model.effect(X), effect, model.ate_)
        for kind, make in (("ridge", ridge), ("boosting", boosting)):
            note(found, f"two models, {kind}", two_models(make, X, y, t), effect)
        note(found, "difference of means", np.full(len(y), naive(y, t)), effect)
        if (theirs := peers(X, y, t)) is not None:
            note(found, "econml LinearDML", theirs, effect)
    print(
        "\nihdp, 10 replications: median root error of effects, mean |error of average|"
    )
    for name, errors in found.items():
        root, mean = np.median(errors, axis=0)[0], np.mean(errors, axis=0)[1]
        print(f"{name:28s} {root:8.3f} {mean:8.3f}")


def naive(y, t):
    return y[t == 1].mean() - y[t == 0].mean()


def note(found, name, effects, truth, ate=None):
    ate = effects.mean() if ate is None else ate
    root = np.sqrt(np.mean((effects - truth) ** 2))
    found.setdefault(name, []).append((root, abs(ate - truth.mean())))


def lalonde():
    """Effect of training on earnings, with controls that are no experiment."""
    table = read("lalonde")
    if table is None:
        return
    columns = ["age", "educ", "black", "hisp", "married", "re74", "re75"]
    trial = table["sample"] == "nsw_experiment"
    y, t = table["re78"].to_numpy(), table["train"].to_numpy()
    print(f"\nlalonde, thousands: experiment {naive(y[trial], t[trial]):.2f}", end=" ")
    survey = (t == 1) | ~trial
    X, y, t = table.loc[survey, columns].to_numpy(), y[survey], t[survey]
    print(f"survey controls: difference of means {naive(y, t):.2f}")
    ols = LinearRegression().fit(np.c_[t, X], y).coef_[0]
    print(f"{'least squares':28s} {ols:8.2f}")
    for name, model in learners().items():
        model.fit(X, y, treatment=t)
        low, high = model.ate_interval_
        u = model.treatment_residual_
        overlap = u @ model.outcome_residual_ / (u @ u)
        print(f"{name:28s} {model.ate_:8.2f} [{low:.2f}, {high:.2f}]", end=" ")
        print(f"constant effect {overlap:.2f}")
    try:
        from doubleml import DoubleMLData, DoubleMLPLR
    except ImportError:
        return
    data = DoubleMLData.from_arrays(X, y, t)
    np.random.seed(0)  # noqa: NPY002, which doubleml draws its folds from
    plr = DoubleMLPLR(data, boosting(), boosted_classes(), n_folds=5).fit()
    print(f"{'doubleml PLR, boosted':28s} {plr.coef[0]:8.2f} ({plr.se[0]:.2f})")


def acic():
    """Average effect of a mindset intervention; about .24 to .27 in the workshop."""
    table = read("acic2018_nslm")
    if table is None:
        return
    columns = [c for c in table if c not in ("y", "z", "schoolid")]
    X, y, t = table[columns].to_numpy(), table["y"].to_numpy(), table["z"].to_numpy()
    print(f"\nacic2018_nslm: difference of means {naive(y, t):.3f}")
    for name, model in learners().items():
        model.fit(X, y, treatment=t, groups=table["schoolid"])
        low, high = model.ate_interval_
        report = model.final_stage_report({"linear": ridge(), "boosted": boosting()})
        print(f"{name:28s} {model.ate_:.3f} [{low:.3f}, {high:.3f}]", end=" ")
        print("R-scores", report["r_score"].round(4).to_dict())


def speed():
    """Seconds of a fit beside LinearDML, the same models and folds."""
    rows = []
    for n in pick((2000, 20_000), (500,)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, 10))
        t = (rng.random(n) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
        y = X[:, 0] + t * (1 + X[:, 1]) + rng.normal(size=n)

        def ours(X=X, y=y, t=t):
            model = RLearner(RidgeCV(), LogisticRegression(), cv=5, random_state=0)
            return model.fit(X, y, treatment=t).effect_interval(X)

        timed = {"ours": ours}
        try:
            from econml.dml import LinearDML
        except ImportError:
            print("econml is not installed: ours alone")
        else:

            def theirs(X=X, y=y, t=t):
                model = LinearDML(
                    model_y=RidgeCV(),
                    model_t=LogisticRegression(),
                    discrete_treatment=True,
                    cv=5,
                    random_state=0,
                )
                return model.fit(y, t, X=X).effect_interval(X)

            timed["theirs"] = theirs
        best = interleaved(timed, 3)
        rows.append(
            Row(
                f"fit, intervals, {n} x 10",
                best["ours"],
                best.get("theirs"),
                "LinearDML",
            )
        )
    print_table("RLearner", rows, "econml")


def graph(repeats=10):
    """Mean squared error of effects that hang on neighbours, and R-losses."""
    found = {}
    for seed in range(pick(repeats, 1)):
        rng = np.random.default_rng(seed)
        n = 1500
        edges = kneighbors_graph(rng.uniform(size=(n, 2)), 6)
        X = rng.normal(size=(n, 6))
        N = edges @ X / 6
        p = 1 / (1 + np.exp(-0.7 * (X[:, 0] + 2 * N[:, 1])))
        t, effect = (rng.random(n) < p).astype(int), 1 + 4.9 * N[:, 0]
        y = X[:, 1] + 2 * N[:, 2] + t * effect + rng.normal(size=n)
        for nuisance in ("own", "graph"):
            model = GraphRLearner(
                make_pipeline(PolynomialFeatures(2), RidgeCV(np.logspace(-1, 4, 6))),
                make_pipeline(
                    PolynomialFeatures(2), LogisticRegression(C=0.01, max_iter=300)
                ),
                nuisance_features=nuisance,
                random_state=0,
            ).fit(X, y, treatment=t, adjacency=edges)
            report = model.final_stage_report({"linear": LinearRegression()})
            for final in ("own", "graph"):
                model.set_params(final_features=final).refit_final(LinearRegression())
                error = np.mean((model.effect(X) - effect) ** 2)
                loss = report.loc["linear", f"r_loss_{final}"]
                found.setdefault((nuisance, final), []).append((error, loss))
    print("\nnuisance/final: error of effects, cross-validated R-loss")
    for (nuisance, final), values in found.items():
        error, loss = np.mean(values, axis=0)
        print(f"{nuisance}/{final:8s} {error:.3f} {loss:.2f}")


if __name__ == "__main__":
    run(speed, graph, ihdp, lalonde, acic)
