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
    assert config_and_overrides("c.yaml", ["a=1"]) == (Path("c.yaml"), ["a=1"])
    assert config_and_overrides("a=1", ["b=2"]) == (None, ["a=1", "b=2"])
    assert config_and_overrides(str(named), None) == (named, [])
    assert config_and_overrides("runs/a=1/c.yaml", None) == (Path("runs/a=1/c.yaml"), [])


@pytest.mark.parametrize(
    "word", ["train.out=/tmp/run", "prepare.out=here/tiles.zarr", "data.tiles=s3://a/b", "a=./b"]
)
def test_a_value_that_is_a_path_makes_no_config(word):
    assert config_and_overrides(word, ["seed=1"]) == (None, [word, "seed=1"])
