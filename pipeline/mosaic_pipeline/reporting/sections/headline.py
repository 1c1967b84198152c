"""Section: the answer in sentences made from the tests, what to know before quoting it, and the table of variants."""

from typing import Any

from mosaic_pipeline.reporting.about import describe_method, describe_run
from mosaic_pipeline.reporting.caveats import caveats
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sections.variants import variants_table
from mosaic_pipeline.reporting.sentences import answer, comparison_sentences, lead, level, seeds

SHOWN = 6  # comparisons in words that are always open; the others fold, and stand in the table of variants as well


def build(results: Results) -> dict[str, Any]:
    """Content of the section: comparisons are (variant, its reason, sentences)."""
    first = lead(results)
    comparisons = [(other, results.reason(other), texts) for other, texts in comparison_sentences(results)]
    return {
        "lead": first,
        "caveats": caveats(results),
        "table": variants_table(results),
        "sentences": [*answer(results)[len(first) :], *level(results), seeds(results)],
        "about": [describe_method(results), describe_run(results)],
        "comparisons": comparisons[:SHOWN],
        "more": comparisons[SHOWN:],
    }
