"""Section: how much the specialists' branch adds beside the MLP, layer by layer."""

from typing import Any

import numpy as np
from markupsafe import Markup

from mosaic_pipeline.reporting.figures.layers import by_group, group_lines, highest, layer_plot
from mosaic_pipeline.reporting.results import Results, once
from mosaic_pipeline.reporting.trainings import analysed_cases, mean_of, on_average
from mosaic_pipeline.reporting.wording import listing


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, what was looked at, figure) for each variant with specialists."""
    table = _ratios(results)
    if not any(variant in results.on_page for variant in table):
        return None
    top = highest(table.values())
    return {
        "parts": [
            (
                variant,
                ratio_sentence(groups, len(results.seeds)),
                analysed_cases(results.analyses[variant]),
                _figure(variant, groups, index, top),
            )
            for index, (variant, groups) in enumerate(table.items())
            if variant in results.on_page
        ]
    }


@once
def _ratios(results: Results) -> dict[str, dict[str, np.ndarray]]:
    """By variant that has branches, the ratios of the datasets of each group by layer."""
    return {
        variant: by_group(results, mean_of([analysis.branch_ratio for analysis in analyses]))
        for variant, analyses in results.analyses.items()
        if analyses[0].branch_ratio
    }


def ratio_sentence(groups: dict[str, np.ndarray], trainings: int) -> str:
    """Mean over datasets and layers of each group, and the layer in which the branch weighs most."""
    means = [f"{values.mean():.2f} for group {name}" for name, values in groups.items()]
    overall = np.concatenate(list(groups.values())).mean(axis=0)
    most = int(np.argmax(overall))
    return (
        f"{on_average(trainings)}, relative to the output of the MLP, the branch measures {listing(means)}; it weighs "
        f"most in layer {most + 1} ({overall[most]:.2f})."
    )


def _figure(variant: str, groups: dict[str, np.ndarray], index: int, top: float) -> Markup:
    title = f"Norm of the specialist branch over that of the MLP output in {variant} by layer"
    return layer_plot(group_lines(groups), name=f"branch-{index}", label="branch / MLP", title=title, top=top)
