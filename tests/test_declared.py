"""What is declared of each dataset, and that what concerns one of them leaves the files of the others as they are."""

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from mosaic_pipeline.data.cache import build_cache
from mosaic_pipeline.data.sources import fetch
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.declared import read_about, read_source, write_declarations
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import DECLARED, about_file, source_file
from mosaic_pipeline.params import parse_params

TREE = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
THYROID = {
    "title": "Thyroid ultrasound",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["benign", "malignant"],
    "specialist": "D",
    "licence": "CC0",
    "path": "thyroid.npz",
    "kind": "npz",
    "size": 16,
    "allow_leakage": True,
}


def declare(*names, external=(), **own):
    """Declare these datasets as the stage does, and return their params."""
    tree = copy.deepcopy(TREE)
    tree["data"] |= {"datasets": list(names), "external": list(external), "own": own}
    tree["specialists"], tree["adapter"]["bottleneck_d"] = ["A", "B", "C", "D"], 8
    params = parse_params(yaml.safe_dump(tree), "params.yaml")
    write_declarations(params)
    return params


def digests() -> dict[str, str]:
    return {path.as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in DECLARED.rglob("*.yaml")}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_what_is_read_is_what_the_table_and_medmnist_say():
    declare("dermamnist", "organmnist3d")
    assert read_source("organmnist3d").dataset == MEDMNIST["organmnist3d"]
    assert read_source("organmnist3d").own is None
    about = read_about("dermamnist")
    assert (about.title, about.specialist, about.licence) == ("DermaMNIST", "A", "CC BY-NC 4.0")
    assert len(about.class_names) == 7


def test_another_dataset_leaves_the_files_of_the_others_and_takes_its_own_away_again():
    declare("breastmnist", "retinamnist")
    before = digests()
    declare("thyroid", "retinamnist", "breastmnist", external=["pathmnist"], thyroid=THYROID)
    after = digests()
    added = {f"declared/{name}/{part}.yaml" for name in ("thyroid", "pathmnist") for part in ("source", "about")}
    assert set(after) - set(before) == added
    assert {file: after[file] for file in before} == before
    declare("breastmnist", "retinamnist")
    assert digests() == before
    assert not (DECLARED / "thyroid").exists()


@pytest.mark.parametrize("change", [{"title": "Neck"}, {"specialist": "B"}, {"licence": "CC BY 4.0"}])
def test_what_is_said_of_a_dataset_reads_none_of_its_images_again(change):
    declare("thyroid", thyroid=THYROID)
    source, about = source_file("thyroid").read_bytes(), about_file("thyroid").read_bytes()
    declare("thyroid", thyroid=THYROID | change)
    assert source_file("thyroid").read_bytes() == source
    assert about_file("thyroid").read_bytes() != about


@pytest.mark.parametrize("change", [{"path": "b.npz"}, {"size": 28}, {"sided": True}, {"split": {"seed": 1}}])
def test_how_a_dataset_is_read_stands_in_its_source(change):
    declare("thyroid", thyroid=THYROID)
    source = source_file("thyroid").read_bytes()
    declare("thyroid", thyroid=THYROID | change)
    assert source_file("thyroid").read_bytes() != source


def test_other_code_that_reads_own_files_reads_those_alone_again(monkeypatch):
    declare("thyroid", "breastmnist", thyroid=THYROID)
    before = digests()
    monkeypatch.setattr("mosaic_pipeline.declared.own_digest", lambda: "other code")
    declare("thyroid", "breastmnist", thyroid=THYROID)
    assert {file for file, digest in digests().items() if digest != before[file]} == {"declared/thyroid/source.yaml"}
    assert read_source("thyroid").own is not None


def test_files_of_ones_own_become_a_cache_that_says_what_was_done_to_them_beside_the_test_alone():
    params = declare("thyroid", thyroid=THYROID)
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 16), dtype=np.uint8)
    np.savez("thyroid.npz", images=images, labels=np.arange(40) % 2)
    source, about = read_source("thyroid"), read_about("thyroid")
    data, raw = source.data(params.data), Path("raw.npz")
    counts = fetch(source.dataset, data, params.phantom, raw, own=source.own)
    assert sum(counts.values()) == 40
    training, test = build_cache(raw, Path("training"), Path("test"), source.dataset, about, data)
    assert (training["source"], training["size"], training["form"]) == ("own", 16, source.dataset.form())
    assert (test["official"], test["title"], test["specialist"]) == (False, "Thyroid ultrasound", "D")
    assert "padded with black" in " ".join(test["notes"])
    assert not {"title", "specialist", "licence", "class_names", "notes"} & set(training)


def test_a_dataset_that_is_not_declared_is_one_line_with_the_nearest_one():
    with pytest.raises(PipelineError, match=r"^declared/thyroid/source\.yaml: no such file; `dvc repro declare` makes"):
        read_source("thyroid")
    declare("breastmnist", "thyroid", thyroid=THYROID)
    with pytest.raises(PipelineError, match=r"^tyroid: no such dataset is declared; did you mean thyroid\?$"):
        read_about("tyroid")


@pytest.mark.parametrize("text", ["", "- 1", "form: 1", "form: {dimension: 4}", "a: [", b"\xff"])
@pytest.mark.parametrize(("file", "read"), [(source_file, read_source), (about_file, read_about)])
def test_a_damaged_declaration_names_the_stage_that_writes_it(text, file, read):
    declare("breastmnist")
    file("breastmnist").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        PipelineError, match=r"^declared/breastmnist/\w+\.yaml: [^\n]+; `dvc repro declare` mends that$"
    ):
        read("breastmnist")
