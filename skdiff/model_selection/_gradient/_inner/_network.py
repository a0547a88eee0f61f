"""Inner problem of our networks: weight decay by implicit differentiation.

The fit itself is the estimator's; torch is imported by the first solve. At the weights
it ends in, the training loss plus half the decays times the squared weights of their
layers is taken to be stationary, and its Hessian enters through products alone.
"""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Point, Values
from skdiff._convex._krylov import pcg

_DAMPING = 0.02  # share of the largest curvature


def neumann(product: Any, b: Any, *, largest: Any, n_terms: Any) -> Any:
    """``eta sum_i (I - eta H)^i b`` with ``eta = 1 / largest`` eigenvalue.

    The terms are those of gradient descent unrolled from the solution (Lorraine et al.,
    2020): few terms damp directions of little curvature. A series that grows stops.
    """
    eta = 1.0 / largest
    term, total = b, b.copy()
    size = float(np.linalg.norm(b))
    for _ in range(n_terms):
        term = term - eta * product(term)
        grown = float(np.linalg.norm(term))
        if grown > 1.001 * size:
            break
        size = grown
        total = total + term
    return eta * total


def largest_eigenvalue(product: Any, n: int, *, n_iter: Any = 20, seed: Any = 0) -> Any:
    """Largest absolute eigenvalue by power steps, rounded up."""
    v = np.random.default_rng(seed).normal(size=n)
    value = 0.0
    for _ in range(n_iter):
        v /= max(float(np.linalg.norm(v)), 1e-300)
        v = product(v)
        value = float(np.linalg.norm(v))
    return 1.1 * max(value, 1e-300)


class NetworkProblem(InnerProblem):
    """Every evaluation is a fresh fit: warm starts would change the answer."""

    parameters = {"alpha": (None, "layer", "group")}
    cheap = False
    warm = False
    for_subclasses = True  # it asks the estimator itself
    exact_fit = True
    weighted = True
    #: terms of the Neumann series, after the first
    n_terms = 50

    def __init__(self, estimator: Any) -> None:
        reason = estimator._no_gradient()
        if reason is not None:
            raise TypeError(
                f"{type(estimator).__name__} has no inner problem: {reason}, so its "
                "alpha has no gradient. Try a list of values, or HyperbandSearchCV."
            )
        super().__init__(estimator)
        if not estimator._decays_by_layer:
            self.parameters = {"alpha": (None,)}

    def bind(self, X: Any, y: Any, **rows: Any) -> Any:
        """Take the rows; without a seed, draw one for all points of the search."""
        if self.estimator.random_state is None:
            self.estimator = self.fresh(check_random_state(None)).estimator
        return super().bind(X, y, **rows)

    def size(self, name: str, per: Any) -> Any:
        """Layers, where features of other models are."""
        return self.estimator._n_layers()

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Fit the estimator afresh."""
        model = clone(self.estimator).set_params(**self.to_params(theta))
        y = self.y if self.classes is None else self.classes[self.y]
        if self.sample_weight is None:
            model.fit(self.X, y)
        else:
            model.fit(self.X, y, sample_weight=self.sample_weight)
        return model, int(model.n_iter_)

    def predict(self, w: Any, X: Any) -> Array:
        """Margins or values."""
        return np.asarray(
            w.predict(X) if self.classes is None else w.decision_function(X)
        )

    def evaluate(self, theta: Values, w0: Any, tol: float) -> Point:
        """Fit and predict; the data of the fit is kept for the derivatives."""
        model, n_iter = self.solve(theta, w0, tol)
        return Point(model, self.predict(model, self.X_val), n_iter)

    def hypergradient(
        self, theta: Values, point: Any, gradient: Array, tol: float
    ) -> Values:
        """Return ``-W_l . q_l``; q by conjugate gradients, or by the Neumann series.

        Away from a minimum the Hessian may have negative curvature, at which conjugate
        gradients stop short; the damped series is used then.
        """
        from skdiff._nn._modes import gradients

        with gradients():
            return self._hypergradient(theta, point, gradient, tol)

    def _hypergradient(
        self, theta: Values, point: Any, gradient: Array, tol: float
    ) -> Values:
        model, alpha = point.w, theta["alpha"]
        if model._state is None:  # a constant: nothing depends on the decay
            return {"alpha": np.zeros_like(np.asarray(alpha, dtype=float))}
        derivatives = _Derivatives(model, self.X, self.y, self.sample_weight)
        rhs = derivatives.pull(self.X_val, gradient)
        decay = derivatives.spread(alpha)

        def product(v: Any) -> Any:
            return derivatives.hessian_product(v) + decay * v

        rtol = min(1e-4, 100 * tol)
        q = pcg(product, rhs, tol=rtol, max_iter=2 * self.n_terms).x
        left = np.linalg.norm(product(q) - rhs)
        if left > 1e-2 * np.linalg.norm(rhs):
            q = self._damped(product, rhs)
        slopes = -derivatives.by_layer(derivatives.weights * q)
        return {"alpha": slopes if np.ndim(alpha) else float(slopes.sum())}

    def _damped(self, product: Any, rhs: Any) -> Any:
        """Neumann series of the Hessian plus a share of its largest curvature.

        It lifts slightly negative curvatures, at which the series would grow; fifty
        terms hardly tell one so small from zero.
        """
        largest = largest_eigenvalue(product, len(rhs))
        damping = _DAMPING * largest
        return neumann(
            lambda v: product(v) + damping * v,
            rhs,
            largest=largest + damping,
            n_terms=self.n_terms,
        )


class _Derivatives:
    """Gradients and Hessian products of a fitted network's training loss."""

    def __init__(self, model: Any, X: Any, y: Any, sample_weight: Any) -> None:
        import torch

        from skdiff._nn._fit import load_arrays, seeded

        self.torch, self.model = torch, model
        self.double = torch.float64
        n_out = model._n_outputs(vars(model))
        module = model._module(model.n_features_in_, n_out, seeded(0)).to(self.double)
        load_arrays(module, model._state["arrays"])
        self.module = module.eval()
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.weights = np.concatenate(
            [p.detach().numpy().ravel() for p in self.parameters]
        )
        # the decay acts on matrices, not on biases: -1
        matrix = np.cumsum([p.ndim > 1 for p in self.parameters]) - 1
        self.layer = np.concatenate(
            [
                np.full(p.numel(), k if p.ndim > 1 else -1)
                for k, p in zip(matrix, self.parameters, strict=True)
            ]
        )
        encoding = model._encoding()
        labels = y if "classes_" not in encoding else encoding["classes_"][y]
        target = model._encode(np.asarray(labels), sample_weight, encoding)
        weight = model._class_weighted(sample_weight, labels)
        self.X = self._rows(X)
        self.target = torch.as_tensor(target)
        if self.target.is_floating_point():
            self.target = self.target.to(self.double)
        self.weight = None
        if weight is not None:
            self.weight = torch.as_tensor(weight / weight.mean(), dtype=self.double)
        self.loss, self.twice = model._fitted_loss(self.target, self.weight, n_out)
        self.first = None

    def _rows(self, X: Any) -> Any:
        """Rows as the network takes them."""
        X = self.model._inputs(np.asarray(X))
        return self.torch.as_tensor(np.ascontiguousarray(X), dtype=self.double)

    def spread(self, alpha: Any) -> Any:
        """Decay of every entry of the weights."""
        per_layer = np.append(np.full(self.layer.max() + 1, alpha, dtype=float), 0.0)
        return per_layer[self.layer]

    def by_layer(self, values: Any) -> Any:
        """Sum over the entries of each layer; biases belong to none."""
        return np.bincount(self.layer + 1, weights=values)[1:]

    def gradient(self, create_graph: Any = False) -> Any:
        """Gradient of the training loss, without the decay."""
        loss = self.loss(self.module(self.X), self.target, self.weight)
        parts = self.torch.autograd.grad(
            loss, self.parameters, create_graph=create_graph
        )
        return self.torch.cat([g.reshape(-1) for g in parts])

    def hessian_product(self, v: Any) -> Any:
        """Product of the training loss's Hessian with a vector."""
        if not self.twice:
            return self._difference(v)
        torch = self.torch
        if self.first is None:  # one graph serves all products
            self.first = self.gradient(create_graph=True)
        inner = self.first @ torch.as_tensor(v)
        second = torch.autograd.grad(
            inner, self.parameters, retain_graph=True, allow_unused=True
        )
        return np.concatenate(
            [
                (torch.zeros_like(p) if g is None else g).reshape(-1).numpy()
                for g, p in zip(second, self.parameters, strict=True)
            ]
        )

    def _difference(self, v: Any) -> Any:
        """Return the same by a central difference of gradients."""
        size = float(np.linalg.norm(v))
        if size == 0.0:
            return np.zeros_like(v)
        step = 1e-5 / size
        sides = [self._gradient_at(self.weights + s * v) for s in (step, -step)]
        self._put(self.weights)
        return (sides[0] - sides[1]) / (2 * step)

    def _gradient_at(self, weights: Any) -> Any:
        self._put(weights)
        return self.gradient().numpy()

    def _put(self, weights: Any) -> None:
        values = self.torch.from_numpy(weights)
        with self.torch.no_grad():
            for p, part in zip(
                self.parameters,
                values.split([p.numel() for p in self.parameters]),
                strict=True,
            ):
                p.copy_(part.view_as(p))

    def pull(self, X_val: Any, gradient: Array) -> Any:
        """Gradient in the weights from one in the raw predictions."""
        torch = self.torch
        output = self.module(self._rows(X_val))
        gradient = torch.as_tensor(np.asarray(gradient, dtype=float))
        raw = self._raw(output).reshape(gradient.shape)
        grads = torch.autograd.grad((raw * gradient).sum(), self.parameters)
        return np.concatenate([g.reshape(-1).numpy() for g in grads])

    def _raw(self, output: Any) -> Any:
        model = self.model
        if not hasattr(model, "classes_"):
            scale = self.torch.as_tensor(np.asarray(model._y_scale, dtype=float))
            return output * scale
        if len(model.classes_) > 2:
            return output
        return output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]
