"""What an import loads, each in a fresh process."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "skorch", "cvxpy", "matplotlib", "pandas")


def loaded_after(code, modules):
    """Which of the modules a fresh interpreter has loaded after running the code."""
    report = f"\nimport sys; print([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_package_alone_loads_nothing_heavy():
    assert loaded_after("import skdiff; skdiff.__all__", (*HEAVY, "sklearn")) == "[]"


def test_no_family_loads_an_engine():
    # scikit-learn itself imports pandas where it is installed
    heavy = ("torch", "skorch", "cvxpy", "matplotlib")
    code = f"""
from importlib import import_module
import sys
from sklearn.base import BaseEstimator, clone
import skdiff
from tests._instances import QUICK
for family in skdiff._FAMILIES:
    module = import_module("skdiff." + family)
    for name in module.__all__:
        thing = vars(module).get(name)
        if isinstance(thing, type) and issubclass(thing, BaseEstimator):
            for arguments in QUICK.get(name, [{{}}]):
                estimator = clone(thing(**arguments))
                repr(estimator), estimator.get_params()
        loaded = [m for m in {heavy!r} if m in sys.modules]
        if loaded:
            sys.exit("skdiff." + family + "." + name + " loads " + str(loaded))
"""
    assert loaded_after(code, heavy) == "[]"


def test_a_convex_fit_needs_neither_torch_nor_cvxpy():
    code = """
from sklearn.datasets import load_breast_cancer
from skdiff.multiplicity import RashomonClassifier
X, y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
RashomonClassifier().fit(X, y).predict_proba_range(X[:5])
"""
    assert loaded_after(code, ("torch", "skorch", "cvxpy")) == "[]"


def test_a_neural_fit_does_not_load_the_compiler():
    code = """
from sklearn.datasets import load_breast_cancer
from skdiff.neural_network import AnyLossClassifier
X, y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
AnyLossClassifier(hidden_layer_sizes=(4,), max_iter=3, tol=0).fit(X, y).predict(X[:5])
"""
    code = "import warnings; warnings.simplefilter('ignore')" + code
    assert loaded_after(code, ("torch._dynamo", "cvxpy")) == "[]"
