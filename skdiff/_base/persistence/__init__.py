"""Saving fitted estimators in one file that cannot run code when it is read.

The file is an uncompressed ``.npz``: one member holds a JSON header, the others hold
arrays. No pickle is written and none is accepted. What may be rebuilt is decided by
the *reader*: estimators that skdiff or scikit-learn make public, the objects that
``_objects.py`` lists, plain values, arrays.
"""

from skdiff._base.persistence._file import SaveMixin, load, save

__all__ = ["SaveMixin", "load", "save"]
