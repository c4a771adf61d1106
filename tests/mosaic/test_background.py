"""The sky of an image beside the training's: what is warned of, what is not, and its removal."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from small_skies import rotated_wcs

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import background, translate_array, translate_file, translate_sky
from imgturbo.mosaic.background import Background
from imgturbo.sky import SkyImage, Stretch, read_sky, write_sky

SIGMA = 0.03


def sky(seed, size=(160, 144), sources=0.0005, blur=0.6):
    """Noise of σ = 0.03 as correlated as a drizzled image's, and sources, (2, H, W)."""
    random = np.random.default_rng(seed)
    noise = gaussian_filter(random.normal(size=(2, *size)), (0, blur, blur))
    light = np.zeros((2, *size))
    for _ in range(random.poisson(sources * size[0] * size[1])):
        y, x = (random.integers(0, n) for n in size)
        light[:, y, x] += 400 * SIGMA * random.random() ** 4
    spread = gaussian_filter(light, (0, 1.6, 1.6), truncate=6)
    return (noise * SIGMA / noise.std() + spread + 0.01).astype(np.float32)


STRETCH = Stretch.fit(sky(99, (400, 400)))


def told(image, **changes):
    """The warnings on an image."""
    size = image.shape[1:]
    found = Background(lambda r, c: image[:, r, c], size, STRETCH, 3.0, ("A", "B"), **changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.warn("x.fits", "electron/s")
    return [str(warning.message) for warning in caught]


def louder(image, factor, seed=1007):
    more = np.random.default_rng(seed).normal(size=image.shape) * SIGMA
    return (image + more * np.sqrt(factor**2 - 1)).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_unlike_is_said_with_numbers(seed):
    image = sky(seed)
    for level in (0.5, -0.5, 3.0):
        (line,) = told(image + np.float32(level * SIGMA))
        assert "x.fits" in line
        assert "electron/s" in line
        assert "--match-sky" in line
        assert ("level +" in line) == (level > 0)
    (line,) = told(louder(image, 1.5))
    assert "noise × 1." in line
    assert "--match-sky" not in line
    one = image.copy()
    one[1] += 0.6 * SIGMA
    (line,) = told(one)
    assert "A level" not in line


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("size", "sources"),
    [
        ((160, 144), 0.0005),
        ((41, 37), 0.0005),
        ((64, 64), 0.0),
        ((97, 131), 0.006),  # a quarter of the pixels under some source
        ((16, 16), 0.0005),
    ],
)
def test_sky_like_the_trainings_raises_no_alarm(seed, size, sources):
    assert told(sky(seed, size, sources)) == []


def test_a_cluster_in_an_empty_field_raises_no_alarm():
    image = sky(0, (400, 380))
    y, x = np.mgrid[:400, :380]
    image += (SIGMA * 40 * np.exp(-np.hypot(y - 200, x - 190) / 20)).astype(np.float32)
    assert told(image) == []


def test_what_has_no_sky_is_not_judged():
    flat = np.full((2, 64, 64), 5.0, np.float32)
    assert told(flat) == []
    points = np.zeros((2, 64, 64), np.float32)
    points[:, ::9, ::7] = 3.0
    assert told(points) == []
    assert told(np.full((2, 64, 64), np.nan, np.float32)) == []


def test_a_shallow_half_is_flagged_alone():
    image = sky(1, (256, 384))
    image[:, :, 256:] = louder(image, 2.0)[:, :, 256:]
    found = Background(lambda r, c: image[:, r, c], (256, 384), STRETCH, 3.0, ("A", "B"))
    other = found.other(slice(0, 256), slice(0, 384))
    assert other[:, 256:].all()
    assert not other[:, :256].any()
    part = found.other(slice(100, 150), slice(200, 300))
    np.testing.assert_array_equal(part, other[100:150, 200:300])


@pytest.mark.parametrize("way", ["file", "image", "array"])
@pytest.mark.parametrize("level", [0.5, -0.8, 20.0])
def test_matching_brings_the_background_back(trained, tmp_path, way, level):
    image = sky(3)
    moved = (image + level * SIGMA).astype(np.float32)

    def translated(data, **settings):
        if way == "array":
            found = translate_sky(trained, data, **settings)
            return found.mean, found.flags
        given = SkyImage.from_array(
            data,
            wcs=rotated_wcs(*data.shape[1:]),
            unit="electron/s",
            bands=("F606W", "F814W"),
            zeropoints=(26.0, 26.0),
        )
        if way == "image":
            found = translate_sky(trained, given, **settings)
            return found.mean.data, found.flags
        path = write_sky(tmp_path / "in.fits", given, overwrite=True)
        out = translate_file(trained, path, tmp_path / "out.fits", overwrite=True, **settings)
        from astropy.io import fits

        with fits.open(out) as hdus:
            assert hdus[0].header.get("MATCHSKY", False) is settings.get("match_sky", False)
            return read_sky(out).data, hdus["FLAGS"].data.copy()

    plain, flags = translated(image)
    assert not (flags & 2).any()
    with pytest.warns(UserWarning, match="its sky is not the training's"):
        off, flags = translated(moved)
    assert (flags & 2).all()
    matched, flags = translated(moved, match_sky=True)
    assert not (flags & 2).any()
    sigma = trained.target.stretch.softening / 3
    levels = [np.nanmedian(data, axis=(1, 2)) / sigma for data in (plain, off, matched)]
    assert np.abs(levels[1] - levels[0]).min() > 0.3
    assert np.abs(levels[2] - levels[0]).max() < 0.1


@pytest.fixture(scope="module")
def trained(make_bundle):
    """A bundle whose stretch is that of these skies, and whose network changes nothing."""
    return make_bundle(
        target=("F606W", "F814W"),
        identity=True,
        target_unit="electron/s",
        source_stretch=STRETCH,
        target_stretch=STRETCH,
        target_zeropoint=26.0,
    )


def test_a_level_is_not_matched_where_there_is_no_sky(bundle):
    picture = np.zeros((2, 32, 32), np.float32)
    with pytest.raises(ImgturboError, match="match-sky"):
        translate_array(bundle.decoder, picture, match_sky=True)


@pytest.mark.parametrize("level", [-3.0, 0.0, 0.7, 50.0])
@pytest.mark.parametrize("noise", [0.2, 4.0])
def test_the_calmest_squares_tell_level_and_noise_whatever_the_level(level, noise):
    tiles = level + noise * np.random.default_rng(1).normal(size=(400, 64))
    tiles[::3] += 20 * noise * np.random.default_rng(2).random((134, 64))  # sources
    found, spread = background._calmest(tiles)
    assert found == pytest.approx(level, abs=0.1 * noise)
    assert spread == pytest.approx(noise, rel=0.12)


def test_tiles_are_squares_of_the_image():
    y, x = np.indices((19, 35))
    number = (y // 8) * 10 + x // 8
    tiles = background._tiles(np.stack([number, -number]).astype(np.float32))
    whole = [0, 1, 2, 3, 10, 11, 12, 13]  # what does not fill a square is left out
    for plane, sign in zip(tiles, (1, -1), strict=True):
        assert np.array_equal(plane, sign * np.repeat(np.array(whole)[:, None], 64, axis=1))
