"""Section: which specialists a learned gate chooses, beside the table of hard routing."""

import math
from statistics import fmean
from typing import Any

import numpy as np
from markupsafe import Markup

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.figures.layers import by_group, group_lines, layer_plot
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, breaks, decimal
from mosaic_pipeline.reporting.records import Gate
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.trainings import analysed_cases, mean_of, on_average
from mosaic_pipeline.reporting.wording import plural

MARGIN = 0.1  # of the gate's whole weight, by which a specialist leads the next one where it is preferred


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, maps, what was looked at, figure) for each gated variant."""
    parts = []
    for index, (variant, analyses) in enumerate(results.analyses.items()):
        if variant not in results.on_page:
            continue
        if analyses[0].gate and analyses[0].gate.weights:
            found = mean_gate([present(analysis.gate) for analysis in analyses])
            maps = [mean_map(results, variant, found, index), layer_map(results, variant, found, index)]
            figure = _entropy_figure(results, variant, found, index)
            parts.append(
                (variant, gate_sentence(results, found, len(analyses)), maps, analysed_cases(analyses), figure)
            )
    return {"parts": parts} if parts else None


def mean_gate(gates: list[Gate]) -> Gate:
    """The mean over trainings, of weights and of entropies."""
    weights, entropy = (mean_of([getattr(gate, key) for gate in gates]) for key in ("weights", "entropy"))
    return Gate(specialists=gates[0].specialists, weights=weights, entropy=entropy)


def gate_sentence(results: Results, found: Gate, trainings: int) -> str:
    """On how many datasets most weight is the hard-routed specialist's, and how decided the gate is."""
    known = [name for name in found.weights if results.specialist(name) in found.specialists]
    preferred = [preference(found, name) for name in known]
    agree = sum(specialist == results.specialist(name) for name, specialist in zip(known, preferred, strict=True))
    undecided = preferred.count(None)
    entropy, most = fmean(fmean(values) for values in found.entropy.values()), math.log(len(found.specialists))
    routed = (
        f"{on_average(trainings)}, averaged over layers, most weight is given to the specialist of hard routing on "
        f"{agree} of {plural(len(known), 'dataset')}, to another one on {len(known) - agree - undecided}, and to none "
        f"on {undecided} (where no specialist leads the next by {MARGIN} of the weight). "
        if known
        else ""
    )
    return f"{routed}The gate's entropy is {entropy:.2f} nats on average, of {most:.2f} for weights that are all alike."


def preference(found: Gate, name: str) -> str | None:
    """The specialist with most weight in a dataset's gates, mean over layers; None if the next one is within MARGIN."""
    means = np.mean(found.weights[name], axis=0)
    best = int(np.argmax(means))
    return found.specialists[best] if means[best] - np.delete(means, best).max(initial=0) >= MARGIN else None


def _entropy_figure(results: Results, variant: str, found: Gate, index: int) -> Markup:
    title, top = f"Entropy of the gates of {variant} by layer", math.log(len(found.specialists))
    lines = group_lines(by_group(results, found.entropy))
    return layer_plot(lines, name=f"gate-entropy-{index}", label="entropy, nats", title=title, top=top)


def mean_map(results: Results, variant: str, found: Gate, index: int) -> HeatMap:
    """Rows: datasets; columns: weight of each specialist and entropy, means over layers."""
    names = [name for name in results.datasets if name in found.weights]
    rows = []
    for name in names:
        weights = np.mean(found.weights[name], axis=0)
        cells = [
            HeatCell(decimal(weight), float(weight), own=specialist == results.specialist(name))
            for specialist, weight in zip(found.specialists, weights, strict=True)
        ]
        rows.append((results.title(name), [*cells, HeatCell(f"{fmean(found.entropy[name]):.2f}")]))
    return HeatMap(
        name=f"gate-{index}",
        caption=f"{variant}, {analysed_cases(results.analyses[variant])}: mean gate weight over layers and images, and "
        "entropy in nats. Framed: the specialist of hard routing.",
        corner="Dataset",
        header=[*found.specialists, "Entropy"],
        rows=rows,
        rules=breaks([results.specialist(name) for name in names]),
        column_rules=(len(found.specialists),),
    )


def layer_map(results: Results, variant: str, found: Gate, index: int) -> HeatMap:
    """Rows: datasets; columns: layers; the strongest specialist and its weight."""
    names = [name for name in results.datasets if name in found.weights]
    rows = []
    for name in names:
        cells = []
        for weights in found.weights[name]:
            strongest = int(np.argmax(weights))
            specialist, weight = found.specialists[strongest], weights[strongest]
            own = specialist == results.specialist(name)
            cells.append(HeatCell(f"{specialist} {decimal(weight)}", weight if own else -weight))
        rows.append((results.title(name), cells))
    layers = max(len(cells) for _, cells in rows)
    return HeatMap(
        name=f"gate-layers-{index}",
        caption="By layer: the specialist with most weight, and its weight. Blue: it is the one of hard routing; "
        "orange: it is another.",
        corner="Dataset",
        header=[f"Layer {layer}" for layer in range(1, layers + 1)],
        rows=rows,
        rules=breaks([results.specialist(name) for name in names]),
    )
