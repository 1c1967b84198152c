"""Section: what was run, on which data and files."""

from dataclasses import replace
from typing import Any

from mosaic_pipeline.model.routing import RANDOM, SHARED
from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.settings import compare_settings, short_revision
from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import count, listing, plural


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    shared, differing = settings(results)
    return {
        "origin": describe_origin(results),
        "shared": shared,
        "differing": differing,
        "regrouped": regrouped(results) + widths(results),
        "files": files_table(results),
        "sources": data_table(results),
        "licences": licences(results),
    }


def facts(results: Results, revision: str) -> list[tuple[str, str]]:
    """What was run in a few (name, value): data, variants, backbone, seeds, code."""
    data = []
    for dimension in (2, 3):
        names = [name for name in results.datasets if results.dataset(name).dimension == dimension]
        if names:
            sizes = listing(sorted({_size(results, name) for name in names}))
            data.append((f"{dimension}D data", f"{plural(len(names), 'dataset')}, files of {sizes}"))
    return [
        ("Variants", ", ".join(results.variants)),
        *data,
        ("Backbone", f"{results.configs[results.main].model.backbone} with {weights(results)}"),
        ("Seeds", ", ".join(map(str, results.seeds))),
        ("Code revision", short_revision(revision)),
    ]


def weights(results: Results) -> str:
    """Say whether the backbone was pretrained, and by which file."""
    found = results.main_run.training.weights
    return "random weights (not pretrained)" if found.random else f"weights from {found.source}"


def regrouped(results: Results) -> list[str]:
    """For each variant that draws its groups: how many partitions its seeds drew, and what moved in which of them."""
    paragraphs = []
    for variant in results.variants:
        if results.configs[variant].routing.name != RANDOM:
            continue
        seeds: dict[str, list[str]] = {}
        for seed in results.seeds:
            seeds.setdefault(_moved(results, variant, seed), []).append(str(seed))
        drawn = f"{variant} drew {plural(len(seeds), 'partition')} with {plural(len(results.seeds), 'seed')}."
        parts = [
            f"Seed {same[0]}: {moved}." if len(same) == 1 else f"Seeds {listing(same)}, the same: {moved}."
            for moved, same in seeds.items()
        ]
        paragraphs.append(" ".join([drawn, *parts]))
    return paragraphs


def widths(results: Results) -> list[str]:
    """For each variant whose groups are joined, and not as wide as the main one's specialists together: how wide."""
    main, paragraphs = results.configs[results.main].routing, []
    for variant in results.others:
        routing = results.configs[variant].routing
        wide, whole = sum(routing.sizes.values()), sum(main.sizes.values())
        if routing.name in (SHARED, "modality") and routing.kind == main.kind == "bottleneck" and wide != whole:
            paragraphs.append(
                f"The bottlenecks of {variant} are {wide} wide, those of {results.main} {whole} together: the two "
                "differ in size, not in routing alone."
            )
    return paragraphs


def _moved(results: Results, variant: str, seed: int) -> str:
    """The datasets that are in another of the groups A, B and C than with MOSAIC, by the group that they are in."""
    routed = results.routed(variant, seed)
    moved: dict[str, list[str]] = {}
    for name in results.datasets:
        if routed[name] != results.specialist(name):
            moved.setdefault(present(routed[name]), []).append(results.title(name))
    if not moved:
        return "the groups that MOSAIC has, and the same training again"
    places = "; ".join(f"{listing(titles)} in {group}" for group, titles in sorted(moved.items()))
    return f"{sum(map(len, moved.values()))} of {plural(len(results.datasets), 'dataset')} grouped anew, {places}"


def _size(results: Results, name: str) -> str:
    size = results.origin(name).size
    return f"{size} px" if results.dataset(name).dimension == 2 else f"{size}³ voxels"


LISTED = 4  # specialists that are named one by one

_SETTINGS = {
    "model.backbone": "Backbone",
    "model.patch_size": "2D patch, px",
    "model.image_size": "2D input of the ViT, px",
    "model.volume_patch_size": "3D patch, voxels",
    "model.volume_size": "3D input of the ViT, voxels",
    "model.normalisation": "2D mean and std",
    "model.embedding_norm": "LayerNorm after patches",
    "model.frozen": "Backbone frozen",
    "model.tokenizer_init": "3D tokenizer starts",
    "model.tokenizer_trained": "3D tokenizer trained",
    "model.slices": "Slices of a volume",
    "model.adapter_scale": "Adapter scale",
    "model.adapter_layer_norm": "LayerNorm in adapters",
    "model.prompt_strength": "Prompt strength, learned unless 1",
    "routing.name": "Routing",
    "routing.kind": "Specialist",
    "routing.random_seed": "Groups drawn by seed and",
    "routing.gate": "Gate looks at",
    "routing.gate_start": "Gate starts at",
    "routing.gate_rounds": "Rounds with gate, the last",
    "routing.sizes": "Sizes",
    "routing.datasets": "Datasets by specialist",
    "train.num_rounds": "Rounds, at most",
    "train.batch_size": "Batch size",
    "train.order": "Order of steps",
    "train.tau": "Balance exponent",
    "train.lr": "Learning rate, peak",
    "train.schedule": "Schedule by",
    "train.weight_decay": "Weight decay",
    "train.grad_clip": "Gradient norm, at most",
    "train.warmup_rounds": "Warm-up, rounds",
    "train.consist_weight": "Consistency weight",
    "train.consist_form": "Consistency loss",
    "train.class_weights": "Class weights in the loss",
    "train.flip_sided": "Left and right organs flipped",
    "train.early_stopping_patience": "Patience, rounds",
    "train.min_delta": "Smallest improvement",
    "train.monitor": "Validation score",
    "train.deploy": "Deployed round is best for",
    "train.grade_tolerance": "Grades off that validate as right",
    "train.validate_visits": "Validated after each visit",
    "train.prompt_strength_lr": "Learning rate of prompt strengths, times peak",
    "train.conflict_cases": "Images for gradient conflicts",
    "momentum.d2": "EMA momentum, 2D",
    "momentum.d3": "EMA momentum, 3D",
    "momentum.update": "EMA moves each",
    "precision": "Precision",
}


def settings(results: Results) -> tuple[list[tuple[str, str]], Table | None]:
    """Settings that all variants share as (name, value), and a table of those that differ; None if none does."""
    shared, differing = compare_settings({variant: _tree(results, variant) for variant in results.variants}, _SETTINGS)
    if differing:
        differing = replace(differing, rows=[row for row in differing.rows if row[0].text in results.beside_main])
    return shared, differing


def _tree(results: Results, variant: str) -> dict[str, Any]:
    """Every setting of a configuration; a key added later shows up under its own name."""
    tree = results.configs[variant].model_dump(exclude={"datasets"})
    named = {key: value for key, value in tree["routing"].items() if not isinstance(value, dict)}
    return tree | {"routing": named | {"sizes": _sizes(results, variant), "datasets": _routing(results, variant)}}


def _sizes(results: Results, variant: str) -> str:
    """Size of each specialist; of many, how many there are and the range of their sizes."""
    sizes = results.sizes(variant)
    if len(sizes) <= LISTED:
        return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
    least, most = min(sizes.values()), max(sizes.values())
    return f"{len(sizes)} of {least}" + ("" if least == most else f" to {most}")


def _routing(results: Results, variant: str) -> str:
    routed = list(results.routed(variant, results.seeds[0]).values())
    names = list(results.sizes(variant))
    if len(names) > LISTED:
        counts = {routed.count(name) for name in names}
        return f"{len(names)} specialists, {min(counts)} to {max(counts)} datasets each".replace("1 to 1 datasets", "1")
    return ", ".join(f"{name}: {plural(routed.count(name), 'dataset')}" for name in names) or "no specialist"


def files_table(results: Results) -> Table:
    """Rows: trainings; md5 of what went in and of what came out."""
    kinds = ("config", "weights", "model")
    rows = [
        [Cell(f"{variant}, seed {seed}"), *(Cell(run.md5.get(kind, "not recorded")) for kind in kinds)]
        for (variant, seed), run in results.runs.items()
        if variant in results.on_page
    ]
    return Table(
        name="files",
        caption="md5 of each training's configuration, backbone weights and trained model.",
        header=["Variant", "Configuration", "Weights", "Model"],
        rows=rows,
        text_columns=(1, 2, 3),
    )


def licences(results: Results) -> str:
    """Under which licence which of the data are; those that are many are counted."""
    by_licence: dict[str, list[str]] = {}
    for name in results.datasets:
        by_licence.setdefault(results.origin(name).terms, []).append(results.title(name))
    if len(by_licence) == 1:
        return f"Licence of the images of every dataset: {next(iter(by_licence))}."
    told = [
        f"{licence} ({listing(titles) if len(titles) <= LISTED else plural(len(titles), 'dataset')})"
        for licence, titles in sorted(by_licence.items(), key=lambda item: -len(item[1]))
    ]
    return f"Licences of the images: {'; '.join(told)}."


def data_table(results: Results) -> Table:
    """Rows: datasets; where their images came from, how many are used, and md5 of the source file."""
    rows = []
    for name in results.datasets:
        origin = results.origin(name)
        splits = [
            count(split.n) if split.n == split.of else f"{count(split.n)} of {count(split.of)}"
            for split in (origin.splits[key] for key in ("train", "val", "test"))
        ]
        official = "yes" if origin.official else "no"
        cells = [
            results.title(name),
            origin.source,
            official,
            origin.terms,
            _size(results, name),
            *splits,
            origin.raw_md5,
        ]
        rows.append([Cell(text) for text in cells])
    return Table(
        name="data",
        caption="Data: source, licence, size, images used of each split, and md5 of the source file.",
        header=["Dataset", "Source", "Official", "Licence", "Size", "Train", "Validation", "Test", "md5"],
        rows=rows,
        text_columns=(1, 2, 3, 8),
    )
