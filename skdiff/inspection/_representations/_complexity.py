"""From which layer on the features of a network can be read off linearly."""

from typing import Any

import numpy as np

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array
from skdiff.inspection._representations._geometry import leave_one_out_r2
from skdiff.inspection._representations._layers import Layers, layers_of


def feature_complexity(
    net: Any,
    X: Any,
    *,
    layer: str = "penultimate",
    directions: Any = "units",
    n_components: int | None = None,
) -> Any:
    """Measure how late in a network each of its features appears.

    A feature that a linear model can read off the input is simple, one that only the
    last layers hold is complex. Its complexity is one minus the mean, over the layers
    before it, of the R squared with which it is predicted from that layer by ridge
    regression, leaving one row out.

    Parameters
    ----------
    net : estimator or torch.nn.Module
        Fitted network of skdiff, skorch or scikit-learn, a pipeline that ends in one,
        or a module.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : str, default="penultimate"
        Layer of the features, ``"hidden_1"`` and on; by default the last hidden one.
    directions : {"units", "pca"} or array-like, default="units"
        Features: the units of the layer, its principal directions, or the columns of an
        array of shape (width, n_directions).
    n_components : int, default=None
        Number of principal directions, at most the width; all if None.

    Returns
    -------
    frame : DataFrame
        One row per direction: ``r2_input``, ``r2_hidden_1``, ..., ``complexity`` and
        ``importance``, the length of the head's weights times the standard deviation
        (NaN where the head reads another layer).

    See Also
    --------
    representation_report : Whether the head uses the features.

    Notes
    -----
    0 reads a feature that is linear in the input. A constant feature has complexity 1
    and importance 0. One singular value decomposition per layer.

    References
    ----------
    T. Fel, L. Béthune, A. K. Lampinen, T. Serre and K. Hermann, "Understanding Visual
    Feature Reliance through the Lens of Complexity", NeurIPS 2024, arXiv:2407.06076.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.inspection import feature_complexity
    >>> X, y = load_wine(return_X_y=True)
    >>> net = MLPClassifier((16, 8), max_iter=50, tol=0.01, random_state=0)
    >>> frame = feature_complexity(make_pipeline(StandardScaler(), net).fit(X, y), X)
    >>> frame.columns.tolist()
    ['r2_input', 'r2_hidden_1', 'complexity', 'importance']
    """
    layers = layers_of(net, X)
    names = list(layers.values)
    if len(next(iter(layers.values.values()))) < 3:
        raise ValueError("Three rows are needed.")
    chosen = names[-1] if layer in ("auto", "penultimate") else layer
    if chosen not in names[1:]:
        raise ValueError(
            f'layer must be "penultimate" or one of {", ".join(names[1:]) or "none"}: '
            f"the input has no layer before it. Got {layer!r}."
        )
    H = layers.values[chosen]
    basis, index = _basis(H, directions, n_components)
    Z = H @ basis
    before = names[: names.index(chosen)]
    columns = {
        f"r2_{name}": leave_one_out_r2(layers.values[name], Z) for name in before
    }
    complexity = 1 - np.mean(list(columns.values()), axis=0)
    columns |= {
        "complexity": complexity,
        "importance": _importance(layers, chosen == names[-1], basis, Z),
    }
    return require_pandas("feature_complexity").DataFrame(columns, index=index)


def _basis(H: Array, directions: Any, count: int | None) -> tuple[Array, list[str]]:
    """Directions as columns, and their names."""
    width = H.shape[1]
    if count is not None and (not isinstance(count, int) or not 1 <= count <= width):
        raise ValueError(f"n_components must be from 1 to {width}. Got {count!r}.")
    if isinstance(directions, str):
        if directions == "units":
            return np.eye(width), [f"unit_{k}" for k in range(width)]
        if directions == "pca":
            _, _, Vt = np.linalg.svd(H - H.mean(axis=0), full_matrices=False)
            Vt = Vt[:count]
            return Vt.T, [f"pc_{k}" for k in range(len(Vt))]
        raise ValueError(
            f'directions must be "units", "pca" or an array. Got {directions!r}.'
        )
    basis = np.asarray(directions, dtype=np.float64)
    basis = basis[:, None] if basis.ndim == 1 else basis
    if basis.ndim != 2 or len(basis) != width or not np.isfinite(basis).all():
        raise ValueError(
            f"directions must be finite, of shape ({width}, n_directions). "
            f"Got shape {np.shape(directions)}."
        )
    return basis, [f"direction_{k}" for k in range(basis.shape[1])]


def _importance(layers: Layers, is_last: bool, basis: Array, Z: Array) -> Array:
    """Length of the head's weights along each direction, times its spread."""
    if not is_last or layers.head.shape[1] != len(basis):
        return np.full(basis.shape[1], np.nan)
    # what the head reads of a direction, by least squares in the basis
    along = layers.head @ np.linalg.pinv(basis).T
    found: Array = np.linalg.norm(along, axis=0) * Z.std(axis=0)
    return found
