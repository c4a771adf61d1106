"""Small bundles with lively or identical networks, and small skies with a rotated WCS."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.io import fits
from small_skies import noise_sky, rotated_wcs

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config, UNetConfig
from imgturbo.nets import build_generator
from imgturbo.side import Side
from imgturbo.sky import Stretch

SOURCE = ("F606W", "F814W")
TARGET = ("F150W", "F277W")
MJY_PER_SR = -6.10 - 2.5 * np.log10((0.05 / 206264.806) ** 2)  # AB zero point at 0.05 arcsec


def side(bands, unit, stretch, zeropoint=26.0, scale=0.05):
    return Side(
        tuple(bands), unit, stretch, pixel_scale=scale, zeropoints=(zeropoint,) * len(bands)
    )


def asinh(channels: int, softening: float, scale: float) -> Stretch:
    return Stretch(
        np.linspace(0.01, 0.02, channels), np.full(channels, softening), np.full(channels, scale)
    )


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory):
    """``make(identity=…, source=…, target=…, noise=…)`` → a loaded bundle."""

    def make(
        source=SOURCE,
        target=TARGET,
        identity=False,
        noise=0,
        source_unit="electron/s",
        target_unit="MJy/sr",
        source_stretch=None,
        target_stretch=None,
        source_zeropoint=26.0,
        target_zeropoint=MJY_PER_SR,
        pixel_scale=0.05,
    ):
        config = Config()
        config.model.decoder = UNetConfig(width=8, depth=1, blocks=1, noise_channels=noise)
        torch.manual_seed(11)
        networks = []
        for inputs, outputs in ((len(source), len(target)), (len(target), len(source))):
            network = build_generator(config.model.decoder, inputs, outputs)
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    if identity and name.startswith("last"):
                        parameter.zero_()
                    elif not identity:
                        parameter.normal_(0, 0.15)
            networks.append(network.eval())
        stretch = source_stretch or asinh(len(source), 0.1, 3.0)
        goal = target_stretch or asinh(len(target), 0.2, 2.5)
        sides = {
            "source": side(source, source_unit, stretch, source_zeropoint, pixel_scale),
            "target": side(target, target_unit, goal, target_zeropoint, pixel_scale),
        }
        path = tmp_path_factory.mktemp("bundles") / "bundle"
        save_bundle(
            path,
            decoder=networks[0],
            encoder=networks[1],
            config=config,
            sides=sides,
            record={"steps": 0},
        )
        return load_bundle(path)

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle):
    return make_bundle()


@pytest.fixture(scope="session")
def identity(make_bundle):
    """Input and output sides are alike, and the network returns its input."""
    stretch = asinh(2, 0.1, 3.0)
    return make_bundle(
        target=SOURCE,
        identity=True,
        target_unit="electron/s",
        source_stretch=stretch,
        target_stretch=stretch,
        target_zeropoint=26.0,
    )


@pytest.fixture
def make_fits(tmp_path):
    """``make(name, plane, band, …)`` → path of a FITS file with one SCI image of a band."""

    def make(name, plane, band="F606W", unit="electron/s", zeropoint=26.0, wcs=None):
        cards = fits.Header()
        if wcs is not None:
            cards.update(wcs.to_header())
        if band is not None:
            cards["FILTER"] = band
        if unit is not None:
            cards["BUNIT"] = unit
        if zeropoint is not None:
            cards["ABZP"] = zeropoint
        primary = fits.PrimaryHDU()
        primary.header["TELESCOP"] = "HST"
        path = tmp_path / name
        fits.HDUList([primary, fits.ImageHDU(plane, cards, name="SCI")]).writeto(path)
        return path

    return make


@pytest.fixture
def make_archive(make_fits, tmp_path):
    """``make(names, broken=…)`` → a CSV of small fields; one that is broken lacks a file."""

    def make(names=("a1", "b2", "c3"), broken=(), size=(83, 61)):
        rows = ["field,F606W,F814W"]
        for number, name in enumerate(names):
            planes = zip(SOURCE, noise_sky(2, *size, seed=number), strict=True)
            wcs = rotated_wcs(*size)
            files = [make_fits(f"{name}_{b}.fits", p, b, wcs=wcs).name for b, p in planes]
            rows.append(",".join([name, *files]))
        rows[2:2] = [f"{name},{names[0]}_F606W.fits,nowhere.fits" for name in broken]
        manifest = tmp_path / "fields.csv"
        manifest.write_text("\n".join(rows) + "\n")
        return manifest

    return make


@pytest.fixture
def dated(monkeypatch):
    """Files that are made now have one date, so that the same content is the same bytes."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
