"""What a fitted network answers, and how it travels: arrays, the module on demand."""

import copy
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.rows import Columns
from skdiff._base.validation import check_X

# Sums of squares of anything larger overflow somewhere between X and the loss.
LARGEST = 1e30
MOST_ENTRIES = 1000  # of a layer, for each one that a file holds


class NeuralInference:
    """Outputs, the module rebuilt from arrays, pickles; the shell does the fitting."""

    def _checked(self: Any, X: Any) -> Any:
        """Rows to predict for, as the network takes them."""
        how: dict[str, Any] = {"dtype": [np.float64, np.float32], "order": "C"}
        return self._inputs(check_X(self, X, reset=False, **how))

    def _inputs(self: Any, X: Any) -> Any:
        """Rows in the precision to compute in, standardised."""
        X = self._cast(X)
        if self._varies is None:
            return X
        return Columns(self.mean_, self.scale_).standardised(X, LARGEST)

    def _restore(self: Any, module: Any) -> Any:
        """Put the saved weights into a module built alike."""
        from skdiff._nn import _fit

        _fit.load_arrays(module, self._unpacked(self._state["arrays"], module))

    def _as_fitted(self: Any) -> Any:
        """A copy with the parameters of the fit: some may have been set anew since."""
        twin = copy.copy(self)
        kept = self._state.get("parameters", {})
        names = self._get_param_names()
        vars(twin).update({name: kept[name] for name in names if name in kept})
        return twin

    def _output(self: Any, X: Any) -> Any:
        """Raw outputs of the network, in the dtype it computes in."""
        check_is_fitted(self)
        X = self._checked(X)
        if self._state is None:
            return np.zeros((len(X), self._n_outputs(vars(self))), dtype=X.dtype)
        return self._read(self._raw_output(X))

    def _raw_output(self: Any, X: Any) -> Any:
        """Outputs of the module for rows as it takes them."""
        from skdiff._nn import _fit
        from skdiff._nn._threads import threads_for

        module = self._module_for_prediction()
        compute = np.dtype(self._state["dtype"])
        rows = min(len(X), _fit.PREDICT_ROWS)
        with threads_for(_fit.work_per_batch(module, rows)):
            return _fit.predict_chunks(
                module, X.astype(compute, copy=False), self.device
            )

    def _read(self: Any, output: Any) -> Any:
        """HOOK: turn outputs of the module into those that predictions are made of."""
        return output

    def _module_for_prediction(self: Any) -> Any:
        """The module, rebuilt from arrays at the first call after a fit or a load."""
        live = self._live
        if "net" in live:
            return live["net"].module_
        if "module" not in live:
            import torch

            from skdiff._nn import _fit
            from skdiff._nn._modes import check_device, gradients

            check_device(self.device)
            with gradients():
                module = self._as_fitted()._module(
                    self.n_features_in_, self._n_outputs(vars(self)), _fit.seeded(0)
                )
                module = module.to(getattr(torch, self._state["dtype"]))
                self._restore(module)
                module.eval()
                live["module"] = module.to(self.device)
        return live["module"]

    @property
    def net_(self: Any) -> Any:
        """The network as an initialised ``skorch.NeuralNet``; None for a constant."""
        check_is_fitted(self)
        if self._state is None:
            return None
        if "net" not in self._live and "view" not in self._live:
            from skdiff._nn import _fit
            from skdiff._nn._modes import gradients

            with gradients():
                net = self._as_fitted()._build(
                    self.n_features_in_,
                    vars(self),
                    _fit.seeded(self._state["seed"]),
                    self._state["dtype"],
                )
            self._restore(net.module_)
            _fit.finish(net)
            net.remember(self.loss_curve_, self.validation_scores_)
            self._live["view"] = net
        return self._live.get("net", self._live.get("view"))

    def __sklearn_is_fitted__(self: Any) -> Any:
        """Tell whether a fit has come to its end."""
        return hasattr(self, "n_iter_")

    def __getstate__(self: Any) -> Any:
        """Leave out what is rebuilt: no torch object is pickled."""
        state: Any = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_live"}

    def __setstate__(self: Any, state: Any) -> Any:
        """Take arrays; torch is imported by the first prediction."""
        super().__setstate__(state)  # type: ignore[misc]
        if "_state" in state:
            self._live: dict[str, Any] = {}

    def _check_loaded(self: Any) -> None:
        """Refuse layers far larger than the arrays of the file, before one is built."""
        state = vars(self).get("_state")
        if state is None:
            return
        fitted = self._as_fitted()
        fitted._validate_params()
        held = sum(int(np.size(array)) for array in state["arrays"].values())
        fitted._check_sizes(held)

    def _check_sizes(self: Any, held: int) -> None:
        """HOOK: refuse a network that is far larger than ``held`` numbers."""
        outputs = self._n_outputs(vars(self))
        widths = [self.n_features_in_, *self._hidden_sizes(), outputs]
        # a sparse layer keeps a small fraction of its entries
        if sum(a * b for a, b in pairwise(widths)) > MOST_ENTRIES * held:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} does not belong to "
                "the weights of the file."
            )
