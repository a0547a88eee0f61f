"""The figure of a comparison: intervals of differences, or critical differences."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes
from skdiff.model_evaluation._data_sets._ranks import critical_difference

KINDS = ("auto", "intervals", "differences", "critical_difference")


class ModelComparisonDisplay:
    """Draw what :func:`compare_models` has found.

    Parameters
    ----------
    report : ModelComparison
        The report.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    bars_ : list
        Error bars of the models or pairs, or the bars that join models whose ranks do
        not differ significantly.

    See Also
    --------
    compare_models : What makes the report.

    Examples
    --------
    >>> from skdiff.model_evaluation import ModelComparisonDisplay, compare_models
    >>> scores = {"a": [0.9, 0.8, 0.9, 0.7], "b": [0.8, 0.7, 0.8, 0.5]}
    >>> report = compare_models(scores, n_train=75, n_test=25)
    >>> display = ModelComparisonDisplay.from_report(report)
    >>> display.frame().columns[:3].tolist()
    ['model_a', 'model_b', 'difference']
    """

    def __init__(self, report):
        self.report = report

    @classmethod
    def from_report(cls, report):
        """Make the display from a report.

        Parameters
        ----------
        report : ModelComparison
            What :func:`compare_models` has returned.

        Returns
        -------
        display : ModelComparisonDisplay
            Not drawn yet.
        """
        return cls(report)

    def plot(self, ax=None, *, kind="auto"):
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.
        kind : {"auto", "intervals", "differences", "critical_difference"}, \
default="auto"
            Mean scores with the interval of each model; differences of the pairs with
            their intervals; or mean ranks, with bars that join models whose ranks do
            not differ significantly by Nemenyi's test. The last is for data sets and
            the default there; otherwise the differences are.

        Returns
        -------
        display : ModelComparisonDisplay
            This display.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}. Got {kind!r} instead.")
        ranked = self.report.kind == "data sets"
        if kind == "critical_difference" and not ranked:
            raise ValueError(
                "kind='critical_difference' is for scores of several data sets."
            )
        self.figure_, self.ax_ = get_axes(ax)
        if kind == "critical_difference" or (kind == "auto" and ranked):
            self._plot_ranks()
        elif kind == "intervals":
            self._plot_means()
        else:
            self._plot_differences()
        return self

    def _plot_means(self):
        report = self.report
        order = np.argsort(report.means_, kind="stable")
        means, bounds = report.means_[order], report.intervals_[order]
        self._error_bars(means, bounds, [report.names[k] for k in order])
        percent = f"{100 * (1 - report.level):g} %"
        self.ax_.set(xlabel=f"Score, with the {percent} interval of each model")

    def _plot_differences(self):
        tests = self.report.tests_
        estimates = np.array([result.estimate for result in tests.results])
        bounds = np.array([result.ci for result in tests.results])
        labels = [
            f"{tests.names[i]} - {tests.names[j]}\np = {p:.3f}"
            for (i, j), p in zip(tests.pairs, tests.pvalue, strict=True)
        ]
        significant = tests.pvalue <= self.report.level
        self._error_bars(estimates, bounds, labels, significant)
        self.ax_.axvline(0, color=COLORS["neutral"], ls="--", lw=1)
        percent = f"{100 * (1 - self.report.level):g} %"
        self.ax_.set(xlabel=f"Difference, with its {percent} interval")

    def _error_bars(self, centres, bounds, labels, significant=None):
        place = np.arange(len(centres))[::-1]
        shown = np.zeros(len(centres), bool) if significant is None else significant
        self.bars_ = []
        for k, (centre, (low, high)) in enumerate(zip(centres, bounds, strict=True)):
            finite = np.isfinite(low) and np.isfinite(high)
            self.bars_.append(
                self.ax_.errorbar(
                    centre,
                    place[k],
                    xerr=[[centre - low], [high - centre]] if finite else None,
                    color=COLORS["accent" if shown[k] else "main"],
                    fmt="o",
                    capsize=3,
                )
            )
        self.ax_.set_yticks(place, labels)
        self.ax_.set_ylim(-0.5, len(centres) - 0.5)

    def _plot_ranks(self):
        report = self.report
        ranks = np.asarray(report.details["mean_ranks"])
        k, n = len(ranks), report.scores_.shape[1]
        width = critical_difference(k, n, report.level)
        order = np.argsort(ranks, kind="stable")
        ax = self.ax_
        for place, index in enumerate(order):
            ax.plot(
                [ranks[index]] * 2, [0, -place - 1], color=COLORS["neutral"], lw=0.8
            )
            ax.plot(ranks[index], 0, "o", color=COLORS["main"])
            ax.annotate(
                f" {report.names[index]} ({ranks[index]:.2f})",
                (ranks[index], -place - 1),
                va="center",
            )
        self.bars_ = [
            ax.plot([low, high], [0.3 + 0.25 * step] * 2, color=COLORS["accent"], lw=3)[
                0
            ]
            for step, (low, high) in enumerate(joined(ranks[order], width))
        ]
        top = 0.3 + 0.25 * (len(self.bars_) + 1)
        ax.errorbar(1 + width / 2, top, xerr=width / 2, capsize=4, color="black")
        ax.annotate(f"CD = {width:.2f}", (1 + width / 2, top + 0.15), ha="center")
        ax.set(xlabel="Mean rank; 1 is best", ylim=(-k - 0.8, top + 0.8))
        ax.set_xlim(0.8, k + 0.8)
        ax.set_yticks([])
        ax.spines[["left", "right", "top"]].set_visible(False)

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            ``pairwise_`` of the report.
        """
        return self.report.pairwise_


def joined(ranks, width):
    """Ranges of sorted ranks within ``width`` of each other, none inside another."""
    ranges, last = [], -1
    for i, low in enumerate(ranks):
        j = int(np.flatnonzero(ranks <= low + width)[-1])
        if j > i and j > last:
            ranges.append((low, ranks[j]))
            last = j
    return ranges
