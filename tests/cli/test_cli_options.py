"""Words that several commands share: lists, and a config that may be left out."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from imgturbo.cli import options
from imgturbo.cli.options import Names, Numbers, config_and_overrides, names, numbers
from imgturbo.config import DataConfig
from imgturbo.errors import ImgturboError


@pytest.mark.parametrize(
    ("text", "value"), [("0.5", (0.5,)), ("0,1e-3,-2", (0.0, 0.001, -2.0)), ("", ())]
)
def test_numbers_are_separated_by_commas(text, value):
    parse = numbers("--levels", "0.5,0.9", "Of intervals.").parser
    assert parse(text) == value
    assert parse(parse(text)) == value  # a default is a value already


@pytest.mark.parametrize("text", ["half", "0.5,", "0.5;0.9", "0,5 ,x"])
def test_what_are_no_numbers_is_named_with_the_option(text):
    with pytest.raises(ImgturboError) as caught:
        numbers("--levels", "0.5,0.9", "Of intervals.").parser(text)
    assert str(caught.value) == (f"--levels {text}: these are not numbers; write --levels 0.5,0.9")


def test_names_are_separated_by_commas():
    parse = names("--bands", "Of bands.").parser
    assert parse("F606W,F814W") == ("F606W", "F814W")
    assert parse("") == ()
    assert isinstance(parse("F606W"), Names)
    assert isinstance(numbers("--x", "1", "X.").parser("1"), Numbers)


def test_symmetries_are_those_of_the_augmentation():
    known, *_ = get_args(options.Ensemble)
    assert known == DataConfig.model_fields["augment"].annotation


def test_a_config_may_be_left_out(tmp_path):
    named = tmp_path / "a=b.yaml"
    named.touch()
    assert config_and_overrides(None, None) == (None, [])
    assert config_and_overrides(Path("c.yaml"), ["a=1"]) == (Path("c.yaml"), ["a=1"])
    assert config_and_overrides(Path("a=1"), ["b=2"]) == (None, ["a=1", "b=2"])
    assert config_and_overrides(named, None) == (named, [])
