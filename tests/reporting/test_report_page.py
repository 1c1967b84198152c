import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.heat import HeatCell
from mosaic_pipeline.reporting.latex import escape, render_latex
from mosaic_pipeline.reporting.page import render_page, render_specialists
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.results_csv import results_csv
from mosaic_pipeline.reporting.sections import datasets
from mosaic_pipeline.reporting.sections.heatmap import difference_map
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.table import escape as markdown_escape
from mosaic_pipeline.reporting.wording import MINUS

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>&|_*"
WITHOUT_END = {"meta", "img", "br", "wbr", "link", "input", "hr"}
FILES = ("ablation.md", "ablation.tex", "results.csv", "summary.json")


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
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)


def _every_kind(inputs):
    """Multi-label, binary, ordinal, colour and volume; two seeds; an undefined metric; a class without images.

    Every section has something to show.
    """
    inputs.variants = ("mosaic", "shared", "per_dataset")
    inputs.datasets = ("retinamnist", "chestmnist", "breastmnist", "adrenalmnist3d")
    inputs.seeds = (1, 2)
    inputs.metrics["mosaic", 1, "breastmnist"] = {"auc": None, "loss": None, "confusion": [[24, 0], [0, 0]]}
    inputs.after_visits = {"mosaic": 0.02}
    own = dict(zip(inputs.datasets, "ABBC", strict=True))
    by_layer = {name: [0.1, 0.3] for name in inputs.datasets}
    inputs.analyses = {
        "mosaic": {
            "counterfactual": {
                "specialists": list("ABC"),
                "own": own,
                "acc": {name: [0.5, 0.75, 0.25] for name in own},
                "right": {name: [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]] for name in own},
            },
            "similarity": {"specialists": list("ABC"), "layers": [np.eye(3).tolist()] * 2},
            "branch_ratio": by_layer,
            "gate": {
                "specialists": list("ABC"),
                "weights": {name: [[0.2, 0.3, 0.5]] * 2 for name in own},
                "entropy": by_layer,
            },
        },
        "shared": {
            "branch_ratio": by_layer,
        },
    }
    rounds = [{"cosine": np.eye(4).tolist(), "halves": [0.5] * 4}] * 2
    found = {"specialist": "shared", "datasets": list(own), "cases": 32, "rounds": rounds}
    inputs.conflicts = {("shared", seed): found for seed in inputs.seeds}
    return inputs


ALL = (("mosaic", "shared", "per_dataset"), (1, 2), ("A", "B", "C"))


@pytest.fixture(scope="module")
def folder(make_inputs):
    return _every_kind(make_inputs()).write()


@pytest.fixture(scope="module")
def results(folder):
    return load_results(*ALL, root=folder, reasons={"shared": "one for all"}, analysed=("mosaic", "shared"))


@pytest.fixture(scope="module")
def html(results):
    return render_page(results, "abc123")


@pytest.fixture(scope="module")
def pages(results, html):
    """Every page by its path below reports/."""
    specialists = render_specialists(results, "abc123")
    return {"index.html": html} | {f"specialists/{name}.html": text for name, text in specialists.items()}


@pytest.fixture(params=["index.html", "specialists/A.html", "specialists/B.html", "specialists/C.html"])
def each(request, pages):
    """One page after the other."""
    return pages[request.param]


@pytest.fixture
def page(html):
    return Page(html)


def test_hostile_names_are_shown_as_text(inputs):
    inputs.variants = ("mosaic", HOSTILE)
    inputs.class_name = lambda dataset, index: f"{HOSTILE}{index}"
    inputs.write()
    results = load_results(
        inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, reasons={HOSTILE: f"why {HOSTILE}"}
    )
    pages = [Page(text) for text in (render_page(results, "abc123"), *render_specialists(results, "abc123").values())]
    assert not [attributes for page in pages for attributes in page.all("img") if attributes["src"] == "x"]
    assert f"ahead of {HOSTILE} by" in pages[0].text or f"behind {HOSTILE} by" in pages[0].text
    assert f"why {HOSTILE}" in pages[0].text
    assert f"{HOSTILE}0" in pages[1].text


def test_a_page_asks_for_nothing_outside_itself(each):
    page = Page(each)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "poster", "srcset", "action", "data"):
            if (tag, name) != ("a", "href"):
                assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not page.all("link", "iframe", "object", "base")
    assert "@import" not in each
    assert "http" not in each
    assert not any(word in each for word in ("fetch(", "XMLHttpRequest", "import("))
    assert each.count("url(") == each.count("url(#")


def test_links_between_pages_arrive_in_both_directions(pages):
    links = {
        path: {a["href"] for a in Page(text).all("a") if not a["href"].startswith("#")} for path, text in pages.items()
    }
    for path, targets in links.items():
        for target in targets:
            assert os.path.normpath(f"{os.path.dirname(path)}/{target}".lstrip("/")) in {*pages, *FILES}
    assert links["index.html"] == {f"specialists/{name}.html" for name in "ABC"} | set(FILES)
    assert all("../index.html" in targets for path, targets in links.items() if path != "index.html")


def test_only_specialists_with_datasets_have_a_page(inputs):
    inputs.datasets = ("breastmnist",)
    results = _results(inputs)
    assert list(render_specialists(results, "abc123")) == ["B"]
    assert "specialists/A.html" not in render_page(results, "abc123")


def test_the_page_begins_with_the_answer(page, html):
    first, *_ = html.partition("<section id=")[2].split("</section>")
    text = " ".join(Page(f"<div>{first.partition('>')[2]}</div>").text.split())
    assert page.all("section")[0]["id"] == "headline"
    assert text.startswith(
        "The answer Phantom data No evidence that hard routing (mosaic) beats one shared adapter (shared): in ACC it is"
    )
    assert text.index("No difference can be called in ACC") > text.index("within noise")


@pytest.mark.parametrize("seeds", [(42,), (1, 2)])
def test_the_answer_comes_before_its_caveats_and_both_in_short_before_the_table(inputs, seeds):
    inputs.seeds = seeds
    html = render_page(_results(inputs), "abc123").partition("<main")[2]
    marks = ('<div class="answer">', '<ul class="caveats">', 'id="table-variants"', "in the blocks of a vision")
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)
    above = Page(html[: places[2]].partition(">")[2].rpartition("<figure")[0].replace('<section id="headline">', ""))
    words = " ".join(above.text.split())
    assert ("One training each (seed 42) says nothing about methods" in words) == (len(seeds) == 1)
    assert ("One training each no difference is called" in words) == (len(seeds) == 1)
    assert "Phantom data generated, nothing medical" in words
    assert "Random backbone a pretrained one may differ" in words
    assert len(words) < 800
    assert [link["href"] for link in above.all("a")] == ["#limits"] * (3 if len(seeds) == 1 else 2)


def test_sound_numbers_have_no_caveat(inputs):
    inputs.seeds, inputs.source, inputs.official, inputs.weights = (1, 2), "zenodo", True, "B_16.npz"
    assert '<ul class="caveats">' not in render_page(_results(inputs), "abc123")


def test_odd_data_are_a_caveat_that_leads_to_what_was_found(inputs):
    repeated = {"split": "train", "kind": "repeated", "count": 2}
    inputs.findings = {"breastmnist": [repeated]}
    html = render_page(_results(inputs), "abc123")
    assert "Odd data" in html
    caveat = html.partition('<ul class="caveats">')[2].partition("</ul>")[0]
    assert 'href="#datasets"' in caveat
    assert "in 1 dataset" in caveat


def test_every_section_is_in_the_contents_and_nothing_else(each):
    page = Page(each)
    contents, rest = each.partition("<nav")[2].split("</nav>")
    links = [link["href"] for link in Page(f"<nav{contents}</nav>").all("a")]
    assert [link for link in links if link.startswith("#")] == [f"#{section['id']}" for section in page.all("section")]
    assert "<h2>" not in rest.partition("<section")[0]
    assert rest.count("<h2>") == len(page.all("section"))


def test_the_contents_can_be_folded_and_passed_over_by_keyboard(each):
    order = [tag for tag, attributes in Page(each).tags if tag in ("a", "summary", "nav", "main", "details")]
    assert order[:4] == ["a", "nav", "details", "summary"]
    assert each.index('<a class="skip" href="#content">') < each.index("<nav") < each.index('<main id="content"')


def test_every_section_shows_up_where_there_is_data(page):
    assert [a["id"] for a in page.all("section")] == [
        *("headline", "variants", "heatmap", "gain", "counterfactual", "gradients", "similarity", "branch"),
        *("forgetting", "gates", "datasets", "metrics", "specialists", "parameters", "training", "setup", "limits"),
    ]


def test_sections_without_data_are_absent(inputs):
    inputs.variants = ("mosaic",)
    sections = {a["id"] for a in Page(render_page(_results(inputs), "abc123")).all("section")}
    assert not sections & {
        "heatmap",
        "gain",
        "counterfactual",
        "gradients",
        "similarity",
        "branch",
        "forgetting",
        "gates",
    }


def test_the_heat_map_marks_what_is_called_over_all_its_cells(inputs):
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", "shared"), ("breastmnist", "octmnist"), (1, 2, 3)
    for place, seed in enumerate(inputs.seeds):
        for dataset, value, moves in (("breastmnist", 0.65, 0.001), ("octmnist", 0.69, 0.02)):
            for variant, each in (("mosaic", 0.7), ("shared", value + moves * (place - 1))):
                inputs.metrics[variant, seed, dataset] = {"acc": each, "auc": each}
    results = _results(inputs)
    cells = dict(difference_map(results, "auc").rows)
    assert [cell.mark for cell in cells["BreastMNIST"]] == [False, True]
    assert [cell.mark for cell in cells["OCTMNIST"]] == [False, False]
    assert [cell.text for cell in cells["OCTMNIST"]] == ["70.0", f"{MINUS}1.0"]
    html = render_page(results, "abc123")
    assert f"<strong>{MINUS}5.0*</strong>" in html
    assert f">{MINUS}1.0</td>" in html


def test_with_one_training_each_no_page_calls_anything(inputs):
    inputs = _every_kind(inputs)
    inputs.seeds = (42,)
    inputs.variants = (*inputs.variants, "linear_probe")
    for variant, value in zip(inputs.variants, (0.9, 0.2, 0.5, 0.1), strict=True):
        for name in inputs.datasets:
            inputs.metrics[variant, 42, name] = {"acc": value, "auc": value}
    inputs.write()
    results = load_results(
        inputs.variants, (42,), inputs.specialists, root=inputs.root, analysed=tuple(inputs.analyses), margin=0.01
    )
    html = render_page(results, "abc123")
    assert "One training each (seed 42) says nothing about methods" in " ".join(Page(html).text.split())
    claims = ("▲", "▼", "beats", "loses to", "*</strong>", "shown to be", "no worse")
    assert [claim for claim in claims if claim in html.split("</style>")[1]] == []
    for text in (render_markdown(results, "abc123"), render_latex(results)):
        assert [claim for claim in (*claims[:4], "^{*}", "shown to be", "bootstrap") if claim in text] == []


def test_names_over_narrow_columns_break_at_their_underscores(inputs, html):
    assert "<span>per_<wbr>dataset</span>" in html
    inputs.variants = ("mosaic", "a_<b>")
    assert "<span>a_<wbr>&lt;b&gt;</span>" in render_page(_results(inputs), "abc123")


def test_the_tint_has_two_sides_and_none_at_zero():
    assert [HeatCell("", value).side for value in (-0.5, 0.0, None, 0.5)] == ["under", "", "", "above"]


def test_ids_are_unique_and_references_arrive(each):
    page = Page(each)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert [name for name, number in ids.items() if number > 1] == []
    wanted = {link["href"][1:] for link in page.all("a", "use") if link["href"].startswith("#")}
    for _, attributes in page.tags:
        wanted |= set((attributes.get("aria-labelledby") or "").split())
        clip = attributes.get("clip-path") or ""
        wanted |= {clip.removeprefix("url(#").removesuffix(")")} if clip else set()
    assert wanted - set(ids) == set()
    assert any(attributes.get("clip-path") for _, attributes in page.tags)


def test_every_picture_has_words_beside_it(each, pages):
    page = Page(each)
    images, figures = page.all("img"), page.all("svg")
    # Four cases by class and three hardest ones of each dataset, on the specialists' pages alone.
    assert sum(len(Page(text).all("img")) for text in pages.values()) == 4 * (4 + 3)
    assert all(attributes["alt"] for attributes in images)
    assert figures
    assert all(attributes["role"] == "img" and attributes["aria-labelledby"] for attributes in figures)


def test_headings_go_down_one_level_at_a_time_and_tables_name_their_cells(each):
    page = Page(each)
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert all("scope" in attributes for attributes in page.all("th"))
    assert all(attributes["aria-labelledby"] for attributes in page.all("table"))
    assert page.all("html") == [{"lang": "en"}]


def test_phantom_data_are_labelled_everywhere(results, each):
    page = Page(each)
    sections = len(page.all("section"))
    labels = [a for a in page.all("span", "p") if (a.get("class") or "").split()[:1] in (["tag"], ["ribbon"])]
    assert len(labels) == sections + 1
    assert page.text.count("Phantom data") >= sections + 3
    assert '@top-left { content: "Phantom data"; }' in each
    text = render_markdown(results, "abc123")
    assert text.startswith("# Ablation of mosaic: Phantom data\n\n**Phantom data.**")
    assert r"\caption{Phantom data: " in render_latex(results)


def test_an_undefined_metric_is_said_in_words(results, page):
    # Below the table of variants and, on the page, below that of datasets.
    for text, notes in ((page.text, 2), (render_markdown(results, "abc123"), 1), (render_latex(results), 0)):
        assert text.count("AUC of BreastMNIST is undefined (no test image is “class 1”)") == notes
        assert "None" not in text
        assert "nan" not in text.split("// Headings of sortable")[0]


def test_what_is_odd_about_the_data_is_said_beside_the_dataset(inputs, html):
    assert "Found in the data" not in html
    inputs.source, inputs.official = "mirror", True
    inputs.class_name = lambda dataset, index: f"<{index}>"
    inputs.findings["breastmnist"] = [
        {"kind": "absent", "split": "val", "classes": [1]},
        {"kind": "in_train", "split": "test", "images": 3},
        {"kind": "patient_in_val", "split": "test", "images": 4},
    ]
    results = _results(inputs)
    index, specialist = render_page(results, "abc123"), render_specialists(results, "abc123")["B"]
    said = (
        "No validation image is “&lt;1&gt;”, so that the validation AUC is undefined and left out of the mean over "
        "datasets. 3 of 24 test images are training images too. 4 of 24 test images are of patients of whom validation "
        "images are too."
    )
    assert f'<h3>Found in the data</h3>\n<ul class="sentences">\n<li><b>BreastMNIST</b>: {said}</li>\n</ul>' in index
    assert f"<p>{said}</p>" in specialist
    assert "Of BreastMNIST, test images were seen in training or validation." in index
    assert "Of BreastMNIST, test images are of patients who were seen in training or validation." in index
    assert "RetinaMNIST, test images" not in index


def test_how_a_dataset_of_ones_own_was_read_is_said_beside_it(inputs, html):
    assert "were read" not in html
    inputs.notes["breastmnist"] = ["PNG file: all 30.", "Values 0 to 900 became 0 to 255 (window <each>)."]
    results = _results(inputs)
    index, specialist = render_page(results, "abc123"), render_specialists(results, "abc123")["B"]
    said = "PNG file: all 30. Values 0 to 900 became 0 to 255 (window &lt;each&gt;)."
    head = "<h3>How datasets of one\u2019s own were read</h3>"
    assert f'{head}\n<ul class="sentences">\n<li><b>BreastMNIST</b>: {said}</li>\n</ul>' in index
    assert f"<p>{said}</p>" in specialist


def test_the_page_says_what_was_run(page):
    text = " ".join(" ".join(page.pieces).split())
    for words in (
        "Code revision abc123",
        "Seeds 1, 2",
        "Backbone vit_tiny_patch16_224",
        "Batch size 32",
        "Consistency weight 0.1",
        "EMA momentum, 3D 0.95",
        "mosaic 0.1 no specialists bottleneck A 64, B 96, C 192 A: 1 dataset, B: 2 datasets, C: 1 dataset",
        "per_dataset not used not used none none none no specialist",
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
    arrays["breastmnist/sample_images"] = arrays["breastmnist/sample_images"][:2]
    np.savez(path, **arrays)
    pages = render_specialists(load_results(("mosaic",), (42,), inputs.specialists, root=inputs.root), "abc")
    text = " ".join(Page(pages["B"]).text.split())
    text = text.replace("\u00a0", " ")
    assert "✓ right actual class 0 predicted class 0 (75.0 %) ✗ wrong actual class 1 predicted class 0 (75.0 %)" in text


def test_the_same_inputs_give_the_same_bytes_in_another_process(folder, results, pages, tmp_path):
    short = [render_markdown(results, "abc123"), render_latex(results), results_csv(results, "abc123")]
    expected = "".join([*pages.values(), *short])
    code = (
        "import hashlib, sys; from pathlib import Path\n"
        "from mosaic_pipeline.reporting.ablation import render_markdown\n"
        "from mosaic_pipeline.reporting.latex import render_latex\n"
        "from mosaic_pipeline.reporting.page import render_page, render_specialists\n"
        "from mosaic_pipeline.reporting.results import load_results\n"
        "from mosaic_pipeline.reporting.results_csv import results_csv\n"
        f"results = load_results(*{ALL}, root=Path(sys.argv[1]), reasons={{'shared': 'one for all'}}, "
        "analysed=('mosaic', 'shared'))\n"
        "pages = [render_page(results, 'abc123'), *render_specialists(results, 'abc123').values()]\n"
        "short = [render_markdown(results, 'abc123'), render_latex(results), results_csv(results, 'abc123')]\n"
        "text = ''.join([*pages, *short])\n"
        "print(hashlib.md5(text.encode()).hexdigest())"
    )
    # Another hash seed, and a matplotlibrc of the user's.
    (tmp_path / "matplotlibrc").write_text("axes.labelsize: 30\n", encoding="utf-8")
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path)}
    run = [sys.executable, "-c", code, str(folder)]
    digest = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert digest == hashlib.md5(expected.encode()).hexdigest()


def test_colours_of_figures_are_those_of_the_page(each):
    assert "var(--series-1)" in each.split("</style>")[1]
    figures = "".join(part.split("</svg>")[0] for part in each.split("<svg")[1:])
    assert "#" not in figures.replace("(#", "").replace('href="#', "")


def test_one_variant_and_one_dataset_make_a_report(inputs):
    inputs.variants, inputs.datasets, inputs.rounds = ("linear_probe",), ("octmnist",), 1
    text = Page(render_page(_results(inputs), "abc123")).text
    assert "linear_probe reaches a test accuracy" in text
    assert "Settings in which the variants differ" not in text


def test_a_metric_that_no_dataset_has_makes_a_report_without_it(inputs):
    for variant in inputs.variants:
        for dataset in inputs.datasets:
            inputs.metrics[variant, 42, dataset] = {"auc": None}
    results = _results(inputs)
    page = Page(render_page(results, "abc123"))
    assert "No dataset has an AUC, so nothing can be said of it." in page.text
    assert "forest-acc-title" in {a.get("id") for a in page.all("title")}
    assert "forest-auc-title" not in {a.get("id") for a in page.all("title")}
    assert " & undefined & -- " in render_latex(results)


def test_markdown_takes_hostile_names_literally(inputs):
    inputs.variants = ("mosaic", HOSTILE)
    text = render_markdown(_results(inputs), "abc123")
    assert r"\<img src=x onerror=alert(1)\>&\|\_\*" in text
    assert "<img" not in text.replace(r"\<img", "")
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {5, 7}  # of the md5s, of the variants


def test_markdown_is_nothing_but_text_to_github(inputs):
    assert markdown_escape(r"~x~ \ a_b") == r"\~x\~ \\ a\_b"
    assert markdown_escape("#12 by @x, $a$") == ("<span>#</span>12 by <span>@</span>x, <span>$</span>a<span>$</span>")


def test_markdown_says_what_was_run_under_headings_of_its_own(results):
    text = render_markdown(results, "abc123")
    blocks = text.split("\n\n")
    # Two lists in a row would be one to GitHub, with paragraphs for items.
    assert not [one for one, other in pairwise(blocks) if one.startswith("- ") and other.startswith("- ")]
    assert [block for block in blocks if block.startswith("#")] == [
        *("# Ablation of mosaic: Phantom data", "## Answer", "## Variants (Phantom data)"),
        *("## One model or one for each (Phantom data)", "## What was run", "## What made it"),
        "## Limits",
    ]
    facts = next(line for line in text.splitlines() if line.startswith("- Variants: "))
    for fact in (
        "2D data: 3 datasets, files of 28 px",
        r"Backbone: vit\_tiny\_patch16\_224",
        "Seeds: 1, 2",
    ):
        assert fact in facts
    assert "sample standard deviation between them" in blocks[-1]


def test_latex_takes_hostile_names_literally_and_keeps_its_columns(inputs):
    name = r"[a]&b%c_d\e{f}$g#h~i^j<k>"
    inputs.variants = ("mosaic", "shared")
    results = replace(_results(inputs), variants=("mosaic", name))
    for table in (results.configs, results.runs):
        for key in list(table):
            new = name if key == "shared" else (name, key[1]) if key[0] == "shared" else key
            table[new] = table[key]
    text = render_latex(results)
    assert escape(name) == (
        r"{[}a]\&b\%c\_d\textbackslash{}e\{f\}\$g\#h\textasciitilde{}i\textasciicircum{}j\textless{}k\textgreater{}"
    )
    rows = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [row.replace(r"\&", "").count("&") for row in rows] == [5, 5]
    assert all(row.endswith(r" \\") for row in rows)
    plain = text.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_latex_gives_each_difference_its_interval_where_there_is_one(inputs):
    inputs.variants, inputs.seeds = ("mosaic", "shared", "same"), (1, 2, 3)
    for place, seed in enumerate(inputs.seeds):
        for dataset in inputs.datasets:
            for variant, value in (("mosaic", 0.5), ("shared", 0.6 + 0.01 * (place - 1)), ("same", 0.4)):
                inputs.metrics[variant, seed, dataset] = {"acc": value, "auc": value}
    text = render_latex(_results(inputs))
    assert r"& $60.0 \pm 1.0$ & $+10.0$ {\scriptsize $[7.5, 12.5]$} & " in text
    assert r"& $40.0 \pm 0.0$ & $-10.0$ & $40.0 \pm 0.0$ & $-10.0$ \\" in text
    assert "Differences: variant minus mosaic, in points, with their 95" in text
    once = render_latex(replace(_results(type(inputs)(inputs.root / "once"))))
    assert "in points; one training each, so none is called." in once
    assert "scriptsize" not in once


def test_no_variant_is_marked_as_the_best_of_a_dataset_or_group(inputs):
    """A winner would be marked in every comparison of a method with itself."""
    inputs.variants, inputs.datasets = ("mosaic", "shared"), ("octmnist", "breastmnist")
    # The most frequent of four classes makes 25 %, of two 50 %.
    for dataset, ours, theirs in (("octmnist", 0.25, 0.9), ("breastmnist", 0.49, 0.91)):
        for variant, value in (("mosaic", ours), ("shared", theirs)):
            inputs.metrics[variant, 42, dataset] = {"acc": value, "auc": value}
    inputs.contributions["mosaic", 42, "octmnist"] = np.full((24, 2), 0.25)
    tables = datasets.build(_results(inputs))
    acc, auc = tables["tables"]
    assert not any(cell.best for table in (acc, auc, tables["groups"]) for row in table.rows for cell in row)
    assert "; mosaic is not above it on OCTMNIST and BreastMNIST." in acc.caption
    assert auc.rows[0][2].below == NONE


def test_the_page_says_how_intervals_and_p_values_are_made(page):
    text = " ".join(page.text.split())
    assert "hold over other trainings (seeds) and over other test cases, drawn alike" in text
    assert "signed-rank test, exact, with mean ranks for ties" in text
    assert "the planned comparison, with one shared adapter, is tested first at half of the level" in text
    assert "Those of the other variants are in results.csv." in text


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
    arrays["chestmnist/sample_images"] = arrays["chestmnist/sample_images"][:2]
    np.savez(path, **arrays)
    pages = render_specialists(load_results(("mosaic",), (42,), inputs.specialists, root=inputs.root), "abc")
    text = " ".join(Page(pages["B"]).text.split())
    assert "✓ all labels right actual class 3 predicted class 3 " in text
    assert "✗ 2 of 14 labels wrong actual class 3 predicted class 5" in text
