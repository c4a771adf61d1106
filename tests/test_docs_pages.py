"""What the documentation shows is true: every block is run, or says that it is only shown."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from docs_pages import PAGES, ROOT, blocks, continues, escaped, run_page

from imgturbo.config import Config


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    ("fence", "language"),
    [
        ("```\nimgturbo --help\n```\n", ""),
        ("```sh\nls\n```\n", "sh"),
        ("```console\n$ ls\n```\n", "console"),
        ("~~~ py\n1\n~~~\n", "py"),
        ("So:\n\n    imgturbo --help\n", ""),
        ("- one\n\n  ```shell\n  ls\n  ```\n", "shell"),
        ("> ```Python\n> 1\n> ```\n", "Python"),
    ],
)
def test_a_block_that_nobody_runs_is_seen(fence, language):
    assert [block.language for block in escaped("# Page\n\n" + fence)] == [language]


def test_blocks_are_found_in_order_with_their_lines():
    page = "# A\n\n<!-- run bash\nls\n-->\n\n- in a list\n\n  ```python\n  x = 1\n  y = 2\n  ```\n"
    found = list(blocks(page))
    assert [(b.language, b.code, b.line) for b in found] == [
        ("bash", "ls\n", 4),
        ("python", "x = 1\ny = 2\n", 10),
    ]
    assert all(b.runs for b in found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_escapes_the_tests(page):
    wrong = escaped(page.read_text())
    assert not wrong, [f"{name_of(page)}:{b.line}: {b.language or 'no language'}" for b in wrong]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_configs_that_are_shown_are_valid(page):
    for block in blocks(page.read_text()):
        if block.language == "yaml":
            Config.model_validate(yaml.safe_load(block.code))


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The folder with a warm `imgturbo`; see warm_imgturbo.py."""
    folder = tmp_path_factory.mktemp("bin")
    server = subprocess.Popen([sys.executable, ROOT / "tests" / "warm_imgturbo.py", folder])
    try:
        while not (folder / "imgturbo").exists():
            assert server.poll() is None, "the warm command line did not start"
            time.sleep(0.1)
        yield folder
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def left_by(command, tmp_path_factory):
    """The folder that a page leaves; every page is run once, in its own."""
    done: dict[Path, Path] = {}

    def left(page: Path) -> Path:
        if page not in done:
            folder = tmp_path_factory.mktemp("pages") / page.stem
            before = continues(page)
            if before is None:
                folder.mkdir()
            else:
                shutil.copytree(left(before), folder, symlinks=True)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                run_page(page, folder, f"{command}{os.pathsep}{Path(sys.executable).parent}")
            done[page] = folder
        return done[page]

    return left


RUNNABLE = [page for page in PAGES if any(block.runs for block in blocks(page.read_text()))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_blocks_of_a_page_run(page, left_by):
    assert left_by(page).is_dir()
