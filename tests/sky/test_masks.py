"""What files say was not measured: each archive's layout, in the file and beside it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from imgturbo.sky import open_sky, read_sky
from imgturbo.sky.headers import quiet
from imgturbo.sky.masks import convention

HOLE = np.zeros((16, 12), bool)
HOLE[:5, 3:] = True
SKY = np.where(HOLE, 0, np.random.default_rng(0).normal(1, 0.1, HOLE.shape)).astype(np.float32)
WEIGHT = (~HOLE).astype(np.float32)
NOISE = np.where(HOLE, np.nan, 0.1).astype(np.float32)
FLAGS = HOLE.astype(np.int32)


def write(path, *images, primary=None, **cards):
    """Image extensions (name, data, cards) after a primary HDU."""
    first = fits.PrimaryHDU(primary)
    with quiet():  # MP_NO_DATA is longer than FITS likes
        headers = [fits.Header(more) for _, _, more in images]
    first.header.update(cards)
    named = zip(images, headers, strict=True)
    rest = [fits.ImageHDU(data, header, name=name) for (name, data, _), header in named]
    fits.HDUList([first, *rest]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("first", "companions"),
    [
        ("SCI", [("MSK", FLAGS * 4, {}), ("WGT", WEIGHT, {})]),
        ("SCI", [("WGT", WEIGHT, {})]),
        ("SCI", [("WHT", WEIGHT, {}), ("ERR", np.zeros_like(SKY), {})]),
        ("SCI", [("ERR", NOISE, {}), ("DQ", np.zeros(SKY.shape, np.int16), {})]),
        ("SCI", [("DQ", (FLAGS * 512).astype(np.int16), {})]),
        ("IMAGE", [("MASK", FLAGS * 256 + 32, {"MP_NO_DATA": 8, "MP_DETECTED": 5})]),
        ("IMAGE", [("MASK", FLAGS * 0 + 32, {"MP_DETECTED": 5}), ("VARIANCE", NOISE, {})]),
        ("IMAGE", [("IVAR", WEIGHT, {})]),
        ("IMAGE", [("VARIANCE", np.where(HOLE, np.inf, 1).astype(np.float32), {})]),
        (None, [("MASK", HOLE.astype(np.uint8), {}), ("UNCERT", SKY * 0 + 1, {})]),
        (None, [("UNCERT", WEIGHT, {"UTYPE": "InverseVariance"})]),
        (None, [("RMS", np.where(HOLE, 0, 1).astype(np.float32), {})]),
        (None, [("GOODPIX", WEIGHT.astype(np.uint8), {})]),
        (None, [("NHITS", WEIGHT, {})]),
        (None, [("NOISE", NOISE, {})]),
        (None, [("SIGMA_MAP", NOISE, {})]),
        (None, [("BADMASK", HOLE.astype(np.uint8), {})]),
        (None, [("DATA_QUALITY", FLAGS, {})]),
        ("DATA", [("STAT", NOISE**2, {})]),
    ],
)
def test_companions_mask(tmp_path, first, companions):
    images = companions if first is None else [(first, SKY, {}), *companions]
    path = write(tmp_path / "x.fits", *images, primary=SKY if first is None else None)
    image = read_sky(path)
    assert len(image.bands) == 1
    np.testing.assert_array_equal(image.valid, ~HOLE)
    with open_sky(path) as reader:
        np.testing.assert_array_equal(reader.read(slice(3, 9), slice(2, 7)).valid, ~HOLE[3:9, 2:7])


@pytest.mark.parametrize(
    ("cards", "kind", "masked"),
    [
        ({"TELESCOP": "JWST"}, np.int32, False),
        ({}, np.int32, False),  # a cutout without TELESCOP: 32 bits are JWST's
        ({"INSTRUME": "NIRCAM"}, np.int16, False),
        ({"TELESCOP": "HST"}, np.int32, True),
        ({}, np.int16, True),
    ],
)
def test_of_jwst_one_flag_counts(tmp_path, cards, kind, masked):
    flags = np.full(SKY.shape, 4, kind)
    flags[HOLE] = 5
    flags[0, 0] = 0
    path = write(tmp_path / "x.fits", ("SCI", SKY + 1, {}), ("DQ", flags, {}), **cards)
    valid = read_sky(path).valid
    np.testing.assert_array_equal(valid, flags == 0 if masked else ~HOLE)


def test_companions_go_by_version_else_by_order(tmp_path):
    other = np.roll(HOLE, 4, axis=0)
    weights = [WEIGHT, (~other).astype(np.float32)]
    for name, order in (("order", (0, 2, 1, 3)), ("turn", (0, 1, 2, 3))):
        images = [("SCI", SKY + 1, {}), ("SCI", SKY + 1, {}), *(("WHT", w, {}) for w in weights)]
        path = write(tmp_path / f"{name}.fits", *(images[i] for i in order))
        data = read_sky(path).data
        np.testing.assert_array_equal(np.isnan(data), [HOLE, other])
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(SKY + 1, name="SCI", ver=v) for v in (1, 2)]
    hdus += [fits.ImageHDU(WEIGHT, name="WHT", ver=2)]
    fits.HDUList(hdus).writeto(tmp_path / "version.fits")
    np.testing.assert_array_equal(
        np.isnan(read_sky(tmp_path / "version.fits").data), [HOLE & False, HOLE]
    )


def test_a_cubes_companions(tmp_path):
    cube = np.stack([SKY + 1, SKY + 2])
    path = write(tmp_path / "flat.fits", ("MASK", FLAGS, {}), primary=cube)
    np.testing.assert_array_equal(np.isnan(read_sky(path).data), [HOLE, HOLE])
    ivar = np.stack([WEIGHT, WEIGHT * 0 + 1])
    path = write(tmp_path / "cube.fits", ("IVAR", ivar, {}), primary=cube)
    np.testing.assert_array_equal(np.isnan(read_sky(path).data), [HOLE, HOLE & False])


@pytest.mark.parametrize(
    ("science", "beside", "values"),
    [
        ("f_drz.fits", "f_wht.fits", WEIGHT),
        ("f_drc.fits", "f_weight.fits", WEIGHT),
        ("f_sci.fits", "f_rms.fits", np.where(HOLE, 0, 0.1)),
        ("f_sci.fits", "f_rms.fits", np.where(HOLE, 1e30, 0.1)),
        ("f_sci.fits.gz", "f_wht.fits", WEIGHT),
        ("f.fits", "f.weight.fits", WEIGHT),
        ("f.fits", "f_WHT.fits", WEIGHT),
        ("f_sci.fits", "f_exp.fits", WEIGHT),
        ("f.fits", "f_wht_map.fits", WEIGHT),
        ("f.fits", "f_noise.fits", NOISE),
        ("f-image-r.fits", "f-invvar-r.fits", WEIGHT),
        ("f.unconv.fits", "f.unconv.wt.fits", np.where(HOLE, np.nan, 1)),
    ],
)
def test_files_beside(tmp_path, science, beside, values):
    fits.writeto(tmp_path / science, SKY)
    name = beside.partition(".")[0].rpartition("_")[2].upper()
    header = fits.Header({"EXTNAME": name})
    fits.writeto(tmp_path / beside, values.astype(np.float32), header)
    with open_sky(tmp_path / science) as reader:
        np.testing.assert_array_equal(reader.read().valid, ~HOLE)
        assert reader.masked_by == (beside,)


def test_what_is_not_used_is_named(tmp_path):
    path = write(
        tmp_path / "f_sci.fits",
        ("SCI", SKY + 1, {}),
        ("WHT", WEIGHT[:8], {}),
        ("PSF", SKY[:5, :5], {}),
        ("MODEL", SKY, {}),
    )
    fits.writeto(tmp_path / "f_mask.fits", FLAGS)
    with open_sky(path) as reader:
        assert reader.read().valid.all()
        assert set(reader.unused) == {"WHT", "PSF", "MODEL", "f_mask.fits"}
        assert any(note.startswith("WHT is not used") for note in reader.notes)
        assert any(note.startswith("MODEL is not read") for note in reader.notes)


@pytest.mark.parametrize("name", ["SCI", "IMAGE", "PRIMARY", "F606W", ""])
def test_images_are_no_companions(name):
    assert convention(name) is None
