"""ablation.tex: the table of variants for a paper, with booktabs."""

from statistics import fmean

from mosaic_pipeline.reporting.comparisons import ALPHA, Comparison, compare_all
from mosaic_pipeline.reporting.means import Mean, mean_over
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.tex import escape, table
from mosaic_pipeline.reporting.wording import MINUS, UNDEFINED, bounds, percent, plural, signed


def render_latex(results: Results) -> str:
    r"""Return a LaTeX `table` to \input into a document that uses booktabs; no other package is needed."""
    compared = {metric: compare_all(results, metric) for metric in METRICS}
    header = ("Variant", "Trainable", "ACC", r"$\Delta$ACC", "AUC", r"$\Delta$AUC")
    rows = [_row(results, variant, compared) for variant in results.variants]
    return table("ablation", _caption(results), header, rows)


def _caption(results: Results) -> str:
    seeds = plural(len(results.seeds), "seed")
    spread = " ± sample standard deviation" if len(results.seeds) > 1 else ""
    return (
        f"{describe_origin(results).label}: mean test ACC and AUC in percent{spread} over "
        f"{plural(len(results.datasets), 'dataset')}, {seeds}. Differences: variant minus {results.main}, in points"
        + (
            ", with their 95 % interval over trainings and test cases; star: its p and that of the signed-rank test "
            f"over datasets, adjusted over the variants, are below {ALPHA}, in one direction."
            if len(results.seeds) > 1
            else "; one training each, so none is called."
        )
    )


def _row(results: Results, variant: str, compared: dict[str, dict[str, Comparison]]) -> str:
    trainable = fmean(results.runs[variant, seed].training.parameters.trainable for seed in results.seeds)
    cells = [escape(variant), f"{trainable / 1e6:.2f}\\,M"]
    for metric in METRICS:
        cells.append(_mean(mean_over(results, variant, metric, results.datasets)))
        cells.append(_difference(compared[metric].get(variant)))
    return " & ".join(cells) + r" \\"


def _mean(mean: Mean) -> str:
    if mean.value is None:
        return UNDEFINED
    return f"${percent(mean.value)}" + ("$" if mean.std is None else rf" \pm {100 * mean.std:.1f}$")


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return "--"
    star = "^{*}" if comparison.called else ""
    difference = f"${signed(comparison.difference).replace(MINUS, '-')}{star}$"
    if comparison.interval is None:
        return difference
    interval = bounds(comparison.interval).replace("+", "").replace(MINUS, "-").replace(" to ", ", ")
    return rf"{difference} {{\scriptsize $[{interval}]$}}"
