"""Which images train, which validate and which test, where nobody said so: drawn by seed, stratified, by patient.

Whole numbers and hashes alone, so that every machine draws the same. What a group is drawn for depends on the names of
all groups, not on their order in a file.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {spelling: split for split, spellings in SPELLINGS.items() for spelling in spellings}

_MILLION = 1_000_000


def split_named(text: str) -> str:
    """Return which split a text names. Raises ValueError."""
    split = SPLIT_OF.get(text.strip().casefold())
    if split is None:
        raise ValueError(f"split {text.strip()!r} is none of train, val, test" if text.strip() else "no split")
    return split


def draw(
    groups: Mapping[str, Sequence[int]], strata: Sequence[int], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group, a name and the rows that must stay together; `strata` says what kind a row is.

    Every split gets close to its share of every kind, and no split is empty. `shares` add up to 1, the first split's
    being whatever the others leave. Raises ValueError if there are fewer groups than splits.
    """
    splits = list(shares)
    if len(groups) < len(splits):
        raise ValueError(f"{len(groups)} of them, too few for {', '.join(splits)}")
    kinds = {name: Counter(strata[row] for row in rows) for name, rows in groups.items()}
    sizes = Counter(strata)
    quotas = {kind: _quotas(size, shares) for kind, size in sizes.items()}
    left = {kind: dict(quota) for kind, quota in quotas.items()}
    split_of: dict[str, str] = {}

    def fits(split: str, name: str) -> bool:
        return all(count <= left[kind][split] for kind, count in kinds[name].items())

    def lacks(split: str, name: str) -> int:
        # Which share of its quota the split still lacks, so that large groups are not all the first split's.
        parts = ((left[kind][split], quotas[kind][split], count) for kind, count in kinds[name].items())
        return sum(count * rest * _MILLION // quota for rest, quota, count in parts if quota)

    def gains(split: str, name: str) -> int:
        # What the sum of squared misses, a kind's relative to its size, falls by if the group goes there.
        return sum(
            count * (2 * left[kind][split] - count) * (_MILLION**2 // sizes[kind])
            for kind, count in kinds[name].items()
        )

    for name in sorted(groups, key=lambda name: (-len(groups[name]), _rank(seed, name))):
        worth = lacks if (fitting := [split for split in splits if fits(split, name)]) else gains
        chosen = max(fitting or splits, key=lambda split: worth(split, name))
        split_of[name] = chosen
        for kind, count in kinds[name].items():
            left[kind][chosen] -= count
    _fill(splits, split_of, groups, seed)
    return split_of


def _quotas(size: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Part `size` rows by the shares, none of them empty if there are enough; the first split comes first."""
    first, *others = shares
    quotas = {split: (2 * size * _millionths(shares[split]) + _MILLION) // (2 * _MILLION) for split in others}
    for split in reversed(others):  # test before val
        if not quotas[split] and size > 1 + sum(quotas.values()):
            quotas[split] = 1
    quotas[first] = size - sum(quotas.values())
    return {split: quotas[split] for split in shares}


def _millionths(share: float) -> int:
    return round(share * _MILLION)


def _fill(splits: list[str], split_of: dict[str, str], groups: Mapping[str, Sequence[int]], seed: int) -> None:
    """Give an empty split the smallest group of the one with the most groups."""
    for split in splits:
        counts = Counter(split_of.values())
        if not counts[split]:
            donor = max(splits, key=lambda each: (counts[each], -splits.index(each)))
            given = min(
                (name for name in groups if split_of[name] == donor),
                key=lambda name: (len(groups[name]), _rank(seed, name)),
            )
            split_of[given] = split


def _rank(seed: int, name: str) -> str:
    # Some file systems take accented letters apart, and names may be no text at all.
    name = unicodedata.normalize("NFC", name)
    return hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).hexdigest()
