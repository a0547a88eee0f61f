"""Types that numeric functions share."""

from typing import Any

import numpy as np

#: double precision, of whatever shape the docstring gives
Array = np.ndarray[Any, np.dtype[np.float64]]
#: row numbers and codes
IntArray = np.ndarray[Any, np.dtype[np.int64]]
#: masks
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
#: of the precision of the data
FloatArray = np.ndarray[Any, np.dtype[Any]]
