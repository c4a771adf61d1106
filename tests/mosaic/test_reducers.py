"""What is kept of the draws: streamed moments, quantiles, the draws themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.reducers import Reducer, Reduction

DRAWS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.just(2), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e6, allow_subnormal=False),
)
LEVELS = st.lists(st.integers(1, 99).map(lambda p: p / 100), max_size=3)


@pytest.mark.filterwarnings("ignore:.* draws have quantiles")
@given(DRAWS, LEVELS, st.booleans())
def test_streamed_planes_equal_those_of_the_whole(draws, levels, keep):
    several = len(draws) > 1
    reduction = Reduction.of(len(draws), levels if several else (), keep and several)
    reducer = Reducer(reduction)
    for draw in draws:
        reducer.update(draw.copy())
    planes = reducer.planes()
    assert tuple(planes) == reduction.extensions
    np.testing.assert_allclose(planes["SCI"], draws.mean(0), rtol=1e-9, atol=1e-9)
    if several:
        np.testing.assert_allclose(planes["STD"], draws.std(0, ddof=1), rtol=1e-6, atol=1e-6)
    for level in reduction.quantiles:
        np.testing.assert_array_equal(
            planes[f"Q{round(100 * level):02d}"],
            np.quantile(draws, level, axis=0, method="weibull"),
        )
    if reduction.keep_draws:
        kept = [planes[f"S{number:03d}"] for number in range(1, len(draws) + 1)]
        np.testing.assert_array_equal(kept, draws)


def test_intervals_cover_what_they_say_at_any_number_of_draws():
    random = np.random.default_rng(0)
    for count in (19, 39):
        reducer = Reducer(Reduction.of(count, (0.05, 0.95), False))
        for _ in range(count):
            reducer.update(random.normal(size=(1, 200, 200)))
        planes, truth = reducer.planes(), random.normal(size=(1, 200, 200))
        inside = (planes["Q05"] < truth) & (truth < planes["Q95"])
        assert abs(inside.mean() - 0.9) < 4 * (0.09 / inside.size) ** 0.5


@pytest.mark.parametrize(
    ("samples", "levels", "needed"),
    [(4, (0.05, 0.5, 0.95), 19), (18, (0.05,), 19), (19, (0.05, 0.95), None), (39, (0.025,), None),
     (38, (0.025,), 39), (2, (0.5,), None), (3, (0.75, 0.25), None), (2, (0.75,), 3)],
)  # fmt: skip
def test_levels_that_so_few_draws_do_not_reach_are_named(samples, levels, needed):
    if needed is None:
        Reduction.of(samples, levels, False)  # a warning would be an error here
        return
    with pytest.warns(UserWarning, match=f"{samples} draws .*ask for {needed} samples") as caught:
        Reduction.of(samples, levels, False)
    assert "\n" not in str(caught[0].message)
    with pytest.warns(UserWarning, match="draws have quantiles"):
        Reduction.of(needed - 1, levels, False)
    Reduction.of(needed, levels, False)


@pytest.mark.filterwarnings("ignore:.* draws have quantiles")
def test_names_of_quantiles_tell_them_apart():
    reduction = Reduction.of(4, (0.975, 0.05, 0.025, 0.5), False)
    assert reduction.extensions == ("SCI", "STD", "Q02.5", "Q05", "Q50", "Q97.5")


@pytest.mark.parametrize(
    ("samples", "quantiles", "keep", "named"),
    [
        (None, (0.5,), False, "2 samples"),
        (1, (), True, "2 samples"),
        (4, (5.0,), False, "0.05 is the 5 %"),
        (4, (0.0,), False, "between 0 and 1"),
        (40, (0.05, 0.0500000001), False, "share"),
    ],
)
def test_what_cannot_be_made_of_the_draws_is_named(samples, quantiles, keep, named):
    with pytest.raises(ImgturboError, match=named):
        Reduction.of(samples, quantiles, keep)


def test_what_few_draws_reach_is_said():
    said = r"Q05: 4 draws have quantiles from 0\.2 to 0\.8 only, .* ask for 19 samples"
    with pytest.warns(UserWarning, match=said):
        Reduction.of(4, (0.05, 0.5), False)
