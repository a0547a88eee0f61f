"""Lines of reports, and a frame that can be filed."""

from functools import cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array, BoolArray

MEANINGS = {
    "epsilon": "tolerance: how far above the best objective a model may be",
    "n": "number of rows",
    "mean_width": "mean width of the range of the prediction over all good models",
    "median_width": "its median",
    "conflict_ratio": "proportion of rows whose label some good model changes",
    "ambiguity": "proportion of rows whose prediction some good model moves so far",
    "loss": "mean loss of the audited model",
}


def group_parts(n: int, groups: Any) -> list[tuple[Any, BoolArray]]:
    """All rows, then each group; a missing group is a group."""
    parts: list[tuple[Any, BoolArray]] = [("all", np.ones(n, dtype=bool))]
    if groups is not None:
        pd = require_pandas("report")
        codes, names = pd.factorize(
            pd.Series(np.asarray(groups)), sort=True, use_na_sentinel=False
        )
        parts += [(name, codes == k) for k, name in enumerate(names)]
    return parts


def summary(
    middle: Array, bounds: Array, hits: dict[str, BoolArray], deltas: Any
) -> dict[str, Any]:
    """Widths and proportions of rows with ranges (m, 2) or (m, K, 2)."""
    if bounds.ndim == 2:
        middle, bounds = middle[:, None], bounds[:, None]
    with np.errstate(invalid="ignore"):
        width = (bounds[..., 1] - bounds[..., 0]).max(axis=1)
        reach = np.maximum(bounds[..., 1] - middle, middle - bounds[..., 0]).max(axis=1)
    line = {"mean_width": width.mean(), "median_width": np.median(width)}
    hits = hits | {f"ambiguity_{delta:g}": reach >= delta for delta in deltas}
    for name, hit in hits.items():
        interval = binomtest(int(hit.sum()), len(hit)).proportion_ci(method="wilson")
        line |= {
            name: hit.mean(),
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
        }
    return line


def mean_with_interval(loss: Array) -> dict[str, float]:
    """Mean loss with its normal 95 % interval."""
    mean = loss.mean()
    half = 1.96 * loss.std(ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else np.nan
    return {"loss": mean, "loss_low": mean - half, "loss_high": mean + half}


def as_report(lines: list[dict[str, Any]], facts: dict[str, Any]) -> Any:
    """A frame that states its facts in HTML and Markdown."""
    report = _report_class()(lines)
    report.attrs["facts"] = facts
    return report


def _rebuilt(frame: Any, facts: dict[str, Any]) -> Any:
    report = _report_class()(frame)
    report.attrs["facts"] = facts
    return report


@cache
def _report_class() -> Any:
    pd: Any = require_pandas("report")

    Frame: Any = pd.DataFrame

    class MultiplicityReport(Frame):
        """A frame whose HTML and Markdown can be filed."""

        @property
        def _constructor(self) -> Any:
            return pd.DataFrame

        def __reduce__(self) -> Any:
            return _rebuilt, (pd.DataFrame(self), dict(self.attrs.get("facts", {})))

        def to_markdown(self, buf: Any = None, **options: Any) -> Any:
            """Return the report as Markdown, or write it to ``buf``."""
            text = _markdown(self, options.pop("floatfmt", ".4g"))
            return _written(text, buf)

        def to_html(self, buf: Any = None, **options: Any) -> Any:
            """Return the report as HTML, or write it to ``buf``."""
            options.setdefault("float_format", "{:.4g}".format)
            table = pd.DataFrame(self).to_html(index=False, **options)
            return _written(_html(self, table), buf)

    return MultiplicityReport


def _written(text: str, buf: Any) -> str | None:
    if buf is None:
        return text
    if hasattr(buf, "write"):
        buf.write(text)
    else:
        with open(buf, "w", encoding="utf-8") as file:
            file.write(text)
    return None


def _meanings(report: Any) -> list[tuple[str, str]]:
    known = [c.partition("_0")[0] for c in report.columns]
    return [(name, text) for name, text in MEANINGS.items() if name in known]


def _markdown(report: Any, form: str) -> str:
    def cell(value: Any) -> str:
        text = format(value, form) if isinstance(value, float) else str(value)
        return text.replace("|", "\\|")

    lines = ["# Predictive multiplicity", ""]
    lines += [f"- {name}: {value}" for name, value in report.attrs["facts"].items()]
    lines += ["", "| " + " | ".join(map(str, report.columns)) + " |"]
    lines += ["|" + " --- |" * len(report.columns)]
    for row in report.itertuples(index=False):
        lines.append("| " + " | ".join(map(cell, row)) + " |")
    lines += ["", *(f"- `{name}`: {text}" for name, text in _meanings(report))]
    return "\n".join(lines) + "\n"


def _html(report: Any, table: str) -> str:
    from html import escape

    facts = "".join(
        f"<li>{escape(str(name))}: {escape(str(value))}</li>"
        for name, value in report.attrs["facts"].items()
    )
    meanings = "".join(
        f"<li><code>{name}</code>: {text}</li>" for name, text in _meanings(report)
    )
    return (
        "<section><h1>Predictive multiplicity</h1>"
        f"<ul>{facts}</ul>{table}<ul>{meanings}</ul></section>"
    )
