"""The archive of a header and arrays, read with suspicion."""

import json
import math
import zipfile
from tokenize import TokenError
from typing import Any

import numpy as np

FORMAT = "skdiff"
FORMAT_VERSION = 1
MAX_BYTES = 4 * 2**30
_HEADER = "header.npy"
_HEADER_KEYS = {"format", "format_version", "versions", "arrays", "root"}
#: dtypes that hold values and no Python objects
PLAIN_KINDS = "biufcUSmM"


def check_members(archive: zipfile.ZipFile, file_size: int) -> dict[str, int]:
    """Return member sizes; refuse whatever could grow or repeat when read."""
    sizes: dict[str, int] = {}
    for member in archive.infolist():
        # stored members cannot inflate, and together cannot exceed the file, so an
        # archive bomb has no room
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError("A skdiff file has no compressed or encrypted member.")
        if member.filename in sizes:
            raise ValueError(f"Member {member.filename} stands twice in the file.")
        sizes[member.filename] = member.file_size
    if sum(sizes.values()) > min(file_size, MAX_BYTES):
        raise ValueError("The members claim more bytes than the file has.")
    return sizes


def read_header(archive: zipfile.ZipFile, sizes: dict[str, int]) -> dict[str, Any]:
    if _HEADER not in sizes:
        raise ValueError("The file has no skdiff header.")
    raw = read_array(archive, sizes, _HEADER)
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise ValueError("The header is not a string of bytes.")
    try:
        header = json.loads(raw.tobytes().decode(), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"The header is not valid JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("The file is not a skdiff file.")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"The file has format version {header.get('format_version')!r}; this "
            f"skdiff reads version {FORMAT_VERSION}."
        )
    if set(header) != _HEADER_KEYS:
        raise ValueError(f"The header has keys {sorted(map(str, header))}.")
    declared = header["arrays"]
    if not isinstance(declared, dict):
        raise ValueError("The header's list of arrays is not a dictionary.")
    if {f"{name}.npy" for name in declared} | {_HEADER} != set(sizes):
        raise ValueError("The header and the members of the file disagree.")
    return header


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"The header holds {constant}, which is not JSON.")


def read_array(
    archive: zipfile.ZipFile, sizes: dict[str, int], member: str, declared: Any = None
) -> Any:
    """Read one member, once its own header agrees with its size and declaration."""
    formats = np.lib.format
    with archive.open(member) as file:
        version = formats.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member} has array format {version}.")
        try:
            shape, _, dtype = formats.read_array_header_1_0(file)
        except (SyntaxError, TokenError, TypeError, MemoryError) as error:
            # numpy's parser lets what Python says of such a text through
            raise ValueError(f"{member} has an unreadable header: {error}") from error
        if dtype.kind not in PLAIN_KINDS or dtype.names is not None:
            raise ValueError(f"{member} has dtype {dtype}, which is not accepted.")
        if any(n < 0 for n in shape):
            raise ValueError(f"{member} declares the shape {shape}.")
        if math.prod(shape) * dtype.itemsize != sizes[member] - file.tell():
            raise ValueError(f"{member} declares the shape {shape}, its size differs.")
    if declared is not None and declared != {"dtype": dtype.str, "shape": list(shape)}:
        raise ValueError(f"The header declares {declared} for {member}: not so.")
    with archive.open(member) as file:
        return formats.read_array(file, allow_pickle=False)
