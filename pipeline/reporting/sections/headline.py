"""Section: the answer, in sentences made from the tests."""

from typing import Any

from pipeline.reporting.results import Results
from pipeline.reporting.sentences import answer, comparison_sentences, level, seeds

SHOWN = 6  # comparisons in words that are always open; the others fold, and stand in the table of variants as well


def build(results: Results) -> dict[str, Any]:
    """Content of the section: comparisons are (variant, its reason, sentences)."""
    comparisons = [(other, results.reason(other), texts) for other, texts in comparison_sentences(results)]
    return {
        "answer": answer(results),
        "comparisons": comparisons[:SHOWN],
        "more": comparisons[SHOWN:],
        "level": [*level(results), seeds(results)],
    }
