import pytest

from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sentences import level, limits, one_case, seeds, undefined_metrics


def _results(inputs, main, other, more=()):
    """Two variants on two datasets (and more) with these accuracies, by dataset and seed."""
    two = ("pathmnist", "bloodmnist")
    inputs.variants, inputs.datasets = ("mosaic", "shared"), (*two, *more)
    for variant, by_dataset in (("mosaic", main), ("shared", other)):
        for dataset, values in zip(two, by_dataset, strict=True):
            for seed, acc in zip(inputs.seeds, values, strict=True):
                inputs.metrics[variant, seed, dataset] = {"acc": acc, "auc": 0.5}
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)


def _text(sentences):
    return " ".join(sentences).replace("\u00a0", " ")


def test_with_one_seed_nothing_is_said_to_be_known_of_other_trainings(inputs):
    text = seeds(_results(inputs, [[0.9], [0.9]], [[0.1], [0.1]]))
    assert "One training each (seed 42)" in text
    assert "differences between variants have neither interval nor p" in text


def test_with_several_seeds_their_spread_is_said(inputs):
    inputs.seeds = (1, 2)
    text = seeds(_results(inputs, [[0.7, 0.8], [0.7, 0.8]], [[0.6, 0.6], [0.6, 0.6]]))
    assert "Means are over 2 seeds" in text
    assert "7.1 for mosaic and 0.0 for shared points" in text
    assert "One training" not in text


def test_the_constant_answer_is_compared_dataset_by_dataset(inputs):
    # The most frequent of 9 classes makes 3 of 24 images, of 8 classes 3 of 24.
    text = _text(level(_results(inputs, [[0.126], [0.124]], [[0.5], [0.5]])))
    assert (
        "above that of the best constant answer on 1 of 2 datasets (not on BloodMNIST), its AUC above 50 % on 0 of "
        in text
    )


def test_an_undefined_metric_is_explained_by_the_class_that_is_missing(inputs):
    inputs.class_name = lambda dataset, index: f"{dataset}-{index}"
    inputs.metrics["mosaic", 42, "breastmnist"] = {"auc": None, "confusion": [[20, 4], [0, 0]]}
    inputs.write()
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
    (note,) = undefined_metrics(results)
    assert note.startswith("AUC of BreastMNIST is undefined (no test image is “breastmnist-1”)")
    assert "over 3 datasets and a mean AUC of" in _text(level(results))
    assert _text(level(results)).split(" Its ")[0].endswith(" over 2 datasets.")


def test_limits_say_how_much_one_image_weighs(inputs):
    inputs.test = 40
    results = _results(inputs, [[0.5], [0.5]], [[0.5], [0.5]])
    assert "A test set holds 40 images; one case is 2.5 points of accuracy" in _text(limits(results))
    assert one_case([40, 20, 30]) == "one case is 2.5 to 5.0 points"


def test_limits_say_that_acc_and_auc_are_two_families(inputs):
    said = "ACC and AUC are two families of tests"
    assert said not in _text(limits(_results(inputs, [[0.5], [0.5]], [[0.5], [0.5]])))
    again = type(inputs)(inputs.root / "again", seeds=(1, 2))
    assert said in _text(limits(_results(again, [[0.5] * 2] * 2, [[0.5] * 2] * 2)))


@pytest.mark.parametrize(("source", "said"), [("zenodo", True), ("phantom", False)])
def test_limits_name_datasets_of_the_same_scans_where_the_images_are_real(inputs, source, said):
    inputs.source, inputs.datasets = source, ("organamnist", "organsmnist", "breastmnist")
    inputs.write()
    text = _text(limits(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)))
    assert ("OrganAMNIST and OrganSMNIST show the same scans and are no independent datasets" in text) == said
    assert ("several images of a set can be of one patient" in text) == said


@pytest.mark.parametrize(
    ("changes", "label", "warning"),
    [
        ({"source": "phantom"}, "Phantom data", True),
        ({"source": "zenodo", "official": True}, "Official MedMNIST", False),
        ({"source": "mirror", "official": True, "whole_test": 100}, "Official MedMNIST, subset", True),
        ({"source": "mirror", "official": False}, "Unofficial files", True),
        ({"source": "own"}, "Own data", True),
        ({"source": "own", "whole_test": 100}, "Own data, subset", True),
        ({"source": "phantom", "sources": {"breastmnist": "own"}}, "Phantom data and own data", True),
        (
            {"source": "zenodo", "official": True, "sources": {"breastmnist": "own"}},
            "Official MedMNIST and own data",
            True,
        ),
    ],
)
def test_the_label_says_what_the_data_are(inputs, changes, label, warning):
    for name, value in changes.items():
        setattr(inputs, name, value)
    inputs.write()
    origin = describe_origin(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root))
    assert (origin.label, origin.warning) == (label, warning)


def test_what_is_said_of_a_dataset_is_not_what_is_said_of_another(inputs):
    inputs.source, inputs.sources = "phantom", {"breastmnist": "own"}
    inputs.write()
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
    whole, own = describe_origin(results), describe_origin(results, ("breastmnist",))
    assert "generated by this pipeline" in whole.sentence
    assert "BreastMNIST is of one's own, read as declared; nothing published compares." in whole.sentence
    assert (own.label, "generated" in own.sentence) == ("Own data", False)
    assert describe_origin(results, ("retinamnist",)).label == "Phantom data"
    assert "Several images of a set can be of one patient" in _text(limits(results))
