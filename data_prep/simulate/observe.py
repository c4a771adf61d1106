r"""Exposures of a scene: noise, units, headers, files.

A camera's noiseless image f (nJy a pixel) becomes data d = f + σ(f) ε, with ε Gaussian of rms 1,
correlated as drizzling leaves it, and σ² the sky's variance and the sources' own shot noise over
the weight. The seed of ε is not the scene's, so that the same sky may be seen again.

Files look as the archives' do, one band each:

- Hubble ``drz``: SCI in electrons/s and WHT (seconds); PHOTFLAM and PHOTPLAM give the AB zero point
  ZP = −2.5 lg PHOTFLAM − 5 lg PHOTPLAM − 2.408;
- Webb ``i2d``: SCI and ERR in MJy/sr, WHT; PIXAR_SR gives ZP = −6.10 − 2.5 lg PIXAR_SR.

Pixels that no exposure saw are NaN with weight 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from data_prep.simulate.camera import Camera, Channel
from data_prep.simulate.render import render
from data_prep.simulate.sources import Scene, half_light_radius
from data_prep.simulate.spectra import BANDS, ab_magnitude
from imgturbo.files import whole

__all__ = [
    "SIMULATED",
    "TRUTH",
    "Exposure",
    "expose",
    "exposures",
    "write_exposure",
    "write_truth",
]

SIMULATED = (b"Made by imgturbo simulate",)
"""How a file of an earlier simulation is known (:mod:`imgturbo.places`)."""
TRUTH = (b"ECSV", b"source_pointing_error")
"""How its catalogue is known."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Exposure:
    """What a camera saw, nJy a pixel, NaN where it saw nothing.

    ``data``, ``clean`` and ``rms`` are (C, H, W): with noise, without, and the noise's per-pixel
    rms; ``weight`` (H, W) is the fraction of the exposures that saw a pixel.
    """

    camera: Camera
    sky: tuple[float, float]
    data: Float32
    clean: Float32
    rms: Float32
    weight: Float32

    def again(self, noise_seed: int) -> Exposure:
        """The same sky through the same camera with other noise."""
        return _with_noise(self.camera, self.sky, self.clean, noise_seed)

    def without_noise(self) -> Exposure:
        """What no telescope shows: the light alone, with the noise's rms still beside it."""
        seen = np.where(np.isnan(self.data), self.data, self.clean)
        return replace(self, data=seen)


def expose(
    scene: Scene,
    camera: Camera,
    noise_seed: int,
    progress: Callable[[float], None] | None = None,
) -> Exposure:
    """Render a scene and add noise; ``progress`` is called with the fraction done."""
    return _with_noise(camera, scene.sky, render(scene, camera, progress=progress), noise_seed)


def _with_noise(
    camera: Camera, sky: tuple[float, float], clean: Float32, noise_seed: int
) -> Exposure:
    weight = camera.weight().astype(np.float32)
    unseen = weight == 0
    data, rms = np.empty_like(clean), np.empty_like(clean)
    for c, channel in enumerate(camera.channels):
        # The stream depends on the telescope and band alone, not on which others are observed.
        name = f"{camera.telescope} {channel.band}".encode()
        rng = np.random.default_rng([noise_seed, 2, int.from_bytes(name, "big")])
        rms[c] = camera.noise_rms(clean[c], channel)
        noise = camera.unit_noise(channel, rng)
        data[c] = clean[c] + np.where(unseen, 0, rms[c]) * noise
    data[:, unseen] = np.nan
    rms[:, unseen] = np.nan
    return Exposure(camera, sky, data, clean, rms, weight)


def exposures(camera: Camera, folder: Path, suffix: str = "") -> tuple[Path, ...]:
    """The files that :func:`write_exposure` leaves."""
    telescope = camera.telescope.lower()
    return tuple(
        folder / f"{telescope}_{channel.band.lower()}{suffix}.fits" for channel in camera.channels
    )


def write_exposure(exposure: Exposure, folder: Path, suffix: str = "") -> tuple[Path, ...]:
    """One file a band, ``hst_f606w.fits`` or ``jwst_f150w.fits``; each appears whole or not at all.

    ``suffix`` stands before ``.fits``.

    Raises:
        ImgturboError: the folder cannot be written.
    """
    camera = exposure.camera
    paths = exposures(camera, folder, suffix)
    for c, (channel, path) in enumerate(zip(camera.channels, paths, strict=True)):
        layout = _drz if camera.telescope == "HST" else _i2d
        hdus = layout(exposure, c, channel)
        with whole(path) as aside:
            hdus.writeto(aside)
    return paths


def write_truth(
    scene: Scene, cameras: tuple[Camera, ...], path: Path, meta: dict[str, object]
) -> Path:
    """Catalogue as an ECSV table, one row a source, brightest first in each kind.

    Columns: ``ra``, ``dec`` (degrees, true, without any pointing error), ``kind`` (``galaxy``,
    ``cluster``, ``bcg``, ``arc``, ``star``), ``redshift`` (NaN for stars), ``mag_<band>`` (AB,
    total), ``half_light_radius`` (arcsec along the major axis, in the reddest band), ``sersic_n``,
    ``axis_ratio`` and ``position_angle`` (degrees east of north) of the brightest component there,
    and ``bulge_fraction``, the part of the light there in profiles with n > 1. An ``arc`` stands at
    its brightest image, with the flux of all images and the shape of the galaxy without its lens.

    Raises:
        ImgturboError: the file cannot be written.
    """
    sources = scene.sources
    wcs = cameras[-1].wcs(scene.sky, true=True)
    plane = np.array([(s.xi, s.eta) for s in sources]).reshape(-1, 2).T
    ra, dec = wcs.pixel_to_world_values(*cameras[-1].to_pixel(*plane))
    reddest = int(np.argmax([BANDS[band].pivot for band in scene.bands]))
    fluxes = np.array([s.flux for s in sources]).reshape(-1, len(scene.bands))
    magnitude = ab_magnitude(fluxes)
    table = Table(
        {
            "ra": ra,
            "dec": dec,
            "kind": [s.kind for s in sources],
            "redshift": [s.redshift for s in sources],
        }
    )
    for c, band in enumerate(scene.bands):
        table[f"mag_{band}"] = magnitude[:, c]
    shapes = np.full((len(sources), 5), np.nan)
    for i, source in enumerate(sources):
        if source.profiles:
            main = max(source.profiles, key=lambda p: p.flux[reddest])
            bulge = sum(p.flux[reddest] for p in source.profiles if p.index > 1)
            radius = half_light_radius(source.profiles, reddest)
            fraction = bulge / source.flux[reddest] if source.flux[reddest] > 0 else np.nan
            shapes[i] = radius, main.index, main.axis_ratio, main.position_angle, fraction
        else:
            shapes[i] = 0, np.nan, np.nan, np.nan, np.nan
    names = ("half_light_radius", "sersic_n", "axis_ratio", "position_angle", "bulge_fraction")
    for name, column in zip(names, shapes.T, strict=True):
        table[name] = column
    for name in ("ra", "dec", "position_angle"):
        table[name].unit = "deg"
    table["half_light_radius"].unit = "arcsec"
    table.meta.update(meta)
    table.sort(["kind", f"mag_{scene.bands[reddest]}"])
    with whole(path) as aside:
        table.write(aside, format="ascii.ecsv")
    return path


def _primary(camera: Camera, channel: Channel) -> fits.PrimaryHDU:
    primary = fits.PrimaryHDU()
    header = primary.header
    header["TELESCOP"] = (camera.telescope, "simulated")
    header["INSTRUME"] = (camera.instrument, "simulated")
    header["FILTER"] = channel.band
    header["TARGNAME"] = "SIMULATED SKY"
    header.add_history("Made by imgturbo simulate: not an observation.")
    error = ", ".join(f"{e:+.5f}" for e in camera.pointing_error)
    header.add_history(f"This WCS lies (east, north) = ({error}) arcsec from the true sky.")
    return primary


def _image(
    name: str, data: NDArray[np.floating], exposure: Exposure, channel: Channel
) -> fits.ImageHDU:
    header = exposure.camera.wcs(exposure.sky).to_header()
    # astropy writes the matrix as PC and CDELT; the archives' mosaics carry CD.
    for key in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
        header.remove(key, ignore_missing=True)
    for i in (0, 1):
        for j in (0, 1):
            header[f"CD{i + 1}_{j + 1}"] = exposure.camera.cd[i, j] / 3600
    hdu = fits.ImageHDU(data.astype(np.float32), header, name=name, ver=1)
    hdu.header["FILTER"] = channel.band
    return hdu


def _drz(exposure: Exposure, c: int, channel: Channel) -> fits.HDUList:
    pivot = BANDS[channel.band].pivot * 1e4  # Å
    photflam = 10 ** (-0.4 * (channel.zeropoint + 5 * np.log10(pivot) + 2.408))
    electrons = 10 ** (0.4 * (channel.zeropoint - 31.4))  # per s and nJy
    science = _image("SCI", exposure.data[c] * electrons, exposure, channel)
    science.header["BUNIT"] = "ELECTRONS/S"
    science.header["PHOTFLAM"] = (photflam, "erg/cm2/A/electron")
    science.header["PHOTPLAM"] = (pivot, "pivot wavelength, Angstrom")
    weight = _image("WHT", exposure.weight * channel.exposure, exposure, channel)
    weight.header["BUNIT"] = "S"
    primary = _primary(exposure.camera, channel)
    primary.header["EXPTIME"] = channel.exposure
    return fits.HDUList([primary, science, weight])


def _i2d(exposure: Exposure, c: int, channel: Channel) -> fits.HDUList:
    area = exposure.camera.pixel_area()
    brightness = 1e-15 / area  # nJy a pixel → MJy/sr
    hdus = [_primary(exposure.camera, channel)]
    hdus[0].header["EFFEXPTM"] = channel.exposure
    for name, data in (("SCI", exposure.data[c]), ("ERR", exposure.rms[c])):
        hdu = _image(name, data * brightness, exposure, channel)
        hdu.header["BUNIT"] = "MJy/sr"
        hdu.header["PIXAR_SR"] = (area, "nominal pixel area, sr")
        hdu.header["PIXAR_A2"] = (exposure.camera.pixel_scale**2, "nominal pixel area, arcsec2")
        hdus.append(hdu)
    hdus.append(_image("WHT", exposure.weight * channel.exposure, exposure, channel))
    return fits.HDUList(hdus)
