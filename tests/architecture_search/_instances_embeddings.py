"""Quick configurations, and subclasses that read the last column as categories.

The classes themselves refuse rows without a categorical column.
"""

from copy import copy

import numpy as np

from skdiff import architecture_search
from skdiff._base.validation import check_X, require_y
from tests.data_selection._instances_selectors import Adapted, public_class

FAST = {"max_iter": 25, "search_max_iter": 2, "max_embedding_dim": 4}
FAST |= {"hidden_layer_sizes": (16,), "learning_rate_init": 0.02}
OTHER = {**FAST, "keep_fraction": 0.5, "order": 2, "structured": False}
QUICK = {
    "MixedEmbeddingClassifier": [
        {**FAST, "keep_fraction": 0.5},
        {**OTHER, "interaction": "deepfm"},
    ],
    "MixedEmbeddingRegressor": [
        {**FAST},
        {**OTHER, "interaction": "fm", "numeric": "embedding", "n_frequency_blocks": 3},
    ],
    "MixedEmbeddingEncoder": [{**FAST, "keep_fraction": 0.5, "task": "regression"}],
}


class LastColumn(Adapted):
    """Where no dtype tells categories, the last column has them."""

    def _coded(self, X, *, reset, y=None):
        if "category" in map(str, getattr(X, "dtypes", [])):
            return super()._coded(X, reset=reset, y=y)
        if reset:
            require_y(self, y)
        table = np.array(check_X(self, X, reset=reset, dtype=[np.float64, np.float32]))
        table = self._cast(table)
        table[:, -1] = np.round(table[:, -1])
        if hasattr(X, "columns"):
            table = type(X)(dict(zip(list(X.columns), table.T, strict=True)))
        given, last = self.categorical_features, table.shape[1] - 1
        self.categorical_features = [last]
        try:
            coded = super()._coded(table, reset=reset, y=y)
        finally:
            self.categorical_features = given
        if hasattr(coded, "columns"):
            return coded
        return coded.astype(np.result_type(np.asarray(table)), copy=False)


class MixedEmbeddingClassifier(
    LastColumn, architecture_search.MixedEmbeddingClassifier
):
    pass


class MixedEmbeddingRegressor(LastColumn, architecture_search.MixedEmbeddingRegressor):
    pass


class MixedEmbeddingEncoder(Adapted, architecture_search.MixedEmbeddingEncoder):
    def _model(self, task, given):
        return adapted(super()._model(task, given))

    def save(self, path):
        stored = copy(self)
        if hasattr(self, "estimator_"):
            stored.estimator_ = copy(self.estimator_)
            stored.estimator_.__class__ = public_class(type(self.estimator_))
        Adapted.save(stored, path)

    @classmethod
    def load(cls, path):
        model = super().load(path)
        if hasattr(model, "estimator_"):
            adapted(model.estimator_)
        return model


def adapted(model):
    """The same network, of the subclass here."""
    classes = (MixedEmbeddingClassifier, MixedEmbeddingRegressor)
    model.__class__ = next(c for c in classes if c.__name__ == type(model).__name__)
    return model


ADAPTED = {
    c.__name__: c
    for c in (MixedEmbeddingClassifier, MixedEmbeddingRegressor, MixedEmbeddingEncoder)
}
