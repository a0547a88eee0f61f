"""Quick configurations, and subclasses that let the checks call ``fit(X, y)``.

scikit-learn's checks pass a target of numbers to whatever is no classifier. Subclasses
of the public names cut it into two classes, and supply the samples that some selectors
need. They save and load as the class they stand for.
"""

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge

from skdiff import data_selection


def public_class(cls):
    """The class of the package that a subclass stands for."""
    return next(c for c in cls.__mro__ if c.__module__.startswith("skdiff."))


class Adapted:
    """Store as the public class, which is what a file may hold."""

    def save(self, path):
        public = object.__new__(public_class(type(self)))
        public.__dict__.update(self.__dict__)
        public.save(path)

    @classmethod
    def load(cls, path):
        model = public_class(cls).load(path)
        model.__class__ = cls
        return model

    def __sklearn_clone__(self):
        public = object.__new__(public_class(type(self)))
        public.__dict__.update(self.__dict__)
        copied = clone(public)
        copied.__class__ = type(self)
        return copied


def two_classes(y):
    """Numbers above their median are one class; what is not finite stays."""
    values = np.asarray(y)
    if values.dtype.kind not in "biuf" or values.ndim != 1:
        return y
    if not np.all(np.isfinite(values)) or len(np.unique(values)) <= 2:
        return y
    threshold = min(np.median(values), np.unique(values)[-2])
    return (values > threshold).astype(int)


def some(X, y, sample_weight=None):
    """A target sample: the rows themselves, but for those of weight zero."""
    if sample_weight is not None and isinstance(X, np.ndarray) and X.ndim == 2:
        weight = np.asarray(sample_weight)
        if weight.shape == (len(X),) and np.any(weight == 0) and np.any(weight > 0):
            X, y = X[weight > 0], np.asarray(y)[weight > 0]
    return {"X_target": X, "y_target": y}


class OnClasses(Adapted):
    """Two classes where the model learns classes."""

    def fit(self, X, y, sample_weight=None):
        if not isinstance(self.estimator, RegressorMixin):
            y = two_classes(y)
        return super().fit(X, y, sample_weight)


class EL2NSelector(OnClasses, data_selection.EL2NSelector):
    pass


class GraNdSelector(OnClasses, data_selection.GraNdSelector):
    pass


class DataInfluenceSelector(OnClasses, data_selection.DataInfluenceSelector):
    pass


class SurrogateSubsampler(Adapted, data_selection.SurrogateSubsampler):
    def fit(self, X, y=None):
        return super().fit(X, two_classes(y))


class ConditionalLossSelector(Adapted, data_selection.ConditionalLossSelector):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight, **some(X, y, sample_weight))


class Datamodel(Adapted, data_selection.Datamodel):
    @property
    def predict(self):
        # it predicts from masks, which the checks do not know
        raise AttributeError("predict")

    def fit(self, X, y):
        return super().fit(X, y, **some(X, y))


ADAPTED = {
    cls.__name__: cls
    for cls in (
        ConditionalLossSelector,
        DataInfluenceSelector,
        Datamodel,
        EL2NSelector,
        GraNdSelector,
        SurrogateSubsampler,
    )
}

for _cls in ADAPTED.values():
    _cls.__doc__ = public_class(_cls).__doc__

QUICK = {
    "EL2NSelector": [
        {"n_models": 1, "cv": 2, "estimator": Ridge()},
        {
            "n_models": 1,
            "cv": 2,
            "max_iter": 1,
            "keep": "middle",
            "strategy": "sample",
            "balance": "class",
        },
    ],
    "GraNdSelector": [
        {"n_models": 1, "cv": 2, "estimator": Ridge()},
        {
            "n_models": 1,
            "cv": 2,
            "max_iter": 1,
            "keep": "easy",
            "offset": 0.1,
            "balance": "class",
        },
    ],
    "SelectedFit": [
        {
            "selector": data_selection.EL2NSelector(
                Ridge(), n_models=1, cv=2, random_state=0
            ),
            "estimator": Ridge(),
        },
        {
            "selector": data_selection.EL2NSelector(
                LogisticRegression(),
                n_models=1,
                cv=2,
                n_select=0.8,
                keep="easy",
                balance="class",
                random_state=0,
            ),
            "estimator": LogisticRegression(),
        },
    ],
    "SurrogateSubsampler": [
        {"balance": "class"},
        {"balance": "class", "leverage": True, "reweight": True, "alpha": 0.5},
    ],
    "ConditionalLossSelector": [
        {"estimator": Ridge(), "cv": 2, "criterion": "color"},
        {"estimator": Ridge(), "cv": 2},
    ],
    "DataInfluenceSelector": [
        {
            "estimator": Ridge(),
            "influence_model": Ridge(),
            "n_probe": 20,
            "rounds": 2,
        },
        {
            "influence_model": Ridge(),
            "n_probe": 10,
            "rounds": 1,
            "balance": "class",
        },
    ],
    "Datamodel": [
        {"estimator": Ridge(), "n_subsets": 20, "penalty": "l2"},
        {"estimator": Ridge(), "n_subsets": 20, "output": "loss"},
    ],
}
