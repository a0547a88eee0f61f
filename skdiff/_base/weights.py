"""The store of trained networks that ship with the package.

``skdiff/_weights/NAME.npz`` holds arrays and ``NAME.json`` its card: what the network
is for, the script and the seed that trained it, the versions, the scores it reached,
and the SHA-256 digest of the arrays. Nothing is unpickled, and a file is read by the
first call that needs it.
"""

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray

FOLDER = Path(__file__).parents[1] / "_weights"
#: what a card tells besides what :func:`save_weights` adds
TOLD = ("description", "script", "seed", "scores")
_CARD = {*TOLD, "name", "versions", "arrays", "sha256"}


class Weights(NamedTuple):
    """Arrays by name (read only) and the card that came with them."""

    arrays: Mapping[str, FloatArray]
    card: Mapping[str, Any]


def available_weights(folder: Path = FOLDER) -> list[str]:
    """Return the names of the networks that ship with the package."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load_weights(name: str) -> Weights:
    """Return the arrays and the card of a network; the file is read once.

    A name that is not known, a missing file and a damaged one raise ``ValueError``.
    """
    return _load(FOLDER, name)


@cache
def _load(folder: Path, name: str) -> Weights:
    known = available_weights(folder)
    if name not in known:
        raise ValueError(
            f"There are no weights named {name!r}; skdiff ships "
            f"{', '.join(known) or 'none'}."
        )
    card = _read_card(folder / f"{name}.json")
    try:
        data = (folder / f"{name}.npz").read_bytes()
    except OSError as error:
        raise _damaged(name, f"the arrays cannot be read ({error})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != card["sha256"]:
        raise _damaged(name, f"its digest is {digest}, not {card['sha256']}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(name, f"the arrays cannot be read ({error})") from error
    if _shapes(arrays) != card["arrays"]:
        raise _damaged(name, f"it holds {_shapes(arrays)}, the card {card['arrays']}")
    for array in arrays.values():
        array.flags.writeable = False  # every caller gets the same arrays
    return Weights(MappingProxyType(arrays), MappingProxyType(card))


def save_weights(
    name: str,
    arrays: Mapping[str, FloatArray],
    card: Mapping[str, Any],
    *,
    packages: tuple[str, ...] = (),
    folder: Path = FOLDER,
) -> None:
    """Write a trained network and its card; called by the scripts in ``tools/``.

    ``card`` has ``description``, ``script``, ``seed`` and ``scores``. Versions of
    Python, NumPy and ``packages``, shapes and the digest are added. The same arrays
    give the same file, byte for byte.
    """
    if set(card) != set(TOLD):
        raise ValueError(f"A card tells {', '.join(TOLD)}. Got {', '.join(card)}.")
    if objects := [k for k, a in arrays.items() if np.asarray(a).dtype.hasobject]:
        raise ValueError(f"{objects} hold Python objects; only numbers are stored.")
    buffer = io.BytesIO()
    np.savez(buffer, **{k: np.asarray(a) for k, a in arrays.items()})  # type: ignore[arg-type]
    data = buffer.getvalue()
    from importlib.metadata import version

    full = {
        "name": name,
        **card,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", *packages)},
        },
        "arrays": _shapes(arrays),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (folder / f"{name}.npz").write_bytes(data)
    (folder / f"{name}.json").write_text(json.dumps(full, indent=1) + "\n")


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path.stem, f"the card cannot be read ({error})") from error
    if not isinstance(card, dict) or set(card) != _CARD or card["name"] != path.stem:
        raise _damaged(path.stem, "the card is not the card of these weights")
    return card


def _shapes(arrays: Mapping[str, FloatArray]) -> dict[str, dict[str, Any]]:
    return {
        key: {"dtype": np.asarray(a).dtype.str, "shape": list(np.shape(a))}
        for key, a in arrays.items()
    }


def _damaged(name: str, why: str) -> ValueError:
    return ValueError(
        f"The weights {name!r} that came with skdiff are damaged: {why}. Install "
        "skdiff again."
    )
