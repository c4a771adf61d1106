"""Every example in a docstring is run, and what users call has one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import imgturbo

ROOT = Path(__file__).parents[1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


WITH_EXAMPLES = sorted(
    module_of(path)
    for package in ("imgturbo", "data_prep")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


# No bundle of rows or of codes travels with the package; docs/tables.md and docs/sampling.md do it.
ELSEWHERE = {"translate_table", "sample"}


@pytest.mark.parametrize("name", sorted(set(imgturbo.__all__) - ELSEWHERE))
def test_what_users_call_has_an_example(name):
    called = getattr(imgturbo, name)
    own = [called, *(vars(called).values() if isinstance(called, type) else ())]
    assert any(">>> " in (getattr(one, "__doc__", None) or "") for one in own)
