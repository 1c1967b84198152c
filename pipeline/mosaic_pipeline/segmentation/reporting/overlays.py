"""Slices with the contours of reference and prediction, as pictures inside the page.

As a radiologist sees them: from the feet, so that the patient's right is on the left, with front on top.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from mosaic_pipeline.reporting.images import png_uri
from mosaic_pipeline.reporting.wording import percent, with_unit
from mosaic_pipeline.segmentation.organs import organ as known_organ
from mosaic_pipeline.segmentation.reporting.files import Overlay

MARGIN = 15.0  # mm around all contours
# Pixels a side and slices of each case, tried in turn until all pictures fit into the budget.
SIZES = ((320, 3), (256, 3), (192, 3), (128, 3), (128, 1), (96, 1), (64, 1))
BUDGET = 2_400_000  # bytes of all pictures of a report
BARS = (100, 50, 20, 10, 5, 2, 1)  # mm
KINDS = {"worst": "Worst case", "hardest": "Hardest organ", "median": "Median case", "best": "Best case"}


@dataclass(frozen=True)
class Picture:
    """A case in a few slices; `keys` are organ and colour of all that is drawn."""

    heading: str
    caption: str
    keys: list[tuple[str, str]]
    slices: list[Markup]


def draw_all(
    overlays: Mapping[str, Sequence[Overlay]], organs: Mapping[str, Sequence[str]], budget: int = BUDGET
) -> dict[str, list[Picture]]:
    """Draw all pictures of a report, as large as fits into so many bytes, by set; worst first."""
    for side, count in SIZES:
        drawn = {
            name: [draw(each, organs[name], f"{name}-{each.kind}", side, count) for each in _worst_first(of_set)]
            for name, of_set in overlays.items()
        }
        size = sum(len(picture) for of_set in drawn.values() for each in of_set for picture in each.slices)
        if size <= budget:
            break
    return drawn


def _worst_first(overlays: Sequence[Overlay]) -> list[Overlay]:
    return sorted(overlays, key=lambda overlay: list(KINDS).index(overlay.kind))


def draw(overlay: Overlay, organs: Sequence[str], name: str, side: int, count: int) -> Picture:
    """Draw up to `count` slices, the middle ones, reduced to at most `side` pixels; `name` is unique on the page."""
    start = (len(overlay.slices) - min(count, len(overlay.slices))) // 2
    few = slice(start, start + count)
    kept = replace(
        overlay,
        slices=overlay.slices[few],
        image=overlay.image[few],
        reference=overlay.reference[few],
        prediction=overlay.prediction[few],
    )
    image, reference, prediction = (
        _cropped(kept, radiological(each)) for each in (kept.image, kept.reference, kept.prediction)
    )
    there = np.union1d(reference, prediction)
    names = [organs[index - 1] for index in there if index]
    step = -(-max(image.shape[1:]) // side)
    # In mm of a pixel that is drawn: across (x) and down (y).
    spacing = (overlay.spacing[0] * step, overlay.spacing[1] * step)
    said = f"{KINDS[overlay.kind]}, {overlay.case}"
    slices = [
        _slice(
            _mean_of_blocks(image[place], step),
            _middles(reference[place], step),
            _middles(prediction[place], step),
            spacing,
            organs,
            f"{name}-{z}",
            f"{said}, slice {z + 1} of {overlay.depth}",
        )
        for place, z in enumerate(kept.slices)
    ]
    mean = f"mean DSC {with_unit(overlay.dsc)}" if overlay.dsc is not None else "no organ in it"
    if overlay.organ:
        mean = f"{overlay.organ}, DSC {with_unit(overlay.dsc)} in this case"
    first, last = kept.slices[0] + 1, kept.slices[-1] + 1
    which = f"slice {first}" if first == last else f"slices {first} to {last}"
    apart = f"{overlay.spacing[2]:.3g} mm apart"
    reduced = f"; drawn from every {_nth(step)} voxel" if step > 1 else ""
    return Picture(
        heading=f"{KINDS[overlay.kind]}: {overlay.case}",
        caption=f"{mean}; {which} of {overlay.depth} from the feet up, {apart}{reduced}.",
        keys=[(organ, known_organ(organ).colour) for organ in names],
        slices=slices,
    )


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def radiological(slices: NDArray[Any]) -> NDArray[Any]:
    """Turn [K,X,Y], x to the patient's right and y to the front, into pictures [K,H,W]: right on the left, front up."""
    return slices[:, ::-1, ::-1].transpose(0, 2, 1)


def _cropped(overlay: Overlay, pictures: NDArray[Any]) -> NDArray[Any]:
    """Return what lies around all contours; all of it where there is none."""
    drawn = (radiological(overlay.reference) > 0) | (radiological(overlay.prediction) > 0)
    if not drawn.any():
        return pictures
    spans = []
    for axis, millimetres in ((1, overlay.spacing[1]), (2, overlay.spacing[0])):
        along = np.flatnonzero(drawn.any(axis=(0, 3 - axis)))
        margin = int(np.ceil(MARGIN / millimetres))
        spans.append(slice(max(0, along[0] - margin), along[-1] + 1 + margin))
    return pictures[:, spans[0], spans[1]]


def _mean_of_blocks(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Reduce a picture [H,W]; what is left over at the end is cut."""
    height, width = (length // step for length in image.shape)
    blocks = image[: height * step, : width * step].reshape(height, step, width, step)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _middles(classes: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    height, width = (length // step for length in classes.shape)
    return classes[step // 2 :: step, step // 2 :: step][:height, :width]


def _slice(
    image: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    spacing: tuple[float, float],
    organs: Sequence[str],
    name: str,
    title: str,
) -> Markup:
    """Return one slice as SVG in mm: picture, contours (reference solid, prediction dashed), L, R and a scale bar."""
    (height, width), (across, down) = image.shape, spacing
    wide, high = width * across, height * down
    paths, said = [], []
    for index, organ in enumerate(organs, 1):
        masks = (reference == index, prediction == index)
        if not masks[0].any() and not masks[1].any():
            continue
        colour = known_organ(organ).colour
        for mask, kind in zip(masks, ("reference", "prediction"), strict=True):
            if path := contour(mask):
                paths.append(f'<path class="{kind}" stroke="{colour}" d="{path}"/>')
        said.append(f"{organ} {_overlap(*masks)}")
    bar = next((length for length in BARS if length <= wide / 3), BARS[-1])
    # Letters and bar are as large on the page, whatever the size of what is shown.
    unit = max(wide, high) / 100
    text = f'font-size="{7 * unit:.4g}"'
    described = f"Shares of overlap in this slice: {'; '.join(said)}." if said else "Neither reference nor prediction."
    return Markup(
        f'<svg class="slice" viewBox="0 0 {wide:.6g} {high:.6g}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(described)}</desc>'
        f'<image width="{wide:.6g}" height="{high:.6g}" preserveAspectRatio="none" href="{png_uri(image, height)}"/>'
        f'<g class="contours" transform="scale({across:.6g} {down:.6g})">{"".join(paths)}</g>'
        f'<g class="marks" aria-hidden="true"><text x="{2 * unit:.4g}" y="{8 * unit:.4g}" {text}>R</text>'
        f'<text x="{wide - 2 * unit:.4g}" y="{8 * unit:.4g}" text-anchor="end" {text}>L</text>'
        f'<path class="bar" d="M{2 * unit:.4g} {high - 3 * unit:.6g}h{bar}"/>'
        f'<text x="{2 * unit:.4g}" y="{high - 5 * unit:.6g}" {text}>{bar} mm</text></g></svg>'
    )


def _overlap(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> str:
    if not prediction.any():
        return "missed"
    if not reference.any():
        return "invented"
    both, all_of = np.count_nonzero(reference & prediction), np.count_nonzero(reference) + np.count_nonzero(prediction)
    return f"{percent(2 * both / all_of)} %"


def contour(mask: NDArray[np.bool_]) -> str:
    """Return the outline of a mask [H,W] along pixel edges as an SVG path; two that touch in a corner stay two."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Edges by where they start (row, column), the mask on their right: to the right on top, down, left and up.
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for open_, (row, column), step in (
        (inside & ~padded[:-2, 1:-1], (0, 0), (0, 1)),
        (inside & ~padded[1:-1, 2:], (0, 1), (1, 0)),
        (inside & ~padded[2:, 1:-1], (1, 1), (0, -1)),
        (inside & ~padded[1:-1, :-2], (1, 0), (-1, 0)),
    ):
        for r, c in np.argwhere(open_).tolist():
            steps.setdefault((r + row, c + column), []).append(step)
    parts = []
    for start in sorted(steps):
        while steps[start]:
            parts.append(_loop(start, steps))
    return "".join(parts)


def _loop(start: tuple[int, int], steps: dict[tuple[int, int], list[tuple[int, int]]]) -> str:
    """Follow edges from a corner until they are back, and take them away."""
    place, heading = start, steps[start][0]
    runs: list[tuple[tuple[int, int], int]] = []  # direction and length
    while True:
        # Where two parts meet in a corner, the turn to the right stays with this one.
        right = (heading[1], -heading[0])
        ways = steps[place]
        heading = right if right in ways else heading if heading in ways else ways[0]
        ways.remove(heading)
        if runs and runs[-1][0] == heading:
            runs[-1] = (heading, runs[-1][1] + 1)
        else:
            runs.append((heading, 1))
        place = (place[0] + heading[0], place[1] + heading[1])
        if place == start:
            break
    moves = "".join(f"{'h' if down == 0 else 'v'}{(across + down) * length}" for (down, across), length in runs[:-1])
    return f"M{start[1]} {start[0]}{moves}z"
