"""The script of the contents: where it unfolds, and which section it marks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import mosaic_pipeline.reporting

SCRIPT = Path(mosaic_pipeline.reporting.__file__).parent / "templates/contents.js"

# As much of a page as the script touches: three sections of 1000 px after a heading of 100, a window of 800 px.
PAGE = """
const listeners = {};
globalThis.addEventListener = (event, listener) => { listeners[event] = listener; };
globalThis.innerHeight = 800;
globalThis.scrollY = 0;
const link = (name) => ({
  hash: "#" + name, current: null, closest: () => true,
  setAttribute(_, value) { this.current = value; }, removeAttribute() { this.current = null; },
});
const links = ["first", "second", "third"].map(link);
const top = {first: 100, second: 1100, third: 2100};
const details = {open: null, querySelectorAll: () => links, addEventListener};
const wide = {matches: WIDE, addEventListener};
globalThis.matchMedia = () => wide;
globalThis.document = {
  querySelector: () => details, documentElement: {scrollHeight: 2400},
  getElementById: (name) => ({getBoundingClientRect: () => ({top: top[name] - scrollY})}),
};
"""


def _run(wide: bool, code: str):
    code = f"{PAGE.replace('WIDE', json.dumps(wide))}{SCRIPT.read_text(encoding='utf-8')}{code}"
    run = subprocess.run(["node", "-"], input=code, capture_output=True, check=True, text=True)
    return json.loads(run.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_section_on_the_screen_is_marked_to_the_last_one():
    code = """
listeners.DOMContentLoaded();
const seen = [0, 900, 1000, 1600, 1500, 0].map((place) => {
  globalThis.scrollY = place;
  listeners.scroll();
  return links.map((each) => each.current);
});
console.log(JSON.stringify(seen));
"""
    first, second, third = (["true" if place == here else None for place in range(3)] for here in range(3))
    # At 1500 the third section begins below the middle of a window that cannot scroll on by more than 100 px.
    assert _run(True, code) == [first, first, second, third, third, first]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize("wide", [True, False])
def test_contents_stay_open_beside_the_text_and_fold_above_it(wide):
    code = """
const seen = [details.open];
details.open = true;
listeners.click({target: links[0]});
seen.push(details.open);
wide.matches = !wide.matches;
listeners.change();
seen.push(details.open);
console.log(JSON.stringify(seen));
"""
    assert _run(wide, code) == [wide, wide, not wide]
