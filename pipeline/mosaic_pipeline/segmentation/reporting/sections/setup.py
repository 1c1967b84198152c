"""Section: what was run, on which files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mosaic_pipeline.reporting.settings import compare_settings, short_revision
from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import count, listing, plural
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.reporting.records import DatasetResult
from mosaic_pipeline.segmentation.reporting.results import Results

_TITLES = {
    "model.dim": "Channels of the first stage",
    "model.depths": "Blocks by stage",
    "model.heads": "Attention heads by stage",
    "model.window": "Window, tokens",
    "model.patch": "Patch, px",
    "model.size": "Slice, px",
    "model.channels": "Input channels",
    "model.drop_path": "Drop path",
    "model.weights": "Starts from given weights",
    "experts.routing": "Who shares an expert",
    "experts.of": "Experts",
    "experts.where": "Experts in",
    "experts.mix": "Mixed by",
    "experts.gate": "Gate looks at",
    "experts.gate_start": "Gate starts",
    "experts.gate_trains": "Gate's rounds train",
    "experts.head": "Heads",
    "experts.width": "Width of an expert, times its channels",
    "experts.added": "Experts that join last",
    "train.pretrain_rounds": "Rounds of masked modelling",
    "train.mask_ratio": "Masked share",
    "train.expert_rounds": "Rounds of experts",
    "train.gate_rounds": "Rounds with the gate",
    "train.batch_size": "Batch size, slices",
    "train.order": "Order of steps",
    "train.tau": "Balance exponent",
    "train.optimiser": "Optimiser",
    "train.lr": "Learning rate, peak",
    "train.schedule": "Schedule",
    "train.warmup_rounds": "Warm-up, rounds",
    "train.ce": "Weight of cross-entropy",
    "train.dice": "Weight of Dice",
    "train.dice_form": "Form of Dice",
    "train.class_weight": "Exponent of class weights",
    "train.augment.rotate": "Rotation, degrees, at most",
    "train.augment.scale": "Scale, at most",
    "train.augment.intensity": "Intensity, at most",
    "train.augment.flip": "Mirrored",
    "train.grad_clip": "Gradient norm, at most",
    "train.weight_decay": "Weight decay",
    "train.early_stopping_patience": "Patience, rounds",
    "train.min_delta": "Smallest improvement",
    "precision": "Precision",
}


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    shared, differing = compare_settings({variant: _tree(results, variant) for variant in results.variants}, _TITLES)
    if differing:
        differing = replace(differing, rows=[row for row in differing.rows if row[0].text in results.beside_main])
    return {
        "shared": shared,
        "differing": differing,
        "regrouped": drawn(results) + unequal(results.configs, results.main),
        "files": files_table(results),
        "sources": data_table(results),
        "licences": licences(results),
    }


def facts(results: Results, revision: str) -> list[tuple[str, str]]:
    """What was run in a few (name, value)."""
    training = results.main_run.training
    weights = "random" if training.weights.random else training.weights.source
    return [
        ("Variants", ", ".join(results.variants)),
        ("Sets", ", ".join(results.title(name) for name in results.datasets)),
        ("Weights at the start", weights),
        ("Seeds", ", ".join(map(str, results.seeds))),
        ("Code revision", short_revision(revision)),
    ]


def _tree(results: Results, variant: str) -> dict[str, Any]:
    tree = results.configs[variant].model_dump(exclude={"datasets"})
    for key in ("depths", "heads"):
        tree["model"][key] = ", ".join(map(str, tree["model"][key]))
    experts = {key: value for key, value in tree["experts"].items() if key != "names"}
    by_expert: dict[str, list[str]] = {}
    for name, expert in experts["of"].items():
        by_expert.setdefault(expert, []).append(name)
    # Dealt out at random they are each seed's own: see `drawn`.
    told = "; ".join(f"{expert}: {', '.join(names)}" for expert, names in by_expert.items())
    experts["of"] = "dealt out by seed" if experts["routing"] == "random" else told
    return tree | {"experts": experts}


def drawn(results: Results) -> list[str]:
    """For each variant that deals out experts at random: who shares one, seed by seed."""
    said = []
    for variant in results.variants:
        if results.configs[variant].experts.routing != "random":
            continue
        for seed in results.seeds:
            of = results.runs[variant, seed].training.config.experts.of
            groups = [[results.title(n) for n in of if of[n] == expert] for expert in dict.fromkeys(of.values())]
            said.append(f"{variant}, seed {seed}: an expert each for {'; '.join(map(listing, groups))}.")
    return said


def unequal(configs: Mapping[str, Config], main: str) -> list[str]:
    """For each variant: whether it has other rounds than the main one, or an MLP that is no size to compare by."""
    said, ours = [], configs[main]
    one, whole = ours.experts.width, ours.experts.width * len(ours.experts.names)
    for variant, config in configs.items():
        rounds, width = _rounds_of_a_set(config), config.experts.width
        if rounds != _rounds_of_a_set(ours):
            said.append(
                f"{variant} trains a set for {plural(rounds, 'round')}, {main} for {_rounds_of_a_set(ours)}: the two "
                "differ in length too."
            )
        if config.experts.routing == "shared" and width not in (one, whole):
            said.append(
                f"The MLP of {variant} is {width} times as wide as its input, an expert of {main} {one} times and all "
                f"together {whole} times: the two differ in size too."
            )
    return said


def _rounds_of_a_set(config: Config) -> int:
    """Rounds that train a set, of all phases at most; the same for every set, those that join later included."""
    return max(
        sum(rounds for phase, rounds in config.rounds.items() if name in config.datasets_in(phase))
        for name in config.datasets
    )


def licences(results: Results) -> str:
    """Under which licence which of the scans are; generated ones are nobody's."""
    told = [f"{each.title}: {each.licence or 'not said'}" for each in map(results.result, results.datasets)]
    return f"Licences of scans and masks: {'; '.join(told)}."


def data_table(results: Results) -> Table:
    """Rows: sets; what they are, where from, and under which terms."""
    rows = []
    for name in results.datasets:
        each = results.result(name)
        cells = [
            each.title,
            each.source,
            modality(each.modality),
            str(len(each.organs)),
            count(each.train.cases),
            count(each.train.slices),
            _blocks(each) if each.by_slices else count(len(each.cases)),
            count(each.patients),
            each.licence or "not said",
            each.citation or "none",
        ]
        rows.append([Cell(text) for text in cells])
    return Table(
        name="sources",
        caption="Sets: source, modality, annotated organs, scans and slices that trained, scans and patients that "
        "test.",
        header=["Set", "Source", "Modality", "Organs", "Train", "Slices", "Test", "Patients", "Licence", "Citation"],
        rows=rows,
        text_columns=(1, 2, 8, 9),
    )


def files_table(results: Results) -> Table:
    """Rows: trainings; md5 of what went in and of what came out."""
    kinds = ("config", "weights", "model")
    rows = [
        [Cell(f"{variant}, seed {seed}"), *(Cell(run.training.md5.get(kind, "none")) for kind in kinds)]
        for (variant, seed), run in results.runs.items()
        if variant in results.on_page
    ]
    return Table(
        name="files",
        caption="md5 of each training's configuration, weights to start from and trained model.",
        header=["Variant", "Configuration", "Weights", "Model"],
        rows=rows,
        text_columns=(1, 2, 3),
    )


def modality(name: str) -> str:
    """'ce_mri' -> 'CE-MRI'."""
    return name.replace("_", "-").upper()


def trained_on(results: Results, dataset: str) -> str:
    """Facts of a set in a line."""
    each = results.result(dataset)
    spacings = sorted({tuple(f"{side:.3g}" for side in case.spacing) for case in each.cases})
    voxels = " x ".join(spacings[0]) + " mm" if len(spacings) == 1 else f"{len(spacings)} spacings"
    tested = f"{plural(len(each.cases), 'scan')} of {plural(each.patients, 'patient')}"
    if each.by_slices:
        tested = f"{_blocks(each)} of the same"
    return (
        f"{modality(each.modality)}, {plural(len(each.organs), 'organ')}; trained on "
        f"{plural(each.train.cases, 'scan')} ({plural(each.train.slices, 'slice')}), tested on "
        f"{tested}; voxels of {voxels}"
    )


def _blocks(result: DatasetResult) -> str:
    """'4 other slices', of all test scans together."""
    return plural(sum(end - start for start, end in (case.block for case in result.cases if case.block)), "other slice")
