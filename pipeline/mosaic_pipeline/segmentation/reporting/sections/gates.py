"""Section: what the gates choose, set by set, layer by layer, and over an image."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from mosaic_pipeline.reporting.figures.layers import Line, layer_plot
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, decimal
from mosaic_pipeline.reporting.images import png_uri
from mosaic_pipeline.reporting.wording import listing, plural
from mosaic_pipeline.segmentation.reporting.overlays import radiological
from mosaic_pipeline.segmentation.reporting.records import GateMap, GateOf, Gates
from mosaic_pipeline.segmentation.reporting.results import Results

MARGIN = 0.1  # of a gate's whole weight, by which an expert leads the next one where it is preferred
SIDE = 192  # pixels of a map on the page


@dataclass(frozen=True)
class Shown:
    """A slice, and where in it each expert has how much weight: (name, URI, what it says)."""

    title: str
    pictures: list[tuple[str, str, str]]


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, map, figure, shown slices) for each gated variant."""
    parts = []
    for place, (variant, analyses) in enumerate(results.analyses.items()):
        if variant not in results.on_page:
            continue
        if found := [each.gates for each in analyses if each.gates]:
            gates = mean_gates(found)
            maps = [shown(results, each) for each in analyses[0].maps or ()]
            parts.append(
                (
                    variant,
                    gate_sentence(results, variant, gates),
                    weights_map(results, variant, gates, place),
                    _entropy(results, variant, gates, place),
                    maps,
                )
            )
    return {"parts": parts} if parts else None


def mean_gates(found: list[Gates]) -> Gates:
    """The mean over trainings."""
    datasets = {
        name: GateOf(
            weights=np.mean([each.datasets[name].weights for each in found], axis=0).tolist(),
            entropy=np.mean([each.datasets[name].entropy for each in found], axis=0).tolist(),
        )
        for name in found[0].datasets
    }
    return Gates(experts=found[0].experts, layers=found[0].layers, datasets=datasets)


def gate_sentence(results: Results, variant: str, gates: Gates) -> str:
    """On which sets most weight is the own expert's, how decided the gates are, and whether they tell sets apart."""
    of = results.configs[variant].experts.of
    means = {name: np.mean(each.weights, axis=0) for name, each in gates.datasets.items()}
    own, none = [], 0
    for name, weights in means.items():
        best = int(np.argmax(weights))
        if weights[best] - np.delete(weights, best).max() < MARGIN:
            none += 1
        elif gates.experts[best] == of.get(name):
            own.append(results.title(name))
    entropy = fmean(fmean(each.entropy) for each in gates.datasets.values())
    apart = max((float(np.abs(a - b).sum() / 2) for a in means.values() for b in means.values()), default=0.0)
    alike = (
        f" Between sets the mean weights differ by {100 * apart:.0f}\u00a0% of the whole at most"
        + (": the gates hardly tell them apart." if apart < MARGIN else ".")
        if len(means) > 1
        else ""
    )
    return (
        f"Over all layers most weight is the own expert's on {len(own)} of {plural(len(means), 'set')}"
        f"{' (' + listing(own) + ')' if own else ''}, and nobody's on {none} (no expert leads by {MARGIN} of the "
        "weight). "
        f"The entropy is {entropy:.2f} on average, where 0 is one expert alone and 1 all of them alike.{alike}"
    )


def weights_map(results: Results, variant: str, gates: Gates, place: int) -> HeatMap:
    """Rows: sets; columns: weight of each expert and entropy, means over layers."""
    of = results.configs[variant].experts.of
    rows = []
    for name, each in gates.datasets.items():
        weights = np.mean(each.weights, axis=0)
        cells = [
            HeatCell(decimal(float(w)), float(w), own=expert == of.get(name))
            for expert, w in zip(gates.experts, weights, strict=True)
        ]
        rows.append((results.title(name), [*cells, HeatCell(decimal(fmean(each.entropy)))]))
    return HeatMap(
        name=f"gates-{place}",
        caption="Mean weight of each expert over tokens and layers; frame: the own expert. Entropy as a share of the "
        "largest.",
        corner="Set",
        header=[*gates.experts, "entropy"],
        rows=rows,
        column_rules=(len(gates.experts),),
    )


def _entropy(results: Results, variant: str, gates: Gates, place: int) -> Any:
    lines = {results.title(name): Line(np.array(each.entropy)) for name, each in gates.datasets.items()}
    return layer_plot(
        lines,
        name=f"gate-entropy-{place}",
        label="entropy, share of the largest",
        title=f"Entropy of the gates of {variant} by layer, encoder first",
        top=1.0,
    )


def shown(results: Results, each: GateMap) -> Shown:
    """A slice and the weights over it, turned as scans are shown: white is all of the weight."""
    image = np.array(each.image, dtype=np.uint8)
    pictures = [("slice", png_uri(_turned(image), SIDE), "the slice")]
    for expert, weights in zip(each.experts, each.weights, strict=True):
        table = np.array(weights, dtype=np.float64)
        pixels = np.rint(255 * np.clip(table, 0, 1)).astype(np.uint8)
        said = f"weight of expert {expert}: mean {table.mean():.2f}, from {table.min():.2f} to {table.max():.2f}"
        pictures.append((expert, png_uri(_turned(pixels), SIDE), said))
    return Shown(f"{results.title(each.dataset)}, {each.layer}", pictures)


def _turned(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(radiological(picture[None])[0])
