"""A skorch net without its price: the same steps, a tenth of the bookkeeping.

skorch stays inside for what it does well (callbacks, parameters by name, history), and
the weights after training are bit-identical to its stock loop's; a test keeps it so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import skorch
import torch
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from torch import Tensor, nn

from skdiff._nn._data import (
    Nested,
    TensorData,
    TensorIterator,
    as_tensor,
    first_tensor,
)
from skdiff._nn._option_steps import MixedIterator, Mixing, sharpest_neighbour

BatchLoss = Callable[[Tensor, Nested, Tensor | None], Tensor]
EVALUATION_ROWS = 1024  # activations of a batch stay in the cache


@dataclass(frozen=True)
class Reading:
    """How arrays of the user become rows of the module, and its outputs predictions."""

    inputs: Callable[[Any], Any]
    predict: Callable[[Any], Any]
    predict_proba: Callable[[Any], Any]
    target: Callable[[Tensor], Tensor]


class Criterion(nn.Module):
    """The loss of a batch as skorch wants it: a module."""

    def __init__(self, batch_loss: BatchLoss) -> None:
        super().__init__()
        self.batch_loss = batch_loss

    def forward(self, output: Tensor, target: tuple[Nested, Tensor | None]) -> Tensor:
        """Return the loss of a batch; ``target`` is a pair of targets and weights."""
        return self.batch_loss(output, *target)


class Net(skorch.NeuralNet):
    """skorch over tensors in memory, quiet; its estimator holds the validation set.

    Arrays given to ``forward``, ``predict`` and ``predict_proba`` are rows of the user.
    Callbacks see targets without weights, in the units of ``predict``.
    """

    reading: Reading | None = None
    valid: TensorData | None = None

    def __init__(
        self,
        module: nn.Module,
        criterion: Any,
        *,
        generator: torch.Generator | None = None,
        strata: Tensor | None = None,
        sam_rho: float = 0.0,
        mixing: Mixing | None = None,
        train_split: Any = None,
        verbose: int = 0,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> None:
        self.generator = generator
        self.strata = strata
        self.sam_rho = sam_rho
        self.mixing = mixing
        super().__init__(
            module,
            criterion,
            train_split=train_split,
            verbose=verbose,
            callbacks=callbacks,
            **kwargs,
        )

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def get_dataset(self, X: Any, y: Any = None) -> TensorData:
        """Return tensors as they are, and rows of the user as the module takes them."""
        if isinstance(X, TensorData):
            return X
        if isinstance(X, Dataset):  # that callbacks were shown
            return TensorData(X.X, X.y)
        if self.reading is not None and not isinstance(X, Tensor):
            X = as_tensor(self.reading.inputs(np.asarray(X)), self.device)
        dtype = next(self.module_.parameters()).dtype
        return TensorData(X.to(dtype), y)

    def get_iterator(self, dataset: TensorData, training: bool = False) -> Any:
        """Return batches: shuffled by the net's own generator in training."""
        if not training:
            return TensorIterator(dataset, EVALUATION_ROWS)
        drawn = (dataset, self.batch_size, self.generator, self.strata)
        if self.mixing is not None:
            return MixedIterator(*drawn, self.mixing)
        return TensorIterator(*drawn)

    def _outputs(self, X: Any) -> Any:
        return skorch.utils.to_numpy(self.forward(X))

    def predict(self, X: Any) -> Any:
        """Return values, or for a classifier positions in its ``classes_``."""
        output = self._outputs(X)
        return output if self.reading is None else self.reading.predict(output)

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities of the classes, or the values of a regressor."""
        output = self._outputs(X)
        return output if self.reading is None else self.reading.predict_proba(output)

    def get_loss(
        self, y_pred: Tensor, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the loss of a batch already on the device."""
        return self.criterion_(y_pred, y_true)

    def infer(self, x: Nested, **fit_params: Any) -> Any:
        """Call the module on tensors already on the device."""
        return self.module_(x, **fit_params)

    def listeners(self, hook: str) -> list[Any]:
        """Callbacks that really override a hook."""
        stock = getattr(Callback, hook)
        return [cb for _, cb in self.callbacks_ if getattr(type(cb), hook) is not stock]

    def gradient(self, batch: Any, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Leave the gradient of a batch in the parameters; return loss and outputs."""
        X, y = batch
        self.optimizer_.zero_grad()
        output = self.infer(X, **fit_params)
        loss = self.get_loss(output, y, X=X, training=True)
        loss.backward()
        return loss.detach(), output

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Take one step of the optimiser. Override it for a special step."""
        loss, output = self.gradient(batch, **fit_params)
        if self.sam_rho:
            with sharpest_neighbour(self, self.sam_rho):
                self.gradient(batch, **fit_params)
        if self._on_grad:
            named = list(self.get_all_learnable_params())
            for callback in self._on_grad:
                callback.on_grad_computed(
                    self, named_parameters=iter(named), batch=batch, training=True
                )
        self.optimizer_.step()
        return {"loss": loss, "y_pred": output}

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        """Run one epoch; read the loss once, at its end."""
        if iterator is None:
            return
        begin, end = self.listeners("on_batch_begin"), self.listeners("on_batch_end")
        self._on_grad = self.listeners("on_grad_computed")
        self._set_training(training)
        total: Any = 0.0
        rows = n_batches = 0
        for batch in iterator:
            size = len(first_tensor(batch[0]))
            seen = self._shown(batch) if begin or end else batch
            if begin or end:
                self.history.new_batch()
            for callback in begin:
                callback.on_batch_begin(self, batch=seen, training=training)
            step = step_fn(batch, **fit_params)
            total = total + step["loss"] * size
            rows += size
            n_batches += 1
            if begin or end:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", size)
            for callback in end:
                callback.on_batch_end(self, batch=seen, training=training, **step)
        self.history.record(f"{prefix}_loss", float(total) / max(rows, 1))
        self.history.record(f"{prefix}_batch_count", n_batches)

    def _shown(self, data: Any) -> Any:
        """A batch or a data set with targets as callbacks see them."""
        X, y = (data.X, data.y) if isinstance(data, TensorData) else data
        target = y[0] if isinstance(y, tuple) else y
        if self.reading is not None and target is not None:
            target = self.reading.target(target)
        return Dataset(X, target) if isinstance(data, TensorData) else (X, target)

    def run_epoch(self, data: TensorData) -> float:
        """Run one epoch of training with its hooks; return the mean loss.

        The validation set is passed through the net only where a callback may want it.
        """
        valid = self.valid if self.callbacks_ else None
        seen = {"dataset_train": data, "dataset_valid": valid}
        if self.callbacks_:
            seen = {k: None if d is None else self._shown(d) for k, d in seen.items()}
        self.notify("on_epoch_begin", **seen)
        iterator = self.get_iterator(data, training=True)
        self.run_single_epoch(iterator, True, "train", self.train_step)
        loss: float = self.history[-1, "train_loss"]
        if valid is not None:
            held = self.get_iterator(valid)
            self.run_single_epoch(held, False, "valid", self.validation_step)
        self.notify("on_epoch_end", **seen)
        return loss

    def training_state(self) -> dict[str, float]:
        """Counters of a schedule that a continued fit goes on with. Override it."""
        return {}

    def set_training_state(self, state: dict[str, float]) -> None:
        """Take back what :meth:`training_state` gave. Override it."""

    def remember(self, losses: list[float], scores: list[float] | None) -> None:
        """Write a history of epochs that were run without one."""
        for k in range(len(self.history), len(losses)):
            self.history.new_epoch()
            self.history.record("epoch", k + 1)
            self.history.record("train_loss", losses[k])
            if scores is not None and k < len(scores):
                self.history.record("valid_score", scores[k])
