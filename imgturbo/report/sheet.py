"""Contact sheets: pictures in rows and columns with a word above and beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from imgturbo.files import write_whole

__all__ = ["SHEET", "contact_sheet"]

_MAKER = "imgturbo contact sheet"
SHEET = (b"\x89PNG", _MAKER.encode())
"""How a sheet is known that was made here (:mod:`imgturbo.places`)."""

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_GAP, _LINE, _FONT = 4, 22, 15  # pixels


def contact_sheet(
    out: Path,
    rows: Sequence[Sequence[NDArray[Any]]],
    captions: Sequence[Sequence[str]] = (),
    labels: Sequence[str] = (),
    title: str = "",
    cell: int = 240,
) -> None:
    """Write a PNG of pictures (3, H, W) or (1, H, W) from 0 to 1, top row first; NaN is white.

    Args:
        out: the file, replaced whole.
        rows: pictures, all of about one shape; each is brought to ``cell`` pixels along its
            longer side, if it is larger.
        captions: words above the pictures, for as many rows as have them.
        labels: a word before each row.
        title: a line above all.
        cell: pixels.

    Raises:
        ImgturboError: ``out`` cannot be written.
    """
    pictures = [[_picture(planes, cell) for planes in row] for row in rows]
    words = [*captions, *([()] * (len(rows) - len(captions)))]
    width = max(picture.width for row in pictures for picture in row)
    heights = [max(picture.height for picture in row) for row in pictures]
    font = ImageFont.load_default(_FONT)
    margin = max((int(font.getlength(label)) + 3 * _GAP for label in labels), default=_GAP)
    across = max(len(row) for row in pictures)
    down = _GAP + _LINE * bool(title) + sum(heights) + len(heights) * _GAP
    down += _LINE * sum(map(bool, words))
    sheet = Image.new("RGB", (margin + across * (width + _GAP), down), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, _GAP // 2), title, fill=_INK, font=font)
    y = _GAP + _LINE * bool(title)
    for index, row in enumerate(pictures):
        for column, word in enumerate(words[index]):
            pen.text((margin + column * (width + _GAP), y), word, fill=_INK, font=font)
        y += _LINE * bool(words[index])
        if index < len(labels):
            pen.text((_GAP, y + heights[index] // 2 - 8), labels[index], fill=_INK, font=font)
        for column, picture in enumerate(row):
            sheet.paste(picture, (margin + column * (width + _GAP), y))
        y += heights[index] + _GAP
    buffer = io.BytesIO()
    maker = PngImagePlugin.PngInfo()
    maker.add_text("Software", _MAKER)
    sheet.save(buffer, "PNG", optimize=True, pnginfo=maker)
    write_whole(out, buffer.getvalue())


def _picture(planes: NDArray[Any], cell: int) -> Image.Image:
    rgb = np.repeat(planes, 3, axis=0) if len(planes) == 1 else planes
    pixels = np.rint(255 * np.clip(np.nan_to_num(rgb, nan=1.0), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    shrink = cell / max(picture.size)
    if shrink < 1:
        picture = picture.resize(
            (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))),
            Image.Resampling.LANCZOS,
        )
    return picture
