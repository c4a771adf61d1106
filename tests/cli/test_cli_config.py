"""What a config means in full, and the list of all keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgturbo.config import Config, load_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["demo.yaml", "cinn_colorize.yaml"])
def test_what_is_printed_is_the_same_config(run, tmp_path, name):
    status, out, err = run("config", CONFIGS / name, "train.steps=7")
    assert (status, err) == (0, "")
    copy = tmp_path / "copy.yaml"
    copy.write_text(out)
    config = load_config(CONFIGS / name, ["train.steps=7"])
    assert load_config(copy) == config
    _, text, _ = run("config", CONFIGS / name, "train.steps=7", "--json")
    assert Config.model_validate(json.loads(text)) == config


def test_without_a_file_the_defaults_are_printed(run):
    _, out, _ = run("config")
    assert out == Config().to_yaml()
    _, out, _ = run("config", "train.steps=3", "seed=4")
    assert out == Config.from_overrides(["train.steps=3", "seed=4"]).to_yaml()


def test_all_keys_are_listed_with_type_default_and_meaning(run):
    status, out, err = run("config", "--schema")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 250
    place = lines.index("prepare.tile.size: integer ≥ 8 = 128")
    assert lines[place + 1] == "    Side of a tile in pixels."
    assert "model.decoder (kind: unet).width: integer ≥ 1, ≤ 65536 = 32" in lines


def test_the_schema_in_json_is_pydantic_s(run):
    _, out, _ = run("config", "--schema", "--json")
    assert json.loads(out) == Config.model_json_schema()


def test_the_page_of_the_documentation_is_current(run):
    _, out, _ = run("config", "--schema", "--markdown")
    page = Path(__file__).parents[2] / "docs" / "config.md"
    assert page.read_text(encoding="utf-8") == out, "run: make docs"
