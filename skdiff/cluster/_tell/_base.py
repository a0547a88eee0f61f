"""What a cluster layer answers once it is there: codes, distances, a layer of torch."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skdiff._base.progress import Progress
from skdiff._base.rows import Columns, network_columns
from skdiff._base.validation import check_X
from skdiff.cluster._tell import _lloyd as numbers

# squares of anything larger overflow, alone or in sums
LARGEST = {"f4": 1e15, "f8": 1e120}
LARGEST_OF_A_NETWORK = 1e30
LARGEST_STANDARDISED = 1e15


class ClusterLayer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Input, network and inference; the subclass places the centres."""

    # --- input ----------------------------------------------------------------------

    def _check_table(self, X, *, reset):
        plain = self.hidden_layer_sizes is None
        X = check_X(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            order="C",
            accept_sparse="csr" if plain else False,
        )
        if sparse.issparse(X):
            X = sparse.csr_array(X)
        values = X.data if sparse.issparse(X) else X
        largest = LARGEST[X.dtype.str[1:]] if plain else LARGEST_OF_A_NETWORK
        if values.size and max(values.max(), -values.min()) > largest:
            raise ValueError(
                f"X has values above {largest:g}, whose squares overflow. Rescale X, "
                "for instance with StandardScaler."
            )
        return X

    def _codes(self, X):
        """Codes of checked rows."""
        if self._state is None:
            return self._units(X)
        from skdiff.cluster._tell._module import encode

        compute = np.dtype(self._state["dtype"])
        X = self._seen(X).astype(compute, copy=False)
        return encode(self._network(), X, self.device)

    def _columns(self):
        """Centre and scale of the columns that the network sees."""
        return Columns(self._state["mean"], self._state["scale"])

    def _seen(self, X):
        return (
            X
            if self._state["mean"] is None
            else self._columns().standardised(X, LARGEST_STANDARDISED)
        )

    def _decode(self, Z):
        from skdiff.cluster._tell._module import decode

        compute = np.dtype(self._state["dtype"])
        Z = Z.astype(compute, copy=False)
        X = decode(self._network(), Z, self.device, self.reconstruction)
        if self._state["mean"] is None:
            return X
        columns = self._columns()
        return (X * columns.divisor + columns.mean).astype(compute, copy=False)

    def _distances(self, X):
        check_is_fitted(self)
        Z = self._codes(self._check_table(X, reset=False))
        return numbers.squared_distances(Z, self.latent_centers_)

    # --- what a fit leaves ----------------------------------------------------------

    def _take_over(self, found, temperature, state):
        """Assign the centres and all that follows from them."""
        if temperature is None:
            temperature = numbers.default_temperature(found.near)
        centers = found.centers
        self._state, self._live = state, {}
        self.latent_centers_ = self.cluster_centers_ = centers
        if state is not None:
            self.cluster_centers_ = self._decode(centers)
        self.labels_ = found.labels.astype(np.int32)
        self.inertia_ = float(found.near.sum(dtype=np.float64))
        self.temperature_ = float(temperature)
        self.layer_weight_, self.layer_bias_ = numbers.layer(centers, self.temperature_)

    def _placed(self, Z, centers):
        """Clusters of rows under centres as they are."""
        labels, near = numbers.assign(Z, centers, numbers.row_norms(Z))
        return numbers.Clusters(centers, labels, near, float(near.sum()), 1)

    def _centers_alone(self, centers):
        """What callbacks need in order to predict, from centres on their way."""
        temperature = 1.0 if self.temperature is None else float(self.temperature)
        return {
            "n_features_in_": centers.shape[1],
            "latent_centers_": centers,
            "cluster_centers_": centers,
            "temperature_": temperature,
            "_state": None,
            "_live": {},
        }

    def __sklearn_is_fitted__(self):
        """Tell whether there are centres."""
        return hasattr(self, "latent_centers_")

    def __getstate__(self):
        """Leave out the module, which is rebuilt from arrays."""
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_live"}

    def __setstate__(self, state):
        """Take arrays; torch is imported by the first use of the network."""
        super().__setstate__(state)
        if "_state" in state:
            self._live = {}

    @property
    def _n_features_out(self):
        return len(self.latent_centers_)

    # --- inference ------------------------------------------------------------------

    def predict(self, X):
        """Return the cluster of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of int of shape (n_samples,)
            Numbers of the nearest centres.
        """
        return self._distances(X).argmin(axis=1).astype(np.int32)

    def predict_proba(self, X):
        """Return soft assignments.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_clusters)
            ``softmax(-temperature_ * distance ** 2)``. They are no probabilities that
            were checked against anything.
        """
        D = self._distances(X)
        return numbers.soft_assignment(D, self.temperature_)

    def transform(self, X):
        """Return distances to the centres, among the codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            Euclidean distances.
        """
        return np.sqrt(self._distances(X))

    def score(self, X, y=None):
        """Return minus the inertia of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Minus the sum of squared distances to the nearest centre.
        """
        return -float(self._distances(X).min(axis=1).sum())

    def encode(self, X):
        """Return codes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : {ndarray, sparse array} of shape (n_samples, n_latent)
            Outputs of the encoder; without one the rows, at length one where
            ``normalize``.
        """
        check_is_fitted(self)
        return self._codes(self._check_table(X, reset=False))

    def decode(self, codes):
        """Return rows of codes.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_latent)
            Codes, such as ``latent_centers_``.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Outputs of the decoder; without one the codes themselves.
        """
        check_is_fitted(self)
        codes = check_array(codes, dtype=[np.float64, np.float32], input_name="codes")
        if codes.shape[1] != self.latent_centers_.shape[1]:
            raise ValueError(
                f"codes has {codes.shape[1]} columns; the codes of this model have "
                f"{self.latent_centers_.shape[1]}."
            )
        return codes if self._state is None else self._decode(codes)

    def to_torch_layer(self):
        """Return the clusters as a layer of torch.

        Returns
        -------
        layer : torch.nn.Linear
            From codes (rows of length one where ``normalize`` and there is no encoder)
            to ``n_clusters`` outputs: the largest is the nearest centre's, and their
            softmax is :meth:`predict_proba`.
        """
        check_is_fitted(self)
        import torch

        weight = torch.from_numpy(self.layer_weight_.copy())
        bias = torch.from_numpy(self.layer_bias_.astype(self.layer_weight_.dtype))
        layer = torch.nn.utils.skip_init(
            torch.nn.Linear, *weight.shape[::-1], dtype=weight.dtype
        )
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        return layer

    # --- the network ----------------------------------------------------------------

    def _units(self, X):
        """Rows of length one where asked for; zeros stay zeros."""
        if not self.normalize:
            return X
        if sparse.issparse(X):
            length = np.sqrt(numbers.row_norms(X))
            scale = (1 / np.where(length > 0, length, 1)).astype(X.dtype)
            return sparse.csr_array(X.multiply(scale[:, None]))
        return numbers.to_unit(X)

    def _hidden(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(isinstance(s, Integral) and s > 0 for s in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(s) for s in sizes]

    def _build(self, n_in, seed):
        import torch

        from skdiff.cluster._tell._module import AutoEncoder

        generator = torch.Generator().manual_seed(seed)
        module = AutoEncoder(
            n_in,
            self._hidden(),
            self.latent_dim,
            self.dropout,
            self.normalize,
            generator,
        )
        return module, generator

    def _fit_network(self, X, solver, rng, seed, guard):
        """Clusters, the state of the network, losses."""
        from skdiff._nn._modes import check_device, gradients

        check_device(self.device)
        with gradients():
            return self._train_network(X, solver, rng, seed, guard)

    def _train_network(self, X, solver, rng, seed, guard):
        from skdiff._nn import _fit
        from skdiff._nn._threads import threads_for
        from skdiff.cluster._tell import _module as network

        if self.reconstruction == "bce" and (X.min() < 0 or X.max() > 1):
            raise ValueError(
                "reconstruction='bce' needs columns between 0 and 1; X ranges from "
                f"{X.min():.6g} to {X.max():.6g}."
            )
        given, columns = self._start(X), None
        # cross-entropy needs the columns as they are, between 0 and 1
        if self.standardize and self.reconstruction == "mse":
            columns = network_columns(X, None)
            X = columns.standardised(X, LARGEST_STANDARDISED)
            if given is not None:
                given = columns.standardised(given, LARGEST_STANDARDISED)
        module, generator = self._build(X.shape[1], seed)

        def start(codes):
            begin = None
            if given is not None:
                begin = network.encode(module, given, self.device)
            # placing the centres is short, and nothing is worth much without it
            return self._cluster(codes, begin, solver, rng, Progress())[0]

        rows = min(self.batch_size, len(X))
        plan = network.Plan(
            clustering_weight=self.clustering_weight,
            temperature=self.temperature,
            closed_form=solver == "lloyd",
            pretrain_iter=self.pretrain_iter,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        settings = _fit.Settings(
            learning_rate_init=self.learning_rate_init,
            batch_size=rows,
            dtype=X.dtype.name,
            device=self.device,
        )
        objective = network.Objective(self.reconstruction, self.loss)
        centers = network.Centers(module, X, objective, plan, self.device)
        with threads_for(_fit.work_per_batch(module, rows)):
            run = network.train(centers, start, settings, generator, guard)
            Z = network.encode(module, X, self.device)
        # the last epoch moved the codes: a few steps bring the centres after them
        found = self._settle(Z, centers.values)._replace(stopped=run.stopped)
        state = {
            "arrays": _fit.state_arrays(module),
            "dtype": X.dtype.name,
            "mean": None if columns is None else columns.mean,
            "scale": None if columns is None else columns.divisor,
        }
        return found, state, run.loss_curve

    def _network(self):
        """The network, rebuilt from arrays at the first call after a load."""
        if "module" not in self._live:
            import torch

            from skdiff._nn import _fit

            module, _ = self._build(self.n_features_in_, 0)
            module = module.to(getattr(torch, self._state["dtype"]))
            _fit.load_arrays(module, self._state["arrays"])
            module.eval()
            self._live["module"] = module.to(self.device)
        return self._live["module"]

    @property
    def net_(self):
        """The autoencoder, a ``torch.nn.Module``; None without hidden layers."""
        check_is_fitted(self)
        return None if self._state is None else self._network()
