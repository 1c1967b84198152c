"""What was done to the images of a dataset of one's own, in sentences: nothing is rescaled without a word."""

from collections import Counter
from math import prod

from mosaic_pipeline.data.own.convert import OUTERMOST, Converted, Form
from mosaic_pipeline.data.own.picture import shown

_FITTED = {
    "pad": "padded with black",
    "stretch": "stretched, so that their proportions are others",
    "crop": "cut to the square in their middle",
}
# Of the 256 grey levels, how many must be used for a whole type's range to be meant.
FEWEST_LEVELS = 64


class Notes:
    """Counts what was done to each image."""

    def __init__(self, own: Form, size: int) -> None:
        """Nothing was seen yet."""
        self._own, self._size = own, size
        self._facts: Counter[str] = Counter()
        self._shapes: Counter[tuple[int, ...]] = Counter()
        self._oblong = self._enlarged = self._beyond = self._n = 0
        self._spans: dict[tuple[float, float], tuple[float, float]] = {}
        self._inner: dict[tuple[float, float], tuple[float, float]] = {}

    def saw(self, image: Converted) -> None:
        """Count an image."""
        self._n += 1
        self._facts.update(image.facts)
        self._shapes[image.shape] += 1
        self._oblong += not image.square
        self._enlarged += image.enlarged
        self._beyond += image.least < image.low or image.most > image.high
        if self._own.window is None:
            span = image.low, image.high
            for of_span, (low, high) in ((self._spans, (image.least, image.most)), (self._inner, image.inner)):
                least, most = of_span.get(span, (low, high))
                of_span[span] = min(least, low), max(most, high)

    def refuse_ranges(self) -> None:
        """Raise ValueError if what the files can hold says nothing of what is black and white in them.

        So it is where that differs from one to the next, or is so much more than what they hold that no contrast would
        be left.
        """
        if len(self._spans) > 1:
            first, *_, last = (f"{_number(low)} to {_number(high)}" for low, high in sorted(self._spans))
            some = f"{first} and {last}" if len(self._spans) == 2 else f"from {first} on up to {last}"
            raise ValueError(
                f"files can hold unlike values, {some}, so that one grey would be several; make them alike, or say "
                "`window: [low, high]`, or `window: each` for each image's own range"
            )
        for (low, high), (least, most) in self._inner.items():
            levels = int((most - least) / (high - low) * 255) + 1
            if (low, high) != (0, 255) and levels < FEWEST_LEVELS:
                raise ValueError(
                    f"values go from {_number(least)} to {_number(most)}, where the files can hold {_number(low)} to "
                    f"{_number(high)}: {levels} of 256 grey levels would be left; say `window: [{least:g}, {most:g}]`, "
                    "or what else should be black and white"
                )

    def sentences(self) -> list[str]:
        """Return what there is to say."""
        counted = sorted(self._facts.items(), key=lambda item: (-item[1], item[0]))
        return [
            *(f"{fact}: {self._of_all(n)}." for fact, n in counted),
            self._on_size(),
            *self._on_values(),
        ]

    def _on_size(self) -> str:
        dimension, unit = self._own.dimension, "pixels" if self._own.dimension == 2 else "voxels"
        wanted = (self._size,) * dimension
        if set(self._shapes) == {wanted} and not self._oblong:
            return f"All have {shown(wanted)} {unit}, as they are kept."
        ordered = sorted(self._shapes, key=lambda shape: (prod(shape), shape))
        least, most = shown(ordered[0]), shown(ordered[-1])
        said = f"From {least if least == most else f'{least} to {most}'} {unit} to {shown(wanted)}"
        if self._oblong:
            sides = "sides of different length" + (" in mm" if dimension == 3 else "")
            said += f"; {sides}: {self._of_all(self._oblong)}, {_FITTED[self._own.fit]} (fit: {self._own.fit})"
        if self._enlarged:
            said += f"; enlarged along a side: {self._of_all(self._enlarged)}"
        return said + "."

    def _of_all(self, n: int) -> str:
        return f"all {n:,}" if n == self._n else f"{n:,} of {self._n:,}"

    def _on_values(self) -> list[str]:
        window = self._own.window
        if isinstance(window, tuple):
            low, high = map(_number, window)
            return [
                f"Values {low} to {high} became 0 to 255 (window); some beyond, cut off: {self._of_all(self._beyond)}."
            ]
        if window == "each":
            cut = f"{100 * OUTERMOST:g} %"
            return [f"The range of each, without its outermost {cut} on either side, became 0 to 255 (window: each)."]
        said = []
        for (bottom, top), (least, most) in sorted(self._spans.items()):
            found = f"found were {_number(least)} to {_number(most)}"
            kept = "were kept" if (bottom, top) == (0, 255) else "became 0 to 255"
            said.append(f"Values {_number(bottom)} to {_number(top)}, all that such files can hold, {kept}; {found}.")
        return said


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
