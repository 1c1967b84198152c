"""The model card of a bundle, README.md: what the model is for, what it was made from, how good it is, what not to do.

Its head is what the Hugging Face hub reads of a card.
"""

from collections.abc import Iterator
from statistics import fmean

import yaml

from mosaic_pipeline.bundle.manifest import Known, Manifest

TASKS = {2: "image-classification", 3: "image-classification"}
NOT_A_DEVICE = (
    "**Not a medical device.** It was made for research: it is cleared for no clinical use, was tested on no "
    "population but that of its test splits, and must not guide a diagnosis or a treatment."
)


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown; the same manifest gives the same text."""
    sections = (
        _head(manifest),
        f"# MOSAIC, variant `{manifest.variant}`, seed {manifest.seed}",
        _summary(manifest),
        NOT_A_DEVICE,
        "## Use\n\n" + _use(manifest),
        "## What it knows\n\n" + _datasets(manifest),
        "## Test\n\n" + _test(manifest),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(manifest)),
        "## Licences\n\n" + "\n".join(f"- {line}" for line in _licences(manifest)),
        "## Where it comes from\n\n" + _origin(manifest),
    )
    return "\n\n".join(sections) + "\n"


def _head(manifest: Manifest) -> str:
    licences = {known.licence for known in manifest.datasets.values()}
    head = {
        "library_name": "mosaic-pipeline",
        "license": "other",
        "license_name": "see-below" if licences else "none",
        "pipeline_tag": "image-classification",
        "tags": ["medical-imaging", "mosaic", *([] if _official(manifest) else ["not-official-data"])],
        "model-index": [{"name": f"{manifest.variant}-{manifest.seed}", "results": list(_results(manifest))}],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---"


def _results(manifest: Manifest) -> Iterator[dict]:
    for name, known in manifest.datasets.items():
        values = {"accuracy": known.test.acc, "roc_auc": known.test.auc}
        source = known.title if known.official else f"{known.title} ({known.source}, not official)"
        yield {
            "task": {"type": TASKS[known.preparation.dimension]},
            "dataset": {"name": source, "type": name, "split": "test"},
            "metrics": [{"type": key, "value": round(value, 6)} for key, value in values.items() if value is not None],
        }


def _summary(manifest: Manifest) -> str:
    routing, model = manifest.resolved.routing, manifest.resolved.model
    n = len(manifest.datasets)
    specialists = f"{len(routing.sizes)} specialist{'s' * (len(routing.sizes) != 1)} ({routing.kind})"
    return (
        f"One model for {n} dataset{'s' * (n != 1)} of medical images: {'a frozen' if model.frozen else 'a trained'} "
        f"`{model.backbone}` with {specialists if routing.sizes else 'no specialists'}, routing `{routing.name}`"
        f"{', mixed by a gate' if routing.gate else ''}, and a linear head for each dataset. An image has to be said "
        "to be of one of these datasets (`auto` proposes one, where `recognition.safetensors` is here); the answer is "
        "the probability of each of its classes."
    )


def _use(manifest: Manifest) -> str:
    name, known = next(iter(manifest.datasets.items()))
    return f"""    pip install .      # in a checkout of the MOSAIC pipeline, which is on no index
    mosaic predict BUNDLE images/ --dataset {name} -o probabilities.csv

```python
from mosaic_pipeline.bundle import load_bundle

bundle = load_bundle("BUNDLE")
bundle.predict(images, dataset="{name}")   # uint8 {_shape(known)} -> [N, {len(known.class_names)}]
```"""


def _shape(known: Known) -> str:
    if known.preparation.dimension == 3:
        return "[N, S, S, S]"
    return "[N, S, S, 3]" if known.preparation.channels == 3 else "[N, S, S]"


def _datasets(manifest: Manifest) -> str:
    rows = [
        f"| `{name}` | {_cell(known.title)} | {known.preparation.dimension}D, "
        f"{'colour' if known.preparation.channels == 3 else 'grey'}, from {known.preparation.size} "
        f"{'voxels' if known.preparation.dimension == 3 else 'px'} | {_classes(known)} |"
        for name, known in manifest.datasets.items()
    ]
    return "\n".join(("| name | dataset | images | classes, in the order of the answer |", "|---|---|---|---|", *rows))


def _classes(known: Known) -> str:
    """Return the names of classes, each apart: they may hold commas themselves."""
    return ", ".join(f"`{_cell(each)}`" for each in known.class_names)


def _test(manifest: Manifest) -> str:
    rows = [
        f"| `{name}` | {known.test.n:,} | {_value(known.test.acc, known.test.acc_interval)} "
        f"| {_value(known.test.auc, known.test.auc_interval)} |"
        for name, known in manifest.datasets.items()
    ]
    tests = [known.test for known in manifest.datasets.values()]
    means = [[value for test in tests if (value := getattr(test, key)) is not None] for key in ("acc", "auc")]
    shown = " | ".join(f"{100 * fmean(values):.1f}" if values else "" for values in means)
    rows.append(f"| mean | | {shown} |")
    head = "| test, percent | n | ACC (95 % CI) | AUC (95 % CI) |\n|---|---:|---:|---:|\n"
    return (
        f"{_what_data(manifest)}\n\n{head}" + "\n".join(rows) + "\n\nIntervals are over test cases of this one model: "
        "another training of the same method differs by more than that, by chance."
    )


def _value(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.1f}" + (f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else "")


def _official(manifest: Manifest) -> bool:
    return all(known.official for known in manifest.datasets.values())


def _what_data(manifest: Manifest) -> str:
    generated = [name for name, known in manifest.datasets.items() if known.source == "phantom"]
    if len(generated) == len(manifest.datasets):
        return (
            "**Phantom data**: all images were generated. These numbers show that the machinery works; they say "
            "nothing about medicine, and must not stand beside published ones."
        )
    if generated:
        return f"**Phantom data** in {', '.join(generated)}: generated images, which say nothing about medicine."
    other = [name for name, known in manifest.datasets.items() if not known.official]
    return f"Not the official files of a public dataset: {', '.join(other)}." if other else "Official test splits."


def _limits(manifest: Manifest) -> Iterator[str]:
    yield (
        "It answers for every image, also for one that is of none of its datasets: probabilities are of the classes of "
        "the dataset that was named, and add up to one (but for several labels) whatever is shown."
    )
    yield "It knows each dataset as it was prepared: other scanners, stains, sizes and populations were not tested."
    yield "Probabilities are those of the network, not calibrated for anybody's prevalence."
    if manifest.provenance.weights.get("source") == "random":
        yield "Its backbone was never trained (random weights): a model to try things with, not to use."


def _licences(manifest: Manifest) -> Iterator[str]:
    yield "Code: Apache-2.0."
    by_licence: dict[str, list[str]] = {}
    for name, known in manifest.datasets.items():
        by_licence.setdefault(known.licence, []).append(name)
    for licence, names in by_licence.items():
        yield f"Data of {', '.join(names)}: {licence}."
    if any("NC" in licence for licence in by_licence):
        yield "Some of the data forbid commercial use (NC), and so, as long as nobody knows better, does this model."
    weights = manifest.provenance.weights
    if weights.get("source") == "random":
        yield "Backbone: random weights, which are nobody's."
        return
    yield f"Backbone: weights from {weights.get('source', 'an unnamed source')}, under the terms of whoever made them."


def _origin(manifest: Manifest) -> str:
    provenance = manifest.provenance
    rows = [("bundled by the code of revision", provenance.revision)]
    rows += [(f"md5 of the {name}", md5) for name, md5 in provenance.md5.items()]
    rows += [(f"weights, {name}", value) for name, value in provenance.weights.items()]
    rows += [(f"data of {name}, md5", md5) for name, md5 in provenance.data.items()]
    table = "\n".join(f"| {_cell(name)} | `{value}` |" for name, value in rows)
    return (
        f"| | |\n|---|---|\n{table}\n\nIn the repository that made it `mosaic trace <md5 of the model>` finds data, "
        "training and tests. `md5sum -c md5sums.txt` checks the files here."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
