"""Each bad value of the section is one line that names the key and says what is legal."""

import copy
from pathlib import Path

import pytest
import yaml

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import parse_params

TREE = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())

WITH_WEIGHTS = {"model/weights": "swin.pth"}


def parse(changes):
    tree = copy.deepcopy(TREE)
    for key, value in changes.items():
        *groups, leaf = key.split("/")
        section = tree["segmentation"]
        for group in groups:
            section = section[group]
        section[leaf] = value
    return parse_params(yaml.safe_dump(tree, sort_keys=False), "params.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data/datasets": ["word"]}, "segmentation.data.datasets: word is none of flare22, amos22_mr, atlas23"),
        ({"data/datasets": ["flare22", "flare22"]}, "segmentation.data.datasets: flare22 stands there more than once"),
        ({"data/datasets": []}, "segmentation.data.datasets: none, but segmentation.ablation.run is not empty"),
        ({"data/source": "folder"}, "segmentation.data.root: source is folder"),
        ({"data/source": "dicom"}, "segmentation.data.source = 'dicom'"),
        (
            {"data/custom": {"word": {"modality": "ct"}}},
            "segmentation.data.custom: word is a set that is known by name",
        ),
        ({"data/custom": {"a": {"modality": "CT scan"}}}, "segmentation.data.custom.a.modality = 'CT scan'"),
        ({"data/split/test": 0.95}, "segmentation.data.split.test: 0.95 and val 0.1 leave nothing to train on"),
        ({"phantom/size": 8}, "segmentation.phantom.size = 8"),
        ({"intensity/ct_window": [240.0, -160.0]}, "segmentation.intensity.ct_window: 240 is not below -160"),
        ({"intensity/percentiles": [0.5, 101.0]}, "segmentation.intensity.percentiles.1 = 101.0"),
        ({"model/heads": [1, 2]}, "segmentation.model.heads: 2 stages, but depths has 3"),
        ({"model/heads": [3, 6, 12]}, "segmentation.model.heads: stage 0 has 32 channels, no multiple of 3"),
        ({"model/size": 40}, "segmentation.model.size: 40 is not a multiple of 16"),
        ({"model/channels": 2}, "segmentation.model.channels = 2"),
        ({"experts/gate": "token"}, "segmentation.experts.gate = 'token'"),
        ({"train/ce": 0.0, "train/dice": 0.0}, "segmentation.train.ce: 0, and so is dice"),
        ({"train/expert_rounds": 0, "train/gate_rounds": 0}, "segmentation.train.expert_rounds: 0"),
        (
            {"model/weights": "swin.pth", "experts/width": 2},
            "segmentation.experts.width: 2, but model.weights",
        ),
        ({"experts/added": -1}, "segmentation.experts.added = -1"),
        ({"experts/added": 1}, "segmentation.experts.added: 1, but experts.mix is gated"),
        (
            {"ablation/run": ["random_experts"], "experts/added": 1},
            "segmentation.ablation.variants.random_experts: experts.added: 1, but experts.routing is random",
        ),
        (
            {"ablation/run": ["new_modality"], "experts/head": "union"},
            "segmentation.ablation.variants.new_modality: experts.added: 1, but experts.head is union",
        ),
        (
            {"ablation/run": ["new_modality"], "ablation/variants/new_modality/experts.added": 3},
            "experts.added: 3, but there are 3 experts, and one has to be there before",
        ),
        (
            {
                "ablation/run": ["new_modality"],
                "data/source": "folder",
                "data/root": "scans",
                "data/datasets": ["mine", "flare22"],
                "data/custom": {"mine": {"modality": "ct"}},
            },
            "segmentation.ablation.variants.new_modality: experts.added: 1, but there is 1 expert",
        ),
        (
            {"train/expert_rounds": 3, "train/warmup_rounds": 9},
            "segmentation.train.warmup_rounds: 9 must be at most 3, the rounds of",
        ),
        (
            {"train/pretrain_rounds": 1, "train/warmup_rounds": 2},
            "segmentation.train.warmup_rounds: 2 must be at most 1, the rounds of the shortest phase that warms up",
        ),
        ({"train/patience": 3}, "segmentation.train.patience: unknown key"),
        ({"ablation/run": ["m4o"]}, "segmentation.ablation.run: 'm4o' is not one of segmentation.ablation.variants"),
        ({"ablation/analyse": ["m4o"]}, "segmentation.ablation.analyse: 'm4o' is not one of"),
        ({"ablation/variants/hard": {"experts.mix": "hard"}}, "segmentation.ablation.variants: hard: why"),
        (
            {"ablation/variants/hard": {"why": "x", "experts.mx": "hard"}},
            "segmentation.ablation.variants.hard: segmentation.experts.mx: unknown key; did you mean mix?",
        ),
        (
            {"ablation/variants/hard": {"why": "x", "data.source": "folder"}},
            "segmentation.ablation.variants.hard: data.source: variants may differ in model, experts, train only",
        ),
        (
            {"ablation/variants/hard": {"why": "x", "model.weights": "w.pth"}},
            "segmentation.ablation.variants.hard: model.weights: may not differ",
        ),
        (
            {"ablation/variants/hard": {"why": "x", "model.size": 96}},
            "segmentation.ablation.variants.hard: model.size: may not differ, all variants share the stage seg_cache",
        ),
        (
            {"ablation/variants/hard": {"why": "x", "model.heads": [3, 6, 12]}},
            "segmentation.ablation.variants.hard: model.heads: stage 0 has 32 channels, no multiple of 3",
        ),
        (
            {**WITH_WEIGHTS, "ablation/variants/hard": {"why": "x", "model.window": 6}},
            "segmentation.ablation.variants.hard: model.window: may not differ, all variants share the stage seg_w",
        ),
        # of one that does not run, too
        (
            {"ablation/variants/single": {"why": "x", "train.augment.rotat": 3}},
            "segmentation.ablation.variants.single: segmentation.train.augment.rotat: unknown key",
        ),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_key(changes, said):
    with pytest.raises(PipelineError) as error:
        parse(changes)
    message = str(error.value)
    assert message.startswith("params.yaml: ")
    assert said in message
    assert "\n" not in message


def test_the_task_can_be_turned_off():
    off = parse({"ablation/run": []})
    assert off.segmentation.ablation.run == ()
    assert parse({"ablation/run": [], "ablation/analyse": [], "data/datasets": []}).segmentation.data.datasets == ()


def test_variants_that_cannot_run_may_stand_there_if_they_do_not():
    parse({"ablation/variants/single": {"why": "needs more rounds", "train.warmup_rounds": 9}})


def test_a_warm_up_is_held_against_the_phases_that_have_one():
    # Without a gate its rounds are the experts'.
    parse({"experts/mix": "hard", "train/warmup_rounds": 4, "ablation/run": ["m4oe"]})
    parse({"train/schedule": "poly", "train/warmup_rounds": 9})
    parse({"train/expert_rounds": 0, "train/warmup_rounds": 9, "ablation/run": ["m4oe"]})


def test_without_weights_variants_may_differ_in_shape_and_with_them_in_drop_path():
    parse({"ablation/variants/hard": {"why": "x", "model.window": 6}})
    parse(WITH_WEIGHTS | {"ablation/variants/hard": {"why": "x", "model.drop_path": 0.1}})
