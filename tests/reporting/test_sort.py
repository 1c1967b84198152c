"""Sorting of tables: which way a heading sorts, and what its clicks do."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import mosaic_pipeline.reporting
from mosaic_pipeline.reporting.page import render_page
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.table import Table

SCRIPT = Path(mosaic_pipeline.reporting.__file__).parent / "templates/sort.js"

# As much of a page as the script touches: rows of [name, number], the last one a reference.
PAGE = """
const row = ([name, number], last) => ({
  name, classList: {contains: () => last}, cells: [name, number].map((text) => ({dataset: {}, textContent: text})),
});
const head = (first) => ({
  dataset: {first}, childNodes: [], sorted: null, append(button) { this.button = button; },
  getAttribute() { return this.sorted; }, setAttribute(_, turn) { this.sorted = turn; },
  removeAttribute() { this.sorted = null; },
});
const heads = [head("ascending"), head("descending")];
const rows = ROWS.map((cells, index) => row(cells, index === ROWS.length - 1));
const body = {rows, append(...sorted) { this.rows = sorted; }};
const button = () => ({append() {}, addEventListener(_, click) { this.click = click; }});
const table = {tBodies: [body], tHead: {rows: [{cells: heads}]}};
const document = {querySelectorAll: () => [table], createElement: button};
"""


@pytest.mark.parametrize(
    ("column", "first"),
    [(0, "ascending"), (1, "ascending"), (2, "descending"), (3, "ascending"), (4, "ascending")],
)
def test_words_and_small_numbers_come_first_where_they_should(column, first):
    header = ["Variant", "Trainable", "Mean", "p", "Called"]
    assert Table("name", "caption", header, [], text_columns=(4,)).first_click(column) == first


def test_headings_of_sortable_tables_tell_the_script_which_way(inputs):
    inputs.seeds = (1, 2)
    page = render_page(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write()), "abc")
    assert '<th scope="col" data-first="descending"><span>Mean</span></th>' in page
    assert '<th scope="col" data-first="ascending"><span>p</span></th>' in page
    assert '<th scope="col"><span>Balanced ACC</span></th>' in page


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_clicks_sort_both_ways_and_back():
    rows = [["b", "2.5"], ["a", "\N{MINUS SIGN}1,000"], ["d", "undefined"], ["c", "30"], ["reference", "99"]]
    clicks = """
const seen = [];
const click = (column) => {
  heads[column].button.click();
  seen.push([heads.map((each) => each.sorted), body.rows.map((each) => each.name[0]).join("")]);
};
[1, 1, 1, 0, 1].forEach(click);
console.log(JSON.stringify(seen));
"""
    code = f"const ROWS = {json.dumps(rows)};{PAGE}{SCRIPT.read_text(encoding='utf-8')}{clicks}"
    run = subprocess.run(["node", "-"], input=code, capture_output=True, check=True, text=True)
    assert json.loads(run.stdout) == [
        [[None, "descending"], "cbadr"],
        [[None, "ascending"], "abcdr"],
        [[None, None], "badcr"],
        [["ascending", None], "abcdr"],
        [[None, "descending"], "cbadr"],
    ]
