"""The manual as tests read it: its pages, their shell blocks, and what is said of running each."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "reports/study/README.md")
)
SHELLS = ("", "sh", "bash", "shell", "console")
# What stands in front of a block that wants a finished pipeline, which that module has.
AFTER_A_RUN = "run in tests/stages/test_pipeline.py, after a `dvc repro`"
# What a command prints is shown in blocks as well.
PRINTED = ("error: ", "warning: ")


@dataclass(frozen=True)
class Block:
    """A block of code: its language (None: indented), and the comment in front of it, such as `not run: why`."""

    page: str
    line: int
    language: str | None
    mark: str
    text: str

    @property
    def is_shell(self) -> bool:
        return (self.language or "") in SHELLS and not self.text.startswith(PRINTED)

    def commands(self) -> Iterator[list[str]]:
        """Yield the words of each command, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in shlex.split(line, comments=True):
                if word in ("&&", "||", "|", ";"):
                    yield words
                    words = []
                else:
                    words.append(word)
            if words:
                yield words


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, text: str | None = None) -> Iterator[Block]:
    """Yield the blocks of code of a page, fenced or indented, in their order."""
    lines = (read(page) if text is None else text).splitlines()
    mark, index = "", 0
    while index < len(lines):
        start, line = index, lines[index]
        if comment := re.fullmatch(r"<!-- (.*) -->", line):
            mark = comment[1]
        elif fence := re.fullmatch(r"```(\S*)", line):
            index = lines.index("```", index + 1)
            yield Block(page, start + 1, fence[1], mark, "\n".join(lines[start + 1 : index]) + "\n")
            mark = ""
        elif line.startswith("    ") and not lines[start - 1].strip():
            while index + 1 < len(lines) and lines[index + 1].startswith("    "):
                index += 1
            yield Block(page, start + 1, None, mark, "\n".join(each[4:] for each in lines[start : index + 1]) + "\n")
            mark = ""
        elif line.strip():
            mark = ""
        index += 1


def shell_blocks() -> list[Block]:
    """Return the shell blocks of all pages."""
    return [block for page in PAGES for block in blocks(page) if block.is_shell]


def prose(page: str) -> str:
    """Return a page without its blocks of code."""
    lines = read(page).splitlines()
    for block in blocks(page):
        fences = block.language is not None
        for number in range(block.line - 1, block.line + len(block.text.splitlines()) - 1 + 2 * fences):
            lines[number] = ""
    return "\n".join(lines)


def overrides(words: list[str]) -> list[str]:
    """Return the values that `-S` gives in a command."""
    return [value for flag, value in pairwise(words) if flag == "-S"]
