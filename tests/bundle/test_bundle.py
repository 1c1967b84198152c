"""A bundle: what is in it, that it answers as the tests did, and that it needs nothing of the project."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from finished import run_stage
from safetensors.torch import load_file, save_file

from mosaic_pipeline.bundle import InputError, load_bundle
from mosaic_pipeline.bundle.card import model_card
from mosaic_pipeline.bundle.manifest import read_manifest
from mosaic_pipeline.bundle_files import BACKBONE, CARD, CONFIG, MD5S, MODEL, RECOGNITION
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError

FILES = sorted([BACKBONE, CARD, CONFIG, MD5S, MODEL, RECOGNITION, "requirements.txt"])
# All that an environment has that only uses bundles; what else is imported there is missing.
ALLOWED = {"torch", "timm", "numpy", "safetensors", "PIL", "pydantic", "yaml", "tqdm", "typing_extensions"}
FORBIDDEN = ("dvc", "mlflow", "pandas", "medmnist", "scipy", "sklearn", "matplotlib", "nibabel", "pydicom", "jinja2")


@pytest.fixture(scope="module")
def folder(finished: Path) -> Path:
    return finished / "bundles/mosaic-42"


@pytest.fixture(scope="module")
def bundle(folder: Path):
    return load_bundle(folder, "cpu")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def test_it_holds_the_files_of_a_hub_and_their_md5s(folder):
    assert sorted(file.name for file in folder.iterdir()) == FILES
    listed = dict(line.split("  ")[::-1] for line in (folder / MD5S).read_text().splitlines())
    assert listed == {name: md5_file(folder / name) for name in FILES if name != MD5S}


def test_the_backbone_has_the_bytes_of_the_weights_stage_and_stands_nowhere_else(folder, finished):
    assert md5_file(folder / BACKBONE) == md5_file(finished / "weights/backbone.safetensors")
    assert not [name for name in load_file(folder / MODEL) if name.startswith("backbone.")]


def test_no_file_names_a_place_of_this_machine(folder, finished):
    for file in folder.iterdir():
        content = file.read_bytes()
        for place in (finished, Path.home(), Path(sys.prefix)):
            assert str(place).encode() not in content, file
        if file.suffix != ".safetensors":
            assert not re.search(rb"(?<![\w.:/])/(home|root|tmp|work|usr)/", content), file


@pytest.mark.parametrize(
    ("specialist", "dataset"), [("A", "retinamnist"), ("B", "breastmnist"), ("C", "nodulemnist3d")]
)
def test_it_answers_as_the_evaluate_stage_did(bundle, finished, specialist, dataset):
    images = np.load(finished / f"data/cached/test/{dataset}/test_images.npy")
    tested = np.load(finished / f"evaluation/mosaic/42/{specialist}.npz")[f"{dataset}/scores"]
    np.testing.assert_allclose(bundle.predict(images, dataset), tested, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bundle.predict(images, dataset, batch_size=2), tested, rtol=0, atol=1e-6)
    assert bundle.predict(images[:1], dataset).shape == (1, len(bundle.known(dataset).class_names))


def test_what_it_says_of_the_test_is_what_was_tested(bundle, finished):
    evaluation = json.loads((finished / "evaluation/mosaic/42/B.json").read_text())["datasets"]["breastmnist"]
    test = bundle.known("breastmnist").test
    assert (test.n, test.acc, test.auc) == (evaluation["n"], evaluation["acc"], evaluation["auc"])
    assert test.acc_interval[0] <= test.acc <= test.acc_interval[1]


def test_the_same_training_gives_the_same_bytes_and_none_is_overwritten(finished, folder, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    again = run_stage(project, "mosaic bundle mosaic 42 -o again")
    assert again.status == 0, again.stderr
    assert (project / "again" / MD5S).read_bytes() == (folder / MD5S).read_bytes()
    refused = run_stage(project, "mosaic bundle mosaic 42 -o again")
    assert refused.status == 2
    assert "error: again: is there already" in refused.stderr


def test_a_variant_whose_backbone_is_trained_or_random_is_whole_too(finished, tmp_path):
    """What the weights stage wrote is none of its parts then."""
    project = shutil.copytree(finished, tmp_path / "project")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["ablation"]["variants"] = {
        "random": {"why": "an untrained ViT", "backbone.pretrained": False},
        "trained": {"why": "all of it", "backbone.frozen": False},
    }
    params["ablation"] |= {"run": ["random", "trained"], "analyse": []}
    params["ablation"]["tune"]["variants"] = []
    # Weights of a file, so that those are not what a random backbone is.
    weights = load_file(project / "weights/backbone.safetensors")
    save_file(
        {name.removeprefix("backbone."): tensor + 0.01 for name, tensor in weights.items()}, project / "w.safetensors"
    )
    params["model"]["weights"] = str(project / "w.safetensors")
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for command in (
        "weights",
        *(f"{stage} {name}" for name in ("random", "trained") for stage in ("configure", "tune")),
    ):
        assert (ended := run_stage(project, command)).status == 0, ended.stderr
    for name in ("random", "trained"):
        commands = [f"train {name} 42", *(f"evaluate {name} 42 {each}" for each in "ABC"), f"mosaic bundle {name}"]
        for command in commands:
            assert (ended := run_stage(project, command)).status == 0, ended.stderr
        made = project / f"bundles/{name}-42"
        shutil.move(made, tmp_path / name)
        images = np.load(project / "data/cached/test/retinamnist/test_images.npy")
        tested = np.load(project / f"evaluation/{name}/42/A.npz")["retinamnist/scores"]
        answered = load_bundle(tmp_path / name, "cpu").predict(images, "retinamnist")
        np.testing.assert_allclose(answered, tested, rtol=0, atol=1e-6)
    assert (tmp_path / "random" / BACKBONE).exists()
    assert not (tmp_path / "trained" / BACKBONE).exists()
    # Means of what another backbone saw would propose anything.
    assert not [name for name in ("random", "trained") if (tmp_path / name / RECOGNITION).exists()]


def cached(finished: Path, dataset: str) -> np.ndarray:
    return np.load(finished / f"data/cached/test/{dataset}/test_images.npy")


def test_datasets_are_proposed_as_the_recognise_stage_tested_it(bundle, finished):
    """There is one dataset of volumes, so that candidates are the same."""
    tested = json.loads((finished / "recognition/test.json").read_text())["datasets"]["nodulemnist3d"]
    proposals = bundle.propose(cached(finished, "nodulemnist3d"))
    assert {proposal.nearest for proposal in proposals} == {"nodulemnist3d"}
    assert sum(proposal.dataset is None for proposal in proposals) == tested["none"]


@pytest.mark.parametrize("dataset", ["retinamnist", "breastmnist"])
def test_candidates_are_the_datasets_that_images_can_be_of_by_their_shape(bundle, finished, dataset):
    proposals = bundle.propose(cached(finished, dataset), batch_size=3)
    assert {(proposal.nearest, proposal.runner_up) for proposal in proposals} == {(dataset, None)}


def test_auto_answers_as_the_dataset_that_is_proposed_and_not_where_none_is(bundle, finished):
    images = cached(finished, "retinamnist")
    known = images[[proposal.dataset is not None for proposal in bundle.propose(images)]]
    assert len(known)
    assert np.array_equal(bundle.predict(known, "auto"), bundle.predict(known, "retinamnist"))
    chequered = (255 * (np.indices((1, 28, 28, 3)).sum(axis=0) % 2)).astype(np.uint8)
    odd = np.concatenate([known[:1], chequered])
    with pytest.raises(InputError, match="image 1: of none of the datasets: retinamnist is nearest, at a distance of"):
        bundle.predict(odd, "auto")
    assert bundle.predict(odd, "retinamnist").shape == (2, 5)  # who names a dataset is asked nothing


def test_a_bundle_without_means_says_that_it_cannot_propose(copy):
    (copy / RECOGNITION).unlink()
    listed = (copy / MD5S).read_text().splitlines(keepends=True)
    (copy / MD5S).write_text("".join(line for line in listed if RECOGNITION not in line))
    bundle = load_bundle(copy, "cpu")
    images = np.zeros((1, 28, 28), np.uint8)
    with pytest.raises(InputError, match=r"cannot propose one, recognition\.safetensors is not in it"):
        bundle.predict(images, "auto")
    assert bundle.predict(images, "breastmnist").shape == (1, 2)


def test_means_of_another_backbone_are_put_into_no_bundle(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    means = project / "recognition/means.safetensors"
    whose = md5_file(project / "weights/backbone.safetensors").encode()
    means.write_bytes(means.read_bytes().replace(whose, b"0" * 32))
    refused = run_stage(project, "mosaic bundle mosaic -o other")
    assert "recognition/means.safetensors: of another backbone" in refused.stderr
    assert "`dvc repro recognise` mends that" in refused.stderr
    assert not (project / "other").exists()
    means.unlink()
    assert run_stage(project, "mosaic bundle mosaic -o other").status == 0
    assert not (project / "other" / RECOGNITION).exists()


def test_it_needs_neither_the_checkout_nor_what_trains(copy):
    """In a folder of its own, with a finder that knows nothing of what an environment for bundles alone lacks."""
    script = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
import numpy as np
from mosaic_pipeline.bundle import load_bundle
bundle = load_bundle({str(copy)!r}, 'cpu')
print(bundle.predict(np.zeros((2, 28, 28), np.uint8), 'breastmnist').shape)
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=copy.parent, capture_output=True, text=True)
    assert ran.stdout == "(2, 2)\n", ran.stderr


def test_the_card_says_what_it_is_for_what_it_was_made_from_and_what_not_to_do(folder):
    text = (folder / CARD).read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["library_name"] == "mosaic-pipeline"
    assert [each["dataset"]["type"] for each in card["model-index"][0]["results"]] == list(
        read_manifest(folder).datasets
    )
    for said in (
        "Not a medical device",
        "Phantom data",
        "say nothing about medicine",
        "95 % CI",
        "none, generated",
        "`normal, benign`",
    ):
        assert " ".join(said.split()) in " ".join(body.split()), said


def test_the_card_names_the_terms_of_official_data(folder):
    manifest = read_manifest(folder)
    licences = dict(zip(manifest.datasets, ("CC BY 4.0", "CC BY-NC 4.0", "CC BY 4.0"), strict=True))
    official = {
        name: known.model_copy(update={"source": "zenodo", "official": True, "licence": licences[name]})
        for name, known in manifest.datasets.items()
    }
    text = model_card(manifest.model_copy(update={"datasets": official}))
    assert "Official test splits." in text
    assert "Phantom" not in text
    assert "Data of retinamnist, nodulemnist3d: CC BY 4.0." in text
    assert "Data of breastmnist: CC BY-NC 4.0." in text
    assert "forbid commercial use" in text


@pytest.mark.parametrize("name", [CONFIG, MODEL, BACKBONE, RECOGNITION])
def test_a_flipped_bit_is_found(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(PipelineError, match=re.escape(name)):
        load_bundle(copy, "cpu")


@pytest.mark.parametrize("name", [BACKBONE, RECOGNITION])
def test_a_file_that_predicting_would_read_unlisted_is_refused(copy, name):
    lines = (copy / MD5S).read_text().splitlines(keepends=True)
    (copy / MD5S).write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))
    with pytest.raises(PipelineError, match=f"says nothing of {re.escape(name)}"):
        load_bundle(copy, "cpu")


@pytest.mark.parametrize("name", [CONFIG, MODEL, BACKBONE, MD5S])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(PipelineError, match=re.escape(name)):
        load_bundle(copy, "cpu")


def test_a_bundle_of_a_later_version_says_what_to_do(copy):
    config = json.loads((copy / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps(config | {"format": 2, "unheard": "of"}))
    with pytest.raises(PipelineError, match="format 2, and this version reads 1; take a later one"):
        load_bundle(copy, "cpu")


def test_statistics_are_those_of_the_training_where_its_weights_told_them(copy):
    config = json.loads((copy / CONFIG).read_text())
    config["config"]["model"]["normalisation"] = "auto"
    told = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    (copy / CONFIG).write_text(json.dumps(config | {"statistics": told}))
    files = [file for file in copy.iterdir() if file.name != MD5S]
    (copy / MD5S).write_text("".join(f"{md5_file(file)}  {file.name}\n" for file in files))
    assert [list(part) for part in load_bundle(copy, "cpu").model.statistics] == told


def test_a_card_may_be_edited(copy):
    (copy / CARD).write_text("mine\n")
    load_bundle(copy, "cpu")


@pytest.mark.parametrize(
    ("images", "dataset", "said"),
    [
        ([[1]], "breastmnist", "images are list, not an array"),
        (np.zeros((1, 28, 28)), "breastmnist", "float64, not uint8"),
        (np.zeros((1, 28, 28), np.int16), "breastmnist", "int16, not uint8"),
        (np.zeros((28, 28), np.uint8), "breastmnist", r"\[28, 28\]; breastmnist has square grey images \[N, S, S\]"),
        (np.zeros((1, 28, 28, 3), np.uint8), "breastmnist", "square grey images"),
        (np.zeros((1, 28, 28), np.uint8), "retinamnist", r"in colour \[N, S, S, 3\]"),
        (np.zeros((1, 28, 30, 3), np.uint8), "retinamnist", "square images in colour"),
        (np.zeros((1, 28, 28), np.uint8), "nodulemnist3d", "cubes"),
        (np.zeros((0, 28, 28), np.uint8), "breastmnist", "there is no image"),
        (np.zeros((1, 0, 0), np.uint8), "breastmnist", "square grey images"),
        (np.uint8(3), "breastmnist", "images are uint8, not an array"),
        (np.zeros((1, 4097, 4097), np.uint8), "breastmnist", "sides of 4,097; at most 4,096"),
        (np.zeros((1, 28, 28), np.uint8), "breatmnist", "unknown to this model; did you mean breastmnist"),
        (np.zeros((1, 28, 28), np.uint8), "", "it knows retinamnist, breastmnist, nodulemnist3d"),
        (np.zeros((1, 28, 28), np.uint8), None, "unknown to this model"),
    ],
)
def test_what_cannot_be_of_the_dataset_is_a_sentence(bundle, images, dataset, said):
    with pytest.raises(InputError, match=said):
        bundle.predict(images, dataset)


def test_a_device_that_is_not_there_is_a_sentence(folder):
    with pytest.raises(PipelineError, match="device = 'tpu': no device; use auto, cpu, cuda, cuda:N or mps"):
        load_bundle(folder, "tpu")
