"""The file: a header and arrays, written whole and read with suspicion."""

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import sklearn

from skdiff._base.compat import ClassPageMixin
from skdiff._base.persistence._archive import (
    FORMAT,
    FORMAT_VERSION,
    check_members,
    read_array,
    read_header,
)

PathLike = str | os.PathLike[str]


class SaveMixin(ClassPageMixin):
    """Give an estimator :meth:`save` and :meth:`load`."""

    def save(self, path: PathLike) -> None:
        """Save the estimator in one file without pickle.

        Parameters
        ----------
        path : str or path-like
            File to write, conventionally with the suffix ``.npz``. It is
            replaced as a whole or, when writing fails, left as it was.

        Raises
        ------
        TypeError
            If the estimator holds something the format has no form for, such as a
            function given as a parameter; the message names it.
        """
        save(self, path)

    @classmethod
    def load(cls, path: PathLike) -> Any:
        """Load an estimator of this class from a file written by :meth:`save`.

        Parameters
        ----------
        path : str or path-like
            File to read. Nothing in it is run.

        Returns
        -------
        estimator : instance of this class
            The estimator as it was saved.

        Raises
        ------
        ValueError
            If the file is damaged, hostile, of a newer format, or holds an estimator
            of another class.
        """
        estimator = load(path)
        if not isinstance(estimator, cls):
            raise ValueError(
                f"{path} holds a {type(estimator).__name__}, not a {cls.__name__}."
            )
        return estimator


def save(estimator: Any, path: PathLike) -> None:
    """Save an estimator in one file without pickle.

    The file holds arrays and a JSON header and can be read on another machine by
    :func:`load` without running anything. Estimators of scikit-learn inside (a
    pipeline given as ``estimator``, for instance) are saved too, as far as their state
    is made of plain values, arrays and the everyday objects that the guide lists
    (:ref:`saving`): splitters, scorers, selectors of columns, frozen distributions.

    Parameters
    ----------
    estimator : estimator instance
        A fitted or unfitted estimator of skdiff or scikit-learn.
    path : str or path-like
        File to write, conventionally with the suffix ``.npz``. It is replaced
        as a whole or, when writing fails, left as it was.

    Raises
    ------
    TypeError
        If the estimator holds something the format has no form for; the message names
        it. Use :mod:`pickle` or joblib then, and load such files only from people you
        trust.
    ValueError
        If a parameter is out of its range, as ``fit`` would say.

    See Also
    --------
    load : Read such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import skdiff
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skdiff.save(model, os.path.join(folder, "model.npz"))
    ...     again = skdiff.load(os.path.join(folder, "model.npz"))
    >>> bool((again.predict(X) == model.predict(X)).all())
    True
    """
    from skdiff._base.persistence import _nodes

    arrays: dict[str, Any] = {}
    root = _nodes.encode(estimator, arrays, type(estimator).__name__)
    if not isinstance(root, dict) or root.get("t") != "estimator":
        raise TypeError(f"estimator must be an estimator instance, got {estimator!r}.")
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": {
            "skdiff": sys.modules["skdiff"].__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "arrays": {
            name: {"dtype": a.dtype.str, "shape": list(a.shape)}
            for name, a in arrays.items()
        },
        "root": root,
    }
    text = json.dumps(header, allow_nan=False).encode()
    arrays = {"header": np.frombuffer(text, dtype=np.uint8), **arrays}
    target = Path(path)
    # a neighbour renamed into place: a full disk or an interrupt leaves the old file
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: PathLike) -> Any:
    """Load an estimator from a file written by :func:`save`.

    Nothing in the file is run: only estimators that skdiff or scikit-learn make
    public and the objects that the guide lists (:ref:`saving`) are built, and their
    state is plain values and arrays. The whole header is checked before anything is
    built, and the parameters are validated as ``fit`` validates them. Fitted values
    are taken as they are: predictions are as trustworthy as who wrote the file.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    estimator : estimator instance
        The estimator as it was saved.

    Raises
    ------
    ValueError
        If the file is damaged, hostile or of a newer format.
    OSError
        If the file cannot be opened.

    See Also
    --------
    save : Write such a file.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except ValueError:
            raise
        # a damaged or hostile file can make any of the readers below stumble
        except Exception as error:
            raise ValueError(
                f"{path} is damaged or not a skdiff file: {error!r}"
            ) from error


def _read(file: IO[bytes]) -> Any:
    from skdiff._base.persistence import _nodes

    with zipfile.ZipFile(file) as archive:
        sizes = check_members(archive, os.fstat(file.fileno()).st_size)
        header = read_header(archive, sizes)
        _nodes.check(header["root"], header["arrays"])
        arrays = {
            name: read_array(archive, sizes, f"{name}.npy", declared)
            for name, declared in header["arrays"].items()
        }
    return _nodes.decode(header["root"], arrays)
