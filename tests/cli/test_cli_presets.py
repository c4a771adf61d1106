"""The list of presets: all of them, as they are, and the page that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgturbo.turbo.presets import PRESETS

PAGE = Path(__file__).parents[2] / "docs" / "family.md"
CONFIGS = Path(__file__).parents[2] / "configs" / "family"


def test_all_are_listed_with_terms_and_papers(run):
    status, out, err = run("presets")
    assert (status, err) == (0, "")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == list(PRESETS)
    assert max(map(len, out.splitlines())) <= 100
    assert "100 l1(x̃)   D: critic(x̃)   with: vanilla, conditional" in out


def test_one_in_full_and_a_typing_error(run):
    _, out, _ = run("presets", "wgan_gp")
    assert "wgan-gp, λ 10, 5 critic steps" in out
    assert "Wasserstein distance" in out
    status, _, err = run("presets", "pixpix")
    assert status == 2
    assert err == "error: there is no preset 'pixpix'; did you mean 'pix2pix'?\n"


def test_json_has_the_same_columns(run):
    _, out, _ = run("presets", "--json")
    listed = json.loads(out)
    assert [row["name"] for row in listed] == list(PRESETS)
    _, out, _ = run("presets", "alae", "--json")
    assert json.loads(out) == listed[list(PRESETS).index("alae")]
    status, _, err = run("presets", "alae", "--markdown")
    assert status == 2
    assert "--markdown is the table of all" in err


def test_the_page_of_the_documentation_is_current(run):
    _, out, _ = run("presets", "--markdown")
    assert out in PAGE.read_text(encoding="utf-8"), "run: imgturbo presets --markdown"


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"custom", "one_cycle"}))
def test_each_has_a_config(name):
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"preset: {name}" in text
