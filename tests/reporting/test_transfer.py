"""What the report says of datasets that no model was trained on: when a specialist is called better, and which one."""

from dataclasses import replace

import numpy as np
import pytest
from beside import write_transfer

from mosaic_pipeline.data.findings import Finding
from mosaic_pipeline.reporting.page import _render
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import transfer
from mosaic_pipeline.reporting.ways import all_ways, lifted

BACKBONE = (None, None, False)
A, B, C = ((name, None, False) for name in "ABC")
WAYS = {"mosaic": [BACKBONE, A, B, C], "shared": [BACKBONE, ("shared", None, False)], "linear_probe": [BACKBONE]}


def _load(inputs, values, ways=WAYS, name="pneumoniamnist", seeds=(1, 2, 3), **more):
    """`values` by variant and way: validation score, ACC and AUC, or one number for all; seeds vary them a little."""
    inputs.seeds, inputs.variants = seeds, tuple(ways)
    if not (inputs.root / "evaluation").exists():
        inputs.write()

    def drawn(variant, seed, place):
        found = values[variant][place]
        score, acc, auc = found if isinstance(found, tuple) else (found,) * 3
        # The backbone is the same in all trainings.
        off = 0.002 * (seeds.index(seed) - 1) if ways[variant][place] != BACKBONE and len(seeds) > 1 else 0.0
        return score, acc + off, None if auc is None else auc + off

    write_transfer(inputs, name, ways, drawn, **more)
    return load_results(inputs.variants, inputs.seeds, "ABC", root=inputs.root, external=(name,))


def _told(results) -> str:
    text = " ".join(sentence for _, _, sentences, _ in transfer.build(results)["parts"] for sentence in sentences)
    return text.replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")


def _row(results, variant, way):
    (_, _, _, table) = transfer.build(results)["parts"][0]
    (row,) = (row for row in table.rows if row[0].text == variant and row[0].below.startswith(way))
    return row


LEVEL = {"mosaic": [0.7] * 4, "shared": [0.7] * 2, "linear_probe": [0.7]}


def test_a_specialist_that_is_clearly_above_or_below_the_backbone_is_called_so(inputs):
    results = _load(inputs, LEVEL | {"mosaic": [0.6, 0.9, 0.4, 0.6]}, own="B")
    told = _told(results)
    assert "mosaic, ACC: above the backbone alone is shown to be specialist A by +30.0 points (95 % CI" in told
    assert "; below it specialist B (its own) by -20.0 points" in told
    assert "; not told apart from it 1 way." in told
    row = _row(results, "mosaic", "specialist A")
    assert (row[3].text, row[5].text) == ("+30.0", "▲ higher")
    assert row[3].best
    assert _row(results, "mosaic", "specialist B")[0].below == "specialist B, its own"
    assert _row(results, "mosaic", "backbone alone")[3].text == "\N{EN DASH}"
    assert "shared, ACC: the one way through specialists is not shown to differ from the backbone alone." in told
    assert "linear_probe has no specialists" in told


def test_by_one_training_each_nothing_is_called_however_large(inputs):
    results = _load(inputs, LEVEL | {"mosaic": [0.3, 0.9, 0.2, 0.3]}, seeds=(42,), own="A")
    told = _told(results)
    assert (
        "mosaic, one training: 1 of 3 above the backbone alone in ACC (-10.0 to +60.0 points) and 1 of 3 above the "
        "backbone alone in AUC (-10.0 to +60.0 points); its own one, specialist A, +60.0 in ACC and +60.0 in AUC. "
        "Nothing is called by one training." in told
    )
    assert "validation would take specialist A, its own one; that it serves the dataset best is not called" in told
    for _, _, _, table in transfer.build(results)["parts"]:
        assert not any(cell.best for row in table.rows for cell in row)


def test_the_best_specialist_is_chosen_by_validation_and_called_by_the_test(inputs):
    """B validates best; whether it is best is for the test images to say."""
    scores = [0.5, 0.6, 0.8, 0.7]
    for acc, shown in (
        ([0.5, 0.5, 0.9, 0.5], True),
        ([0.5, 0.9, 0.9, 0.5], False),
        ([0.5, 0.9, 0.5, 0.5], False),
        ([0.5, 0.9, 0.7, 0.5], False),  # above one, below the other, both beyond chance
    ):
        values = [(score, each, 0.7) for score, each in zip(scores, acc, strict=True)]
        told = _told(_load(inputs, LEVEL | {"mosaic": values}, own="C"))
        assert "mosaic: validation would take specialist B, not its own one; on the test images " in told
        assert ("it is shown to be better than each of the 2 others in ACC, not in AUC." in told) is shown
        assert ("that it is better than each of the 2 others is not shown." in told) is not shown


def test_all_claims_of_a_metric_share_the_level(inputs):
    """A lift whose own p is below 0.05 is called alone, not among many others."""
    found = []
    for count in (1, 12):
        ways = {"mosaic": [BACKBONE, *((f"s{place}", None, False) for place in range(count))]}
        # The first specialist's lead is about 2.5 standard errors of the cases.
        values = {"mosaic": [0.6, 0.69, *[0.6] * (count - 1)]}
        by_way, chosen = all_ways(_load(inputs, values, ways, own=None))
        lift = by_way["pneumoniamnist", "mosaic"][1].lift["auc"]
        found.append((lifted(lift), lift.p))
        inputs.root = inputs.root / "again"
        assert bool(chosen) == (count > 1)
    assert found[0][0] == 1
    assert found[1][0] == 0
    assert found[1][1] == pytest.approx(min(1, found[0][1] * 13), rel=1e-6)  # 12 lifts and one choice


def test_the_main_variants_claims_are_not_thinned_by_what_other_variants_could_claim(inputs):
    others = {f"other_{place}": [BACKBONE, ("shared", None, False)] for place in range(11)}
    found = []
    for ways in ({"mosaic": [BACKBONE, A]}, {"mosaic": [BACKBONE, A], **others}):
        values = {variant: [0.6, 0.69 if variant == "mosaic" else 0.6] for variant in ways}
        by_way, _ = all_ways(_load(inputs, values, ways, own=None))
        found.append({variant: of_way[1].lift["auc"].p for (_, variant), of_way in by_way.items()})
        inputs.root = inputs.root / "again"
    assert found[1]["mosaic"] == pytest.approx(2 * found[0]["mosaic"], rel=1e-6)
    assert found[1]["other_0"] == 1


def test_a_tie_in_validation_is_no_evidence_against_the_own_group(inputs):
    """Scores are means over seeds, and equal however they come about."""
    scores = {"A": (0.1, 0.2, 0.3), "B": (0.2, 0.2, 0.2), "C": (0.1, 0.1, 0.1)}

    def told(own, **more):
        results = _load(inputs, LEVEL | {"mosaic": [0.05, 0.2, 0.2, 0.1]}, own=own, **more)
        for (variant, seed), transfer_ in results.transfers["pneumoniamnist"].items():
            for head in transfer_.file.heads if variant == "mosaic" else ():
                if head.specialist:
                    object.__setattr__(head, "val_score", scores[head.specialist][seed - 1])
        return results, _told(results)

    results, text = told("B")
    assert "mosaic: in validation specialist B and specialist A tie, its own one among them; on the test images" in text
    assert "that specialist B is better than each of the 2 others is not shown" in text
    assert "not its own one" not in text
    best = all_ways(results)[1]["pneumoniamnist", "mosaic"].best
    assert best.own
    assert "in validation specialist A and specialist B tie, its own one not among them;" in told("C")[1]
    assert "in validation specialist A and specialist B tie; on the test images" in told(None)[1]
    single = told("B", seeds=(2,))[1]
    tied = "specialist B and specialist A tie, its own one among them"
    assert f"in validation {tied}; that specialist B serves the dataset best is not called" in single


THREE = ("nodulemnist3d", "adrenalmnist3d", "organmnist3d")


def test_behind_several_tokenizers_a_specialist_is_held_against_the_backbone_behind_its_own(inputs):
    """Else its lift would be the tokenizer's too: here specialist and tokenizer are worth 10 and -40 points."""
    one, two = inputs.datasets = THREE[:2]
    ways = {"mosaic": [(None, one, False), (None, two, False), (one, one, False), (two, two, False)]}
    values = {"mosaic": [(0.5, 0.4, 0.4), (0.6, 0.8, 0.8), (0.5, 0.5, 0.5), (0.6, 0.7, 0.7)]}
    results = _load(inputs, values, ways, name="vesselmnist3d")
    by_way = all_ways(results)[0]["vesselmnist3d", "mosaic"]
    assert [way.lift and way.lift["acc"].value for way in by_way] == [
        None,
        None,
        pytest.approx(0.1),
        pytest.approx(-0.1),
    ]
    alone = "backbone alone behind the trained 3D tokenizer of "
    assert _row(results, "mosaic", f"{alone}AdrenalMNIST3D")[2].text == "80.0"
    told = _told(results)
    assert "above the backbone alone behind the trained 3D tokenizer of its own dataset is shown to be" in told
    assert "validation would take specialist of AdrenalMNIST3D (each behind its own 3D tokenizer, so that these" in told
    (_, _, _, table) = transfer.build(results)["parts"][0]
    assert "Lift: minus the backbone alone of the same variant, behind the same 3D tokenizer" in table.caption


def _with_model(results, variant, **changes):
    config = results.configs[variant]
    return replace(
        results,
        configs=results.configs
        | {variant: config.model_copy(update={"model": config.model.model_copy(update=changes)})},
    )


def test_what_was_learned_before_the_specialists_is_not_called_the_backbone_alone(inputs):
    shared = [(None, "shared", False), ("A", "shared", False)]
    ways = {"mosaic": shared, "linear_probe": shared[:1]}
    inputs.datasets = THREE[:2]
    results = _load(inputs, {"mosaic": [0.5, 0.5], "linear_probe": [0.5]}, ways, name="vesselmnist3d")
    told = _told(results)
    assert "is not shown to differ from the backbone alone behind the trained 3D tokenizer." in told
    assert "its backbone alone behind the trained 3D tokenizer is all that there is to take." in told
    assert _row(results, "mosaic", "backbone alone behind the trained 3D tokenizer")[2].text == "50.0"
    fixed = _with_model(results, "mosaic", tokenizer_trained=False)
    assert "differ from the backbone alone behind the 3D tokenizer." in _told(fixed)
    sliced = _with_model(results, "mosaic", slices=4, tokenizer_trained=None)
    assert "differ from the backbone alone and the trained pooling of slices." in _told(sliced)


def test_a_backbone_that_was_trained_is_not_said_to_have_learned_nothing(inputs):
    results = _with_model(_load(inputs, LEVEL), "linear_probe", frozen=False)
    assert (
        "linear_probe has no specialists: its trained backbone alone is all that there is to take, and what was "
        "learned is in it." in _told(results)
    )
    assert _row(results, "linear_probe", "trained backbone alone")[2].text == "70.0"


def test_a_gates_mixture_is_a_way_but_no_specialist_to_choose(inputs):
    ways = {"gated": [BACKBONE, A, B, ("B", None, True)]}
    values = {"gated": [0.5, 0.6, 0.5, 0.95]}
    results = _load(inputs, values, ways, own="B")
    assert "the gate's mixture by +45.0 points" in _told(results)
    assert "gated: validation would take specialist A, not its own one" in _told(results)
    assert _row(results, "gated", "the gate's mixture")[0].below == "the gate's mixture"


def test_where_no_model_has_a_way_that_is_all_that_is_said(inputs):
    ways = {variant: [] for variant in WAYS}
    (part,) = transfer.build(_load(inputs, {}, ways, name="vesselmnist3d"))["parts"]
    assert part[2] == ["No model was trained on a 3D dataset, so none has a 3D tokenizer, and nothing was tested."]
    assert part[3] is None


def test_an_undefined_auc_is_called_nothing(inputs):
    values = LEVEL | {"mosaic": [(0.5, 0.5, None), (0.6, 0.9, None), (0.5, 0.5, None), (0.5, 0.5, None)]}
    results = _load(inputs, values)
    assert _row(results, "mosaic", "specialist A")[6].text == "undefined"
    assert "mosaic, AUC: none of 3 ways through specialists is shown to differ" in _told(results)
    assert "AUC is undefined" in _told(_load(inputs, values, seeds=(1,)))


def test_what_the_dataset_is_and_its_constant_answer_stand_there(inputs):
    (title, about, _, table) = transfer.build(_load(inputs, LEVEL, constant_acc=0.625))["parts"][0]
    assert title == "PneumoniaMNIST"
    assert about == (
        "2D, 2 classes, declared for specialist B; phantom data, nothing medical, 64 training, 16 validation and 60 "
        "test images at 28; licence: none, generated."
    )
    assert [cell.text for cell in table.rows[-1]][:3] == ["the most frequent class, always", "\N{EN DASH}", "62.5"]
    assert np.isclose(_row(_load(inputs, LEVEL), "mosaic", "specialist C")[1].order, 0.7)


def _page(results):
    content = transfer.build(results)
    return content, _render("transfer.html", results, content=content)


def test_images_that_models_are_trained_on_are_told_and_not_denied(inputs):
    results = _load(inputs, LEVEL)
    content, page = _page(results)
    assert content["seen"] == ""
    assert "No model saw these images while it was trained" in page
    finding = Finding("trained", "test", 3, of="breastmnist")
    for transfer_ in results.transfers["pneumoniamnist"].values():
        transfer_.file.data.findings.append(finding)
    content, page = _page(results)
    assert "No model saw these images" not in page
    assert "among the images of PneumoniaMNIST are some that models are trained or chosen on" in page
    assert content["parts"][0][2][0] == (
        "3 of 60 test images are images of breastmnist that models are trained or chosen on."
    )


@pytest.mark.parametrize(("source", "told"), [("zenodo", True), ("phantom", False)])
def test_that_an_external_dataset_shows_the_scans_of_a_trained_one_is_said(inputs, source, told):
    inputs.datasets = ("organcmnist", "organmnist3d", "breastmnist")
    results = _load(inputs, LEVEL, name="organamnist")
    for transfer_ in results.transfers["organamnist"].values():
        object.__setattr__(transfer_.file.data, "source", source)
    said = "It shows the same CT scans as OrganCMNIST and OrganMNIST3D, on which models are trained"
    assert (said in transfer.build(results)["parts"][0][1]) is told


def test_without_external_datasets_there_is_no_section_whatever_files_lie_there(inputs):
    _load(inputs, LEVEL)
    assert transfer.build(load_results(inputs.variants, inputs.seeds, "ABC", root=inputs.root)) is None


def test_phantoms_have_no_licence_and_how_own_images_were_read_is_told(inputs):
    results = _load(inputs, LEVEL)
    assert transfer.about(results, "pneumoniamnist").endswith("licence: none, generated.")
    data = results.transfers["pneumoniamnist"]["mosaic", 1].file.data
    object.__setattr__(data, "notes", ["Padded with black."])
    object.__setattr__(data, "source", "own")
    assert transfer.about(results, "pneumoniamnist").endswith("licence: CC BY 4.0. Padded with black.")
