"""Images of the sky, written by windows, whole or not at all.

What a file holds is said by a :class:`~imgturbo.sky.spec.SkySpec` before the first pixel is known,
so every window has its place in the file and several processes may write at once. The file grows
aside, as ``.NAME.part`` in the same folder, and takes its name only when it is complete and on disk
(:mod:`imgturbo.files`), its date and its checksums last; the same pixels and cards are the same
bytes but for that date, and with ``SOURCE_DATE_EPOCH`` set (as reproducible builds do) wholly so.
Windows are put by ``pwrite``: a memory map would count every page that was written as resident.

A name that ends in ``.gz`` (``.bz2``, ``.xz``) is packed when it is complete. One that ends in
``.png``, ``.jpg`` or ``.tif`` makes a picture, which is kept in memory instead.

Rows of FITS run upward and those of pictures downward. Data are given in the rows of the image that
they are of; a card ``ROWORDER`` among the header cards says which way they run. ``BOTTOM-UP`` (or a
WCS and no card) is turned over in a picture; ``TOP-DOWN`` is not, and is written into FITS, whose
readers would else show it upside down; without either the rows of an array stay as they are.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.files import aside_of, naming, put_in_place, remove, sync
from imgturbo.sky.bands import FITS_SUFFIXES
from imgturbo.sky.checksum import add, sealed, unsealed
from imgturbo.sky.flags import Flag, count_flags
from imgturbo.sky.image import BOTTOM_UP, SkyImage
from imgturbo.sky.packed import PACKED_SUFFIXES, pack
from imgturbo.sky.picture import check_picture, encode_picture, is_picture
from imgturbo.sky.spec import Card, FitsLayout, SkySpec, padded

__all__ = ["SkyWriter", "write_sky"]

_FILL_BYTES = 1 << 22
_PIXEL = np.dtype(">f4")


class SkyWriter:
    """A file in the making; use it as a context.

    Args:
        path: what to write; FITS, or a picture by its suffix.
        spec: what it holds: shape, bands, unit, coordinates, header, extensions.
        overwrite: replace ``path``; without it a ``path`` that exists is refused.
        keep_part: after an exception leave the part file for :meth:`resume`, instead of nothing.

    Raises:
        ImgturboError: the output exists, cannot be written, or the disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        spec: SkySpec,
        *,
        overwrite: bool = False,
        keep_part: bool = False,
    ) -> None:
        self._prepare(path, spec, overwrite, keep_part)
        with self._naming():
            if self.part.is_symlink() or self.part.is_dir():  # and so of no writer of ours
                remove(self.part)
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
        spec: SkySpec,
        *,
        overwrite: bool = False,
        keep_part: bool = True,
    ) -> SkyWriter:
        """Go on with the part file that a writer of the same spec left, or is still writing.

        Raises:
            ImgturboError: there is none, or it was begun with another spec (inputs, model, bands,
                grid), or it is a picture, which has no part file.
        """
        writer = cls.__new__(cls)
        writer._prepare(path, spec, overwrite, keep_part)
        if writer._picture is not None:
            raise ImgturboError(f"{path}: a picture cannot be resumed; write .fits or start anew")
        with writer._naming():
            try:
                if writer.part.is_symlink():
                    raise FileNotFoundError
                writer._file = os.open(writer.part, os.O_RDWR)
            except FileNotFoundError:
                raise ImgturboError(f"{writer.part}: nothing to resume; start anew") from None
        size = os.fstat(writer._file).st_size
        same = size == writer._layout.size and all(
            unsealed(os.pread(writer._file, len(text), place)) == text
            for place, text in writer._layout.headers
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
        channels, height, width = self.spec.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        if data.shape != (channels, bottom - top, right - left):
            raise ValueError(
                f"a window of {data.shape} does not fit {rows}, {cols}, {self.spec.shape}"
            )
        if self._picture is not None:
            self._picture[:, top:bottom, left:right] = data
            return
        pixels = np.ascontiguousarray(data, dtype=_PIXEL)
        if not np.isfinite(data).all():
            pixels[~np.isfinite(pixels)] = np.nan
        planes = self._layout.planes[extension]
        with self._naming():
            for plane, start in zip(pixels, planes, strict=True):
                if left == 0 and right == width:
                    self._put(plane.tobytes(), start + 4 * width * top)
                    continue
                for row, line in enumerate(plane, start=top):
                    self._put(line.tobytes(), start + 4 * (width * row + left))

    def write_flags(self, flags: NDArray[np.uint8], rows: slice, cols: slice) -> None:
        """Put a window (h, w) of FLAGS; of a picture they are only counted.

        Raises:
            ImgturboError: as of :meth:`write`.
        """
        _, height, width = self.spec.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = cols.indices(width)
        if self._picture is not None:
            self._flags[top:bottom, left:right] = flags
            return
        assert self._layout.flags is not None
        with self._naming():
            for row, line in enumerate(flags, start=top):
                self._put(line.tobytes(), self._layout.flags + width * row + left)

    def checksum(self, pixels: tuple[slice, slice], flags: tuple[slice, slice]) -> int:
        """CRC-32 of what the part file holds at these (rows, cols), of every plane and of FLAGS."""
        total, width = 0, self.spec.shape[2]
        places = [(start, 4, pixels) for start in self._starts()]
        if self._layout.flags is not None:
            places.append((self._layout.flags, 1, flags))
        for start, size, (rows, cols) in places:
            at, length = start + size * (width * rows.start + cols.start), cols.stop - cols.start
            if length == width:
                for content in self._blocks(at, size * width * (rows.stop - rows.start)):
                    total = zlib.crc32(content, total)
                continue
            for row in range(rows.stop - rows.start):
                content = os.pread(self._file, size * length, at + size * width * row)
                total = zlib.crc32(content, total)
        return total

    def flag_counts(self) -> dict[Flag, int]:
        """How many pixels have each flag, by what has been written, whoever wrote it."""
        if self._picture is not None:
            return count_flags(self._flags)
        total = dict.fromkeys(Flag, 0)
        if self._layout.flags is None:
            return total
        _, height, width = self.spec.shape
        for content in self._blocks(self._layout.flags, height * width):
            for flag, count in count_flags(np.frombuffer(content, np.uint8)).items():
                total[flag] += count
        return total

    def close(self) -> None:
        """Bring everything to disk and give the file its name."""
        if self._file < 0:
            return
        with self._naming():
            try:
                if self._picture is not None:
                    turned = self.spec.row_order == BOTTOM_UP
                    shown = self._picture[:, ::-1] if turned else self._picture
                    encoded = encode_picture(shown, self.path, self.spec.unit)
                    self._put(encoded, 0)
                else:
                    self._seal()
                sync(self._file)
                if self.path.suffix.lower() in PACKED_SUFFIXES:
                    pack(self.part, self.path.suffix.lower())
                if self.path.exists() and not self._overwrite:
                    raise self._exists()
                os.close(self._file)
                self._file = -1
                put_in_place(self.part, self.path)
            except BaseException:
                self._abandon()
                raise

    def detach(self) -> None:
        """Bring this process's windows to disk and let go; another process finishes the file."""
        if self._file >= 0:
            with self._naming():
                sync(self._file)
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

    def _prepare(self, path: Path | str, spec: SkySpec, overwrite: bool, keep_part: bool) -> None:
        self.path, self.spec = Path(path), spec
        self.part = aside_of(self.path)
        self._overwrite, self._keep_part, self._file = overwrite, keep_part, -1
        self._picture: NDArray[np.float32] | None = None
        self._layout = FitsLayout([], {}, None, 0)
        if self.path.exists() and not overwrite:
            raise self._exists()
        if not is_picture(self.path):
            _check_name(self.path)
            self._layout = spec.fits_layout()
            return
        if spec.extensions != ("SCI",):
            raise ImgturboError(
                f"{path}: a picture cannot hold {', '.join(spec.extensions[1:])}; write .fits"
            )
        check_picture(self.path, spec.shape[0], spec.unit)
        self._picture = np.full(spec.shape, np.nan, np.float32)
        self._flags = np.zeros(spec.shape[1:], np.uint8)

    def _lay_out(self) -> None:
        """Headers, then NaN everywhere: a full disk shows now, not after hours of work."""
        _, height, width = self.spec.shape
        for place, text in self._layout.headers:
            self._put(text, place)
        nan = np.full(_FILL_BYTES // 4, np.nan, _PIXEL).tobytes()
        used = 4 * height * width
        for start in self._starts():
            for first in range(0, used, len(nan)):
                self._put(nan[: min(len(nan), used - first)], start + first)
        if self._layout.flags is not None:
            zeros = bytes(_FILL_BYTES)
            for first in range(self._layout.flags, self._layout.size, _FILL_BYTES):
                self._put(zeros[: self._layout.size - first], first)
        self._fill_blocks()

    def _fill_blocks(self) -> None:
        """Zeros from the last pixel of each plane to the end of its block."""
        _, height, width = self.spec.shape
        ends = [(start, 4 * height * width) for start in self._starts()]
        if self._layout.flags is not None:
            ends.append((self._layout.flags, height * width))
        for start, used in ends:
            self._put(bytes(padded(used) - used), start + used)

    def _starts(self) -> list[int]:
        """Where the planes of numbers begin."""
        return [start for starts in self._layout.planes.values() for start in starts]

    def _seal(self) -> None:
        """Write the date and the checksums, a block at a time, whatever the file's size."""
        self._fill_blocks()  # of no pixel, and so in no journal: a resumed file's may be damaged
        date = _now().strftime("%Y-%m-%dT%H:%M:%S")
        for (place, text), (start, length) in zip(
            self._layout.headers, self._layout.data, strict=True
        ):
            total = 0
            for content in self._blocks(start, length):
                total = add(total, content)
            self._put(sealed(text, date, total), place)

    # ------------------------------------------------------------------------------- bytes

    def _put(self, content: bytes, place: int) -> None:
        left = memoryview(content)
        while left:
            written = os.pwrite(self._file, left, place)
            left, place = left[written:], place + written

    def _blocks(self, start: int, length: int) -> Iterator[bytes]:
        for first in range(0, length, _FILL_BYTES):
            yield os.pread(self._file, min(_FILL_BYTES, length - first), start + first)

    def _abandon(self) -> None:
        if self._keep_part and self._picture is None:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        else:
            self.discard()

    def _naming(self) -> AbstractContextManager[None]:
        return naming(self.path, "free some space or choose another folder")

    def _exists(self) -> ImgturboError:
        return ImgturboError(f"{self.path}: exists already; choose another name, or overwrite it")


def _now() -> datetime:
    """The time; or that which reproducible builds give by ``SOURCE_DATE_EPOCH``."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(given), UTC) if given.isdigit() else datetime.now(UTC)


def _check_name(path: Path) -> None:
    """A file of FITS under another name would be taken for what it is not."""
    whole = Path(path.stem) if path.suffix.lower() in PACKED_SUFFIXES else path
    if whole.suffix.lower() not in FITS_SUFFIXES:
        raise ImgturboError(
            f"{path}: {path.suffix or 'no suffix'!r} is no name for an image; end it with .fits "
            "(or .fits.gz), .png, .jpg or .tif"
        )


def write_sky(
    path: Path | str,
    image: SkyImage,
    *,
    header_cards: Sequence[Card] = (),
    history: Sequence[str] = (),
    extras: Mapping[str, NDArray[Any]] | None = None,
    flags: NDArray[np.uint8] | None = None,
    image_cards: Sequence[Card] = (),
    overwrite: bool = False,
) -> Path:
    """Write an image whole: see :class:`SkySpec` for the layout, :class:`SkyWriter` for the errors.

    Args:
        extras: further planes, name → (C, H, W): ``{"STD": …}``.
        flags: (H, W), of :class:`imgturbo.sky.flags.Flag`.
        image_cards: for the header of every image.

    Example:
        >>> from imgturbo import SkyImage, read_sky
        >>> flux, valid = np.ones((1, 3, 4), "f4"), np.ones((3, 4), bool)
        >>> image = SkyImage(flux, valid, None, "nJy", ("F150W",))
        >>> read_sky(write_sky("made.fits", image)).bands
        ('F150W',)
    """
    planes = {"SCI": image.data, **(extras or {})}
    if image.row_order:
        header_cards = [*header_cards, ("ROWORDER", image.row_order, "place of the first row")]
    spec = SkySpec.of(image, header_cards, history, tuple(planes), image_cards, flags is not None)
    with SkyWriter(path, spec, overwrite=overwrite) as writer:
        for name, data in planes.items():
            writer.write(data, slice(None), slice(None), name)
        if flags is not None:
            writer.write_flags(flags, slice(None), slice(None))
    return writer.path
