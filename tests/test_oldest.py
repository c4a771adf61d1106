"""The lower bounds of pyproject.toml become exact versions, all of them, and nothing else does."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("oldest", ROOT / "scripts" / "oldest.py")
script = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(script)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("numpy>=2.0", ["numpy==2.0"]),
        ("FrEIA==0.2", ["FrEIA==0.2"]),
        ("a-b.c_d[x,y] >= 1.2.0.80 ; python_version > '3.11'", ["a-b.c_d==1.2.0.80"]),
        ("rich", []),
        ("imgturbo[docs,hep]", []),
    ],
)
def test_a_bound_becomes_a_version(requirement, expected):
    assert list(script.oldest([requirement])) == expected


def test_every_dependency_has_a_bound_and_is_among_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.partition("==")[0] for line in script.constraints()}
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    for requirement in project["dependencies"] + extras:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        assert name == "imgturbo" or name in names, requirement
