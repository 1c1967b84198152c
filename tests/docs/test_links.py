"""Links within the manual lead somewhere: to a file that is in the repository, and a heading that is on the page."""

import re
import subprocess
from pathlib import Path

import pytest
from pages import PAGES, ROOT, prose


def slugs(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def links(page: str) -> list[str]:
    text = re.sub("`[^`\n]*`", "", prose(page))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match("[a-z]+:", target)]


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """Files of the repository and their folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {*listed, *(parent.as_posix() for name in listed for parent in Path(name).parents)}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page, tracked):
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent.joinpath(path).resolve().relative_to(ROOT.resolve()).as_posix() if path else page
        assert found in tracked, f"{page}: {target}"
        assert not anchor or anchor in slugs(found), f"{page}: {target}"


def test_every_page_of_the_manual_is_linked_from_the_readme_or_from_what_it_links():
    reached, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page in PAGES:
            reached.add(page)
            folder = (ROOT / page).parent
            paths = [folder.joinpath(link.partition("#")[0]).resolve() for link in links(page)]
            todo += [path.relative_to(ROOT.resolve()).as_posix() for path in paths if path != folder]
    assert reached == set(PAGES)
