"""The pages a user reads, taken apart: which blocks are there, and which of them are run.

A block is a Markdown fence. Those of python and bash are run in order, in one fresh folder a page;
a comment `<!-- run bash … -->` or `<!-- run python … -->` is run as well and not shown, which is
how a page is given its little inputs; `<!-- continues docs/PAGE.md -->` starts from a copy of what
that page left. $CHECKOUT is the repository. Other fences are only shown, and have to say so by
their language: text for what no test can run, yaml for configs.
"""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [page for folder in ("", "guide", "laws") for page in (ROOT / "docs" / folder).glob("*.md")]
)
RUN = ("python", "bash")
SHOWN = ("text", "yaml", "json", "csv", "toml", "diff")
CONTINUES = re.compile(r"<!-- continues (?P<page>\S+) -->")
HIDDEN = re.compile(r"<!-- run (?P<language>\w+)\n(?P<code>.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of a page; ``line`` is the first line of its code, counted from 1."""

    language: str
    code: str
    line: int

    @property
    def runs(self) -> bool:
        """Whether a test runs it."""
        return self.language in RUN


def blocks(text: str) -> Iterator[Block]:
    """All blocks of a page; one that is merely indented has the language ''."""
    for token in MarkdownIt("commonmark").parse(text):
        line = (token.map or (0, 0))[0] + 2
        if token.type == "fence":
            words = token.info.split()
            yield Block(words[0] if words else "", token.content, line)
        elif token.type == "code_block":
            yield Block("", token.content, line - 1)
        elif token.type == "html_block" and (found := HIDDEN.match(token.content)):
            yield Block(found["language"], found["code"], line)


def escaped(text: str) -> list[Block]:
    """Blocks that are neither run nor said to be only shown; MyST's directives are neither."""
    known = (*RUN, *SHOWN)
    return [b for b in blocks(text) if b.language not in known and not b.language.startswith("{")]


def continues(page: Path) -> Path | None:
    """The page in whose folder this one goes on, if any."""
    found = CONTINUES.search(page.read_text())
    return ROOT / found["page"] if found else None


def run_page(page: Path, folder: Path, path: str) -> None:
    """Run the blocks of a page in ``folder``, the current one; PATH begins with ``path``."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text()):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.code
            with warnings.catch_warnings():
                # What imgturbo says of a sky this small is for the reader, no fault of the page.
                warnings.simplefilter("ignore", UserWarning)
                exec(compile(code, str(page), "exec"), names)
        elif block.language == "bash":
            run_bash(block.code, where, folder, path)


def run_bash(code: str, where: str, folder: Path, path: str) -> None:
    """Run a block of commands; the first that fails ends it."""
    environment = os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    environment["CHECKOUT"] = str(ROOT)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{where}: status {done.returncode}\n{code}\n{done.stdout}"
