"""Summaries: order of a set, time of a series, the bound, bad shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from imgturbo.config import SummaryConfig
from imgturbo.errors import ImgturboError
from imgturbo.posteriors.summaries import bounded, build_summary

SETS = {
    "deep_set": {"kind": "deep_set", "hidden": [6, 5], "features": 4},
    "set_transformer": {
        "kind": "set_transformer", "width": 8, "heads": 2, "blocks": 1, "features": 4,
    },
}  # fmt: skip
SERIES = {"kind": "series", "width": 6, "layers": 2, "kernels": [2, 3], "features": 4}


def summary(section, columns):
    torch.manual_seed(0)
    return build_summary(TypeAdapter(SummaryConfig).validate_python(section), columns).double()


@pytest.mark.parametrize("order", ["elements", "channels"])
@pytest.mark.parametrize("kind", SETS)
@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 9), channels=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_order_of_a_set_does_not_matter_but_its_elements_do(kind, order, n, channels, seed):
    s = summary(SETS[kind] | {"channels": channels, "order": order}, n * channels)
    torch.manual_seed(seed)
    elements = torch.randn(2, n, channels).double()

    def row(e):
        return (e if order == "elements" else e.transpose(1, 2)).reshape(2, -1)

    found = s(row(elements))
    assert found.shape == (2, 4)
    torch.testing.assert_close(s(row(elements[:, torch.randperm(n)])), found)
    moved = elements.clone()
    moved[:, -1] += 1
    assert (s(row(moved)) - found).abs().max() > 1e-6


@pytest.mark.parametrize("kind", SETS)
def test_twins_are_no_news_to_a_mean(kind):
    """A set twice over has the same features: what is learnt is of the distribution."""
    s, twice = (summary(SETS[kind] | {"channels": 2}, columns) for columns in (6, 12))
    u = torch.randn(3, 6).double()
    torch.testing.assert_close(twice(torch.cat([u, u], dim=1)), s(u))


@pytest.mark.parametrize("apart", [False, True])
def test_a_series_has_an_order_and_every_time_counts(apart):
    s = summary(SERIES | {"channels": 3, "apart": apart}, 21)
    u = torch.randn(2, 7, 3).double()
    found = s(u.flatten(1))
    assert found.shape == (2, 4)
    assert (s(u.flip(1).flatten(1)) - found).abs().max() > 1e-4
    for time in range(7):
        moved = u.clone()
        moved[:, time] += 1
        assert (s(moved.flatten(1)) - found).abs().max() > 1e-9


def test_convolutions_look_back_alone():
    s = summary(SERIES | {"channels": 1}, 7)
    u = torch.randn(1, 1, 7).double()
    h = s.readers[0].layers(u)
    later = u.clone()
    later[..., 4:] += 1
    moved = s.readers[0].layers(later)
    torch.testing.assert_close(moved[..., :4], h[..., :4])
    assert (moved[..., 4:] != h[..., 4:]).any()


def test_each_reader_of_its_own_sees_its_channel():
    s = summary(SERIES | {"channels": 2, "apart": True}, 10)
    seen = []
    for reader in s.readers:
        reader.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    u = torch.randn(3, 5, 2).double()
    s(u.flatten(1))
    for channel, given_ in enumerate(seen):
        torch.testing.assert_close(given_, bounded(u[..., channel : channel + 1], 5.0))


def test_channels_may_stand_side_by_side_or_one_after_the_other():
    by_time, by_channel = (
        summary(SERIES | {"channels": 3, "order": order}, 12) for order in ("elements", "channels")
    )
    u = torch.randn(2, 4, 3).double()
    torch.testing.assert_close(by_time(u.flatten(1)), by_channel(u.transpose(1, 2).flatten(1)))


@pytest.mark.parametrize("reach", [0.5, 5.0])
def test_the_bound_is_odd_monotone_and_reached_by_the_largest_floats(reach):
    u = torch.tensor([-1e38, -1.0, 0.0, 1e-3, 1.0, 1e20, 1e38])
    found = bounded(u, reach)
    assert torch.equal(found, -bounded(-u, reach))
    assert (found.diff() >= 0).all()
    assert float(found[-1]) == pytest.approx(reach)
    assert float(found[3]) == pytest.approx(1e-3, rel=1e-4)
    assert float(found[4]) == pytest.approx(1 / math.sqrt(1 + 1 / reach**2))
    assert torch.equal(bounded(u, None), u)


@pytest.mark.parametrize("section", [*SETS.values(), SERIES, {"kind": "dense", "hidden": []}])
def test_gradients_reach_every_parameter(section):
    s = summary(section, 6)
    s(torch.randn(5, 6).double()).square().sum().backward()
    for name, parameter in s.named_parameters():
        assert parameter.grad is not None
        if not name.endswith("key.bias"):  # the same for all keys: softmax takes no notice of it
            assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("section", [*SETS.values(), SERIES])
def test_columns_that_make_no_elements_are_one_line(section):
    with pytest.raises(ImgturboError, match=r"channels: 7 columns are no whole number") as caught:
        summary(section | {"channels": 3}, 7)
    assert "\n" not in str(caught.value)


def test_heads_share_the_width():
    with pytest.raises(ValidationError, match="not a multiple of the 3 heads"):
        summary(SETS["set_transformer"] | {"heads": 3}, 4)
