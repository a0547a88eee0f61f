"""Inner problem of the lasso."""

from skdiff._convex._inner._lasso import ElasticNetProblem


class LassoProblem(ElasticNetProblem):
    """The elastic net without its second part; the estimator's ``l1_ratio`` is 1."""

    parameters = {"alpha": (None,), "sample_weight": ("sample", "group")}
    per_row = ("sample_weight",)
    weighted = True
