"""The oldest versions that pyproject.toml allows, as a file of constraints for pip.

A lower bound `name>=1.2` is a promise; here it becomes `name==1.2`, so that an environment with
just these can be made and the promise tested (`make test-oldest`). pyproject.toml stays the only
list:

    python scripts/oldest.py > oldest.txt
    pip install . --constraint oldest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
BOUND = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?\s*(>=|==)\s*(?P<version>[0-9][0-9a-z.]*)"
)


def oldest(requirements: list[str]) -> Iterator[str]:
    """`name==lower bound` for every requirement that has a bound."""
    for requirement in requirements:
        found = BOUND.match(requirement)
        if found:
            yield f"{found['name']}=={found['version']}"


def constraints(path: Path = PYPROJECT) -> list[str]:
    """The constraints of the package and of all its extras, sorted, each once."""
    project = tomllib.loads(path.read_text())["project"]
    every = list(project["dependencies"])
    for extra in project.get("optional-dependencies", {}).values():
        every += extra
    return sorted(set(oldest(every)))


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
