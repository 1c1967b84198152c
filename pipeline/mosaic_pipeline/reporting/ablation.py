"""The report's short form in Markdown, for a pull request."""

from mosaic_pipeline.reporting.about import describe_method, describe_run
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sections import setup
from mosaic_pipeline.reporting.sections.gain import gain_sentences, gain_table, multi_task_gains
from mosaic_pipeline.reporting.sections.variants import variants_table
from mosaic_pipeline.reporting.sentences import answer, level, seeds
from mosaic_pipeline.reporting.table import Table, escape, markdown
from mosaic_pipeline.reporting.tracing import how_to_trace
from mosaic_pipeline.reporting.tuning import recipe, tuning_table


def render_markdown(results: Results, revision: str) -> str:
    """Return label, answer, variants, gains and tuning where there are any, facts, md5s and limits as Markdown."""
    origin = describe_origin(results)
    gains = multi_task_gains(results)
    tuning = tuning_table(results)
    parts = [
        f"# Ablation of {escape(results.main)}: {origin.label}",
        f"**{origin.label}.** {escape(origin.sentence)}",
        "## Answer",
        _list(answer(results)),
        f"## Variants ({origin.label})",
        _titled(variants_table(results)),
    ]
    if gains:
        parts += [
            f"## One model or one for each ({origin.label})",
            _list(gain_sentences(results, gains)),
            _titled(gain_table(results, gains)),
        ]
    if tuning:
        parts += [f"## Tuning ({origin.label})", _list(recipe(results)), _titled(tuning)]
    parts += [
        "## What was run",
        _list([describe_method(results), describe_run(results), _facts(results, revision), *level(results)]),
        "## What made it",
        how_to_trace(revision),
        _titled(setup.files_table(results)),
        "## Limits",
        f"{escape(seeds(results))} All tables, figures and limits: `index.html`.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(results: Results, revision: str) -> str:
    return "; ".join(f"{name}: {value}" for name, value in setup.facts(results, revision)) + "."


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _titled(table: Table) -> str:
    notes = "".join(f"\n- {escape(note)}" for note in table.notes)
    return f"{escape(table.caption)}\n\n{markdown(table)}" + (f"\n{notes}" if notes else "")
