"""The pages of segmentation's report: whole, the same every time, and readable by whoever sees no pictures."""

import hashlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mosaic_pipeline.segmentation.config import draw_experts
from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.segmentation.reporting.ablation import render_markdown
from mosaic_pipeline.segmentation.reporting.latex import render_latex
from mosaic_pipeline.segmentation.reporting.overlays import KINDS
from mosaic_pipeline.segmentation.reporting.page import SECTIONS, render_datasets, render_nothing, render_page
from mosaic_pipeline.segmentation.reporting.results import load_results
from mosaic_pipeline.segmentation.reporting.sections.organs import lost_by_grid

ROOT = Path(__file__).parents[3]
NAUGHTY = '<script>alert("x")</script>&'


class Page(HTMLParser):
    """Elements of a page, and its text without that of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.parts, self._skipped = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._skipped:
            self.parts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.parts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def load(inputs):
    return load_results(
        inputs.variants, inputs.seeds, inputs.write(), reasons={"m4oe": "the method"}, analysed=["m4oe"]
    )


def pages_of(results):
    return {"index": render_page(results, "abc"), **render_datasets(results, "abc")}


@pytest.fixture(scope="module")
def inputs(make_inputs, tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def results(inputs):
    return load(inputs)


@pytest.fixture(scope="module")
def pages(results):
    return pages_of(results)


def test_every_section_is_there_and_in_the_contents(pages):
    page = Page(pages["index"])
    ids = [each["id"] for each in page.all("section")]
    assert ids == [module.__name__.rpartition(".")[2] for module, _ in SECTIONS]
    assert {f"#{name}" for name in ids} <= {each.get("href") for each in page.all("a")}


def test_pages_lead_to_each_other_and_to_classifications(pages):
    links = {name: {each.get("href") for each in Page(page).all("a")} for name, page in pages.items()}
    assert {"../index.html", "one.html", "two.html", "results.csv", "ablation.md"} <= links["index"]
    assert {"index.html", "two.html"} <= links["one"]


def test_what_is_not_text_has_a_text_and_ids_are_there_once(pages):
    for text in pages.values():
        page = Page(text)
        ids = [each["id"] for _, each in page.elements if each.get("id")]
        assert len(ids) == len(set(ids))
        pictures = [each for each in page.all("svg") if each.get("role") == "img"]
        assert len(pictures) == len(page.all("svg"))
        assert all(set(each["aria-labelledby"].split()) <= set(ids) for each in pictures)
        assert all(each["alt"] for each in page.all("img"))


def test_pages_need_nothing_else(pages):
    for text in pages.values():
        sources = re.findall(r'(?:src|href)="([^"#]+)"', text)
        assert not [each for each in sources if "//" in each and not each.startswith("data:")]


def test_definitions_stand_where_the_numbers_are(pages):
    for text in pages.values():
        said = Page(text).text
        assert "the larger of both directed 95th percentiles over surface voxels" in said
        assert "the share of both surfaces within the tolerance" in said
        assert "what MONAI 1.6.1 makes of the same masks by default" in said


def test_phantoms_are_called_so_on_every_page_and_licences_are_said(pages):
    for text in pages.values():
        said = Page(text).text
        assert "no published number is to be held against them" in said
        assert "Made by this project" in said


def test_every_kind_of_case_has_pictures_with_both_contours_marks_and_bar(pages):
    page = pages["one"]
    assert [kind for kind in KINDS.values() if f"<b>{kind}: " in page] == list(KINDS.values())
    slices = re.findall(r'<svg class="slice".*?</svg>', page, re.S)
    assert len(slices) == 3 * len(KINDS)
    assert all(part in each for each in slices for part in (">R<", ">L<", " mm<", 'class="prediction"', "image/png"))


def test_the_worst_case_of_each_set_is_on_the_first_page(pages):
    assert pages["index"].count('<svg class="slice"') == 2
    assert pages["index"].count("<b>Worst case: ") == 2


def test_the_ceiling_is_said_to_be_no_bound(results):
    assert lost_by_grid(results) == (
        "The ceiling is what exact shares of every pixel come back as at 16 px a side; a network can do a little "
        "better. It is below 90\u00a0% for 3 of 5 organs."
    )


def test_the_ceiling_stands_beside_the_dsc(pages):
    said = Page(pages["index"]).text
    assert "Organ ceiling m4oe hard dense liver 90.0" in said
    assert "below 90\u00a0% for 3 of 5 organs" in said.replace("90 %", "90\u00a0%")


def test_cases_are_named_worst_first(pages, results):
    figure = re.search(r'id="cases-one-desc">([^<]*)<', pages["one"]).group(1)
    values = [float(value) for value in re.findall(r"m4oe ([\d.]+) %", figure)]
    assert len(values) == 8
    assert values == sorted(values)
    assert all(case.case in figure for case in results.result("one").cases)


def test_the_own_expert_is_framed_and_the_gates_entropy_said(pages):
    section = pages["index"].split('<section id="experts">')[1].split("</section>")[0]
    assert re.findall(r'<td class="above own[^>]*>([^<]*)<', section) == ["60.0", "60.0"]
    assert "The entropy is 0.80 on average" in Page(pages["index"]).text


def test_the_same_inputs_give_the_same_bytes_in_another_process_without_torch(inputs, pages, results, tmp_path):
    expected = "".join([*pages.values(), render_markdown(results, "abc"), render_latex(results)])
    code = (
        "import hashlib, sys; from pathlib import Path\n"
        "from mosaic_pipeline.segmentation.reporting.ablation import render_markdown\n"
        "from mosaic_pipeline.segmentation.reporting.latex import render_latex\n"
        "from mosaic_pipeline.segmentation.reporting.page import render_datasets, render_page\n"
        "from mosaic_pipeline.segmentation.reporting.results import load_results\n"
        f"results = load_results({inputs.variants}, {inputs.seeds}, Path(sys.argv[1]), {{'m4oe': 'the method'}}, "
        "['m4oe'])\n"
        "pages = [render_page(results, 'abc'), *render_datasets(results, 'abc').values()]\n"
        "text = ''.join([*pages, render_markdown(results, 'abc'), render_latex(results)])\n"
        "print(hashlib.md5(text.encode()).hexdigest(), 'torch' in sys.modules, 'monai' in sys.modules)"
    )
    (tmp_path / "matplotlibrc").write_text("axes.labelsize: 30\n", encoding="utf-8")
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "MATPLOTLIBRC": str(tmp_path),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}",
    }
    run = [sys.executable, "-c", code, str(inputs.root)]
    answer = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert answer == [hashlib.md5(expected.encode()).hexdigest(), "False", "False"]


def test_names_are_text_whatever_they_hold(make_inputs, tmp_path):
    inputs = make_inputs(tmp_path, cases=2, variants=("m4oe", "dense"))
    inputs.case_name = lambda name, case: f"{NAUGHTY}{case}"
    inputs.titles = {"one": NAUGHTY}
    inputs.findings = {"one": [NAUGHTY]}
    inputs.status = {("m4oe", "one", 0, 0): "missed"}
    results = load(inputs)
    for page in pages_of(results).values():
        assert "<script>alert" not in page
        assert "alert(" in Page(page).text
    markdown = render_markdown(results, "abc")
    assert "<script>" not in markdown


def test_without_pictures_and_analyses_the_page_does_without_their_sections(make_inputs, tmp_path):
    inputs = make_inputs(tmp_path, cases=2, variants=("m4oe",), pictures=False)
    results = load_results(inputs.variants, inputs.seeds, inputs.write())
    pages = pages_of(results)
    ids = [each["id"] for each in Page(pages["index"]).all("section")]
    assert not {"worst", "experts", "gates", "differences"} & set(ids)
    assert "svg class" not in pages["one"]


def test_who_shares_an_expert_at_random_is_said_seed_by_seed_as_it_was_trained(make_inputs, tmp_path):
    inputs = make_inputs(tmp_path, cases=2, variants=("m4oe", "random_experts"), seeds=(3, 4, 5), pictures=False)
    inputs.sets |= {"three": LabelledSet("three", "Set three", "mri", {1: "liver"})}
    found = Page(render_page(load_results(inputs.variants, inputs.seeds, inputs.write()), "abc")).text
    own, titles = inputs.config("random_experts").experts.of, {name: each.title for name, each in inputs.sets.items()}
    told = []
    for seed in inputs.seeds:
        of = draw_experts(own, seed)
        shared = [titles[name] for name in of if list(of.values()).count(of[name]) == 2]
        alone = [titles[name] for name in of if titles[name] not in shared]
        told.append({" and ".join(shared), *alone})
        (line,) = re.findall(rf"random_experts, seed {seed}: an expert each for ([^.]*)\.", found)
        assert set(line.split("; ")) == told[-1]
    assert told[1] != told[2]
    assert "dealt out by seed" in found


def test_a_variant_with_more_rounds_is_named_on_the_page(make_inputs, tmp_path):
    inputs = make_inputs(tmp_path, cases=2, variants=("m4oe", "hard", "pretrained"), pictures=False)
    found = Page(render_page(load_results(inputs.variants, inputs.seeds, inputs.write()), "abc")).text
    assert re.findall(r"(\w+) trains a set for", found) == ["pretrained"]


def test_where_segmentation_is_off_the_page_says_so():
    said = Page(render_nothing("abc")).text
    assert "No variant is in segmentation.ablation.run of params.yaml" in said
