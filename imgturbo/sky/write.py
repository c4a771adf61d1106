"""Images of the sky, written by windows, whole or not at all.

    primary HDU       no data; provenance: stretch cards, model hash, HISTORY with the inputs
    SCI, EXTVER 1…C   (H, W) float32 each, FILTER, BUNIT, WCS, ABZP; NaN where not measured
    STD, Q05, …       further planes a band, in the same way

The layout is fixed before the first pixel is known, so every window has its place in the file and
several processes may write at once. The file grows aside, as ``.NAME.part`` in the same folder, and
takes its name only when it is complete and on disk. Windows are put by ``pwrite``: a memory map
would count every page that was written as resident.

A name that ends in ``.png``, ``.jpg`` or ``.tif`` makes a picture, which is kept in memory instead.

Rows of FITS run upward and those of pictures downward. Data are given in the rows of the image that
they are of; a card ``ROWORDER`` among the header cards says which way they run. ``BOTTOM-UP`` (or a
WCS and no card) is turned over in a picture; ``TOP-DOWN`` is not, and is written into FITS, whose
readers would else show it upside down; without either the rows of an array stay as they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.headers import pixel_area, quiet, wcs_cards
from imgturbo.sky.image import BOTTOM_UP, SkyImage
from imgturbo.sky.photometry import FluxScale
from imgturbo.sky.picture import check_picture, encode_picture, is_picture
from imgturbo.sky.units import parse_unit

__all__ = ["SkyWriter", "write_sky"]

Card = tuple[str, Any] | tuple[str, Any, str]
_FITS_BLOCK = 2880
_FILL_BYTES = 1 << 22
_PIXEL = np.dtype(">f4")


class SkyWriter:
    """A file in the making; use it as a context.

    Args:
        path: what to write; FITS, or a picture by its suffix.
        shape: (C, H, W).
        bands: a name a channel.
        wcs: celestial WCS, or None.
        unit: of the data; BUNIT.
        zeropoints: AB zero points, None where unknown; ABZP.
        header_cards: (keyword, value[, comment]) for the primary header.
        history: lines for HISTORY: inputs and their checksums, the model's hash.
        extensions: names of the planes a band.
        overwrite: replace ``path``; without it a ``path`` that exists is refused.
        keep_part: after an exception leave the part file for :meth:`resume`, instead of nothing.

    Raises:
        ImgturboError: the output exists, cannot be written, or the disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        shape: tuple[int, int, int],
        bands: Sequence[str],
        wcs: WCS | None = None,
        unit: str = "",
        zeropoints: Sequence[float | None] = (),
        header_cards: Sequence[Card] = (),
        history: Sequence[str] = (),
        extensions: Sequence[str] = ("SCI",),
        *,
        overwrite: bool = False,
        keep_part: bool = False,
    ) -> None:
        self._prepare(
            path, shape, bands, wcs, unit, zeropoints, header_cards, history, extensions, overwrite
        )
        self._keep_part = keep_part
        with self._naming_errors():
            self._file = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                if self._picture is None:
                    self._lay_out()
            except BaseException:
                self.discard()
                raise

    @classmethod
    def resume(
        cls,
        path: Path | str,
        shape: tuple[int, int, int],
        bands: Sequence[str],
        wcs: WCS | None = None,
        unit: str = "",
        zeropoints: Sequence[float | None] = (),
        header_cards: Sequence[Card] = (),
        history: Sequence[str] = (),
        extensions: Sequence[str] = ("SCI",),
        *,
        overwrite: bool = False,
        keep_part: bool = True,
    ) -> SkyWriter:
        """Go on with the part file that a writer of the same arguments left, or is still writing.

        Raises:
            ImgturboError: there is none, or it was begun with other arguments (inputs, model,
                bands, grid), or it is a picture, which has no part file.
        """
        writer = cls.__new__(cls)
        writer._prepare(
            path, shape, bands, wcs, unit, zeropoints, header_cards, history, extensions, overwrite
        )
        writer._keep_part = keep_part
        if writer._picture is not None:
            raise ImgturboError(f"{path}: a picture cannot be resumed; write .fits or start anew")
        try:
            writer._file = os.open(writer.part, os.O_RDWR)
        except FileNotFoundError:
            raise ImgturboError(f"{writer.part}: nothing to resume; start anew") from None
        except OSError as reason:
            raise writer._named(reason) from reason
        size = os.fstat(writer._file).st_size
        same = size == writer._size and all(
            os.pread(writer._file, len(text), place) == text for place, text in writer._headers
        )
        if not same:
            os.close(writer._file)
            writer._file = -1
            raise ImgturboError(
                f"{writer.part}: was begun with other inputs, model or grid; start anew"
            )
        return writer

    def write(self, data: NDArray[Any], rows: slice, cols: slice, extension: str = "SCI") -> None:
        """Put a window (C, h, w) at ``[rows, cols]``; non-finite values become NaN.

        Raises:
            ImgturboError: the disk is full, or the output can no longer be written.
        """
        channels, height, width = self.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        if data.shape != (channels, bottom - top, right - left):
            raise ValueError(f"a window of {data.shape} does not fit {rows}, {cols}, {self.shape}")
        if self._picture is not None:
            self._picture[:, top:bottom, left:right] = data
            return
        pixels = np.ascontiguousarray(data, dtype=_PIXEL)
        if not np.isfinite(data).all():
            pixels[~np.isfinite(pixels)] = np.nan
        planes = self._planes[extension]
        with self._naming_errors():
            for plane, start in zip(pixels, planes, strict=True):
                if left == 0 and right == width:
                    self._put(plane.tobytes(), start + 4 * width * top)
                    continue
                for row, line in enumerate(plane, start=top):
                    self._put(line.tobytes(), start + 4 * (width * row + left))

    def close(self) -> None:
        """Bring everything to disk and give the file its name."""
        if self._file < 0:
            return
        with self._naming_errors():
            try:
                if self._picture is not None:
                    shown = self._picture[:, ::-1] if self._turned else self._picture
                    encoded = encode_picture(shown, self.path, self.unit)
                    self._put(encoded, 0)
                os.fsync(self._file)
                if self.path.exists() and not self._overwrite:
                    raise self._exists()
                os.close(self._file)
                self._file = -1
                os.replace(self.part, self.path)
                _sync_folder(self.path.parent)
            except BaseException:
                self._abandon()
                raise

    def detach(self) -> None:
        """Bring this process's windows to disk and let go; another process finishes the file."""
        if self._file >= 0:
            with self._naming_errors():
                os.fsync(self._file)
                os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Remove the part file; nothing appears at ``path``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.part.unlink(missing_ok=True)

    def __enter__(self) -> SkyWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    # ------------------------------------------------------------------------- preparation

    def _prepare(
        self,
        path: Path | str,
        shape: tuple[int, int, int],
        bands: Sequence[str],
        wcs: WCS | None,
        unit: str,
        zeropoints: Sequence[float | None],
        header_cards: Sequence[Card],
        history: Sequence[str],
        extensions: Sequence[str],
        overwrite: bool,
    ) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.part")
        self.shape, self.bands, self.unit = shape, tuple(bands), unit
        self._overwrite, self._file = overwrite, -1
        self._turned = _row_order(header_cards, wcs) == BOTTOM_UP
        self._picture: NDArray[np.float32] | None = None
        zeros = tuple(zeropoints) or (None,) * shape[0]
        if len(self.bands) != shape[0] or len(zeros) != shape[0]:
            raise ImgturboError(
                f"{path}: {shape[0]} channels but {len(self.bands)} band names and "
                f"{len(zeros)} zero points"
            )
        if self.path.exists() and not overwrite:
            raise self._exists()
        if is_picture(self.path):
            if tuple(extensions) != ("SCI",):
                raise ImgturboError(
                    f"{path}: a picture cannot hold {', '.join(extensions[1:])}; write .fits"
                )
            check_picture(self.path, shape[0], unit)
            self._picture = np.full(shape, np.nan, np.float32)
            return
        headers = [_primary_header(header_cards, history)]
        for name in extensions:
            for n, (band, zero) in enumerate(zip(self.bands, zeros, strict=True), start=1):
                headers.append(_image_header(name, n, band, shape[1:], unit, zero, wcs))
        self._headers: list[tuple[int, bytes]] = []
        starts: list[int] = []
        place = 0
        for i, header in enumerate(headers):
            with quiet():
                text = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
            self._headers.append((place, text))
            place += len(text)
            if i:
                starts.append(place)
                place += _padded(4 * shape[1] * shape[2])
        self._size = place
        channels = shape[0]
        self._planes = {
            name: starts[i * channels : (i + 1) * channels] for i, name in enumerate(extensions)
        }

    def _lay_out(self) -> None:
        """Headers, then NaN everywhere: a full disk shows now, not after hours of work."""
        _, height, width = self.shape
        for place, text in self._headers:
            self._put(text, place)
        nan = np.full(_FILL_BYTES // 4, np.nan, _PIXEL).tobytes()
        used = 4 * height * width
        for start in (start for starts in self._planes.values() for start in starts):
            for first in range(0, used, len(nan)):
                self._put(nan[: min(len(nan), used - first)], start + first)
            self._put(bytes(_padded(used) - used), start + used)

    # ------------------------------------------------------------------------------- bytes

    def _put(self, content: bytes, place: int) -> None:
        left = memoryview(content)
        while left:
            written = os.pwrite(self._file, left, place)
            left, place = left[written:], place + written

    def _abandon(self) -> None:
        if self._keep_part and self._picture is None:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        else:
            self.discard()

    @contextlib.contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as reason:
            raise self._named(reason) from reason

    def _named(self, reason: OSError) -> ImgturboError:
        if reason.errno in (errno.ENOSPC, errno.EDQUOT):
            return ImgturboError(f"{self.path}: the disk is full; free some space and run it again")
        why = reason.strerror or str(reason)
        return ImgturboError(f"{self.path}: cannot be written ({why}); choose another folder")

    def _exists(self) -> ImgturboError:
        return ImgturboError(f"{self.path}: exists already; choose another name, or overwrite it")


def write_sky(
    path: Path | str,
    image: SkyImage,
    *,
    header_cards: Sequence[Card] = (),
    history: Sequence[str] = (),
    extras: Mapping[str, NDArray[Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an image whole: see :class:`SkyWriter` for the layout and the errors.

    Args:
        extras: further planes, name → (C, H, W): ``{"STD": …}``.
    """
    planes = {"SCI": image.data, **(extras or {})}
    if image.row_order:
        header_cards = [*header_cards, ("ROWORDER", image.row_order, "place of the first row")]
    with SkyWriter(
        path,
        image.shape,
        image.bands,
        image.wcs,
        image.unit,
        image.zeropoints,
        header_cards,
        history,
        tuple(planes),
        overwrite=overwrite,
    ) as writer:
        for name, data in planes.items():
            writer.write(data, slice(None), slice(None), name)
    return writer.path


def _row_order(cards: Sequence[Card], wcs: WCS | None) -> str:
    for card in cards:
        if card[0] == "ROWORDER":
            return str(card[1])
    return "" if wcs is None else BOTTOM_UP


def _primary_header(cards: Sequence[Card], history: Sequence[str]) -> fits.Header:
    header = fits.PrimaryHDU().header
    with quiet():
        for card in cards:
            if tuple(card[:2]) != ("ROWORDER", BOTTOM_UP):  # what FITS means anyway
                header.append(fits.Card(*card), end=True)
        for line in history:
            header.add_history(line.encode("ascii", "replace").decode("ascii"))
    return header


def _image_header(
    name: str,
    version: int,
    band: str,
    size: tuple[int, int],
    unit: str,
    zero: float | None,
    wcs: WCS | None,
) -> fits.Header:
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "image extension")
    header["BITPIX"] = (-32, "IEEE float32")
    header["NAXIS"] = 2
    header["NAXIS1"], header["NAXIS2"] = size[1], size[0]
    header["PCOUNT"], header["GCOUNT"] = 0, 1
    header["EXTNAME"], header["EXTVER"] = name, version
    header["FILTER"] = (band, "band")
    for card in FluxScale(parse_unit(unit), zero, pixel_area(wcs)).cards():
        header.append(card)
    if wcs is not None:
        header.extend(wcs_cards(wcs).cards, update=True)
    return header


def _padded(length: int) -> int:
    return -(-length // _FITS_BLOCK) * _FITS_BLOCK


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable, where the system lets a folder be synchronised."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
