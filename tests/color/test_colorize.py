"""Laws of colouring: lightness is kept, windows agree, seeds repeat, the sky keeps its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from color_standins import colour_picture, grey_picture, make_bundle, sky
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgturbo.color.colorize import colorize, to_full_size
from imgturbo.color.grey import read_grey
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.lab import rgb_to_lab


def read(path):
    return read_sky(path).data


def test_of_a_picture_come_draws_the_mean_and_a_sheet(bundle, tmp_path):
    path = grey_picture(tmp_path / "grey.png")
    written = colorize(bundle, [path], tmp_path / "out", samples=2)
    names = [p.name for p in written]
    assert names == ["grey_s001.png", "grey_s002.png", "grey_mean.png", "grey_sheet.png"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    first, second, mean = (read(p) for p in written[:3])
    assert first.shape == second.shape == mean.shape == (3, 40, 57)
    assert np.abs(first - second).max() > 0.05
    # Whatever the colours, the lightness is the picture's own.
    for drawn in (first, second, mean):
        assert np.abs(rgb_to_lab(drawn)[0] - read_grey(path).lightness).max() < 1.5
    assert np.abs(rgb_to_lab(first)[1:]).max() > 3


def test_no_temperature_no_variety(bundle, tmp_path):
    path = grey_picture(tmp_path / "grey.png")
    cold = colorize(bundle, [path], tmp_path / "cold", samples=2, temperature=0.0)
    assert np.array_equal(read(cold[0]), read(cold[1]))
    assert np.abs(read(cold[0]) - read(cold[2])).max() < 1e-2


def test_a_draw_is_named_by_its_seed_and_number(bundle, tmp_path):
    path = grey_picture(tmp_path / "grey.png")
    three = colorize(bundle, [path], tmp_path / "three", samples=3, seed=4)
    one = colorize(bundle, [path], tmp_path / "one", samples=1, seed=4)
    other = colorize(bundle, [path], tmp_path / "other", samples=1, seed=5)
    assert np.array_equal(read(three[0]), read(one[0]))
    assert not any(np.array_equal(read(made), read(other[0])) for made in three[:3])


def test_windows_agree_with_the_whole(bundle, tmp_path):
    path = grey_picture(tmp_path / "grey.png", 90, 290)
    options = {"samples": 1, "size": 0}
    whole = colorize(bundle, [path], tmp_path / "whole", window=4096, **options)
    parts = colorize(bundle, [path], tmp_path / "parts", window=176, **options)
    assert np.abs(read(whole[0]) - read(parts[0])).max() < 1.5 / 255


@settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(height=st.integers(3, 70), width=st.integers(3, 70))
def test_any_size(bundle, dense_bundle, tmp_path, height, width):
    path = grey_picture(tmp_path / f"{height}x{width}.png", height, width)
    for kind, flow in (("local", bundle), ("dense", dense_bundle)):
        written = colorize(flow, [path], tmp_path / kind, samples=1, overwrite=True)
        assert read(written[0]).shape == (3, height, width)


@pytest.mark.parametrize("scale", [1, 4])
def test_other_ratios_of_lightness_to_colour(tmp_path, scale):
    flow = make_bundle(tmp_path / "bundle", scale=scale)
    path = grey_picture(tmp_path / "grey.png", 33, 47)
    written = colorize(flow, [path], tmp_path / "out", samples=1)
    assert read(written[0]).shape == (3, 33, 47)


def test_fluxes_keep_their_coordinates_and_their_holes(bundle, tmp_path):
    path = sky(tmp_path / "f606w.fits")
    written = colorize(bundle, [path], tmp_path / "out", samples=1)
    assert [p.name for p in written] == [
        "f606w_s001.png",
        "f606w_s001.fits",
        "f606w_mean.png",
        "f606w_mean.fits",
        "f606w_sheet.png",
    ]
    given_sky, made = read_sky(path), read_sky(written[1])
    assert made.bands == ("R", "G", "B")
    assert made.unit == "display"
    here, there = (np.array(s.wcs.pixel_to_world_values(12.0, 34.0)) for s in (given_sky, made))
    assert there == pytest.approx(here, abs=1e-9)
    assert np.array_equal(made.valid, given_sky.valid)
    # The picture has its top row first, the file its bottom row.
    picture = read_sky(written[0])
    assert np.array_equal(picture.valid[::-1], made.valid)
    assert made.data[:, 10:14, 20:24].mean() > made.data[:, made.valid].mean() + 0.2
    header = fits.getheader(written[1])
    assert (header["MODEL"], header["SEED"], header["DRAW"]) == (bundle.hash, 0, 0)
    assert header["TEMPERAT"] == 1.0


def test_full_size_keeps_the_range_of_colours():
    lightness = np.full((31, 45), 60.0, np.float32)
    ab = np.random.default_rng(0).normal(0, 5, (2, 7, 11)).astype(np.float32)
    full = rgb_to_lab(to_full_size(lightness, ab))
    assert full[0] == pytest.approx(60, abs=0.1)
    assert full[1:].min() > ab.min() - 0.1
    assert full[1:].max() < ab.max() + 0.1


def test_mistakes_are_named_before_any_work(bundle, tmp_path):
    grey = grey_picture(tmp_path / "grey.png")
    colour = colour_picture(tmp_path / "colour.png")
    other = grey_picture(tmp_path / "there" / "grey.png")
    out = tmp_path / "out"
    for paths, options, word in [
        ([grey, colour], {}, "colour.png: is a colour picture"),
        ([grey, other], {}, "different folders"),
        ([grey], {"samples": 0}, "0 samples"),
        ([grey], {"temperature": -1.0}, "temperature"),
        ([grey], {"temperature": float("nan")}, "temperature"),
        ([grey], {"size": -3}, "-3 pixels"),
        ([tmp_path / "gone.png"], {}, "gone.png"),
    ]:
        with pytest.raises(ImgturboError, match=word):
            colorize(bundle, paths, out, **options)
        assert not out.exists()
    colorize(bundle, [grey], out, samples=1)
    with pytest.raises(ImgturboError, match="--overwrite"):
        colorize(bundle, [grey], out, samples=1)
    colorize(bundle, [grey, colour], out, samples=1, grey=True, overwrite=True)


def test_a_bundle_of_another_kind_is_refused(bundle, tmp_path):
    object.__setattr__(
        other := make_bundle(tmp_path / "b"), "source", replace(bundle.source, names=("F1",))
    )
    with pytest.raises(ImgturboError, match=r"F1 to a, b.*cinn_colorize"):
        colorize(other, [grey_picture(tmp_path / "grey.png")], tmp_path / "out")
