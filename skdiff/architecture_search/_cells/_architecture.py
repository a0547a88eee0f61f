"""What a search has found, as an immutable description that travels as JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

SPACES = ("cell", "hypercuboid", "mlp")
NAMES = ("zero", "skip", "relu", "tanh", "silu", "glu", "residual_relu")
SQUARE = ("skip", "residual_relu")


@dataclass(frozen=True)
class Architecture:
    """The wiring of a network: what each node computes from which earlier ones.

    ``ArchitectureSearchClassifier`` and its sibling leave one in ``architecture_`` and
    take one as ``architecture=``, which skips the search. Equal descriptions are equal
    objects.

    Parameters
    ----------
    nodes : tuple of tuple of (int, str)
        For each node the pairs of a source and an operation that are summed up. Source
        0 is the stem, source k the k-th node; sources come before the node. An
        operation is one of ``"skip"``, ``"relu"``, ``"tanh"``, ``"silu"``, ``"glu"``
        and ``"residual_relu"``.
    widths : tuple of int
        Units of the stem and of each node. All are equal in a cell.
    space : {"cell", "hypercuboid", "mlp"}, default="cell"
        ``"cell"`` reads the outputs from all nodes; ``"hypercuboid"`` is a chain that
        is read from the last node; ``"mlp"`` is a standard multilayer perceptron with
        ``"relu"`` in all layers and without normalisation, whose hidden layers have the
        sizes ``widths``.
    n_cells : int, default=1
        Cells of this form, one after the other.

    See Also
    --------
    ArchitectureSearchClassifier : Finds one, or trains a given one.

    Examples
    --------
    >>> from skdiff.architecture_search import Architecture
    >>> cell = Architecture(
    ...     nodes=(((0, "relu"),), ((0, "skip"), (1, "glu"))), widths=(32, 32, 32)
    ... )
    >>> Architecture.from_json(cell.to_json()) == cell
    True
    >>> print(cell)
    cell of width 32
    node 1: relu(stem)
    node 2: skip(stem) + glu(node 1)
    """

    nodes: tuple[tuple[tuple[int, str], ...], ...]
    widths: tuple[int, ...]
    space: str = "cell"
    n_cells: int = 1

    def __post_init__(self) -> None:
        nodes = tuple(tuple(_edge(e) for e in node) for node in _listed(self.nodes))
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "widths", tuple(_listed(self.widths)))
        self._check_sizes()
        # integers of NumPy are no JSON
        object.__setattr__(self, "widths", tuple(map(int, self.widths)))
        object.__setattr__(self, "n_cells", int(self.n_cells))
        for k, node in enumerate(nodes, start=1):
            self._check_node(k, node)

    def _check_sizes(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"space must be one of {SPACES}, got {self.space!r}.")
        for name, values in (("widths", self.widths), ("n_cells", (self.n_cells,))):
            if not all(_is_count(v) for v in values) or not values:
                raise ValueError(f"{name} must be positive integers, got {values}.")
        expected = len(self.nodes) + (self.space != "mlp")
        if not self.nodes or len(self.widths) != expected:
            raise ValueError(
                f"A description of {len(self.nodes)} nodes in the space "
                f"{self.space!r} needs {expected} widths and at least one node, got "
                f"{len(self.widths)} widths."
            )
        if self.space == "cell" and len(set(self.widths)) > 1:
            raise ValueError(f"All widths of a cell are equal, got {self.widths}.")
        if self.space != "cell" and self.n_cells != 1:
            raise ValueError(f"The space {self.space!r} has one cell.")

    def _check_node(self, k: int, node: tuple[tuple[int, str], ...]) -> None:
        if not node:
            raise ValueError(f"Node {k} has no input.")
        sources = [source for source, _ in node]
        if len(set(sources)) < len(sources):
            raise ValueError(f"Node {k} reads a source twice.")
        for source, operation in node:
            if not 0 <= source < k:
                raise ValueError(
                    f"Node {k} reads source {source}; it may read 0 to {k - 1}."
                )
            if operation == "zero" or operation not in NAMES:
                raise ValueError(
                    f"Node {k} has the operation {operation!r}; possible are "
                    f"{NAMES[1:]}."
                )
        if self.space == "cell":
            return
        if sources != [k - 1]:
            raise ValueError(f"Node {k} of a chain reads source {k - 1} alone.")
        if self.space == "mlp" and node[0][1] != "relu":
            raise ValueError("The operation of all nodes of an 'mlp' is 'relu'.")
        if (
            self.space == "hypercuboid"
            and node[0][1] in SQUARE
            and self.widths[k - 1] != self.widths[k]
        ):
            raise ValueError(
                f"Node {k} changes the width from {self.widths[k - 1]} to "
                f"{self.widths[k]}, which {node[0][1]!r} cannot."
            )

    @classmethod
    def mlp(cls, widths: Iterable[int]) -> "Architecture":
        """Describe a standard multilayer perceptron.

        Parameters
        ----------
        widths : iterable of int
            Units of each hidden layer.

        Returns
        -------
        architecture : Architecture
            The description.
        """
        widths = tuple(widths)
        nodes = tuple(((k, "relu"),) for k in range(len(widths)))
        return cls(nodes, widths, space="mlp")

    def to_dict(self) -> dict[str, Any]:
        """Return the description as a dictionary of lists, strings and integers.

        Returns
        -------
        description : dict
            What :meth:`to_json` writes.
        """
        return {
            "space": self.space,
            "widths": list(self.widths),
            "n_cells": self.n_cells,
            "nodes": [[list(edge) for edge in node] for node in self.nodes],
        }

    def to_json(self) -> str:
        """Write the description as JSON.

        Returns
        -------
        text : str
            One line, read again by :meth:`from_json`.
        """
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Read a description written by :meth:`to_json`.

        Parameters
        ----------
        text : str
            The JSON text.

        Returns
        -------
        architecture : Architecture
            The description, checked.
        """
        try:
            parts = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"The text is not JSON: {error}.") from error
        return cls.from_dict(parts)

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> "Architecture":
        """Read a description returned by :meth:`to_dict`.

        Parameters
        ----------
        parts : dict
            The description.

        Returns
        -------
        architecture : Architecture
            The description, checked.
        """
        known = {"space", "widths", "n_cells", "nodes"}
        if (
            not isinstance(parts, dict)
            or not {"widths", "nodes"} <= set(parts) <= known
        ):
            raise ValueError(
                "A description is a dictionary with the keys 'nodes', 'widths' and, "
                "where they differ from the default, 'space' and 'n_cells'."
            )
        return cls(**parts)

    def operations(self) -> list[str]:
        """List the operations of all edges.

        Returns
        -------
        operations : list of str
            Node by node, in the order of the sources.
        """
        return [operation for node in self.nodes for _, operation in node]

    def __str__(self) -> str:
        if self.space == "mlp":
            return f"multilayer perceptron with hidden layers {list(self.widths)}"
        title = f"cell of width {self.widths[0]}"
        if self.space == "hypercuboid":
            title = "chain of widths " + ", ".join(map(str, self.widths))
        if self.n_cells > 1:
            title += f", {self.n_cells} times"
        names = ["stem", *(f"node {k}" for k in range(1, len(self.nodes) + 1))]
        lines = [
            f"{names[k]}: " + " + ".join(f"{o}({names[s]})" for s, o in node)
            for k, node in enumerate(self.nodes, start=1)
        ]
        return "\n".join([title, *lines])

    def outputs(self) -> tuple[int, ...]:
        """List the nodes that the outputs are read from.

        Returns
        -------
        nodes : tuple of int
            All nodes of a cell, the last one of a chain.
        """
        last = len(self.nodes)
        return tuple(range(1, last + 1)) if self.space == "cell" else (last,)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"A description holds lists, got {value!r}.")
    return list(value)


def _edge(value: Any) -> tuple[int, str]:
    pair = _listed(value)
    if len(pair) != 2 or not isinstance(pair[1], str) or not _is_integer(pair[0]):
        raise ValueError(
            f"An edge is a pair of a source and an operation, got {value!r}."
        )
    return int(pair[0]), pair[1]


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value > 0
