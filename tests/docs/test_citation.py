"""CITATION.cff is one, and names the version that the package has; the changelog knows it too."""

import re

import pytest
import yaml
from pages import read

from mosaic_pipeline import __version__

CITATION = yaml.safe_load(read("CITATION.cff"))
# Of Citation File Format 1.2.0: what has to be there, what a person or an entity is told by, what else is used here.
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {"abstract", "keywords", "license", "references", "type", "version"}
OF_A_REFERENCE = {"authors", "title", "type"}
TYPES = {"article", "book", "conference-paper", "data", "dataset", "generic", "software", "thesis", "unpublished"}


def test_it_has_what_the_format_asks_for_and_nothing_that_it_does_not_know():
    assert CITATION["cff-version"] == "1.2.0"
    assert REQUIRED <= set(CITATION) <= KNOWN
    for source in (CITATION, *CITATION["references"]):
        assert source["authors"]
        for author in source["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    for reference in CITATION["references"]:
        assert set(reference) >= OF_A_REFERENCE
        assert reference["type"] in TYPES
        assert isinstance(reference["year"], int)


def test_version_and_licence_are_those_of_the_package():
    assert CITATION["version"] == __version__
    assert CITATION["license"] == re.search(r'^license = "(.+)"$', read("pyproject.toml"), re.MULTILINE)[1]


def test_the_newest_version_of_the_changelog_is_this_one_or_the_one_before():
    """Between two versions the package has the next one's number, `.dev0`, and what is new stands under Unreleased."""
    versions = re.findall(r"^## \[(.+?)\](.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    newest, ours = (tuple(map(int, each.removesuffix(".dev0").split("."))) for each in (versions[1][0], __version__))
    assert ours > newest if __version__.endswith(".dev0") else ours == newest
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)^## ", read("CHANGELOG.md"), re.MULTILINE | re.DOTALL)[1]
    assert __version__.endswith(".dev0") or not unreleased.strip()
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", day) for _, day in versions[1:])


@pytest.mark.parametrize("word", ["MOSAIC: ", "MedMNIST v2", "M4oE: "])
def test_method_data_and_segmentation_are_cited(word):
    assert [each for each in CITATION["references"] if each["title"].startswith(word)]
