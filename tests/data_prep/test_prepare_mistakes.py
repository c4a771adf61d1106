"""What cannot be prepared is refused in one line that names it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from prepare_fields import settings, stars, write

from data_prep import staging
from data_prep.prepare import prepare
from imgturbo.config import FieldConfig
from imgturbo.errors import ImgturboError


def test_disagreeing_fields_are_named(tmp_path, pair):
    first, blue = pair.target[0], pair.source[0]
    deep = stars((40, 40))
    cases = [
        ({"source": pair.source, "target": [first, blue]}, r"t\.fits: the target has 2 bands"),
        ({"target": [write(tmp_path / "band.fits", deep, band="F150W")]}, r"band\.fits.*F150W"),
        (
            {"target": [write(tmp_path / "u.fits", deep, band="F200W", unit="electron/s")]},
            r"u\.fits: the target's band F200W is in electron/s but .* in MJy.*ABZP",
        ),
        (
            {"target": [write(tmp_path / "s.fits", deep, band="F200W", scale=0.03)]},
            r"s\.fits: pixels of 0\.0300 arcsec.*prepare\.pixel_scale",
        ),
    ]
    for content, words in cases:
        config = settings(tmp_path, pair, FieldConfig(name="second", **content))
        with pytest.raises(ImgturboError, match=words):
            prepare(config)
    assert not (tmp_path / "out").exists()


def test_no_common_sky_is_named(tmp_path, pair):
    far = write(tmp_path / "far.fits", stars((50, 50)), band="F200W", ra=190)
    field = FieldConfig(name="a", source=pair.source, target=[far])
    with pytest.raises(ImgturboError, match=r"blue\.fits.*far\.fits"):
        prepare(settings(tmp_path, field))


def test_a_mistake_in_a_worker_is_named(tmp_path, pair):
    """The other field's work is kept, and found again once the mistake is mended."""
    far = write(tmp_path / "far.fits", stars((50, 50)), band="F200W", ra=190)
    wrong = FieldConfig(name="b", source=pair.source, target=[far])
    with pytest.raises(ImgturboError, match=r"far\.fits"):
        prepare(settings(tmp_path, pair, wrong, workers=2))
    (piece,) = (tmp_path / "out" / ".tiles.zarr.work").iterdir()
    assert piece.name.startswith("cosmos-")


def test_no_common_valid_pixel_is_named(tmp_path, pair):
    deep = np.full((101, 131), np.nan, np.float32)
    deep[:5] = 1.0
    deep[:, :3] = 1.0
    target = write(tmp_path / "edge.fits", deep, band="F200W")
    field = FieldConfig(name="a", source=pair.source[:1], target=[target])
    blue = fits.getdata(pair.source[0])
    blue[:, :20] = np.nan
    fits.writeto(pair.source[0], blue, fits.getheader(pair.source[0]), overwrite=True)
    with pytest.raises(ImgturboError, match=r"blue\.fits and .*edge\.fits have no valid pixel"):
        prepare(settings(tmp_path, field))


def test_empty_images_are_named(tmp_path, pair):
    nothing = write(tmp_path / "nan.fits", np.full((50, 50), np.nan, np.float32), band="F200W")
    with pytest.raises(ImgturboError, match=r"nan\.fits"):
        prepare(settings(tmp_path, FieldConfig(name="a", target=[nothing])))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": {"size": 256}}, "no tile fits: tiles are 256 pixels"),
        ({"tile": {"size": 96, "min_valid": 1.0}}, "no tile of 96 pixels is measured for 100%"),
        ({"split": {"method": "rows", "rows": [500, 600]}}, "has 101 rows"),
        ({"split": {"method": "rows", "rows": [0, 101]}}, "no training sky is left"),
        ({"fields": []}, "'prepare.fields' is empty"),
    ],
)
def test_impossible_settings_are_named(tmp_path, pair, options, words):
    with pytest.raises(ImgturboError, match=words):
        prepare(settings(tmp_path, pair, **options))
    assert not (tmp_path / "out" / "tiles.zarr").exists()


def test_names_are_checked(tmp_path, pair):
    with pytest.raises(ImgturboError, match="two fields are named 'cosmos'"):
        prepare(settings(tmp_path, pair, pair))
    with pytest.raises(ImgturboError, match="becomes a file name"):
        prepare(settings(tmp_path, pair.model_copy(update={"name": "a/b"})))
    missing = pair.model_copy(update={"target": [tmp_path / "absent.fits"]})
    with pytest.raises(ImgturboError, match=r"absent\.fits"):
        prepare(settings(tmp_path, missing))


def test_out_must_be_a_tile_store(tmp_path, pair):
    config = settings(tmp_path, pair)
    config.out.mkdir(parents=True)
    (config.out / "thesis.tex").write_text("years of work")
    with pytest.raises(ImgturboError, match="not overwritten"):
        prepare(config)
    assert (config.out / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_is_named(tmp_path, pair, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging.np, "save", full)
    config = settings(tmp_path, pair)
    with pytest.raises(ImgturboError, match="No space left on device"):
        prepare(config)
    assert not list((tmp_path / "out").rglob("*.npy"))
