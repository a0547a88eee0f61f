"""A selector and an estimator as one estimator."""

import inspect

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from skdiff._base.compat import (
    HasMethods,
    check_method_params,
    check_sample_weight,
    fit_context,
    routing_enabled,
)
from skdiff._base.delegate import DelegateMixin
from skdiff._base.inner import check_table, fit_inner, takes_weights, whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.data_selection._base import take


class SelectedFit(SaveMixin, DelegateMixin, MetaEstimatorMixin, BaseEstimator):
    """Select rows, then fit an estimator to them.

    A scikit-learn ``Pipeline`` cannot drop rows; this estimator can stand in one, and a
    search sets the parameters of both, such as ``selector__n_select``. Rows are chosen
    while fitting only: all rows are predicted.

    Parameters
    ----------
    selector : selector
        Anything with ``fit_resample`` and ``sample_indices_``, such as
        :class:`EL2NSelector` or a sampler of imbalanced-learn that keeps rows.
    estimator : estimator
        What is fitted to the selected rows. Where the selector weights them
        (``sample_weight_``), it must take ``sample_weight``.

    Attributes
    ----------
    selector_ : selector
        The fitted selector.
    estimator_ : estimator
        The estimator fitted to the selected rows.
    classes_ : ndarray of shape (n_classes,)
        Classes, for a classifier.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    EL2NSelector : A selector that needs X and y only.
    ConditionalLossSelector : A selector that needs a target sample.

    Notes
    -----
    Target and validation samples are given to ``fit`` and reach the selector whole:
    they are not routed, as a search would cut a sample that happens to have as many
    rows as X by its folds. Inside a search set them on a selector's subclass or call
    ``fit`` directly.

    References
    ----------
    G. Lemaître, F. Nogueira and C. K. Aridas, "Imbalanced-learn: A Python Toolbox to
    Tackle the Curse of Imbalanced Datasets in Machine Learning", JMLR 18, 2017, whose
    ``fit_resample`` the selectors follow.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.data_selection import EL2NSelector, SelectedFit
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> selector = EL2NSelector(LogisticRegression(), n_models=1, keep="easy",
    ...                         n_select=0.8, balance="class", random_state=0)
    >>> model = make_pipeline(
    ...     StandardScaler(), SelectedFit(selector, LogisticRegression())
    ... ).fit(X, y)
    >>> model[-1].selector_.n_selected_
    455
    """

    _parameter_constraints = {
        "selector": [HasMethods("fit_resample")],
        "estimator": [HasMethods("fit")],
    }
    __metadata_request__fit = {
        "X_target": UNUSED,
        "y_target": UNUSED,
        "X_val": UNUSED,
        "y_val": UNUSED,
    }

    def __init__(self, selector, estimator):
        self.selector = selector
        self.estimator = estimator

    def __sklearn_tags__(self):
        """The kind of the estimator; what both can read."""
        tags = super().__sklearn_tags__()
        inner, chooser = get_tags(self.estimator), get_tags(self.selector)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags.required = True
        both = (inner.input_tags, chooser.input_tags)
        tags.input_tags.sparse = all(t.sparse for t in both)
        tags.input_tags.allow_nan = all(t.allow_nan for t in both)
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X,
        y,
        *,
        X_target=None,
        y_target=None,
        X_val=None,
        y_val=None,
        **fit_params,
    ):
        """Select rows and fit the estimator to them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to choose from.
        y : array-like of shape (n_samples,)
            Their outcomes.
        X_target, y_target : array-like, default=None
            A target sample, for a selector that needs one.
        X_val, y_val : array-like, default=None
            A validation sample, for a selector that needs one.
        **fit_params : dict
            Arguments of the estimator's ``fit``; what has one entry per row is cut to
            the selected rows. ``sample_weight`` is given to a selector that takes it
            too. With metadata routing enabled both get what they request.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        with whole_fit(self):
            require_y(self, y)
            X = check_table(self, X, [self.selector, self.estimator], reset=True)
            chosen_by, params = self._route(X, fit_params)
            samples = {
                "X_target": X_target,
                "y_target": y_target,
                "X_val": X_val,
                "y_val": y_val,
            }
            samples = {k: v for k, v in samples.items() if v is not None}
            selector = _fitted_selector(self.selector, X, y, {**chosen_by, **samples})
            rows = selector.sample_indices_
            weight = getattr(selector, "sample_weight_", None)
            if weight is not None and np.all(weight == weight[0]):
                weight = None
            if weight is not None and not takes_weights(self.estimator):
                raise ValueError(
                    f"{type(self.selector).__name__} weights the rows, and "
                    f"{type(self.estimator).__name__} takes no sample_weight."
                )
            model = fit_inner(
                self.estimator,
                take(X, rows),
                take(y, rows),
                params=check_method_params(X, params=params, indices=rows),
                weight=weight,
            )
            self.selector_ = selector
            self.estimator_ = model
            if hasattr(model, "classes_"):
                self.classes_ = model.classes_
        return self

    def _route(self, X, fit_params):
        """Arguments of the selector's and of the estimator's fit."""
        params = dict(fit_params)
        if params.get("sample_weight") is not None:
            one_column = np.empty((X.shape[0], 1))
            params["sample_weight"] = check_sample_weight(
                params["sample_weight"], one_column
            )
        else:
            params.pop("sample_weight", None)
        if routing_enabled():
            if not params:
                return {}, {}
            routed = process_routing(self, "fit", **params)
            return dict(routed.selector.fit), dict(routed.estimator.fit)
        known = inspect.signature(self.selector.fit).parameters
        both = {k: v for k, v in params.items() if k == "sample_weight" and k in known}
        return both, params

    def _readers(self):
        return [self.selector, self.estimator]

    def get_metadata_routing(self):
        """Return how metadata reaches the estimator.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        fit = MethodMapping().add(caller="fit", callee="fit")
        router.add(selector=self.selector, method_mapping=fit)
        return router.add(
            estimator=self.estimator,
            method_mapping=MethodMapping()
            .add(caller="fit", callee="fit")
            .add(caller="score", callee="score"),
        )


def _fitted_selector(selector, X, y, params):
    """Fit a clone of a selector with the arguments that its ``fit`` takes."""
    selector = clone(selector)
    known = inspect.signature(selector.fit).parameters
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(
            f"fit got {unknown[0]}, which {type(selector).__name__} does not take."
        )
    if hasattr(selector, "get_support"):
        return selector.fit(X, y, **params)
    selector.fit_resample(X, y)  # a sampler of another package knows rows only then
    if not hasattr(selector, "sample_indices_"):
        raise ValueError(
            f"{type(selector).__name__} makes new rows and has no sample_indices_; "
            "SelectedFit chooses among the rows of X."
        )
    return selector
