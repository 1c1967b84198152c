"""Section: what the evidence cannot show, and how to make it again."""

from typing import Any

from pipeline.reporting.results import Results
from pipeline.reporting.sentences import limits
from pipeline.reporting.wording import count


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    replicates = results.main_run.replicates[results.datasets[0]]
    return {"sentences": limits(results), "resamples": count(len(replicates))}
