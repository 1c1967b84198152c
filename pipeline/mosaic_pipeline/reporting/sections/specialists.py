"""Section: the specialists, and the way to a page for each."""

from typing import Any

from mosaic_pipeline.reporting.means import mean_over
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.wording import listing, plural, with_unit

# What MOSAIC's own specialists are for.
MOSAIC = {"A": "colour and texture", "B": "grayscale and shape", "C": "volumes"}


def build(results: Results) -> dict[str, Any]:
    """Content of the section: (specialist, what it is for, its sentence, titles of its datasets)."""
    return {
        "parts": [
            (
                specialist,
                about(results, specialist),
                specialist_sentence(results, names),
                [results.title(n) for n in names],
            )
            for specialist, names in results.groups.items()
        ]
    }


def about(results: Results, specialist: str) -> str:
    """What a specialist is for: one beside MOSAIC's is for what its datasets are."""
    return MOSAIC.get(specialist) or listing([results.title(name) for name in results.groups[specialist]])


def specialist_sentence(results: Results, names: tuple[str, ...]) -> str:
    """Where the main variant routes these datasets, and the means it reaches on them."""
    means = [mean_over(results, results.main, metric, names) for metric in METRICS]
    values = [f"{metric.upper()} {with_unit(mean.value)}" for metric, mean in zip(METRICS, means, strict=True)]
    tables = [results.routed(results.main, seed) for seed in results.seeds]
    routed = dict.fromkeys(table[name] for name in names for table in tables)
    sizes = results.sizes(results.main)
    adapters = [f"{name} (size {sizes[name]})" if name else "no specialist" for name in routed]
    return f"{plural(len(names), 'dataset')}, routed to {listing(adapters)}. Mean test {' and '.join(values)}."
