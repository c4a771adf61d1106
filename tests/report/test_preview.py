"""Panels: written for any image, in true orientation, with zooms on what there is to see."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.report import preview
from imgturbo.report.preview import colour, comparison
from imgturbo.sky.picture import read_picture


def panels(channels=3, height=70, width=90, inputs=None, seed=0):
    random = np.random.default_rng(seed)
    shapes = {"input": inputs or channels, "prediction": channels, "truth": channels}
    return {
        title: random.random((n, height, width)).astype(np.float32) for title, n in shapes.items()
    }


def pixels(path):
    """RGB (3, H, W), 0 to 1."""
    return read_picture(path).pixels[:3] / 255


# ---------------------------------------------------------------------------------- colour


@given(channels=st.integers(1, 6), missing=st.floats(0, 1), scale=st.floats(0.1, 1e6))
def test_colours_are_colours(channels, missing, scale):
    random = np.random.default_rng(channels)
    y = random.normal(size=(channels, 7, 5)) * scale
    y[random.random(y.shape) < missing] = np.nan
    rgb = colour(y, gamma=0.8)
    assert rgb.shape == (7, 5, 3)
    assert rgb.dtype == np.float32
    assert np.isfinite(rgb).all()
    assert ((rgb >= 0) & (rgb <= 1)).all()


def test_blue_bands_are_blue_and_red_bands_red():
    for channels in (2, 3, 5):
        y = np.zeros((channels, 1, 2))
        y[0, 0, 0], y[-1, 0, 1] = 1, 1
        blue, red = colour(y)[0]
        assert blue.argmax() == 2
        assert red.argmax() == 0
    grey = colour(np.full((1, 1, 1), 0.5))[0, 0]
    np.testing.assert_allclose(grey, 0.5)


def test_a_missing_pixel_is_grey_in_every_channel():
    y = np.ones((3, 1, 2))
    y[1, 0, 0] = np.nan
    missing, white = colour(y)[0]
    assert len(set(missing.tolist())) == 1
    assert missing[0] < white[0]


# -------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(70, 90), (9, 7), (1, 1), (200, 31)])
def test_a_picture_for_any_image(tmp_path, monkeypatch, channels, size):
    monkeypatch.setattr(preview, "_DPI", 30)
    out = tmp_path / "new" / "p.png"
    comparison(out, panels(channels, *size, inputs=2), caption="a < b & [c]")
    assert pixels(out).std() > 0.02
    assert [path.name for path in out.parent.iterdir()] == ["p.png"]


@pytest.mark.parametrize("missing", ["some", "a panel", "all"])
def test_pixels_without_a_value_do_not_spoil_it(tmp_path, monkeypatch, missing):
    monkeypatch.setattr(preview, "_DPI", 30)
    images = panels()
    if missing == "some":
        images["truth"][:, :, :40] = np.nan
    else:
        for title in ("truth",) if missing == "a panel" else images:
            images[title][:] = np.nan
    comparison(tmp_path / "p.png", images)
    assert pixels(tmp_path / "p.png").shape[0] == 3


@pytest.mark.parametrize("pictures", [False, True])
def test_sky_images_run_upward_and_pictures_downward(tmp_path, pictures):
    """The first rows red, the last blue: red is below in a sky image, above in a picture."""
    images = {title: np.zeros((3, 40, 40), np.float32) for title in ("prediction", "truth")}
    red, blue = (0, 2) if pictures else (2, 0)
    for image in images.values():
        image[red, :10] = 1
        image[blue, -10:] = 1
    comparison(tmp_path / "p.png", images, pictures=pictures, crops=0)
    r, g, b = pixels(tmp_path / "p.png")
    where_red = np.nonzero((r > 0.9) & (g < 0.1) & (b < 0.1))[0].mean()
    where_blue = np.nonzero((b > 0.9) & (g < 0.1) & (r < 0.1))[0].mean()
    assert (where_red < where_blue) == pictures


def test_colours_of_pictures_are_their_own(tmp_path):
    """Red comes first in a picture and last in a stack of bands."""
    images = {title: np.zeros((3, 32, 32), np.float32) for title in ("prediction", "truth")}
    for image in images.values():
        image[0] = 1
    for pictures, strongest in ((True, 0), (False, 2)):
        comparison(tmp_path / "p.png", images, pictures=pictures, crops=0)
        shown = pixels(tmp_path / "p.png")
        middle = shown[:, shown.shape[1] // 2, shown.shape[2] // 6]
        assert middle.argmax() == strongest
        assert middle.min() == 0


def test_zooms_are_whole_apart_and_on_the_structure():
    truth = np.random.default_rng(0).normal(size=(2, 160, 240)).astype(np.float32) * 0.05
    y, x = np.mgrid[:160, :240]
    for at in ((40, 50), (120, 190)):
        truth += np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 50).astype(np.float32)
    truth[:, 60:100, 100:140] = np.nan
    views = preview._crops(truth, 2)
    centres = sorted(((r.start + r.stop) / 2, (c.start + c.stop) / 2) for r, c in views)
    for (row, col), at in zip(centres, ((40, 50), (120, 190)), strict=True):
        assert abs(row - at[0]) <= 20
        assert abs(col - at[1]) <= 20
    for view in views:
        assert truth[0][view].shape == (40, 40)


@given(height=st.integers(1, 200), width=st.integers(1, 200), count=st.integers(0, 40))
def test_zooms_lie_within_the_image_and_do_not_overlap(height, width, count):
    truth = np.random.default_rng(height).normal(size=(1, height, width))
    views = preview._crops(truth, count)
    seen = np.zeros((height, width), int)
    for rows, cols in views:
        assert rows.stop - rows.start == cols.stop - cols.start >= 32
        assert rows.stop <= height
        assert cols.stop <= width
        seen[rows, cols] += 1
    assert len(views) <= count
    assert seen.max(initial=0) <= 1
    assert bool(views) == (count > 0 and min(height, width) >= 64)


def test_the_whole_panel_is_marked_where_it_is_zoomed(tmp_path):
    images = panels(1, 128, 128)
    comparison(tmp_path / "with.png", images, crops=2)
    comparison(tmp_path / "without.png", images, crops=0)
    assert pixels(tmp_path / "with.png").shape[1] > 2 * pixels(tmp_path / "without.png").shape[1]


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ImgturboError, match=r"file/p\.png: cannot be written"):
        comparison(tmp_path / "file" / "p.png", panels())
    out = tmp_path / "p.png"
    out.write_text("former")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ImgturboError, match=r"p\.png.*No space left.*free some space"):
        comparison(out, panels())
    assert out.read_text() == "former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "p.png"]
