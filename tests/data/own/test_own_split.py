"""Splits that are drawn: whole patients, shares kept, never an empty one, the same everywhere."""

import random
from collections import Counter

import pytest

from mosaic_pipeline.data.own.split import draw, split_named

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def patients(seed, count=60):
    """Groups of 1 to 12 rows, each of one of three classes."""
    chance, groups, strata = random.Random(seed), {}, []
    for patient in range(count):
        size = chance.choice([1, 1, 2, 3, 5, 12])
        groups[f"p{patient}"] = range(len(strata), len(strata) + size)
        strata += [chance.choice([0, 0, 0, 1, 1, 2])] * size
    return groups, strata


def counted(split_of, groups, strata):
    return Counter((split_of[name], strata[row]) for name, rows in groups.items() for row in rows)


def test_shares_are_exact_where_every_image_stands_alone():
    strata = [0] * 700 + [1] * 280 + [2] * 20
    groups = {str(row): [row] for row in range(1000)}
    expected = {"train": (490, 196, 14), "val": (70, 28, 2), "test": (140, 56, 4)}
    counts = counted(draw(groups, strata, SHARES, 0), groups, strata)
    assert counts == {(split, kind): n for split, of in expected.items() for kind, n in enumerate(of)}


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_close_where_patients_differ_in_size(seed):
    groups, strata = patients(seed)
    counts, sizes = counted(draw(groups, strata, SHARES, seed), groups, strata), Counter(strata)
    assert all(abs(counts[split, kind] / sizes[kind] - SHARES[split]) < 0.06 for split in SHARES for kind in sizes)


def test_large_and_small_patients_are_in_all_splits_alike():
    means = dict.fromkeys(SHARES, 0.0)
    for seed in range(30):
        groups, strata = patients(seed)
        split_of = draw(groups, strata, SHARES, seed)
        for split in SHARES:
            sizes = [len(groups[name]) for name in groups if split_of[name] == split]
            means[split] += sum(sizes) / len(sizes) / 30
    assert max(means.values()) - min(means.values()) < 1


@pytest.mark.parametrize("sizes", [(1, 1, 1), (8, 1, 1), (50, 50, 50), (1, 1, 300, 1)])
def test_no_split_is_empty(sizes):
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    groups = {str(start): range(start, start + size) for start, size in zip(starts, sizes, strict=True)}
    assert set(draw(groups, [0] * sum(sizes), SHARES, 0).values()) == set(SHARES)


def test_a_rare_class_is_in_all_splits_if_it_can_be():
    groups = {str(row): [row] for row in range(100)}
    strata = [0] * 97 + [1] * 3
    assert {split for split, kind in counted(draw(groups, strata, SHARES, 0), groups, strata) if kind} == set(SHARES)


def test_too_few_patients_are_refused():
    with pytest.raises(ValueError, match="2 of them, too few for train, val, test"):
        draw({"a": [0, 1], "b": [2]}, [0, 1, 0], SHARES, 0)


def test_the_order_of_rows_in_a_file_decides_nothing():
    groups, strata = patients(3)
    backwards = {name: [len(strata) - 1 - row for row in reversed(groups[name])] for name in reversed(groups)}
    assert draw(groups, strata, SHARES, 0) == draw(backwards, strata[::-1], SHARES, 0)


def test_another_seed_is_another_split():
    groups, strata = patients(3)
    assert draw(groups, strata, SHARES, 0) == draw(groups, strata, SHARES, 0)
    assert draw(groups, strata, SHARES, 0) != draw(groups, strata, SHARES, 1)


def test_the_draw_is_that_of_every_machine():
    groups = {f"p{index}": [index] for index in range(10)}
    split_of = draw(groups, [0, 1] * 5, SHARES, 7)
    assert {split: [name for name in groups if split_of[name] == split] for split in SHARES} == {
        "train": ["p2", "p3", "p4", "p5", "p7", "p8"],
        "val": ["p6", "p9"],
        "test": ["p0", "p1"],
    }


def test_accented_names_are_the_same_however_a_file_system_writes_them():
    composed, apart = ({f"{letter}{index}": [index] for index in range(20)} for letter in ("\u00e9", "e\u0301"))
    drawn = [draw(groups, [0] * 20, SHARES, 0) for groups in (composed, apart)]
    assert [drawn[0][name] for name in composed] == [drawn[1][name] for name in apart]


@pytest.mark.parametrize(
    ("text", "split"), [("train", "train"), (" Valid ", "val"), ("DEV", "val"), ("Testing", "test")]
)
def test_splits_have_several_names(text, split):
    assert split_named(text) == split
