"""That segmentation's pages do not grow with variants."""

import re

import pytest

from mosaic_pipeline.reporting import paging
from mosaic_pipeline.segmentation.reporting import page
from mosaic_pipeline.segmentation.reporting.results import load_results


@pytest.fixture
def paged(inputs, monkeypatch):
    """Four variants in pages of two; the second one has what a question is about."""
    monkeypatch.setattr(paging, "PAGE", 2)
    inputs.variants = ("m4oe", "encoder_only", "dense", "decoder_only")
    return load_results(inputs.variants, inputs.seeds, inputs.write())


def test_every_variant_is_on_one_page_and_the_first_has_what_questions_are_about(paged):
    assert page.pages_of(paged) == [("m4oe", "dense"), ("encoder_only",), ("decoder_only",)]
    first, further = page.render_page(paged, "abc"), dict(page.render_further(paged, "abc"))
    assert list(further) == ["variants-2.html", "variants-3.html"]
    captions = [re.findall(r"<figcaption>(\w+)</figcaption>", text) for text in (first, *further.values())]
    assert [set(names) for names in captions] == [set(names) for names in page.pages_of(paged)]
    assert all(f'href="{name}"' in first for name in further)
    table = first[first.index('id="table-variants"') :]
    assert all(f'<th scope="row">{variant}' in table[: table.index("</table>")] for variant in paged.variants)


def test_what_a_page_shows_changes_no_test(paged):
    assert all(paged.showing(names).comparisons is paged.comparisons for names in page.pages_of(paged))
