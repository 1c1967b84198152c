"""Which variants were tuned, over which values, and what each value came to on the validation splits."""

from typing import Any

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import listing, percent, plain


def recipe(results: Results) -> list[str]:
    """Say which variants were tuned and which were not: whether each one had a recipe of its own."""
    tuned = [variant for variant in results.variants if _tried(results, variant)]
    if not tuned:
        return [
            "Every variant was trained with the same recipe, that of the main variant, except for the settings in "
            "which they differ; tuned on its own, a variant might rank otherwise."
        ]
    over = _grouped({variant: _ranges(results, variant) for variant in tuned})
    groups = "; ".join(f"{listing(variants)} over {ranges}" for ranges, variants in over.items())
    whole = "Every variant was tuned" if len(tuned) == len(results.variants) else "Tuned"
    return [
        f"{whole} by validation score, with seed {results.tuning[tuned[0]].seed}: {groups}.",
        *_ends(results, tuned),
        *_not_tuned(results, tuned),
        "For the rest every variant was trained with the recipe of the main variant, except for the settings in which "
        "they differ.",
    ]


def tuning_table(results: Results) -> Table | None:
    """Rows: what was tried for each tuned variant, with its validation score; None if no variant was tuned."""
    keys = _keys(results)
    if not keys:
        return None
    rows = []
    for variant in results.on_page:
        chosen = results.tuning[variant].chosen
        for index, trial in enumerate(results.tuning[variant].candidates):
            best = index == chosen
            values = [Cell(_shown(trial.values[key]), best) if key in trial.values else Cell(NONE) for key in keys]
            if trial.score is None:
                measured = [Cell("diverged"), *[Cell(NONE)] * 3]
            else:
                measured = [Cell(percent(trial.score), best), Cell(percent(trial.acc)), Cell(percent(trial.auc))]
                measured.append(Cell(str(trial.best_round)))
            rows.append([Cell(variant), *values, *measured])
    if not rows:
        return None
    seeds = {present(record.seed) for record in results.tuning.values() if record.candidates}
    return Table(
        name="tuning",
        caption=f"Tuning, with seed {listing([str(seed) for seed in sorted(seeds)])}: what was tried, and validation "
        "score, ACC and AUC of the best round in percent. The highest score (bold) was chosen, on a tie the first.",
        header=["Variant", *keys, "Score", "ACC", "AUC", "Best round"],
        rows=rows,
        text_columns=tuple(column for column in range(1, len(keys) + 1) if any(_is_word(row[column]) for row in rows)),
    )


def _is_word(cell: Cell) -> bool:
    return cell.text[0].isalpha()


def _tried(results: Results, variant: str) -> dict[str, list[Any]]:
    """Distinct values tried for a variant by dotted key, in order; none if it was not tuned."""
    record = results.tuning.get(variant)
    tried: dict[str, list[Any]] = {}
    for trial in record.candidates if record else ():
        for key, value in trial.values.items():
            if value not in tried.setdefault(key, []):
                tried[key].append(value)
    return tried


def _keys(results: Results) -> list[str]:
    return list(dict.fromkeys(key for variant in results.variants for key in _tried(results, variant)))


def _ranges(results: Results, variant: str) -> str:
    """'train.lr (0.001, 0.01) and adapter.scale (0.1, 1)'."""
    tried = _tried(results, variant).items()
    return listing([f"{key} ({', '.join(map(_shown, values))})" for key, values in tried])


def _ends(results: Results, tuned: list[str]) -> list[str]:
    """A sentence for each setting whose best value has untried ones beyond it."""
    at_end: dict[tuple[str, str, str], list[str]] = {}
    for variant in tuned:
        record = results.tuning[variant]
        for key, values in _tried(results, variant).items():
            if len(values) < 2 or any(isinstance(value, str | bool) or value is None for value in values):
                continue
            best = record.candidates[present(record.chosen)].values.get(key)
            for end, word, beyond in ((min(values), "smallest", "smaller"), (max(values), "largest", "larger")):
                if best == end:
                    at_end.setdefault((key, word, beyond), []).append(variant)
    return [
        f"For {listing(variants)} the {word} {key} tried was the best: a {beyond} one might be better still."
        for (key, word, beyond), variants in at_end.items()
    ]


def _not_tuned(results: Results, tuned: list[str]) -> list[str]:
    rest = [variant for variant in results.variants if variant not in tuned]
    if not rest:
        return []
    keys = [key for key in _keys(results) if key.startswith("train.")]
    values = {variant: [f"{key} {_shown(_setting(results, variant, key))}" for key in keys] for variant in rest}
    groups = _grouped({variant: f" ({', '.join(texts)})" if texts else "" for variant, texts in values.items()})
    names = "; ".join(f"{listing(variants)}{text}" for text, variants in groups.items())
    return [f"Not tuned: {names}. Tuned as well, {'it' if len(rest) == 1 else 'they'} might rank otherwise."]


def _setting(results: Results, variant: str, key: str) -> Any:
    return getattr(results.configs[variant].train, key.removeprefix("train."))


def _grouped(texts: dict[str, str]) -> dict[str, list[str]]:
    """Variants by what is said of them."""
    groups: dict[str, list[str]] = {}
    for variant, text in texts.items():
        groups.setdefault(text, []).append(variant)
    return groups


def _shown(value: Any) -> str:
    """A value as params.yaml has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return plain(value) if isinstance(value, int | float) else str(value)
