"""The short form of the report in Markdown, for a pull request."""

from mosaic_pipeline.reporting.table import Table, escape, markdown
from mosaic_pipeline.reporting.tracing import how_to_trace
from mosaic_pipeline.segmentation.reporting.origin import describe_origin
from mosaic_pipeline.segmentation.reporting.results import Results
from mosaic_pipeline.segmentation.reporting.sections import setup
from mosaic_pipeline.segmentation.reporting.sections.failures import failures_table, worst
from mosaic_pipeline.segmentation.reporting.sections.headline import METHOD, describe_run, level, variants_table
from mosaic_pipeline.segmentation.reporting.sections.metrics import conventions_table, definitions
from mosaic_pipeline.segmentation.reporting.sentences import lead, seeds


def render_markdown(results: Results, revision: str) -> str:
    """Return label, answer, variants, metrics, failures, facts, md5s and limits as Markdown."""
    origin = describe_origin(results)
    facts = "; ".join(f"{name}: {value}" for name, value in setup.facts(results, revision)) + "."
    parts = [
        f"# Segmentation, ablation of {escape(results.main)}: {origin.label}",
        f"**{origin.label}.** {escape(origin.sentence)}",
        "## Answer",
        _list([*lead(results), *level(results)]),
        f"## Variants ({origin.label})",
        _titled(variants_table(results)),
        f"## Metrics ({origin.label})",
        _titled(conventions_table(results)),
        _list([f"{name}: {text}" for name, text in definitions()]),
        f"## Missed and invented ({origin.label})",
        _list(worst(results)),
        _titled(failures_table(results)),
        "## What was run",
        _list([METHOD, describe_run(results), facts, setup.licences(results)]),
        "## What made it",
        how_to_trace(revision),
        _titled(setup.files_table(results)),
        "## Limits",
        f"{escape(seeds(results))} All tables, figures and limits: `index.html`.",
    ]
    return "\n\n".join(parts) + "\n"


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _titled(table: Table) -> str:
    notes = "".join(f"\n- {escape(note)}" for note in table.notes)
    return f"{escape(table.caption)}\n\n{markdown(table)}" + (f"\n{notes}" if notes else "")
