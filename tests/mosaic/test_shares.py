"""Shares part a manifest, and every process would in the end do all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.archive import Share

COUNTS = st.integers(1, 12)


@given(st.integers(0, 50), COUNTS)
def test_shares_part_the_fields_and_each_goes_on_with_the_others(total, count):
    items = list(range(total))
    divided = [Share(k, count).divide(items) for k in range(1, count + 1)]
    assert sorted(item for own, _ in divided for item in own) == items
    for own, others in divided:
        assert sorted([*own, *others]) == items
        assert list(own) == sorted(own)


@given(COUNTS, COUNTS, st.integers(0, 60))
def test_processes_of_a_share_part_it(count, size, total):
    items = list(range(total))
    for number in range(1, count + 1):
        parts = [Share(number, count).within(rank, size).divide(items)[0] for rank in range(size)]
        seen = sorted(item for part in parts for item in part)
        assert len(seen) == len(set(seen))
    every = [
        item
        for number in range(1, count + 1)
        for rank in range(size)
        for item in Share(number, count).within(rank, size).divide(items)[0]
    ]
    assert sorted(every) == items


def test_two_that_help_one_another_meet_last():
    _, others = Share(1, 2).divide(range(6))
    assert others == [5, 3, 1]


def array(task, first=0, count=4, step=1):
    names = ("ID", "MIN", "COUNT", "STEP")
    values = (task, first, count, step)
    return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, values, strict=True)}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (array(0), Share(1, 4)),
        (array(3), Share(4, 4)),
        (array(7, first=5, count=3), Share(3, 3)),
        (array(9, first=1, count=3, step=4), Share(3, 3)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "8"}, Share(3, 8)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "8", **array(1)}, Share(2, 4)),
    ],
)
def test_slurm_says_which_share(environment, share):
    assert Share.parse("auto", environment) == share


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("auto", {}, "in no array or step of Slurm; write --share 3/40"),
        ("auto", array(8, first=0, count=3), "write --share K/N"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "x"}, "write --share K/N"),
        ("0/3", {}, "--share 0/3: is no share"),
        ("4/3", {}, "is no share"),
        ("1", {}, "is no share"),
        ("1/0", {}, "is no share"),
        ("-1/2", {}, "is no share"),
    ],
)
def test_what_is_no_share_is_one_line(text, environment, message):
    with pytest.raises(ImgturboError, match=message):
        Share.parse(text, environment)


def test_a_share_is_read():
    assert Share.parse("3/40") == Share(3, 40)
