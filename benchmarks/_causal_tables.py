"""Tables of instruments and treatments.

The environment variable ``SKDIFF_DATA`` names the folder of the tables.
"""

import os
from pathlib import Path


def read(name):
    """Return a frame of a table, or None with a line that says what is missing."""
    folder = os.environ.get("SKDIFF_DATA")
    path = Path(folder or "") / f"{name}.csv.gz"
    if not folder or not path.exists():
        print(f"{name}: SKDIFF_DATA names no folder with this table; left out")
        return None
    import pandas as pd

    return pd.read_csv(path)
