"""A table whose cells are tinted by what they hold, so that it can be read, printed and heard as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaic_pipeline.reporting.wording import MINUS

MARK = "*"


@dataclass(frozen=True)
class HeatCell:
    """Text with a tint from -1 (orange) over 0 (none) to 1 (blue), None for no tint.

    `mark` sets the text bold with a star; `own` draws a frame around the cell.
    """

    text: str
    tint: float | None = None
    mark: bool = False
    own: bool = False

    @property
    def side(self) -> str:
        """Name of the colour."""
        return "" if not self.tint else "above" if self.tint > 0 else "under"

    @property
    def share(self) -> float:
        """Strength of the colour, 0 to 1."""
        return abs(self.tint or 0.0)


@dataclass(frozen=True)
class HeatMap:
    """Rows of (heading, cells) under column headings; rows in `rules` are set off from the one before.

    `column_rules` are the columns that begin a new group.
    """

    name: str
    caption: str
    corner: str
    header: list[str]
    rows: list[tuple[str, list[HeatCell]]]
    rules: tuple[int, ...] = ()
    column_rules: tuple[int, ...] = ()

    @property
    def tall(self) -> bool:
        """Whether the column headings stand upright, because there are many of them."""
        return len(self.header) > 8


def tint(value: float | None, scale: float) -> float | None:
    """Tint of a signed value, full at `scale`."""
    return None if value is None or scale == 0 else max(-1.0, min(1.0, value / scale))


def full_scale(values: Sequence[float | None]) -> float:
    """The size at which colour is full: the 95th percentile, so that one outlier does not pale the rest."""
    sizes = [abs(value) for value in values if value is not None]
    return float(np.quantile(sizes, 0.95)) if sizes else 0.0


def decimal(value: float) -> str:
    """Cosine or similarity with two digits, signed where negative, without the zero in front: '.12', '−.30'."""
    text = f"{abs(value):.2f}".removeprefix("0")
    return MINUS + text if value < 0 and text != ".00" else text


def breaks(groups: Sequence[object]) -> tuple[int, ...]:
    """Places where a run of equal values ends and another begins."""
    return tuple(place for place in range(1, len(groups)) if groups[place] != groups[place - 1])
