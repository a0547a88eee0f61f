"""Bad and odd inputs, run on one estimator in a process of its own.

The parent test reads one outcome per case; a hang or a crash is then a failure like any
other. ``python -m tests._battery NAME`` prints what one estimator makes of them.
"""

import inspect
import sys
import time
import warnings
from tempfile import TemporaryDirectory

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from tests import _faults
from tests._common import synthesizes
from tests._discovery import instance, quick_labels

METHODS = ("predict", "predict_proba", "decision_function", "transform")
# what a tag allows is no fault: these must then fit and answer
ALLOWED = {"X NaN": "allow_nan", "X strings": "string"}


def base_table(classifier):
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(60, 4)), 2)
    signal = X[:, 0] - X[:, 1] + 0.5 * rng.normal(size=60)
    y = (signal > 0).astype(int) if classifier else signal
    return X, y


def put(array, value):
    """A copy with one cell replaced."""
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


def refused_fits(X, y, classifier):
    """``{name: arguments of fit}`` that must raise ValueError or TypeError."""
    ones = np.ones(len(X))
    cases = {
        "X NaN": (put(X, np.nan), y),
        "X inf": (put(X, np.inf), y),
        "X -inf": (put(X, -np.inf), y),
        "X sparse NaN": (sparse.csr_matrix(put(X, np.nan)), y),
        "X no rows": (X[:0], y[:0]),
        "X no columns": (X[:, :0], y),
        "X 1-D": (X[:, 0], y),
        "X 3-D": (X[:, :, None], y),
        "X scalar": (3.0, y),
        "X None": (None, y),
        "X complex": (X + 1j, y),
        "X ragged": ([[1, 2], [3]], y[:2]),
        "X strings": (X.astype(str).astype(object) + "a", y),
        "X dates": (np.array(["2020-01-01"] * 60, "datetime64[D]")[:, None], y),
        "X dicts": ([{"a": 1}] * 60, y),
        "y short": (X, y[:-1]),
        "y None": (X, None),
        "y complex": (X, y + 1j),
        "y infinite": (X, put(y, np.inf)),
        "y NaN": (X, put(y, np.nan)),
        "weights short": (X, y, ones[:-1]),
        "weights 2-D": (X, y, np.ones((60, 2))),
        "weights NaN": (X, y, put(ones, np.nan)),
        "weights inf": (X, y, put(ones, np.inf)),
        "weights zero": (X, y, 0 * ones),
        "weights negative": (X, y, put(ones, -1)),
        "weights strings": (X, y, np.full(60, "a")),
    }
    if classifier:
        cases["y continuous"] = (X, X[:, 0])
        cases["y object NaN"] = (X, np.array(["a", np.nan] * 30, dtype=object))
    else:
        cases["y strings"] = (X, np.full(60, "abc"))
    return cases


def allowed_fits(X, y, classifier):
    """Odd but answerable: fits, or a ValueError that says what is missing."""
    rare = np.zeros(60, int) if classifier else y * 1.0
    rare[0] = 1
    wide = X * 10.0 ** np.array([-12, -4, 4, 12])
    cases = {
        "one row": (X[:1], y[:1]),
        "two rows": (X[:2], y[:2]),
        "huge values": (X * 1e150, y),
        "values beyond float32": (X * 1e39, y),
        "tiny values": (X * 1e-300, y),
        "columns 24 decades apart": (wide, y),
        "integers beyond 2**53": ((X * 100).astype(int) * 10**15, y),
        "one value of y": (X, np.zeros_like(y)),
        "all zeros": (0 * X, y),
        "a rare class": (X, rare),
    }
    if not classifier:
        cases["y constant"] = (X, np.full(60, 2.5))
        cases["huge y"] = (X, y * 1e150)
        cases["tiny y"] = (X, y * 1e-150)
    return cases


def demanded_fits(X, y, classifier):
    """Must fit and answer with finite numbers of the right shape."""
    rng = np.random.default_rng(1)
    cases = {
        "one column": (X[:, :1], y),
        "more columns than rows": (rng.normal(size=(60, 90)), y),
        "constant column": (np.c_[X, np.full(60, 7.0)], y),
        "duplicate columns": (np.c_[X, X], y),
        "duplicate rows": (np.repeat(X[:20], 3, axis=0), np.repeat(y[:20], 3)),
        "weights": (X, y, rng.uniform(0.5, 2, 60)),
    }
    if classifier:
        names = np.array(["no", "yes"])
        cases |= {
            "y strings": (X, names[y]),
            "y objects": (X, names[y].astype(object)),
            "y bool": (X, y.astype(bool)),
            "y negative": (X, 2 * y - 1),
            "y gappy": (X, np.array([7, 400])[y]),
            "y floats": (X, y.astype(float)),
        }
    else:
        cases["y integers"] = (X, np.round(10 * y).astype(int))
    return cases


def same_tables(X, y, folder):
    """``{name: (X, y)}`` which are the base table in other clothes."""
    import pandas as pd

    path = f"{folder}/X.dat"
    mapped = np.memmap(path, dtype=float, mode="w+", shape=X.shape)
    mapped[:] = X
    mapped.flush()
    wide = np.zeros((len(X), 8))
    wide[:, ::2] = X
    index = np.random.default_rng(2).permutation(len(X))
    frame = pd.DataFrame(X, index=index, columns=list("abcd"))
    return {
        "lists": (X.tolist(), y.tolist()),
        "objects": (X.astype(object), y),
        "Fortran order": (np.asfortranarray(X), y),
        "strided": (wide[:, ::2], y),
        "reversed view": (X[::-1][::-1], y[::-1].copy()[::-1]),
        "big-endian": (X.astype(">f8"), y),
        "longdouble": (X.astype(np.longdouble), y),
        "read-only map": (np.memmap(path, dtype=float, mode="r", shape=X.shape), y),
        "frame, shuffled index": (frame, pd.Series(y, index=np.arange(len(y)))),
        "nullable frame": (frame.astype("Float64"), pd.Series(y)),
        "nullable y": (X, pd.Series(y).convert_dtypes()),
    }


def close_tables(X):
    """The base table in rougher types; the reference is a fit on the same values."""
    return {
        "float32": (X.astype(np.float32), 1e-2),
        "float16": (X.astype(np.float16), 1e-2),
        "integers": (np.round(X * 10).astype(int), 1e-5),
        "bool": (X > 0, 1e-5),
    }


def bad_queries(X):
    return {
        "narrow": X[:, :3],
        "wide": np.c_[X, X],
        "NaN": put(X, np.nan),
        "inf": put(X, np.inf),
        "1-D": X[0],
        "no rows": X[:0],
        "None": None,
        "strings": np.full(X.shape, "a"),
        "complex": X + 1j,
    }


def finite_answers(model, X):
    for method in METHODS:
        if hasattr(model, method):
            answer = getattr(model, method)(X)
            answer = answer.toarray() if sparse.issparse(answer) else np.asarray(answer)
            rows = X.shape[0] if hasattr(X, "shape") else len(X)
            assert answer.shape[0] == rows, f"{method} has {answer.shape} for {rows}"
            if answer.dtype.kind == "f":
                assert np.isfinite(answer).all(), f"{method} is not finite"
    if hasattr(model, "support_"):  # a selector of rows
        assert np.isfinite(model.scores_).all() and model.support_.any()
    if synthesizes(model):
        assert np.isfinite(model.sample(random_state=0)).all(axis=None)


class Battery:
    """All cases on one estimator.

    ``send`` gets ``(case,)`` before a case and ``(case, complaint or None, processor
    seconds)`` after it.
    """

    def __init__(self, estimator, send):
        self.estimator, self.send = estimator, send
        self.classifier = is_classifier(estimator)
        tags = get_tags(estimator)
        self.allowed = {
            case for case, tag in ALLOWED.items() if getattr(tags.input_tags, tag)
        }
        supervised = is_classifier(estimator) or is_regressor(estimator)
        self.reads_y = supervised or tags.target_tags.required
        fit = inspect.signature(type(estimator).fit)
        self.weighted = "sample_weight" in fit.parameters
        self.X, self.y = base_table(self.classifier)

    def fresh(self):
        model = clone(self.estimator)
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
        return model

    def fit(self, X, y, weight=None):
        if weight is None:
            return self.fresh().fit(X, y)
        return self.fresh().fit(X, y, sample_weight=weight)

    def judge(self, case, function):
        self.send((case,))
        start = time.process_time()
        try:
            complaint = function()
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"[:300]
        self.send((case, complaint, time.process_time() - start))

    def must_refuse(self, case, function, kinds=(ValueError, TypeError), words=()):
        def attempt():
            try:
                function()
            except kinds as error:
                if words and not any(w in str(error).lower() for w in words):
                    return f"message does not say {words}: {error}"
                return None
            return "accepted in silence"

        self.judge(case, attempt)

    def run(self, folder):
        X, y = self.X, self.y
        for case, arguments in refused_fits(X, y, self.classifier).items():
            if case.startswith("y ") and not self.reads_y:
                self.judge(f"fit: {case}", lambda a=arguments: self.fit(*a) and None)
            elif case in self.allowed:
                self.judge(
                    f"fit: {case}",
                    lambda a=arguments: finite_answers(self.fit(*a), a[0]),
                )
            elif len(arguments) == 2 or self.weighted:
                words = ("weight",) if case.startswith("weights") else ()
                self.must_refuse(
                    f"fit: {case}", lambda a=arguments: self.fit(*a), words=words
                )
        for case, arguments in allowed_fits(X, y, self.classifier).items():
            self.judge(f"fit: {case}", lambda a=arguments: self.fit_or_say_why(*a))
        for case, arguments in demanded_fits(X, y, self.classifier).items():
            if len(arguments) == 2 or self.weighted:
                self.judge(
                    f"fit: {case}",
                    lambda a=arguments: finite_answers(self.fit(*a), a[0]),
                )
        self.compare(folder)
        self.query()
        self.sparse()
        _faults.run(self, folder)

    finite_answers = staticmethod(finite_answers)

    def fit_or_say_why(self, X, y):
        try:
            model = self.fit(X, y)
        except ValueError as error:
            return None if str(error).strip() else "an error without words"
        return finite_answers(model, X)

    def compare(self, folder):
        X, y = self.X, self.y
        expected = self.fit(X, y)
        method = next((m for m in METHODS[::-1] if hasattr(expected, m)), None)

        def answer(model, X):
            if synthesizes(model):
                return model.sample(random_state=0)
            if method is None:  # a selector of rows; those without a score are absent
                return model.scores_[~np.isnan(model.scores_)]
            return getattr(model, method)(X)

        def same(other, reference, rtol, reference_X):
            got = answer(*other)
            want = answer(reference, reference_X)
            np.testing.assert_allclose(
                np.asarray(got, float), np.asarray(want, float), rtol=rtol, atol=rtol
            )

        for case, (X2, y2) in same_tables(X, y, folder).items():
            self.judge(
                f"same: {case}",
                lambda X2=X2, y2=y2: same((self.fit(X2, y2), X2), expected, 1e-5, X),
            )
        for case, (X2, rtol) in close_tables(X).items():
            plain = np.asarray(X2, dtype=float)
            self.judge(
                f"same: {case}",
                lambda X2=X2, r=rtol, p=plain: same(
                    (self.fit(X2, y), X2), self.fit(p, y), r, p
                ),
            )
        if self.weighted and not self.classifier:
            keep = np.arange(60) >= 10
            self.judge(
                "same: weight zero is absence",
                lambda: same(
                    (self.fit(X, y, keep.astype(float)), X),
                    self.fit(X[keep], y[keep]),
                    1e-5,
                    X,
                ),
            )

    def query(self):
        model = self.fit(self.X, self.y)
        for method in METHODS:
            if not hasattr(model, method):
                continue
            for case, query in bad_queries(self.X).items():
                ask = lambda m=method, q=query: getattr(model, m)(q)  # noqa: E731
                if f"X {case}" in self.allowed and case == "NaN":
                    self.judge(
                        f"{method}: {case}", lambda ask=ask: ask() is None or None
                    )
                else:
                    self.must_refuse(f"{method}: {case}", ask)
            self.must_refuse(
                f"{method}: before fit",
                lambda m=method: getattr(self.fresh(), m)(self.X),
                kinds=NotFittedError,
            )

    def sparse(self):
        accepts = get_tags(self.estimator).input_tags.sparse
        kinds = (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array)
        for kind in kinds:
            S = kind(self.X)
            if accepts:
                self.judge(
                    f"sparse: {kind.__name__}",
                    lambda S=S: finite_answers(self.fit(S, self.y), S.tocsr()),
                )
            else:
                self.must_refuse(
                    f"sparse: {kind.__name__}",
                    lambda S=S: self.fit(S, self.y),
                    words=("sparse",),
                )


def run(send, label):
    """The job: every case on the estimator of a label."""
    battery = Battery(instance(label), send)
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        battery.run(folder)


if __name__ == "__main__":
    for _label in quick_labels():
        if _label.partition("-")[0] == sys.argv[1]:
            run(lambda said: len(said) > 1 and print(*said, sep=" | "), _label)
