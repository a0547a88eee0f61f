"""What sparse Bayesian classifiers and regressors share: masks, weights, draws."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._nn._base import BaseNeural

CRITERIA = {"snr_abs", "mean_abs", "abs_mean", "snr", "exp_abs", "snr_exp"}


class BaseSparseBayesian(BaseNeural):
    """What classifier and regressor share: the network, its masks, its draws."""

    _parameter_constraints = {
        **BaseNeural._parameter_constraints,
        "density": [Interval(Real, 0, 1, closed="right")],
        "density_distribution": [StrOptions({"uniform", "erdos_renyi"})],
        "dense_first_layer": ["boolean"],
        "criterion": [StrOptions(CRITERIA)],
        "update_every": [Interval(Integral, 1, None, closed="left")],
        "update_fraction": [Interval(Real, 0, 1, closed="left")],
        "update_end": [Interval(Real, 0, 1, closed="both")],
        "prior_std": [Interval(Real, 0, None, closed="neither")],
        "posterior_std_init": [Interval(Real, 0, None, closed="neither")],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "n_predict_samples": [Interval(Integral, 1, None, closed="left")],
    }

    # --- hooks ----------------------------------------------------------------------

    def _n_noise(self, n_out):
        """Learned deviations of the noise that do not depend on the row."""
        return 0

    def _module(self, n_in, n_out, generator):
        from skdiff.neural_network._ssvi import _module as modules

        n_noise = self._n_noise(n_out)
        sizes = [n_in, *self._hidden_sizes(), n_out - n_noise]
        budgets = modules.layer_budgets(
            sizes, self.density, self.density_distribution, self.dense_first_layer
        )
        return modules.SparseBayesianMLP(
            sizes,
            budgets,
            self.activation,
            float(self.posterior_std_init),
            float(self.prior_std),
            n_noise,
            generator,
        )

    def _net_class(self):
        from skdiff.neural_network._ssvi._module import SSVINet

        if "optimizer" in (self.net_params or {}):
            raise ValueError(
                "net_params cannot set the optimizer: exchanged weights have to be "
                "forgotten by it. Choose it by solver."
            )
        return SSVINet

    def _validate(self, X, y, sample_weight, *, reset):
        X, y, weight = super()._validate(X, y, sample_weight, reset=reset)
        # the divergence is shared by all rows, and a row of weight two is two rows
        self._n_rows = float(len(X))
        if sample_weight is not None:
            self._n_rows = float(np.sum(np.asarray(sample_weight, dtype=np.float64)))
        return X, y, weight

    def _configure(self, net, data, table, encoding, seed):
        data = super()._configure(net, data, table, encoding, seed)
        self._schedule(net, self._n_rows)
        return data

    def _schedule(self, net, n_rows):
        net.criterion_name = self.criterion
        net.update_every = int(self.update_every)
        net.update_fraction = float(self.update_fraction)
        net.update_end = float(self.update_end)
        net.kl_weight = float(self.kl_weight)
        net.n_rows = n_rows

    def _training(self):
        settings = super()._training()
        if not self.early_stopping:  # the schedules have a length of their own
            settings |= {"tol": 0.0, "n_iter_no_change": 10**9}
        return settings

    def _train(self, net, data, limits, progress, validate):
        self._schedule(net, self._n_rows)
        # partial_fit is one epoch of a schedule of max_iter; every fit runs a schedule
        length = self.max_iter if limits.one_epoch else limits.max_iter
        net.prepare(length, begin=not limits.one_epoch)
        run = super()._train(net, data, limits, progress, validate)
        if run.stopped == "max_iter":
            run.stopped = "completed"
        return run

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        del self._n_rows
        from skdiff.neural_network._ssvi._module import mean_abs

        layers = net.module_.layers
        self.masks_ = [layer.mask.cpu().numpy().copy() for layer in layers]
        self.n_active_weights_ = int(sum(mask.sum() for mask in self.masks_))
        self.n_total_weights_ = int(sum(mask.size for mask in self.masks_))
        self.density_ = self.n_active_weights_ / self.n_total_weights_
        earlier = (self.elbo_curve_, self.mask_overlap_) if continued else ([], [])
        self.elbo_curve_ = [*earlier[0], *net.elbo_curve]
        self.mask_overlap_ = [*earlier[1], *net.overlaps]
        mu = layers[0].mu.detach().double().cpu().numpy()
        sigma = layers[0].sigma().detach().double().cpu().numpy()
        size = (mean_abs(mu, sigma) * self.masks_[0]).sum(axis=0)
        self.feature_relevance_ = size / max(size.sum(), 1e-300)
        self.feature_usage_ = self.masks_[0].sum(axis=0)

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        del self._n_rows
        d = self.n_features_in_
        self.masks_, self.elbo_curve_, self.mask_overlap_ = [], [], []
        self.n_active_weights_ = self.n_total_weights_ = 0
        self.density_ = 0.0
        self.feature_relevance_, self.feature_usage_ = np.zeros(d), np.zeros(d, int)
        return self

    # --- only active weights are stored -----------------------------------------------

    def _packed(self, arrays):
        packed = {}
        for name, array in arrays.items():
            prefix, _, part = name.rpartition(".")
            if part == "mask":
                packed[f"{prefix}.index"] = np.flatnonzero(array).astype(np.int32)
            elif part in ("mu", "rho"):
                packed[name] = array.reshape(-1)[arrays[f"{prefix}.mask"].reshape(-1)]
            else:
                packed[name] = array
        return packed

    def _unpacked(self, packed, module):
        arrays = {}
        for name, like in module.state_dict().items():
            prefix, _, part = name.rpartition(".")
            if part in ("mask", "mu", "rho"):
                full = np.zeros(like.numel(), dtype=like.numpy().dtype)
                index = packed[f"{prefix}.index"]
                full[index] = True if part == "mask" else packed[name]
                arrays[name] = full.reshape(tuple(like.shape))
            else:
                arrays[name] = packed[name]
        return arrays

    # --- draws ------------------------------------------------------------------------

    def _draws(self, X, n_samples, random_state=None):
        """Yield raw outputs (n, n_outputs) of networks drawn from the posterior."""
        check_is_fitted(self)
        X = self._checked(X)
        if self._state is None:
            zeros = np.zeros((len(X), self._n_outputs(vars(self))), dtype=X.dtype)
            yield from (zeros for _ in range(n_samples))
            return
        from skdiff._nn import _fit
        from skdiff._nn._data import as_tensor
        from skdiff._nn._threads import threads_for

        module = self._module_for_prediction()
        seed = self._state["seed"] if random_state is None else random_state
        table = as_tensor(X.astype(self._state["dtype"], copy=False), self.device)
        drawn = module.draws(table, n_samples, _fit.seeded(seed), _fit.PREDICT_ROWS)
        work = _fit.work_per_batch(module, min(len(X), _fit.PREDICT_ROWS))
        for _ in range(n_samples):
            with threads_for(work):
                output = next(drawn).cpu().numpy()
            yield output

    def to_sparse(self):
        """Return the layers as sparse matrices.

        Returns
        -------
        layers : list of tuple of (csr_matrix, csr_matrix, ndarray)
            Means and standard deviations of the weights, of shape (n_out, n_in), and
            the biases of each layer.
        """
        check_is_fitted(self)
        if self._state is None:
            return []
        arrays, layers = self._state["arrays"], []
        for k, mask in enumerate(self.masks_):
            index = np.divmod(arrays[f"layers.{k}.index"], mask.shape[1])
            mean, raw = (arrays[f"layers.{k}.{part}"] for part in ("mu", "rho"))
            std = np.logaddexp(raw, 0)
            layers.append(
                (
                    sparse.csr_matrix((mean, index), shape=mask.shape),
                    sparse.csr_matrix((std, index), shape=mask.shape),
                    arrays[f"layers.{k}.bias"].copy(),
                )
            )
        return layers


def count(n_samples):
    return check_scalar(n_samples, "n_samples", Integral, min_val=1)
