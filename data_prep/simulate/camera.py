r"""Two cameras: where their pixels look, how sharp they are, how deep, and where they see nothing.

The scene lives in the plane tangent to the sky at the field's centre, ξ to the east and η to the
north in arcsec. A camera of pixel scale s whose y axis lies at position angle p (east of north) has

    (ξ, η)ᵀ = CD (x − x₀),     CD = s [[−cos p, sin p], [sin p, cos p]],

which is exactly the linear part of a TAN projection with CRVAL at the field's centre; so pixels,
tangent plane and WCS agree without approximation. The header's CRPIX is displaced by the camera's
``pointing_error``, as astrometry of real mosaics is: that is what registration has to find.

An image is a drizzled stack of ``dithers``. Each exposure covers a square turned by ``tilt``
against the pixels; the weight counts the exposures, and where there is none the image is NaN.
White detector noise that is dropped on this grid is correlated: a drop of side d pixels gives each
pixel in proportion to their overlap t(x) = (box_d ∗ box_1)(x), and over drops of every phase

    ρ(j) = ∫ t(x) t(x + j) dx / ∫ t(x)² dx      along each axis,

so that a pixel's rms is 1/Σⱼρ(j) of what the noise of large apertures would suggest (Casertano et
al. 2000, arXiv:astro-ph/0010245). Noise with this ρ is white noise filtered by the root of its
Fourier transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import fft

from data_prep.simulate.psf import (
    ARCSEC,
    HUBBLE_PUPIL,
    WEBB_PUPIL,
    Pupil,
    blur,
    centred,
    image_of_pupil,
)
from data_prep.simulate.spectra import AB_NANOJANSKY, BANDS, flux_from_magnitude
from imgturbo.errors import ImgturboError

__all__ = ["HUBBLE_CHANNELS", "WEBB_CHANNELS", "Camera", "Channel", "hubble", "webb"]

Array = NDArray[np.float64]

APERTURE = 0.16
"""Radius in arcsec of the aperture for which depths are quoted."""


@dataclass(frozen=True)
class Channel:
    """One band of a camera.

    ``zeropoint`` is the AB magnitude of 1 electron/s, ``exposure`` the total time in s (together
    they set the shot noise of sources), ``depth`` the 5 σ AB magnitude of the sky noise in an
    aperture of 0.16″ radius, ``native`` the detector's pixel in arcsec before drizzling.
    """

    band: str
    zeropoint: float
    exposure: float
    depth: float
    native: float


HUBBLE_CHANNELS = {
    c.band: c
    for c in (
        Channel("F435W", 25.66, 9000.0, 28.0, 0.05),
        Channel("F606W", 26.49, 9000.0, 28.4, 0.05),
        Channel("F814W", 25.94, 9000.0, 28.0, 0.05),
    )
}
WEBB_CHANNELS = {
    c.band: c
    for c in (
        Channel("F090W", 27.5, 6000.0, 29.2, 0.031),
        Channel("F115W", 27.6, 6000.0, 29.2, 0.031),
        Channel("F150W", 27.9, 6000.0, 29.3, 0.031),
        Channel("F200W", 28.0, 6000.0, 29.4, 0.031),
        Channel("F277W", 28.2, 6000.0, 29.5, 0.063),
        Channel("F356W", 28.2, 6000.0, 29.5, 0.063),
        Channel("F444W", 28.0, 6000.0, 29.2, 0.063),
    )
}
"""Rounded from the instruments' documentation and deep-field depths."""


@dataclass(frozen=True)
class Camera:
    """A telescope, its detector and one drizzled mosaic of the field.

    ``shape`` is (H, W); ``centre`` the pixel (x, y), from 0, at which the field's centre truly
    falls; ``pointing_error`` (ξ, η) in arcsec is how far the header's sky lies from the true one.
    """

    telescope: str
    instrument: str
    pupil: Pupil
    channels: tuple[Channel, ...]
    pixel_scale: float
    shape: tuple[int, int]
    centre: tuple[float, float]
    position_angle: float  # of the y axis, degrees east of north
    roll: float  # of the pupil in the frame of the pixels, degrees anticlockwise
    tilt: float  # of an exposure's edges against the pixels, degrees
    footprint: float  # side of an exposure, arcsec
    dithers: tuple[tuple[float, float], ...]  # arcsec along x and y
    pixfrac: float
    jitter: float  # arcsec, Gaussian sigma of pointing jitter and charge diffusion
    pointing_error: tuple[float, float] = (0.0, 0.0)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, one a channel."""
        return tuple(channel.band for channel in self.channels)

    @property
    def cd(self) -> Array:
        """(2, 2) arcsec per pixel: pixel offsets (x, y) → (ξ, η)."""
        c, s = np.cos(np.radians(self.position_angle)), np.sin(np.radians(self.position_angle))
        return self.pixel_scale * np.array([[-c, s], [s, c]])

    def to_pixel(self, xi: Any, eta: Any) -> tuple[Any, Any]:
        """True pixel position (x, y), from 0, of points of the tangent plane (arcsec)."""
        inverse = np.linalg.inv(self.cd)
        x = self.centre[0] + inverse[0, 0] * xi + inverse[0, 1] * eta
        y = self.centre[1] + inverse[1, 0] * xi + inverse[1, 1] * eta
        return x, y

    def wcs(self, sky: tuple[float, float], true: bool = False) -> WCS:
        """TAN projection about ``sky`` (ra, dec, degrees), with the pointing error unless true."""
        error = np.zeros(2) if true else np.array(self.pointing_error)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = list(sky)
        wcs.wcs.crpix = np.array(self.centre) + 1 - np.linalg.inv(self.cd) @ error
        wcs.wcs.cd = self.cd / 3600
        wcs.wcs.radesys = "ICRS"
        wcs.array_shape = self.shape
        wcs.wcs.set()
        return wcs

    @property
    def oversample(self) -> int:
        """Samples a pixel and axis in which the scene is painted: the PSF needs λ/2D, cusps 3."""
        shortest = min(_wavelengths(channel.band)[0] for channel in self.channels)
        return max(3, int(np.ceil(self.pixel_scale * ARCSEC * 4 * self.pupil.radius / shortest)))

    def psf(self, channel: Channel) -> Array:
        """PSF of a channel on the oversampled grid, (N, N), sum 1, before the output pixel.

        Optics, jitter, the detector's pixel and the drop of the drizzling are in it; summing
        ``oversample`` × ``oversample`` samples adds the output pixel.
        """
        fine = self.pixel_scale / self.oversample
        wavelengths = _wavelengths(channel.band)
        # 7 arcsec of spikes each side, as far as a bright star's rise above the noise.
        size = 2 * int(np.ceil(7.0 / fine / 8)) * 8
        optics = centred(image_of_pupil(self.pupil, wavelengths, fine, size, self.roll))
        boxes = [channel.native / fine, self.pixfrac * channel.native / fine]
        return blur(optics, boxes, self.jitter / fine)

    def weight(self) -> Array:
        """(H, W) fraction of the exposures that saw each pixel, 0–1."""
        height, width = self.shape
        c, s = np.cos(np.radians(self.tilt)), np.sin(np.radians(self.tilt))
        total = np.zeros(self.shape)
        for dx, dy in self.dithers:
            x = (np.arange(width) - (width - 1) / 2) * self.pixel_scale - dx
            y = ((np.arange(height) - (height - 1) / 2) * self.pixel_scale - dy)[:, None]
            across = np.maximum(np.abs(c * x + s * y), np.abs(c * y - s * x))
            total += across <= self.footprint / 2
        return total / len(self.dithers)

    def noise_correlation(self, channel: Channel) -> Array:
        """(K,) ρ(j) of the noise along one axis at lags j = 0 … K − 1, ρ(0) = 1."""
        drop = self.pixfrac * channel.native / self.pixel_scale
        reach = int(np.ceil(drop + 1))
        fine = 100  # steps a pixel
        x = np.arange(-reach * fine, reach * fine + 1) / fine
        overlap = np.clip((drop + 1) / 2 - np.abs(x), 0, min(drop, 1.0))
        lags = [
            float((overlap[j * fine :] * overlap[: len(x) - j * fine]).sum()) for j in range(reach)
        ]
        return np.array(lags) / lags[0]

    def _white_share(self, channel: Channel) -> float:
        """Per-pixel variance over that of the white noise of the same large apertures."""
        rho = self.noise_correlation(channel)
        return float((2 * rho.sum() - 1) ** -2)

    def sky_noise(self, channel: Channel) -> float:
        """Per-pixel rms of the sky, nJy, after correlation, at full exposure."""
        pixels = np.pi * APERTURE**2 / self.pixel_scale**2
        white = float(flux_from_magnitude(channel.depth)) / 5 / np.sqrt(pixels)
        return float(white * np.sqrt(self._white_share(channel)))

    def noise_rms(self, clean: Array, channel: Channel) -> Array:
        """(H, W) per-pixel rms in nJy: sky and the sources' own photons; infinite where unseen."""
        electrons = channel.exposure * 10 ** (-0.4 * (AB_NANOJANSKY - channel.zeropoint))
        # The same correlation that lowers the sky's per-pixel rms lowers the photons'.
        share = self._white_share(channel)
        variance = self.sky_noise(channel) ** 2 + share * np.maximum(clean, 0) / electrons
        with np.errstate(divide="ignore"):
            return np.sqrt(variance / self.weight())

    def unit_noise(self, channel: Channel, rng: np.random.Generator) -> Array:
        """(H, W) Gaussian noise of rms 1, correlated as drizzling leaves it."""
        rho = self.noise_correlation(channel)
        noise = fft.rfft2(rng.standard_normal(self.shape))
        for axis, size in enumerate(self.shape):
            frequency = fft.fftfreq(size) if axis == 0 else fft.rfftfreq(size)
            waves = np.cos(2 * np.pi * np.arange(len(rho)) * frequency[:, None])
            power = np.maximum(2 * waves @ rho - 1, 0)
            noise *= np.sqrt(power)[:, None] if axis == 0 else np.sqrt(power)
        return fft.irfft2(noise, s=self.shape)

    def pixel_area(self) -> float:
        """Steradians."""
        return float((self.pixel_scale * ARCSEC) ** 2)

    def moved(self, pointing_error: tuple[float, float]) -> Camera:
        """The same camera with another error of pointing (arcsec)."""
        return replace(self, pointing_error=pointing_error)


def _wavelengths(band: str) -> list[float]:
    """Wavelengths in metres over which a band's PSF is averaged."""
    edges = BANDS[band]
    return (np.linspace(edges.blue, edges.red, 13)[1::2] * 1e-6).tolist()


def _channels(bands: Sequence[str], known: dict[str, Channel], who: str) -> tuple[Channel, ...]:
    for band in bands:
        if band not in known:
            raise ImgturboError(
                f"the simulated {who} has no band {band!r}; choose from {', '.join(known)}"
            )
    if not bands or len(set(bands)) != len(bands):
        raise ImgturboError(f"the simulated {who} needs one or more bands, each once")
    return tuple(known[band] for band in bands)


def _off_grid(pixels: int, dx: float, dy: float) -> tuple[float, float]:
    return (pixels - 1) / 2 + dx, (pixels - 1) / 2 + dy


def _dithers(step: float) -> tuple[tuple[float, float], ...]:
    """Four pointings, no two of which share an edge; ``step`` in arcsec."""
    corners = ((0.86, 0.36), (-0.5, 1.0), (-1.0, -0.57), (0.64, -0.79))
    return tuple((step * dx, step * dy) for dx, dy in corners)


def hubble(bands: Sequence[str], field: float) -> Camera:
    """A Hubble-like ACS mosaic, north up at 0.05″, that covers a Webb field of ``field`` arcsec."""
    pixels = int(np.ceil(1.18 * field / 0.05))
    return Camera(
        telescope="HST",
        instrument="ACS",
        pupil=HUBBLE_PUPIL,
        channels=_channels(bands, HUBBLE_CHANNELS, "Hubble"),
        pixel_scale=0.05,
        shape=(pixels, pixels),
        centre=_off_grid(pixels, 0.31, -0.17),
        position_angle=0.0,
        roll=13.0,
        tilt=12.0,
        footprint=1.07 * field,
        dithers=_dithers(0.017 * field),
        pixfrac=0.8,
        # Charge diffusion, jitter, focus and the stacking of exposures: what it takes for the
        # 0.12 arcsec that stars have in mosaics of F606W.
        jitter=0.033,
    )


def webb(bands: Sequence[str], pixels: int) -> Camera:
    """A Webb-like NIRCam mosaic of ``pixels`` a side at 0.04″, turned 7.3° east of north."""
    scale = 0.04
    return Camera(
        telescope="JWST",
        instrument="NIRCAM",
        pupil=WEBB_PUPIL,
        channels=_channels(bands, WEBB_CHANNELS, "Webb"),
        pixel_scale=scale,
        shape=(pixels, pixels),
        centre=_off_grid(pixels, -0.23, 0.38),
        position_angle=7.3,
        roll=0.0,
        tilt=1.1,
        footprint=0.985 * pixels * scale,
        dithers=_dithers(0.005 * pixels * scale),
        pixfrac=0.8,
        jitter=0.007,
    )
