"""ablation.tex: the table of variants for a paper, with booktabs."""

from mosaic_pipeline.reporting.tex import escape, table
from mosaic_pipeline.reporting.wording import MINUS, bounds, percent, plural, short, signed
from mosaic_pipeline.segmentation.evaluation.statistics import Comparison
from mosaic_pipeline.segmentation.reporting.means import Mean, mean_over
from mosaic_pipeline.segmentation.reporting.origin import describe_origin, tested_on
from mosaic_pipeline.segmentation.reporting.results import TESTED, Results
from mosaic_pipeline.segmentation.reporting.sentences import interval_of, is_called


def render_latex(results: Results) -> str:
    r"""Return a LaTeX `table` to \input into a document that uses booktabs; no other package is needed."""
    header = ("Variant", "Parameters", "DSC", r"$\Delta$DSC", "NSD", r"$\Delta$NSD", "HD95")
    return table("segmentation", _caption(results), header, [_row(results, variant) for variant in results.variants])


def _caption(results: Results) -> str:
    several = len(results.seeds) > 1
    spread = " ± sample standard deviation" if several else ""
    return (
        f"{describe_origin(results).label}: mean test DSC and NSD in percent{spread} and HD95 in mm, over organs, then "
        f"sets; a missed or invented organ counts 0, 0 and the scan's diagonal. {plural(len(results.seeds), 'seed')}, "
        f"tested on {tested_on(results)}. Differences: variant minus {results.main}, in points, with 95 % interval "
        "over "
        + (
            "trainings and patients; star: called by the mean and by the signed-rank test over patients, adjusted over "
            "the variants, at 0.05."
            if several
            else "patients of these trainings; one training each, so none is called."
        )
    )


def _row(results: Results, variant: str) -> str:
    total = results.runs[variant, results.seeds[0]].training.parameters.total
    cells = [escape(variant), escape(short(total))]
    for metric in TESTED:
        cells += [_mean(mean_over(results, variant, metric)), _difference(results.comparisons[metric].get(variant))]
    distance = mean_over(results, variant, "hd95").value
    cells.append("--" if distance is None else f"{distance:.1f}")
    return " & ".join(cells) + r" \\"


def _mean(mean: Mean) -> str:
    if mean.value is None:
        return "--"
    return f"${percent(mean.value)}" + ("$" if mean.std is None else rf" \pm {100 * mean.std:.1f}$")


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return "--"
    star, found = "^{*}" if is_called(comparison) else "", interval_of(comparison)
    difference = f"${signed(comparison.estimate.value).replace(MINUS, '-')}{star}$"
    if found is None:
        return difference
    interval = bounds(found).replace("+", "").replace(MINUS, "-").replace(" to ", ", ")
    return rf"{difference} {{\scriptsize $[{interval}]$}}"
