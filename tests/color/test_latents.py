"""Laws of the latent work: what is encoded decodes, zero is the mean, a draw is colorize's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from color_standins import colour_picture, grey_picture, smooth

from imgturbo.color import latents
from imgturbo.color.colorize import colorize
from imgturbo.color.grey import read_colour
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.lab import rgb_to_lab


@pytest.fixture(params=["local", "dense"])
def flow(request, bundle, dense_bundle):
    return bundle if request.param == "local" else dense_bundle


def lightness(flow, side=24):
    side = flow.decoder.size or side
    return (100 * smooth(side, side)[None]).astype(np.float32)


def test_what_is_encoded_decodes(flow):
    study = latents.Study(flow, lightness(flow))
    side = study.lightness.shape[1]
    ab = np.stack([20 * smooth(side, side, seed) - 10 for seed in (3, 4)]).astype(np.float32)
    z = study.encode(ab)
    assert [tuple(w.shape[1:]) for w in z] == study.shapes
    again = study.encode(ab)
    assert all(torch.equal(a, b) for a, b in zip(z, again, strict=True))
    with torch.inference_mode():
        x = study.flow.inverse(z, study.conditions)[0].numpy()
    means = ab.reshape(2, side // 2, 2, side // 2, 2).mean((2, 4))
    assert study.target.inverse(x) == pytest.approx(means, abs=1e-2)
    shown = rgb_to_lab(study.picture(z))
    assert shown[0] == pytest.approx(study.lightness[0], abs=0.2)


def test_a_draw_is_colorizes_own(bundle, tmp_path):
    """At the working size, where one window sees all."""
    path = grey_picture(tmp_path / "grey.png", 24, 32)
    coloured = read_sky(colorize(bundle, [path], tmp_path / "out", samples=2, seed=5)[1]).data
    study = latents._study(bundle, path)
    assert np.abs(study.picture(study.draw(5, 1)) - coloured).max() < 2 / 255


def test_colours_of_another_size_are_refused(flow):
    study = latents.Study(flow, lightness(flow))
    with pytest.raises(ImgturboError, match="5 × 7"):
        study.encode(np.zeros((2, 7, 5), np.float32))


def test_transfer_of_a_picture_to_itself_gives_its_colours(bundle, tmp_path):
    path = colour_picture(tmp_path / "colour.png", 24, 32)
    study = latents._study(bundle, path, grey=True)
    lab = read_colour(path)
    shown = rgb_to_lab(study.picture(study.encode(lab[1:])))
    # As fine as the flow's half resolution.
    assert np.abs(shown - lab)[1:].mean() < 2


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, (0,)), (2, (1, 0)), (3, (1, 0.7, 0)), (4, (1, 0.7, 0, 0)), (5, (1, 0.7, 0, 0, 0))],
)
def test_the_published_mix_keeps_the_coarsest(number, expected):
    assert tuple(latents._shares(None, number)) == expected


def test_every_sheet_is_written(flow, tmp_path):
    grey = grey_picture(tmp_path / "grey.png")
    colour = colour_picture(tmp_path / "colour.png", 31, 20)
    latents.saturation(flow, grey, tmp_path / "saturation.png", samples=2)
    latents.interpolate(flow, grey, tmp_path / "interpolate.png")
    latents.transfer(flow, [grey, grey], tmp_path / "transfer.png", reference=colour)
    latents.scales(flow, grey, tmp_path / "scales.png", samples=3)
    for name in ("saturation", "interpolate", "transfer", "scales"):
        sheet = read_sky(tmp_path / f"{name}.png").data
        assert sheet.std() > 0.05
        assert np.ptp(sheet, axis=0).max() > 0.1, f"{name} has no colours"


def test_shares_that_make_no_mixture_are_refused(bundle, tmp_path):
    grey, colour = grey_picture(tmp_path / "g.png"), colour_picture(tmp_path / "c.png")
    for mix in ([0.5], [1.0, 2.0], [0.1] * 5):
        with pytest.raises(ImgturboError, match=r"--mix .*2 latents"):
            latents.transfer(bundle, [grey], tmp_path / "t.png", reference=colour, mix=mix)
    assert not (tmp_path / "t.png").exists()
