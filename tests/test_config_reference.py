"""The reference of keys: nothing is left out, and kinds that come later are in it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field

from imgturbo.config import Config, MLPConfig, UNetConfig
from imgturbo.config.reference import Key, as_markdown, as_text, config_keys
from imgturbo.config.section import Section

KEYS = {key.name: key for key in config_keys()}


def sections_of(section=Section):
    for below in section.__subclasses__():
        # What others are made from (NetworkConfig) is no section of its own.
        # The options of a simulator are its own: data.source.options holds any of them.
        if below.__module__.startswith("imgturbo.config") and not below.__subclasses__():
            yield below
        yield from sections_of(below)


@pytest.mark.parametrize("section", list(sections_of()), ids=lambda s: s.__name__)
def test_every_key_of_every_section_is_there_with_its_description(section):
    listed = {(name.rpartition(".")[2], key.description) for name, key in KEYS.items()}
    for name, field in section.model_fields.items():
        constant = len(getattr(field.annotation, "__args__", ())) == 1
        if name == "kind" and (constant or section.__name__ == "PyramidConditionConfig"):
            continue  # it is in the name of the place: model.decoder (kind: unet)
        assert (field.alias or name, " ".join(field.description.split())) in listed


def test_no_key_is_listed_twice_and_none_without_a_description():
    names = [key.name for key in config_keys()]
    assert len(set(names)) == len(names)
    assert all(key.description and key.type for key in KEYS.values())


@pytest.mark.parametrize(
    ("name", "type", "default"),
    [
        ("prepare.tile.size", "integer ≥ 8", "128"),
        ("prepare.fields", "list of sections", "[]"),
        ("prepare.fields[].name", "text", ""),
        ("prepare.fields[].register", "section or null; keys as of prepare.register", "null"),
        ("prepare.split.rows", "[integer, integer] or null", "null"),
        ("prepare.pictures.fraction", "number > 0, < 1", "0.1"),
        ("prepare.pictures.zooms", "list of numbers > 0", "[1.0]"),
        ("data.augment", "none | mirror | flips | d4", "d4"),
        ("train.out", "path", "runs/run"),
        ("train.compile", "true or false", "false"),
        ("model.decoder (kind: cinn).stages", "list of sections", "[{keep: 0.5}, {keep: 0.5}, {}]"),
        (
            "model.decoder (kind: cinn).condition (kind: convnext | vgg).scale",
            "integer ≥ 1, ≤ 256",
            "1",
        ),
    ],
)
def test_types_and_defaults_are_in_words(name, type, default):
    assert (KEYS[name].type, KEYS[name].default) == (type, default)


def test_the_encoder_refers_to_the_decoder():
    assert KEYS["model.encoder"].type.endswith("or null; other keys as of model.decoder")
    own = [name for name in KEYS if name.startswith("model.encoder ")]
    assert own
    assert all(name.startswith("model.encoder (kind: operator)") for name in own)


def test_a_kind_that_comes_later_is_seen():
    class Toy(Section):
        """A toy."""

        kind: Literal["toy"] = "toy"
        gain: float = Field(2.0, gt=0)
        """What it multiplies by."""

    class Model(Section):
        decoder: Annotated[UNetConfig | Toy, Field(discriminator="kind")] = Toy()
        """The network."""
        critics: dict[str, MLPConfig] = {}  # noqa: RUF012
        """A network a space."""

    keys = {key.name: key for key in config_keys(Model)}
    assert keys["decoder"] == Key("decoder", "section of kind unet | toy", "{kind: toy}",
                                  "The network.")  # fmt: skip
    assert keys["decoder (kind: toy)"].description == "A toy."
    assert keys["decoder (kind: toy).gain"] == Key(
        "decoder (kind: toy).gain", "number > 0", "2.0", "What it multiplies by."
    )
    assert keys["critics"].type == "mapping of names to section"
    assert keys["critics.NAME.hidden"].default == "[256, 128, 64]"


def test_text_is_for_terminals():
    text = as_text(config_keys(), width=60, emphasize=lambda name: f"<{name}>")
    meanings = [line for line in text.splitlines() if line.startswith("    ")]
    assert max(map(len, meanings)) <= 60
    assert re.findall(r"^<(.+)>: ", text, re.MULTILINE) == list(KEYS)


def test_every_row_of_the_page_has_four_cells():
    rows = [line for line in as_markdown(config_keys()).splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert sum("kind" in name.rpartition(".")[2] for name in KEYS) < len(rows)
    assert Config.model_fields["seed"].description in "\n".join(rows)
