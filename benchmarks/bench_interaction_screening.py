"""InteractionScreening and NeuralInteractionScreening against cvxpy and single fits.

``InteractionScreeningCV`` is timed by its path; ``InteractionGraphDisplay`` only draws.
The physical limit of a node is one product of the table with its transpose a Newton
step. With ``SKDIFF_DATA`` naming a folder of real tables, imputation accuracy and
anomaly scores are printed, too.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import QUICK, Row, best_of, print_table, seconds  # isort: skip

import resource

import numpy as np
from sklearn.linear_model import LogisticRegression

from skdiff._convex._solve import solve
from skdiff.density import (
    InteractionScreening,
    InteractionScreeningCV,
    NeuralInteractionScreening,
)
from skdiff.density._coding import histogram
from skdiff.density._features import design, features, layout, list_terms
from skdiff.density._interaction._problem import state_problem
from skdiff.density._interaction._solver import make_node, penalty_strength, solve_node
from skdiff.density._neural_interaction._inference import Network
from skdiff.density._neural_interaction._module import Screening, initial, make_table

CHAIN = (0.2599, -0.6537, 0.0779, -0.3704, 0.0397, 0.2344)


def spins(p, n, sweeps=60, seed=0):
    """Rows of a sparse random Ising model, by Gibbs sampling; and its couplings."""
    rng = np.random.default_rng(seed)
    J = np.zeros((p, p))
    side = int(np.ceil(np.sqrt(p)))
    for i in range(p):
        for j in ((i + 1) if (i + 1) % side else p, i + side):
            if j < p:
                J[i, j] = J[j, i] = rng.uniform(0.3, 0.6) * rng.choice([-1, 1])
    S = np.asfortranarray(rng.choice([-1.0, 1.0], size=(n, p)))
    for _ in range(sweeps):
        for u in range(p):
            near = np.flatnonzero(J[:, u])
            up = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * S[:, near] @ J[near, u]))
            S[:, u] = np.where(up, 1.0, -1.0)
    return J, np.ascontiguousarray(S)


def node_of(S, method, u=0):
    """The problem of one node, its penalty and the number of rows."""
    codes, counts = histogram((S > 0).astype(int), np.ones(len(S)))
    where = layout([2] * S.shape[1])
    terms, width = list_terms(where, 1)
    Z = design(features(codes, where), where, terms, width)
    problem = make_node(
        u, codes, counts / counts.sum(), Z, where, terms, method=method, penalty="group"
    )
    alpha = {"rise": 0.4, "logrise": 0.8, "pseudolikelihood": 0.2}[method]
    return problem, penalty_strength(alpha, 0.05, S.shape[1], len(S))


def against_cvxpy(p, n):
    """One node, direct and by Clarabel."""
    _, S = spins(p, n)
    problem, strength = node_of(S, "rise")
    answer = {}

    def direct():
        answer["direct"] = solve_node(
            problem, [strength], solver="direct", tol=1e-8, max_iter=50
        )[0]

    ours = best_of(direct)
    problem.lasso = strength * problem.unit
    statement, W = state_problem(problem)
    theirs = seconds(lambda: answer.update(cvxpy=solve(statement, W, tol=1e-8)))
    kept = answer["direct"].x[~problem.own]
    off = np.abs(kept - answer["cvxpy"].x.ravel()).max()
    product = best_of(lambda: (problem.Z.T * problem.s) @ problem.Z)
    return Row(
        f"RISE, p={p}, N={n}: a node",
        ours,
        theirs,
        "cvxpy, Clarabel",
        limit=product * answer["direct"].n_iter,
        target="80x",
        note=f"coefficients differ by {off:.0e}",
    )


def against_liblinear(p, n):
    """The pseudo-likelihood of one node is an L1 logistic regression."""
    _, S = spins(p, n)
    problem, strength = node_of(S, "pseudolikelihood")
    X, y = np.delete(S, 0, axis=1), S[:, 0]
    # margins are doubled, so penalties are halved; liblinear shrinks the intercept,
    # too, unless its column is large
    peer = LogisticRegression(
        C=2 / (strength * n),
        l1_ratio=1.0,
        solver="liblinear",
        intercept_scaling=1000,
        tol=1e-6,
        max_iter=1000,
    )
    found = {}

    def direct():
        found["ours"] = solve_node(
            problem, [strength], solver="direct", tol=1e-6, max_iter=50
        )[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = best_of(lambda: peer.fit(X, y), repeats=3)
    ours = best_of(direct)
    off = np.abs(found["ours"].x[2:] - peer.coef_[0] / 2).max()
    return Row(
        f"pseudo-likelihood, p={p}, N={n}: a node",
        ours,
        theirs,
        "liblinear L1",
        target="1x",
        note=f"coefficients differ by {off:.0e}",
    )


def growth():
    """A whole fit as the number of columns grows."""
    rows = []
    for p, n in ((50, 5000), (100, 5000), (200, 5000), (500, 5000)):
        _, S = spins(p, n)
        took = seconds(lambda S=S: InteractionScreening().fit(S))
        table = n * (p + 1) * 8 / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        note = (
            f"{1e3 * took / p:.1f} ms a node; table {table:.0f} MB, peak {peak:.0f} MB"
        )
        rows.append(Row(f"RISE, p={p}, N={n}: whole fit", took, note=note))
    _, S = spins(49, 5000)
    path = seconds(lambda: InteractionScreeningCV(alphas=8, cv=5).fit(S))
    single = seconds(lambda: InteractionScreening().fit(S))
    rows.append(
        Row(
            "RISE, p=49: 8 penalties, 5 folds",
            path,
            40 * single,
            "40 single fits",
            note="paths are warm-started",
        )
    )
    return rows


def sampling(p=60, n=1000, sweeps=55):
    """Rows drawn by Gibbs chains side by side, and by the loop anybody would write."""
    _, S = spins(p, 2000)
    model = InteractionScreening().fit(S)
    J, h, rng = model.coef_, model.intercept_, np.random.default_rng(0)

    def plain():
        X = rng.integers(0, 2, (n, p)) * 2.0 - 1.0
        for _ in range(sweeps):
            for u in range(p):
                up = 1 / (1 + np.exp(-2 * (X @ J[:, u] + h[u])))
                X[:, u] = np.where(rng.uniform(size=n) < up, 1.0, -1.0)

    ours = best_of(lambda: model.sample(n, burn_in=sweeps - 5, thin=5), repeats=3)
    theirs = best_of(plain, repeats=3)
    return Row(f"{n} rows of {p} spins, {sweeps} sweeps", ours, theirs, "a plain loop")


def with_gaps(fraction, n=20_000):
    """Errors of couplings from rows with gaps, and from the complete rows alone."""
    J, rng = np.array([1.2, 0.9, 1.1, 0.8, 1.0]), np.random.default_rng(0)
    X = np.empty((n, len(J) + 1))
    X[:, 0] = rng.integers(0, 2, n) * 2 - 1
    for i, coupling in enumerate(J):
        keep = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * coupling))
        X[:, i + 1] = np.where(keep, X[:, i], -X[:, i])
    X[rng.uniform(size=X.shape) < fraction] = np.nan
    whole = X[~np.isnan(X).any(axis=1)]
    truth, upper = np.diag(J, 1), np.triu_indices(len(J) + 1, 1)
    found = {}

    def fit(name, rows):
        model = InteractionScreening(alpha=0.1, random_state=0).fit(rows)
        found[name] = np.sqrt(np.mean((model.coef_ - truth)[upper] ** 2))

    ours = seconds(lambda: fit("all", X))
    theirs = seconds(lambda: fit("whole", whole))
    return Row(
        f"{fraction:.0%} of the cells missing, N={n}",
        ours,
        theirs,
        "complete rows",
        note=f"r.m.s. error {found['all']:.4f}, complete rows {found['whole']:.4f}",
    )


def chain(p=10, n=200_000, seed=0):
    """A histogram of the chain of order six, and the true conditionals."""
    S = 2 * ((np.arange(2**p)[:, None] >> np.arange(p)) & 1) - 1
    energy = sum(
        J * sum(np.prod(S[:, i : i + r + 1], axis=1) for i in range(p - 5))
        for r, J in enumerate(CHAIN)
    )
    P = np.exp(energy) / np.exp(energy).sum()
    counts = np.random.default_rng(seed).multinomial(n, P)
    return S, P, counts


def variation(model, S, P):
    """Mean total variation of the conditionals."""
    total = 0.0
    for u in range(S.shape[1]):
        other = P[np.arange(len(S)) ^ (1 << u)]
        said = model.predict_proba(S, u)[np.arange(len(S)), (S[:, u] > 0).astype(int)]
        total += P @ np.abs(said - P / (P + other)) / S.shape[1]
    return total


def neural(epochs=2):
    """All networks in one product, against one skorch net after another."""
    S, P, counts = chain()
    seen = counts > 0
    model = NeuralInteractionScreening(random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = seconds(lambda: model.fit(S[seen], sample_weight=counts[seen]))
        pairs = InteractionScreening().fit(S[seen], sample_weight=counts[seen])
        triples = InteractionScreening(order=3).fit(S[seen], sample_weight=counts[seen])
    note = (
        f"conditional variation {variation(model, S, P):.4f}, order 2 "
        f"{variation(pairs, S, P):.3f}, order 3 {variation(triples, S, P):.3f}"
    )
    theirs = skorch_loop(np.repeat(S, counts, axis=0), epochs)
    rows = [
        Row(
            "NeurISE, chain of order six, p=10, N=200000",
            ours,
            theirs * 100 / epochs,
            f"skorch a node, batch 2000, 100 epochs from {epochs}",
            target="20x",
            note=note,
        )
    ]
    return [*rows, one_pass(S[seen], counts[seen])]


def one_pass(S, counts):
    """Loss and gradient of all networks: batched, and one network at a time."""
    import torch

    where = layout([2] * S.shape[1])
    codes = (S > 0).astype(int)
    network = Network(where, (15, 15), "conditional", "silu")
    screening = Screening(network, alpha=0.0, l1_input=0.0, device="cpu")
    table = make_table(codes, counts, where, "cpu")
    flat = initial(network.shapes, np.random.default_rng(0), zero_input=False)
    whole = torch.as_tensor(flat).requires_grad_(True)

    def batched():
        screening.data_loss(whole, table, slice(None)).backward()

    nets = [small_net(S.shape[1] - 1) for _ in range(S.shape[1])]
    X = torch.as_tensor(S, dtype=torch.float64)
    weight = torch.as_tensor(counts / counts.sum())

    def apart():
        for u, net in enumerate(nets):
            others = torch.cat([X[:, :u], X[:, u + 1 :]], dim=1)
            (weight * torch.exp(-X[:, u] * net(others)[:, 0])).sum().backward()

    return Row(
        "one loss and gradient of ten networks",
        best_of(batched, repeats=20),
        best_of(apart, repeats=20),
        "ten torch modules",
    )


def small_net(n_in):
    """The network of a node as anybody would write it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(n_in, 15), nn.SiLU(), nn.Linear(15, 15), nn.SiLU(), nn.Linear(15, 1)
    ).double()


def skorch_loop(S, epochs):
    """Processor seconds of one net a node by skorch, as the published code goes."""
    import torch
    from skorch import NeuralNet

    class Screen(torch.nn.Module):
        def forward(self, output, target):
            return torch.exp(-output[:, 0] * target).mean()

    def fit():
        for u in range(S.shape[1]):
            net = NeuralNet(
                small_net(S.shape[1] - 1),
                Screen,
                optimizer=torch.optim.Adam,
                lr=0.01,
                batch_size=2000,
                max_epochs=epochs,
                train_split=None,
                verbose=0,
            )
            net.fit(np.delete(S, u, axis=1).astype(float), S[:, u].astype(float))

    return seconds(fit)


def real_tables():
    """Imputation accuracy and anomaly scores on real tables, where they are at hand."""
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        print("\nSKDIFF_DATA is not set: the real tables are left out")
        return
    import pandas as pd
    from sklearn.ensemble import IsolationForest
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, SimpleImputer
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import OrdinalEncoder

    print("\nimputation accuracy, 20 % of the cells of 2000 held-out rows hidden;")
    print("area under the ROC curve for rows with three cells permuted")
    print(f"{'table':16}{'imputer':28}{'accuracy':>10}{'anomaly':>10}{'seconds':>10}")
    for name, drop in (("nltcs", ["split"]), ("mushroom", []), ("adult_discrete", [])):
        frame = pd.read_csv(Path(folder) / f"{name}.csv.gz").drop(columns=drop)
        frame = frame.dropna(axis=0).astype(str)
        frame = frame.sample(min(6000, len(frame)), random_state=0)
        table = frame.to_numpy(dtype=object)
        rare = [len(np.unique(c)) > 30 for c in table.T]
        if any(rare):  # codes of wide columns are numbers: let them be binned
            for j in np.flatnonzero(rare):
                cut = pd.qcut(pd.to_numeric(frame.iloc[:, j]), 5, duplicates="drop")
                table[:, j] = cut.cat.codes.astype(str)
        table = table[:, [len(np.unique(c)) > 1 for c in table.T]]
        train, test = table[:-2000], table[-2000:]
        rng = np.random.default_rng(0)
        holes = rng.uniform(size=test.shape) < 0.2
        broken = test.copy()
        broken[holes] = None
        odd = test.copy()
        for row in odd:
            for j in rng.choice(table.shape[1], 3, replace=False):
                row[j] = table[rng.integers(len(table)), j]
        numbers = OrdinalEncoder().fit(table)

        def judge(label, impute, anomaly=None, test=test, odd=odd, holes=holes):
            found = {}
            took = seconds(lambda: found.update(filled=impute()))
            right = (found["filled"] == test)[holes].mean()
            auc = ""
            if anomaly is not None:
                scores = np.r_[anomaly(test), anomaly(odd)]
                auc = (
                    f"{roc_auc_score(np.arange(len(scores)) >= len(test), -scores):.3f}"
                )
            print(f"{name:16}{label:28}{right:>10.3f}{auc:>10}{took:>10.1f}")

        judge(
            "most frequent",
            lambda: (
                SimpleImputer(strategy="most_frequent", missing_values=None)
                .fit(train)
                .transform(broken)
            ),
        )

        def iterative(broken=broken, train=train, numbers=numbers):
            filled = IterativeImputer(random_state=0, max_iter=10).fit(
                numbers.transform(train)
            )
            coded = numbers.transform(np.where(holes, train[0], broken))
            coded[holes] = np.nan
            rounded = np.round(filled.transform(coded))
            sizes = np.array([len(c) for c in numbers.categories_])
            return numbers.inverse_transform(np.clip(rounded, 0, sizes - 1))

        forest = IsolationForest(random_state=0).fit(numbers.transform(train))
        judge(
            "IterativeImputer (+ forest)",
            iterative,
            lambda rows, f=forest, e=numbers: f.score_samples(e.transform(rows)),
        )
        models = {
            "InteractionScreening": InteractionScreening(handle_unknown="missing"),
            "pseudo-likelihood": InteractionScreening(
                "pseudolikelihood", handle_unknown="missing"
            ),
            "NeuralInteractionScreening": NeuralInteractionScreening(
                early_stopping=True,
                handle_unknown="missing",
                max_iter=200,
                random_state=0,
            ),
        }
        for label, model in models.items():

            def fitted(model=model, train=train, broken=broken):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return model.fit(train).impute(broken)

            judge(
                label,
                fitted,
                lambda rows, m=model: m.conditional_log_likelihood(rows).sum(axis=1),
            )


def main():
    """Print the tables."""
    packages = ("cvxpy", "clarabel", "skorch", "torch")
    if QUICK:
        rows = [against_cvxpy(6, 300), against_liblinear(6, 300)]
        rows += [sampling(6, 50, 10), with_gaps(0.2, 2000)]
        print_table("Interaction screening: a node", rows, *packages)
        return
    rows = [against_cvxpy(16, 10_000), against_cvxpy(49, 5000)]
    rows += [against_cvxpy(100, 10_000), against_liblinear(49, 5000)]
    print_table("Interaction screening: a node", rows, *packages)
    print_table("Interaction screening: growth", growth(), *packages)
    rows = [sampling(), *map(with_gaps, (0.1, 0.2, 0.3, 0.4))]
    print_table("Interaction screening: sampling and missing cells", rows, *packages)
    print_table("Neural interaction screening", neural(), *packages)
    real_tables()


if __name__ == "__main__":
    main()
