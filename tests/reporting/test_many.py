"""That a report of many trainings stays small: what is kept of each, what is computed, what a page shows."""

import math
import pickle
import re

import numpy as np
import pytest

from mosaic_pipeline.evaluation.inference import covariance_of_means
from mosaic_pipeline.reporting import page, paging, results
from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.comparisons import compare_all
from mosaic_pipeline.reporting.figures.thinned import POINTS, thinned
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.results_csv import results_csv

VARIANTS = ("mosaic", "shared", "variant_2", "variant_3")


def _load(inputs):
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)


@pytest.fixture
def paged(inputs, monkeypatch):
    """Four variants in pages of two."""
    monkeypatch.setattr(paging, "PAGE", 2)
    inputs.variants, inputs.seeds, inputs.datasets = VARIANTS, (1, 2), ("retinamnist", "breastmnist")
    inputs.write()
    return _load(inputs)


def test_a_long_line_keeps_its_ends_and_its_peaks():
    x, y = np.arange(1, 10_001), np.zeros(10_000)
    y[[1234, 5678]] = 1.0, -1.0
    rounds, values = thinned(x, y)
    assert len(rounds) <= POINTS
    assert {1, 1235, 5679, 10_000} <= set(rounds.tolist())
    assert (values.min(), values.max()) == (-1.0, 1.0)
    assert np.array_equal(values, y[rounds - 1])
    assert (np.diff(rounds) > 0).all()


def test_a_line_with_gaps_is_thinned_and_a_short_one_is_as_it_was():
    x, y = np.arange(1, 2001), np.full(2000, math.nan)
    y[1500] = 0.5
    rounds, values = thinned(x, y)
    assert len(rounds) <= POINTS
    assert np.nanmax(values) == 0.5
    assert thinned(x[:POINTS], y[:POINTS])[0] is not None
    assert len(thinned(x[:POINTS], y[:POINTS])[0]) == POINTS


def test_what_is_kept_of_another_training_grows_neither_with_cases_nor_with_datasets_by_round(inputs):
    sizes = {}
    for test, rounds in ((24, 3), (2400, 3), (24, 303)):
        made = type(inputs)(inputs.root / f"{test}-{rounds}", test=test, rounds=rounds)
        made.write()
        sizes[test, rounds] = len(pickle.dumps(_load(made).runs["shared", 42]))
    assert sizes[2400, 3] < 1.05 * sizes[24, 3]
    columns = 9  # of all datasets together
    assert sizes[24, 303] < sizes[24, 3] + 300 * 8 * columns + 200


def test_the_cases_of_each_variant_are_compared_once(paged, monkeypatch):
    compared = []
    genuine = results.compare_cases
    monkeypatch.setattr(results, "compare_cases", lambda *given: compared.append(given) or genuine(*given))
    page.render_page(paged, "abc")
    list(page.render_further(paged, "abc"))
    render_markdown(paged, "abc")
    results_csv(paged, "abc")
    assert len(compared) == len(VARIANTS)


def test_the_covariance_of_two_variants_is_that_of_their_cases(paged):
    for pair in (("mosaic", "variant_2"), ("variant_2", "mosaic"), ("variant_2", "shared")):
        rows = np.concatenate([paged.contributions(variant, "breastmnist", "auc") for variant in pair])
        expected = covariance_of_means(rows).reshape(2, 2, 2, 2)
        assert paged.covariance(pair, "breastmnist", "auc") == pytest.approx(expected, rel=1e-12)


def test_every_variant_is_on_one_page_and_all_pages_lead_to_each_other(paged):
    assert page.pages_of(paged) == [("mosaic", "shared"), ("variant_2",), ("variant_3",)]
    first, further = page.render_page(paged, "abc"), dict(page.render_further(paged, "abc"))
    assert list(further) == ["variants-2.html", "variants-3.html"]
    captions = [re.findall(r"<figcaption>(\w+)</figcaption>", text) for text in (first, *further.values())]
    assert [set(names) for names in captions] == [set(names) for names in page.pages_of(paged)]
    assert all(f'href="specialists/{name}"' in first for name in further)
    assert 'href="../index.html"' in further["variants-2.html"]
    assert 'href="variants-3.html"' in further["variants-2.html"]


def test_the_first_page_has_what_was_planned_and_all_fit_on_one_as_long_as_they_can():
    many = tuple(f"variant_{place}" for place in range(2 * paging.PAGE))
    first, *rest = paging.pages(many, [many[0], many[-1]])
    assert first[:3] == (many[0], many[-1], many[1])
    assert len(first) == paging.PAGE
    assert {*first}.isdisjoint(each for names in rest for each in names)
    assert {*first, *(each for names in rest for each in names)} == {*many}
    assert max(map(len, rest)) < paging.PAGE
    assert paging.pages(many[: paging.PAGE], many[:1]) == [many[: paging.PAGE]]


def test_the_table_of_variants_and_the_files_have_all(paged):
    first = page.render_page(paged, "abc")
    table = first[first.index('id="table-variants"') :]
    table = table[: table.index("</table>")]
    assert all(f'<th scope="row">{variant}' in table for variant in VARIANTS)
    assert "Of 4 variants this page shows 2" in first
    rows = results_csv(paged, "abc").splitlines()
    assert len(rows) == 1 + len(VARIANTS) * 2 * 2
    assert all(f"{variant}, seed 2" in render_markdown(paged, "abc").replace("\\", "") for variant in VARIANTS)


def test_what_a_page_shows_changes_no_test(paged, inputs):
    whole = compare_all(_load(inputs), "acc")
    for names in page.pages_of(paged):
        assert repr(compare_all(paged.showing(names), "acc")) == repr(whole)  # nan differs from itself


def test_a_page_does_not_grow_with_variants_that_it_does_not_show(inputs, monkeypatch):
    monkeypatch.setattr(paging, "PAGE", 2)
    sizes = []
    for number in (6, 12):
        names = ("mosaic", "shared", *(f"variant_{place:02d}" for place in range(2, number)))
        made = type(inputs)(inputs.root / str(number), variants=names, datasets=("retinamnist", "breastmnist"))
        made.write()
        sizes.append(len(page.render_page(_load(made), "abc")))
    # A row of the table of variants, a link, and its name in a few sentences.
    assert sizes[1] - sizes[0] < 6 * 1500
