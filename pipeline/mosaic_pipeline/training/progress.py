"""What training shows while it runs: a bar on a terminal, one line a round elsewhere."""

import sys

from tqdm import tqdm


class Progress:
    """Round, dataset, loss, images/s and time left, counted in images over the whole training."""

    def __init__(self, *, images: int, num_rounds: int, done: int = 0, hidden: bool = False) -> None:
        """Start at `done` of all rounds' `images`; the bar appears only if stderr is a terminal, `hidden` nothing."""
        self.num_rounds = num_rounds
        self._hidden = hidden
        self._bar = tqdm(
            total=images,
            initial=done,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.05,
            disable=hidden or not sys.stderr.isatty(),
        )

    def step(self, number: int, dataset: str, images: int) -> None:
        """Count the images of a step, and say of which round and dataset it is."""
        self._bar.set_description(f"round {number}/{self.num_rounds} {dataset}", refresh=False)
        self._bar.update(images)

    def visited(self, loss: float) -> None:
        """Show the mean loss of the visit that ended."""
        self._bar.set_postfix(loss=f"{loss:.3f}")

    def round(self, line: str) -> None:
        """Print a round's line: above the bar on a terminal, to stdout elsewhere."""
        if self._hidden:
            return
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
