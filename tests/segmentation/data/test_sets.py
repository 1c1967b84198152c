"""What a labelled set is: ids of files, classes of heads, and what no file could mean."""

import numpy as np
import pytest

from mosaic_pipeline.segmentation.datasets import NAMED, PHANTOM_SETS, custom_set, phantom_set, read_form
from mosaic_pipeline.segmentation.organs import ORGANS, organ


def cube(*ids: int, dtype: type = np.uint8) -> np.ndarray:
    return np.array(ids, dtype).reshape(1, -1, 1)


@pytest.mark.parametrize("name", NAMED)
def test_a_form_says_what_determines_a_training(name):
    read = read_form(NAMED[name].form())
    assert (read.name, read.modality, read.labels) == (name, NAMED[name].modality, NAMED[name].labels)
    assert read.form() == NAMED[name].form()


@pytest.mark.parametrize("name", NAMED)
def test_a_named_set_is_complete_and_of_the_vocabulary(name):
    dataset = NAMED[name]
    assert set(dataset.organs) <= set(ORGANS)
    assert list(dataset.labels) == list(range(1, dataset.num_classes))
    assert all((dataset.title, dataset.licence, dataset.citation, dataset.download))


def test_ids_of_the_known_challenges():
    # As two public tables have them; left and right are what people swap.
    sides = {1: "liver", 2: "right kidney", 3: "spleen", 7: "right adrenal gland", 13: "left kidney"}
    assert sides.items() <= NAMED["flare22"].labels.items()
    sides = {2: "right kidney", 3: "left kidney", 6: "liver", 12: "left adrenal gland", 15: "prostate or uterus"}
    assert sides.items() <= NAMED["amos22_mr"].labels.items()
    sides = {2: "right kidney", 10: "portal and splenic veins", 12: "right adrenal gland"}
    assert sides.items() <= NAMED["btcv"].labels.items()
    assert {3: "left kidney", 15: "left femoral head"}.items() <= NAMED["word"].labels.items()
    assert NAMED["chaos_mr"].organs == ("liver", "right kidney", "left kidney", "spleen")
    assert [NAMED[name].num_classes for name in PHANTOM_SETS] == [14, 16, 3]


def test_ids_with_gaps_become_classes_and_come_back():
    dataset = custom_set("mine", "ct", {"liver": 63, "spleen": 252, "left kidney": 7})
    ids = cube(0, 7, 63, 252)
    classes = dataset.to_classes(ids)
    assert classes.ravel().tolist() == [0, 1, 2, 3]
    assert dataset.organs == ("left kidney", "liver", "spleen")
    np.testing.assert_array_equal(dataset.to_ids(classes), ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_an_unknown_id_is_named_with_those_that_are_known(dtype):
    with pytest.raises(ValueError, match="label 3 is none of atlas23's, which are 1 liver, 2 liver tumour"):
        NAMED["atlas23"].to_classes(cube(0, 3, dtype=dtype))


def test_a_negative_id_is_refused_and_one_beyond_a_byte_is_no_other():
    with pytest.raises(ValueError, match="label -1 is negative"):
        NAMED["atlas23"].to_classes(cube(-1, 2, dtype=np.int16))
    with pytest.raises(ValueError, match="label 257 is none of"):
        NAMED["atlas23"].to_classes(cube(257, dtype=np.int16))


def test_ignored_ids_are_background():
    labels = {"liver": 5}
    some = custom_set("mine", "ct", labels, ignore=(6,))
    assert some.to_classes(cube(5, 6, 0)).ravel().tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="label 7"):
        some.to_classes(cube(7))
    others = custom_set("mine", "ct", labels, ignore="others")
    assert others.to_classes(cube(5, 6, 7, 300, 261, dtype=np.int16)).ravel().tolist() == [1, 0, 0, 0, 0]
    assert read_form(some.form()).ignore == (6,)
    assert read_form(others.form()).ignore == "others"


@pytest.mark.parametrize(
    ("labels", "more", "said"),
    [
        ({}, {}, "no label"),
        ({"liver": 0}, {}, "label id 0 is not from 1 to 255"),
        ({"liver": 256}, {}, "label id 256"),
        ({"liver": 1, "spleen": 1}, {}, "label id 1 is liver and spleen"),
        ({"liver": 1, " Liver": 2}, {}, "two label ids are called liver"),
        ({"liver": 1}, {"ignore": (1,)}, "label id 1 is liver, and ignored"),
        (
            {"liver": 1},
            {"images": "{case}{case}", "labels_at": "lb{case}"},
            "where the id of a case stands",
        ),
        ({"liver": 1}, {"images": "img{id}", "labels_at": "lb{case}"}, "where the id of a case stands"),
        ({"liver": 1}, {"images": "img", "labels_at": "lb{case}"}, "stands in one of 'img' and 'lb{case}'"),
        ({"liver": 1}, {"images": "img{case}"}, "say how both are called"),
    ],
)
def test_what_no_file_could_mean_is_refused(labels, more, said):
    with pytest.raises(ValueError, match=said):
        custom_set("mine", "ct", labels, **more)


@pytest.mark.parametrize(
    "wrong", [{}, {"labels": {}}, {"labels": {"liver": "1"}}, {"labels": {"a": 1, "b": 1}}, {"more": 1}]
)
def test_a_form_that_is_none_is_refused(wrong):
    form = {} if not wrong else NAMED["atlas23"].form() | wrong
    with pytest.raises(ValueError, match=r"name|labels|one label id|more"):
        read_form(form)


def test_a_phantom_has_the_labels_and_no_licence_of_its_set():
    for name in PHANTOM_SETS:
        assert phantom_set(name).form() == NAMED[name].form()
        assert "phantom" in phantom_set(name).title
        assert phantom_set(name).licence != NAMED[name].licence
        assert phantom_set(name).ids is None
    with pytest.raises(KeyError):
        phantom_set("btcv")


def test_organs_have_sides_and_colours_of_their_own():
    assert organ("left adrenal gland").side == "left"
    assert organ("kidney_right").side == "right"
    assert organ("liver").side == "none"
    colours = [known.colour for known in ORGANS.values()]
    assert len(set(colours)) == len(colours)
    assert organ("vertebra").colour == organ("vertebra").colour != organ("rib").colour
    # No set has the right atrium.
    paired = {name for name, known in ORGANS.items() if known.side != "none"} - {"left atrium"}
    swapped = {"left": "right", "right": "left"}
    assert {name.replace(ORGANS[name].side, swapped[ORGANS[name].side]) for name in paired} == paired
