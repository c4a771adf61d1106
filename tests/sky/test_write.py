"""Law 3 and law 6: what was written is read back, coordinates and holes included, or not there."""

from __future__ import annotations

import errno
import os
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkySpec, SkyWriter, Stretch, open_sky, read_sky, write_sky


@pytest.fixture
def image(make_wcs):
    data = np.random.default_rng(3).normal(size=(3, 61, 47)).astype(np.float32)
    data[0, :5] = np.nan
    data[2, 30, 20] = np.nan
    return SkyImage.from_array(
        data,
        wcs=make_wcs((61, 47)),
        unit="MJy/sr",
        bands=("F277W", "F356W", "F444W"),
        zeropoints=(26.9718, None, 26.981),
    )


def spec_of(image, **other):
    given = {
        "shape": image.shape,
        "bands": image.bands,
        "wcs": image.wcs,
        "unit": image.unit,
        "zeropoints": image.zeropoints,
        "header_cards": [("MODELSHA", "abc123", "hash of the model")],
        "history": ["input a.fits sha256 0123"],
    }
    return SkySpec(**given | other)


def windows(height, width, step=17):
    for top in range(0, height, step):
        for left in range(0, width, step):
            yield slice(top, min(top + step, height)), slice(left, min(left + step, width))


@pytest.mark.parametrize("sip", [False, True])
def test_written_is_read(tmp_path, image, make_wcs, sip):
    wcs = make_wcs(image.shape[1:], sip=sip)
    image = SkyImage.from_array(
        image.data, wcs=wcs, unit=image.unit, bands=image.bands, zeropoints=image.zeropoints
    )
    path = write_sky(tmp_path / "out.fits", image)
    back = read_sky(path)
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.valid, image.valid)
    assert back.bands == image.bands
    assert back.unit == image.unit
    assert back.zeropoints[0] == image.zeropoints[0]
    assert back.zeropoints[2] == image.zeropoints[2]
    y, x = np.mgrid[0:61:10, 0:47:9]
    apart = wcs.pixel_to_world(x, y).separation(back.wcs.pixel_to_world(x, y)).arcsec
    assert apart.max() < 1e-6 * 0.05
    assert [p.name for p in tmp_path.iterdir()] == ["out.fits"]


def test_a_band_without_zero_point_gets_it_from_its_pixels(tmp_path, image):
    back = read_sky(write_sky(tmp_path / "out.fits", image))
    area = (0.05 / 206264.806) ** 2
    assert back.zeropoints[1] == pytest.approx(-6.10 - 2.5 * np.log10(area), abs=1e-3)


def test_other_programs_understand_the_file(tmp_path, image):
    stretch = Stretch.fit(image.data, image.valid)
    path = write_sky(
        tmp_path / "out.fits",
        image,
        header_cards=stretch.header_cards(image.bands),
        history=["input: größe.fits " + "x" * 200],
        extras={"STD": np.ones(image.shape)},
    )
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert [(h.name, h.ver) for h in hdus[1:]] == [
            (name, ver) for name in ("SCI", "STD") for ver in (1, 2, 3)
        ]
        assert hdus["SCI", 3].header["FILTER"] == "F444W"
        assert hdus["SCI", 3].header["BUNIT"] == "MJy/sr"
        assert hdus["SCI", 3].header["ABZP"] == 26.981
        assert "ABZP" not in hdus["SCI", 2].header
        assert "gr??e.fits" in str(hdus[0].header["HISTORY"])
        assert (hdus["STD", 2].data == 1).all()
        wcs = WCS(hdus["STD", 2].header)
        there = wcs.world_to_pixel(image.wcs.pixel_to_world(5.0, 7.0))
        np.testing.assert_allclose(there, (5, 7), atol=1e-6)
    again = Stretch.from_header(read_sky(path).header, image.bands)
    assert again is not None
    flux = image.data.astype(float)
    np.testing.assert_allclose(again.inverse(stretch(flux)), flux, rtol=1e-9, atol=1e-12)


def test_windows_make_the_whole(tmp_path, image):
    with SkyWriter(tmp_path / "out.fits", spec_of(image)) as writer:
        for rows, cols in windows(61, 47):
            writer.write(image.data[:, rows, cols].astype(">f8"), rows, cols)
        assert not (tmp_path / "out.fits").exists()
    np.testing.assert_array_equal(read_sky(tmp_path / "out.fits").data, image.data)


def test_what_was_never_written_is_not_measured(tmp_path, image):
    with SkyWriter(tmp_path / "out.fits", spec_of(image)) as writer:
        writer.write(np.full((3, 2, 3), np.inf), slice(1, 3), slice(0, 3))
        writer.write(np.ones((3, 2, 3)), slice(3, 5), slice(0, 3))
    data = read_sky(tmp_path / "out.fits").data
    assert np.isfinite(data).sum() == 3 * 2 * 3


def test_an_exception_leaves_nothing(tmp_path, image):
    with (  # noqa: PT012  the block is what fails
        pytest.raises(KeyError, match="boom"),
        SkyWriter(tmp_path / "out.fits", spec_of(image)) as writer,
    ):
        writer.write(image.data, slice(None), slice(None))
        raise KeyError("boom")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_is_continued(tmp_path, image):
    path = tmp_path / "out.fits"
    half = slice(0, 30)
    with (  # noqa: PT012  the block is what fails
        pytest.raises(KeyError, match="boom"),
        SkyWriter(path, spec_of(image), keep_part=True) as writer,
    ):
        writer.write(image.data[:, half], half, slice(None))
        raise KeyError("boom")
    assert not path.exists()
    with pytest.raises(ImgturboError, match="other inputs, model or grid"):
        SkyWriter.resume(path, spec_of(image, history=["input b.fits"]))
    with pytest.raises(ImgturboError, match="other inputs, model or grid"):
        SkyWriter.resume(path, spec_of(image, extensions=("SCI", "STD")))
    with SkyWriter.resume(path, spec_of(image)) as writer:
        rest = slice(30, 61)
        writer.write(image.data[:, rest], rest, slice(None))
    np.testing.assert_array_equal(read_sky(path).data, image.data)
    assert [p.name for p in tmp_path.iterdir()] == ["out.fits"]


def test_several_writers_share_one_file(tmp_path, image):
    path = tmp_path / "out.fits"
    first = SkyWriter(path, spec_of(image))
    second = SkyWriter.resume(path, spec_of(image))
    for i, (rows, cols) in enumerate(windows(61, 47)):
        (first, second)[i % 2].write(image.data[:, rows, cols], rows, cols)
    second.detach()
    assert not path.exists()
    first.close()
    np.testing.assert_array_equal(read_sky(path).data, image.data)


def test_nothing_to_resume(tmp_path, image):
    with pytest.raises(ImgturboError, match="nothing to resume"):
        SkyWriter.resume(tmp_path / "out.fits", spec_of(image))


def test_existing_files_are_kept_unless_told_otherwise(tmp_path, image):
    path = tmp_path / "out.fits"
    path.write_text("precious")
    with pytest.raises(ImgturboError, match="exists already"):
        write_sky(path, image)
    assert path.read_text() == "precious"
    write_sky(path, image, overwrite=True)
    assert read_sky(path).shape == image.shape


def test_a_file_that_appeared_meanwhile_is_kept(tmp_path, image):
    path = tmp_path / "out.fits"
    with (  # noqa: PT012  the block is what fails
        pytest.raises(ImgturboError, match="exists already"),
        SkyWriter(path, spec_of(image)) as writer,
    ):
        writer.write(image.data, slice(None), slice(None))
        path.write_text("precious")
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.fits"]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_pictures_of_the_sky_have_its_rows_turned(tmp_path, make_wcs, name):
    data = np.random.default_rng(0).uniform(0, 1, (1, 9, 7)).astype(np.float32)
    for wcs, shown in ((None, data), (make_wcs((9, 7)), data[:, ::-1])):
        image = SkyImage.from_array(data, wcs=wcs, unit="display")
        with SkyWriter(
            tmp_path / name, SkySpec((1, 9, 7), ["L"], wcs, "display"), overwrite=True
        ) as out:
            out.write(data, slice(None), slice(None))
        for path in (tmp_path / name, write_sky(tmp_path / f"b{name}", image, overwrite=True)):
            np.testing.assert_allclose(read_sky(path).data, shown, atol=0.51 / 255)


@pytest.mark.parametrize("name", ["out.fits", "out.tif"])
def test_unwritable_output(tmp_path, image, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImgturboError, match=rf"{name}: cannot be written") as caught:
        write_sky(tmp_path / "file" / name, image)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImgturboError, match="cannot be written"):
        write_sky(tmp_path / "absent" / name, image)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("after", [0, 5, 20])
def test_a_full_disk_leaves_nothing_under_the_name(tmp_path, image, monkeypatch, after, keep):
    real, calls = os.pwrite, []

    def pwrite(*args):
        calls.append(args)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with (  # noqa: PT012
        pytest.raises(ImgturboError, match="disk is full"),
        SkyWriter(tmp_path / "out.fits", spec_of(image), keep_part=keep) as writer,
    ):
        for rows, cols in windows(61, 47):
            writer.write(image.data[:, rows, cols], rows, cols)
    left = [p.name for p in tmp_path.iterdir()]
    assert left == ([".out.fits.part"] if keep and after == 20 else [])


def test_a_full_disk_at_the_last_moment(tmp_path, image, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ImgturboError, match="disk is full"):
        write_sky(tmp_path / "out.fits", image)
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_finished(tmp_path, image, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:1000], at))
    write_sky(tmp_path / "out.fits", image)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_sky(tmp_path / "out.fits").data, image.data)


def test_memory_is_a_windows_not_the_files(tmp_path):
    shape = (1, 6000, 1024)
    tracemalloc.start()
    with SkyWriter(tmp_path / "tall.fits", SkySpec(shape, ["F606W"])) as writer:
        for top in range(0, 6000, 500):
            window = np.full((1, 64, 1024), top, np.float32)
            writer.write(window, slice(top, top + 64), slice(None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * 4 * 6000 * 1024
    with open_sky(tmp_path / "tall.fits") as reader:
        assert (reader.read(slice(500, 564)).data == 500).all()


def test_windows_must_fit(tmp_path, image):
    writer = SkyWriter(tmp_path / "out.fits", spec_of(image))
    with pytest.raises(ValueError, match="does not fit"):
        writer.write(np.zeros((3, 9, 9)), slice(0, 9), slice(45, 54))
    writer.discard()
    with pytest.raises(ImgturboError, match="band names"):
        SkySpec((2, 4, 4), ["A"])
