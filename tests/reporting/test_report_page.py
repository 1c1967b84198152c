import hashlib
import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.reporting.ablation import render_markdown
from pipeline.reporting.page import render_page
from pipeline.reporting.results import load_results

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>&|_*"
WITHOUT_END = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The start tags of a page with their attributes, and its text; checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in WITHOUT_END:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def _results(inputs):
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, root=inputs.root)


def _every_kind(inputs):
    """Multi-label, binary, ordinal, colour and volume; two seeds; an undefined metric; a class without images."""
    inputs.datasets = ("retinamnist", "chestmnist", "breastmnist", "adrenalmnist3d")
    inputs.seeds = (1, 2)
    inputs.metrics["mosaic", 1, "breastmnist"] = {"auc": None, "loss": None, "confusion": [[24, 0], [0, 0]]}
    return inputs


@pytest.fixture(scope="module")
def folder(make_inputs):
    return _every_kind(make_inputs()).write()


@pytest.fixture(scope="module")
def results(folder):
    return load_results(("mosaic", "shared", "linear_probe"), (1, 2), root=folder)


@pytest.fixture(scope="module")
def html(results):
    return render_page(results, "abc123")


@pytest.fixture
def page(html):
    return Page(html)


def test_hostile_names_are_shown_as_text(inputs):
    _every_kind(inputs).variants = ("mosaic", HOSTILE)
    inputs.class_name = lambda dataset, index: f"{HOSTILE}{index}"
    page = Page(render_page(_results(inputs), "abc123"))
    assert not [attributes for attributes in page.all("img") if attributes["src"] == "x"]
    assert f"Against {HOSTILE}" in page.text
    assert f"{HOSTILE}0" in page.text


def test_the_page_asks_for_nothing_outside_itself(html, page):
    for name in ("src", "href", "xlink:href", "poster", "srcset", "action", "data"):
        for _, attributes in page.tags:
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not page.all("script", "link", "iframe", "object", "base")
    assert "@import" not in html
    assert "http" not in html
    assert html.count("url(") == html.count("url(#")


def test_ids_are_unique_and_references_arrive(page):
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert [name for name, number in ids.items() if number > 1] == []
    wanted = {attributes["href"][1:] for attributes in page.all("a", "use")}
    for _, attributes in page.tags:
        wanted |= set((attributes.get("aria-labelledby") or "").split())
        clip = attributes.get("clip-path") or ""
        wanted |= {clip.removeprefix("url(#").removesuffix(")")} if clip else set()
    assert wanted - set(ids) == set()
    assert any(attributes.get("clip-path") for _, attributes in page.tags)


def test_every_picture_has_words_beside_it(page):
    images, figures = page.all("img"), page.all("svg")
    assert len(images) == 4 * 4
    assert all(attributes["alt"] for attributes in images)
    assert figures
    assert all(attributes["role"] == "img" and attributes["aria-labelledby"] for attributes in figures)


def test_headings_go_down_one_level_at_a_time_and_tables_name_their_cells(page):
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert all("scope" in attributes for attributes in page.all("th"))
    assert all(attributes["aria-labelledby"] for attributes in page.all("table"))
    assert page.all("html") == [{"lang": "en"}]


def test_phantom_data_are_labelled_everywhere(results, html, page):
    sections = len(page.all("section"))
    labels = [a for a in page.all("span", "p") if (a.get("class") or "").split()[:1] in (["tag"], ["ribbon"])]
    assert len(labels) == sections + 1
    assert page.text.count("Phantom data") >= sections + 3
    assert '@top-left { content: "Phantom data"; }' in html
    text = render_markdown(results, "abc123")
    assert text.startswith("# Ablation of mosaic: Phantom data\n\n**Phantom data.**")


def test_an_undefined_metric_is_said_in_words(results, page):
    for text in (page.text, render_markdown(results, "abc123")):
        # Below the means and below the table of datasets.
        assert text.count("AUC of BreastMNIST is undefined (no test image is “class 1”)") == 2
        assert "None" not in text
        assert "nan" not in text.replace("significance", "")


def test_the_page_says_what_was_run(page):
    text = " ".join(" ".join(page.pieces).split())
    for words in (
        "Code revision abc123",
        "Seeds 1, 2",
        "Backbone, frozen vit_tiny_patch16_224",
        "Batch size 32",
        "Consistency weight 0.1",
        "EMA momentum, 3D 0.95",
        "Specialist sizes A 64, B 96, C 192 shared 352 none",
        f"mosaic, seed 1 {'c' * 32} {'d' * 32} {'e' * 32}",
        "f" * 32,
    ):
        assert words in text


def test_a_case_is_marked_right_or_wrong_in_words(inputs):
    path = inputs.write() / "evaluation/mosaic/42/B.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["breastmnist/scores"][:2] = [[0.75, 0.25], [0.75, 0.25]]
    arrays["breastmnist/labels"][:2] = [[0], [1]]
    arrays["breastmnist/sample_index"] = np.array([0, 1])
    np.savez(path, **arrays)
    text = " ".join(Page(render_page(load_results(("mosaic",), (42,), root=inputs.root), "abc")).text.split())
    text = text.replace("\u00a0", " ")
    assert "✓ right actual class 0 predicted class 0 (75.0 %) ✗ wrong actual class 1 predicted class 0 (75.0 %)" in text


def test_the_same_inputs_give_the_same_bytes_in_another_process(folder, results, html, tmp_path):
    expected = html + render_markdown(results, "abc123")
    code = (
        "import hashlib, sys; from pathlib import Path\n"
        "from pipeline.reporting.ablation import render_markdown\n"
        "from pipeline.reporting.page import render_page\n"
        "from pipeline.reporting.results import load_results\n"
        "results = load_results(('mosaic', 'shared', 'linear_probe'), (1, 2), root=Path(sys.argv[1]))\n"
        "text = render_page(results, 'abc123') + render_markdown(results, 'abc123')\n"
        "print(hashlib.md5(text.encode()).hexdigest())"
    )
    # Another hash seed, and a matplotlibrc of the user's.
    (tmp_path / "matplotlibrc").write_text("axes.labelsize: 30\n", encoding="utf-8")
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", code, str(folder)]
    digest = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert digest == hashlib.md5(expected.encode()).hexdigest()


def test_colours_of_figures_are_those_of_the_page(html):
    assert "var(--series-1)" in html.split("</style>")[1]
    assert "#" not in "".join(part.split("</svg>")[0] for part in html.split("<svg")[1:]).replace("(#", "").replace(
        'href="#', ""
    )


def test_one_variant_and_one_dataset_make_a_report(inputs):
    inputs.variants, inputs.datasets, inputs.rounds = ("linear_probe",), ("octmnist",), 1
    text = Page(render_page(_results(inputs), "abc123")).text
    assert "linear_probe reaches a mean test accuracy" in text
    assert "Settings in which the variants differ" not in text


def test_markdown_takes_hostile_names_literally(inputs):
    inputs.variants = ("mosaic", HOSTILE)
    text = render_markdown(_results(inputs), "abc123")
    assert r"\<img src=x onerror=alert(1)\>&\|\_\*" in text
    assert "<img" not in text.replace(r"\<img", "")
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("| RetinaMNIST")}
    assert widths == {11}


def test_a_multi_label_case_counts_its_wrong_labels(inputs):
    inputs.variants, inputs.datasets = ("mosaic",), ("chestmnist",)
    path = inputs.write() / "evaluation/mosaic/42/B.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["chestmnist/labels"][:2] = 0
    arrays["chestmnist/labels"][:2, 3] = 1
    arrays["chestmnist/scores"][:2] = 0.25
    arrays["chestmnist/scores"][0, 3] = 0.75
    arrays["chestmnist/scores"][1, 5] = 0.75
    arrays["chestmnist/sample_index"] = np.array([0, 1])
    np.savez(path, **arrays)
    text = " ".join(Page(render_page(load_results(("mosaic",), (42,), root=inputs.root), "abc")).text.split())
    assert "✓ all labels right actual class 3 predicted class 3 " in text
    assert "✗ 2 of 14 labels wrong actual class 3 predicted class 5" in text
