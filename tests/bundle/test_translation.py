"""One shape of answer: changed part by part, and never another shape."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from imgturbo.bundle import Translation


def test_every_part_is_changed_in_the_same_way():
    answer = Translation(1, 2, {0.1: 3, 0.9: 4}, (5, 6))
    assert answer.map(str) == Translation("1", "2", {0.1: "3", 0.9: "4"}, ("5", "6"))
    assert answer.map(lambda part: part) == answer


def test_one_output_has_no_other_parts():
    answer = Translation("one").map(len)
    assert (answer.mean, answer.std, answer.quantiles, answer.draws) == (3, None, {}, ())


def test_it_is_neither_a_pair_nor_a_dictionary_nor_changed():
    answer = Translation(1, 2)
    with pytest.raises(TypeError):
        _mean, _std = answer
    with pytest.raises(TypeError):
        answer["SCI"]
    with pytest.raises(FrozenInstanceError):
        answer.mean = 3
