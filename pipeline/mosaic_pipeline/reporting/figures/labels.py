"""Names beside points, moved apart so that none covers another or a point."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = 8.0  # points
MARKER = 4.0  # half the width that a marker takes
NEAR = 6.0  # points between a marker and its name
# Places tried in turn: to the right first, then around, then further out.
ANGLES = (0, 180, 45, -45, 135, -135, 90, -90, 20, -20, 160, -160)
BESIDE = (0, 180)  # where a name needs no line to its point
RINGS = (1, 2, 3.2, 4.6, 6.4, 8.6, 11, 14)


def label_points(axes: Axes, points: Sequence[tuple[str, float, float]], colour: str) -> None:
    """Write each (name, x, y) beside its point; one that is not right beside it gets a line. Names stay inside."""
    figure = cast("Figure", axes.figure)
    canvas = FigureCanvasAgg(figure)
    figure.set_canvas(canvas)
    figure.draw_without_rendering()  # the layout must stand before pixels can be compared
    renderer, unit = canvas.get_renderer(), figure.dpi / 72
    frame, to_data = axes.get_window_extent(renderer), axes.transData.inverted()
    dots = {name: axes.transData.transform((x, y)) for name, x, y in points}
    taken = [Bbox.from_bounds(x, y, 0, 0).padded(MARKER * unit) for x, y in dots.values()]
    for name, x, y in sorted(points, key=lambda point: (-point[2], point[1])):
        text = axes.text(x, y, name, fontsize=FONT, color=colour, va="bottom", ha="left")
        size = text.get_window_extent(renderer)
        box, beside = _free_place(dots[name], size, unit, frame, taken)
        taken.append(box)
        left, bottom = to_data.transform((box.x0, box.y0))
        text.set_position((left, bottom))
        if not beside:
            nearest = np.clip(dots[name], (box.x0, box.y0), (box.x1, box.y1))
            end = to_data.transform(nearest)
            axes.plot([x, end[0]], [y, end[1]], color=colour, linewidth=0.5, zorder=0)


def _free_place(dot: np.ndarray, size: Bbox, unit: float, frame: Bbox, taken: list[Bbox]) -> tuple[Bbox, bool]:
    """First free box for a text of this size inside the frame, and whether it is right beside its dot."""
    for ring, angle in itertools.product(RINGS, ANGLES):
        box = _place(dot, size.width, size.height, NEAR * ring * unit, angle)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box, ring == RINGS[0] and angle in BESIDE
    return _place(dot, size.width, size.height, NEAR * unit, 0), True


def _place(dot: np.ndarray, width: float, height: float, distance: float, angle: float) -> Bbox:
    """Box of a text whose nearest edge lies at `distance` from the dot in the direction of `angle` (degrees)."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x = dot[0] + distance * across + (0 if across > 0.3 else -width if across < -0.3 else -width / 2)
    y = dot[1] + distance * up + (-height / 2 if abs(up) < 0.4 else 0 if up > 0 else -height)
    return Bbox.from_bounds(x, y, width, height)
