"""Descriptions in MLflow: Markdown, a headline and below it a line for each thing that came to be known."""

from collections.abc import Collection, Iterable, Mapping

NOTE = "mlflow.note.content"  # the tag that MLflow shows as description, of runs and of experiments
LONGEST_NOTE = 8000  # characters; MLflow cuts what is longer, in the middle of a word
NAMED = 20  # datasets that a line names one by one
EXPERIMENT = """**MOSAIC**: one frozen ViT with routed specialists for all MedMNIST datasets, beside its alternatives; \
and M4oE for segmentation. Each training, test and analysis of the DVC pipeline is a run; tests nest under trainings.

- **Columns**: `test/mean_acc`, `test/mean_auc` and `test/mean_dsc` of the trainings (tag `stage`: `train`, `seg_train`)
- **Search**: by the keys of params.yaml, as in `params."adapter.bottleneck_c" = '256'`"""


def amended(note: str, label: str, text: str) -> str:
    """Return a description with the line of this label in place of an earlier one, else as the first of such lines.

    MLflow shows four lines of a description, and what came last is wanted first. All other lines stay, whoever wrote
    them.
    """
    start = f"- **{label}**: "
    line, lines = start + " ".join(text.split()), note.splitlines()
    for place, each in enumerate(lines):
        if each.startswith(start):
            return "\n".join([*lines[:place], line, *lines[place + 1 :]])
    for place, each in enumerate(lines):
        if each.startswith("- **"):
            return "\n".join([*lines[:place], line, *lines[place:]])
    return "\n".join([*lines, *[""] * bool(lines), line])


def headline(variant: str, seed: int, why: str, role: str = "") -> str:
    """Return the first line of a description: variant, seed, why the variant is there; `role` if it is no training."""
    return f"**{variant}**, seed {seed}{role and f', {role}'}: {why}"


def counted(sources: Mapping[str, str]) -> str:
    """Say how many datasets there are, where they are from, and which: 2 datasets (phantom): pathmnist, octmnist."""
    kinds, names = ", ".join(dict.fromkeys(sources.values())), list(sources)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} dataset{'s' * (len(names) > 1)} ({kinds}): {', '.join(names[:NAMED])}{more}"


def measured(values: Mapping[str, float | None]) -> str:
    """Say what metrics came to: ACC 0.601, AUC 0.805; what is undefined is left out."""
    return ", ".join(f"{metric.upper()} {value:.3f}" for metric, value in values.items() if value is not None)


def means(values: Mapping[str, float | None], groups: Iterable[str], metrics: Collection[str]) -> str:
    """Say the test means: first of all datasets, then of each group that has any.

    `values` are by the names of a training's metrics, `test/mean_acc` and `test/A/mean_acc`.
    """
    prefixes = {"mean": "test/mean_"} | {group: f"test/{group}/mean_" for group in groups}
    shown = {
        group: measured({metric: values.get(f"{prefix}{metric}") for metric in metrics})
        for group, prefix in prefixes.items()
    }
    return "; ".join(f"{group} {text}" for group, text in shown.items() if text)
