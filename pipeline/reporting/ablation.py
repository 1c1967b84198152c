"""The report's short form in Markdown, for a pull request."""

from pipeline.reporting.origin import describe_origin
from pipeline.reporting.results import Results
from pipeline.reporting.sections.datasets import datasets_table
from pipeline.reporting.sections.headline import means_table
from pipeline.reporting.sections.parameters import parameters_table
from pipeline.reporting.sections.setup import settings
from pipeline.reporting.sentences import headline, limits
from pipeline.reporting.table import Table, escape, markdown


def render_markdown(results: Results, revision: str) -> str:
    """Return label, settings, sentences and tables as Markdown."""
    origin = describe_origin(results)
    shared, differing = settings(results)
    parts = [
        f"# Ablation of {escape(results.main)}: {origin.label}",
        f"**{origin.label}.** {escape(origin.sentence)}",
        "## What the numbers say",
        "\n".join(f"- {escape(sentence)}" for sentence in headline(results)),
        _titled(means_table(results)),
        f"## Datasets ({origin.label.lower()})",
        _titled(datasets_table(results)),
        f"## What was run ({origin.label.lower()})",
        "; ".join(f"{escape(name)}: {escape(value)}" for name, value in [*shared, ("Code revision", revision)]) + ".",
        *([_titled(differing)] if differing else []),
        _titled(parameters_table(results)),
        "## Limits",
        "\n".join(f"- {escape(sentence)}" for sentence in limits(results)),
    ]
    return "\n\n".join(parts) + "\n"


def _titled(table: Table) -> str:
    notes = "".join(f"\n- {escape(note)}" for note in table.notes)
    return f"{escape(table.caption)}\n\n{markdown(table)}" + (f"\n{notes}" if notes else "")
