"""YAML as a config is written in it: what would be read as something else is refused.

Of two equal keys YAML's reader keeps the second and says nothing. ``010`` it reads as 8 and
``1:30`` as 90, as YAML 1.1 has it; and a value that is not what its tag or its looks promise
(``!!int x``, the 45th of a month) it leaves to Python, whose errors name no line.

An alias stands for all that its anchor holds, so a few lines of aliases of aliases can mean more
than any memory has. What a text means is counted before it is made (:data:`MOST`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_yaml", "text_of", "where_in"]

MOST = 200_000
"""Values that a config may have, those counted that aliases repeat."""

LONGEST = 4 << 20
"""Bytes of a config file."""

_MISREAD = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9_.]+)+)")
"""Octal and sexagesimal numbers."""


class _Loader(yaml.SafeLoader):
    """YAML whose mistakes all have a place in the text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if first := seen.get((key.tag, key.value)):
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    f"the key {key.value!r} of line {first.start_mark.line + 1} stands again",
                    key.start_mark,
                )
            seen[key.tag, key.value] = key
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, AttributeError, TypeError, KeyError):
            raise _at(node, f"{_shown(node)} is no {node.tag.rpartition(':')[2]}") from None
        if isinstance(node, yaml.ScalarNode):
            if isinstance(value, int | float) and _MISREAD.fullmatch(node.value):
                raise _at(node, f"{node.value} reads as {value}; write that, or the text in quotes")
            if isinstance(value, int) and value.bit_length() > 1000:
                raise _at(node, f"{_shown(node)} is no number that a config needs")
            if isinstance(value, str) and "\0" in value:
                raise _at(node, f"{_shown(node)} has a character of code 0")
        return value


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node means, aliases written out; no more than may be."""
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value) // 100  # a long text is many short ones
    if (before := known.get(id(node))) is not None:
        if not before:
            raise _at(node, "an alias stands within what it stands for")
        return before
    known[id(node)] = 0  # as long as it is being counted
    pairs = isinstance(node, yaml.MappingNode)
    parts = [part for pair in node.value for part in pair] if pairs else node.value
    total = 1
    for part in parts:
        total += _count(part, known)
        if total > MOST:
            raise _at(node, f"this means more than {MOST} values, aliases written out")
    known[id(node)] = total
    return total


def _at(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _shown(node: yaml.Node) -> str:
    text = repr(node.value) if isinstance(node, yaml.ScalarNode) else "this"
    return text if len(text) <= 60 else f"{text[:40]}…"


def read_yaml(text: str) -> Any:
    """What the text says.

    Raises:
        yaml.YAMLError: it is no YAML, or means something else than it seems to.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("brackets or lists within each other, too many") from None


def text_of(path: Path) -> str:
    """The text of a file that is to be a config, no more of it than a config can have.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or is too long.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"longer than the {LONGEST >> 20} MB that a config may have")
    return content.decode()


def where_in(error: yaml.YAMLError) -> str:
    """What the parser missed, and where, in a few words."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not problem or mark is None:
        return " ".join(str(error).split())
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}"
