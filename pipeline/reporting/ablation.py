"""The report's short form in Markdown, for a pull request."""

from pipeline.reporting.origin import describe_origin
from pipeline.reporting.results import Results
from pipeline.reporting.sections.gain import gain_sentences, gain_table, multi_task_gains
from pipeline.reporting.sections.variants import variants_table
from pipeline.reporting.sentences import answer, comparison_sentences, level, seeds
from pipeline.reporting.table import Table, escape, markdown


def render_markdown(results: Results, revision: str) -> str:
    """Return label, answer, table of variants and, where there is one, table of gains as Markdown."""
    origin = describe_origin(results)
    gains = multi_task_gains(results)
    parts = [
        f"# Ablation of {escape(results.main)}: {origin.label}",
        f"**{origin.label}.** {escape(origin.sentence)}",
        _list(answer(results)),
        _list([" ".join(texts) for _, texts in comparison_sentences(results)]),
        _list([*level(results), seeds(results)]),
        f"## Variants ({origin.label})",
        _titled(variants_table(results)),
    ]
    if gains:
        parts += [
            f"## One model or one for each ({origin.label})",
            _list(gain_sentences(results, gains)),
            _titled(gain_table(results, gains)),
        ]
    parts.append(f"Code revision {escape(revision)}. All tables, figures and limits: `index.html`.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _titled(table: Table) -> str:
    notes = "".join(f"\n- {escape(note)}" for note in table.notes)
    return f"{escape(table.caption)}\n\n{markdown(table)}" + (f"\n{notes}" if notes else "")
