"""Every key of a config: its name, what may stand there, what stands there if nothing is said.

The list is read from the JSON schema that pydantic makes of :class:`imgturbo.config.Config`, and
the descriptions are the docstrings below the keys. It is made anew at each call, so that kinds of
networks that were registered since are in it. `imgturbo config --schema` prints it, and
docs/config.md is made from it.

Names are dotted as on the command line. ``prepare.fields[].name`` is a key of each entry of a list,
and ``model.decoder (kind: unet).width`` one that goes with this kind alone. A section that may
stand in several places is listed once, where it is least deep; the other places refer to it.
"""

from __future__ import annotations

import re
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from imgturbo.config.whole import Config

__all__ = ["Key", "as_markdown", "as_text", "config_keys"]

Schema = dict[str, Any]

_WORDS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "array": "list",
}
_BAR = r"\|"  # within a cell of a Markdown table
_KIND = re.compile(r" \([^()]*\)$")  # the end of a place's name: " (kind: unet)"
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Key:
    """One key of a config, or a section of keys.

    Attributes:
        name: dotted, as ``train.steps``.
        type: what may stand there, in words: ``integer ≥ 1``.
        default: in YAML; empty where a value must be given, and for sections left as they are.
        description: what it means.
    """

    name: str
    type: str
    default: str
    description: str


def config_keys(model: type[BaseModel] = Config) -> Iterator[Key]:
    """Yield all keys of a config, section by section, in the order of their declaration.

    Args:
        model: the config, or a section of it.
    """
    schema = model.model_json_schema()
    reference = _Reference(schema.get("$defs", {}))
    reference.settle(schema)
    return reference.keys(schema, "")


class _Place(NamedTuple):
    """Where keys of a section stand: ``model.decoder (kind: unet)``, and which section's."""

    name: str
    section: str


class _Reference:
    """The walk through a schema.

    Attributes:
        sections: schemas of all sections, by the names of their classes.
        home: the place where each section's keys are listed.
    """

    def __init__(self, sections: dict[str, Schema]) -> None:
        self.sections = sections
        self.home: dict[str, str] = {}

    def settle(self, schema: Schema) -> None:
        """Give each section the first place of a search breadth first."""
        waiting = deque([("", schema)])
        while waiting:
            prefix, section = waiting.popleft()
            for key, value in section.get("properties", {}).items():
                for place in _places(value, prefix + key):
                    if place.section not in self.home:
                        self.home[place.section] = place.name
                        waiting.append((f"{place.name}.", self.sections[place.section]))

    def keys(self, schema: Schema, prefix: str, skip: str = "") -> Iterator[Key]:
        """The keys of a section but for the one that tells its kind, then those of its sections."""
        required = schema.get("required", ())
        below: list[tuple[_Place, str]] = []
        for key, value in schema.get("properties", {}).items():
            if key == skip:
                continue
            places = list(_places(value, prefix + key))
            here = [place for place in places if self.home[place.section] == place.name]
            below += [(place, _tag(value)) for place in here]
            default = "" if key in required else self._default(value)
            yield Key(prefix + key, self._type(value, here, places), default, self._about(value))
        for place, tag in below:
            section = self.sections[place.section]
            if tag:
                yield Key(place.name, "section", "", _first(section))
            yield from self.keys(section, f"{place.name}.", skip=tag)

    def _about(self, value: Schema) -> str:
        """The description of a key; pydantic drops one that repeats its section's."""
        if "description" not in value and "$ref" in value:
            return _first(self.sections[_section(value["$ref"])])
        return " ".join(value.get("description", "").split())

    def _type(self, value: Schema, here: list[_Place], places: list[_Place]) -> str:
        words = _type(value)
        elsewhere = [place.section for place in places if place not in here]
        if not elsewhere:
            return words
        homes = dict.fromkeys(_KIND.sub("", self.home[section]) for section in elsewhere)
        return f"{words}; {'other ' if here else ''}keys as of {', '.join(homes)}"

    def _default(self, value: Schema) -> str:
        if "default" not in value:
            return ""
        short = self._short(value["default"], value)
        if short == {} and not _is_mapping(value):
            return ""
        text = yaml.safe_dump(short, default_flow_style=True, allow_unicode=True, width=1 << 20)
        return text.removesuffix("\n").removesuffix("\n...")

    def _short(self, content: Any, value: Schema) -> Any:
        """A default without what is a section's own default."""
        if isinstance(content, list) and "items" in value:
            return [self._short(part, value["items"]) for part in content]
        if not isinstance(content, dict):
            return content
        tag = _tag(value)
        for place in _places(value, ""):
            fields = self.sections[place.section]["properties"]
            kind = fields.get(tag, {})
            if tag and content[tag] not in (kind.get("const"), *kind.get("enum", ())):
                continue
            return {
                key: self._short(part, fields[key])
                for key, part in content.items()
                if key == tag or part != fields[key].get("default")
            }
        return content


def _options(value: Schema) -> Iterator[Schema]:
    """The alternatives that a value may be, unions of unions included."""
    for several in ("anyOf", "allOf"):
        if several in value:
            for option in value[several]:
                yield from _options(option)
            return
    yield value


def _tag(value: Schema) -> str:
    """The key that tells the kind of a section, where it has several."""
    inner = value.get("items", value)
    for option in _options(inner):
        if "discriminator" in option:
            return str(option["discriminator"]["propertyName"])
    return ""


def _places(value: Schema, name: str) -> Iterator[_Place]:
    """Sections that may stand at a key, in lists and mappings too."""
    for option in _options(value):
        if "$ref" in option:
            yield _Place(name, _section(option["$ref"]))
        elif "discriminator" in option:
            tag, kinds = option["discriminator"]["propertyName"], option["discriminator"]["mapping"]
            for ref in (one["$ref"] for one in option["oneOf"]):
                own = " | ".join(kind for kind, there in kinds.items() if there == ref)
                yield _Place(f"{name} ({tag}: {own})", _section(ref))
        elif "items" in option:
            yield from _places(option["items"], f"{name}[]")
        elif isinstance(option.get("additionalProperties"), dict):
            yield from _places(option["additionalProperties"], f"{name}.NAME")


def _first(section: Schema) -> str:
    """The first paragraph of a section's docstring."""
    return " ".join(section.get("description", "").split("\n\n")[0].split())


def _section(ref: str) -> str:
    return ref.rpartition("/")[2]


def _is_mapping(value: Schema) -> bool:
    return any("additionalProperties" in option for option in _options(value))


def _type(value: Schema) -> str:
    """What may stand at a key, in words."""
    return " or ".join(dict.fromkeys(_one_type(option) for option in _options(value)))


def _one_type(value: Schema) -> str:
    if "$ref" in value:
        return "section"
    if "discriminator" in value:
        tag, kinds = value["discriminator"]["propertyName"], value["discriminator"]["mapping"]
        ordered = dict.fromkeys(
            kind for one in value["oneOf"] for kind, ref in kinds.items() if ref == one["$ref"]
        )
        return f"section of {tag} {' | '.join(ordered)}"
    if "const" in value:
        return str(value["const"])
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    if "prefixItems" in value:
        return f"[{', '.join(map(_type, value['prefixItems']))}]"
    if "items" in value:
        word, space, rest = _type(value["items"]).partition(" ")
        plural = f"{word}s" if word in ("section", "path", "integer", "number") else word
        return f"list of {plural}{space}{rest}"
    if isinstance(value.get("additionalProperties"), dict):
        names = value.get("propertyNames", {}).get("enum", ["names"])
        return f"mapping of {' | '.join(names)} to {_type(value['additionalProperties'])}"
    word = "path" if value.get("format") == "path" else _WORDS.get(value.get("type", ""), "any")
    bounds = [f"{sign} {value[bound]:g}" for bound, sign in _BOUNDS.items() if bound in value]
    return " ".join([word, ", ".join(bounds)]).strip()


# --------------------------------------------------------------------------------- printing


def as_text(keys: Iterable[Key], width: int = 80, emphasize: Callable[[str], str] = str) -> str:
    """Lay the keys out for a terminal: name, type and default in a line, the description below.

    Args:
        keys: as of :func:`config_keys`.
        width: columns.
        emphasize: applied to the names, for instance to make them bold.
    """
    blocks = []
    for key in keys:
        default = f" = {key.default}" if key.default else ""
        about = textwrap.fill(
            key.description, width, initial_indent="    ", subsequent_indent="    "
        )
        said = f"{key.type}{default}"
        if len(said) > 2 * width:
            said = textwrap.fill(said, width, subsequent_indent="        ", break_on_hyphens=False)
        blocks.append(f"{emphasize(key.name)}: {said}\n{about}".rstrip())
    return "\n\n".join(blocks)


_HEAD = """\
# Every key of a config

Made by `make docs` from the docstrings in `imgturbo/config/`; `imgturbo config --schema` prints the
same. A config file is YAML, a mapping of the sections below, and every key may be left out;
`imgturbo config CONFIG` prints a file with all that it leaves out. On the command line a key is
written with its dots: `imgturbo train CONFIG train.steps=1000`. Where a description says None, YAML
says `null`. `prepare.fields[].name` is a key of every entry of a list; keys in the table of a kind
go with that kind alone.
"""


def as_markdown(keys: Iterable[Key]) -> str:
    """Lay the keys out as a page: a heading and a table a section."""
    lines, room = [_HEAD], None
    for key in keys:
        section, _, leaf = key.name.rpartition(".")
        of_kind = key.name.endswith(")")
        if of_kind:
            section = key.name
        if section != room:
            lines += [""] if room is not None else []
            lines += [f"{'###' if '.' in section else '##'} {section}", ""] if section else []
            lines += [key.description, ""] if of_kind else []
            lines += ["| key | what may stand there | default | what it means |"]
            lines += ["| --- | --- | --- | --- |"]
            room = section
        if not of_kind:
            default = f"`{key.default}`" if key.default else ""
            cells = (f"`{leaf}`", key.type, default, key.description)
            lines.append(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |")
    return "\n".join(lines) + "\n"
