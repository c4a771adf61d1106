"""The page of a report: one file that opens anywhere, offline, with its pictures inside.

``report.html`` has an image viewer (two of the images with a bar between them, zoom, brightness,
marks of sources), a short table, figures, and the table of sources. All it needs is in it, as data
URLs and JSON, so that it works from a file and may be sent by mail. Images of more than 1400 pixels
a side are shown binned; :func:`binned` does it a few rows at a time.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgturbo.files import write_whole
from imgturbo.report.preview import colour

__all__ = ["MARK", "Figure", "Mark", "Page", "Table", "binned", "step_of", "write_page"]

MARK = (b"<!doctype html>", b'id="viewer"')
"""How a page is known that was written here (:mod:`imgturbo.places`)."""

_LONGEST = 1400  # pixels a side that are shown
_QUALITY = 88
_MOST_ROWS = 2000
_PIXELS = 1 << 21  # of an image that are binned in one go


@dataclass(frozen=True)
class Mark:
    """A source on the page: its class, its place in pixels of the images, its row of the table."""

    kind: str
    x: float
    y: float
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A picture with a title and what is to be seen in it."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Table:
    """Numbers with a title and what they are."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows.

    Attributes:
        title: its heading.
        about: a line below it.
        images: by title, (C, h, w) in 0–1 from black to white, NaN where nothing was measured; of
            one size, each pixel ``step`` × ``step`` of the field's.
        upward: whether rows run upward, as those of the sky do.
        columns, sources: the table of sources, the most important first.
        short: header and rows of the short table.
        figures, tables: in order.
        notes: lines.
        radius: of the marks, in pixels.
    """

    title: str
    about: str
    images: Mapping[str, NDArray[Any]]
    upward: bool
    columns: Sequence[str]
    sources: Sequence[Mark]
    short: tuple[Sequence[str], Sequence[Sequence[str]]]
    figures: Sequence[Figure]
    notes: Sequence[str]
    radius: float
    step: int = 1
    tables: Sequence[Table] = ()


def step_of(shape: Sequence[int]) -> int:
    """How many pixels of an image (H, W) are binned along each axis where it is shown."""
    return -(-max(shape) // _LONGEST)


def binned(shape: tuple[int, int], read: Callable[[slice], NDArray[Any]]) -> NDArray[np.float32]:
    """An image (C, H, W) as it is shown (C, h, w), read by rows.

    Args:
        shape: (H, W).
        read: rows (C, n, W) of it.
    """
    step = step_of(shape)
    height, width = (side // step for side in shape)
    # Rows of what is shown that are read in one go.
    tall = max(1, _PIXELS // (step * shape[1]))
    parts = []
    for top in range(0, height, tall):
        bottom = min(height, top + tall)
        image = read(slice(step * top, step * bottom))[:, :, : step * width]
        cells = image.reshape(len(image), bottom - top, step, width, step)
        parts.append(cells.mean((2, 4), dtype=np.float64).astype(np.float32))
    return np.concatenate(parts, 1)


def write_page(out: Path, page: Page) -> None:
    """Write the page, whole or not at all.

    Raises:
        ImgturboError: ``out`` cannot be written.
    """
    _, height, width = next(iter(page.images.values())).shape
    scale = page.step

    def place(mark: Mark) -> dict[str, Any]:
        x, y = ((value + 0.5) / scale for value in (mark.x, mark.y))
        y = height - y if page.upward else y
        return {"kind": mark.kind, "x": round(x, 2), "y": round(y, 2), "cells": mark.cells}

    data = {
        "about": page.about,
        "size": {"width": width, "height": height},
        "radius": round(page.radius / scale, 2),
        "images": {title: _picture(of, page.upward) for title, of in page.images.items()},
        "columns": list(page.columns),
        "sources": [place(mark) for mark in page.sources[:_MOST_ROWS]],
        "short": {"columns": list(page.short[0]), "rows": [list(row) for row in page.short[1]]},
        "figures": [
            {"title": f.title, "caption": f.caption, "png": _url("png", f.png)}
            for f in page.figures
        ],
        "tables": [
            {
                "title": t.title,
                "caption": t.caption,
                "columns": list(t.columns),
                "rows": [list(row) for row in t.rows],
            }
            for t in page.tables
        ],
        "notes": list(page.notes),
    }
    text = _asset("page.html")
    for word, content in (
        ("__TITLE__", html.escape(page.title)),
        ("__STYLE__", _asset("page.css")),
        ("__SCRIPT__", _asset("page.js")),
        # "</script>" in a name would end the element
        ("__DATA__", json.dumps(data, ensure_ascii=False).replace("</", "<\\/")),
    ):
        text = text.replace(word, content)
    write_whole(out, text.encode())


def _asset(name: str) -> str:
    return (files("imgturbo.report") / "page_assets" / name).read_text(encoding="utf-8")


def _picture(image: NDArray[Any], upward: bool) -> str:
    """A data URL."""
    rgb = colour(image[:, ::-1] if upward else image)
    picture = Image.fromarray(np.round(255 * rgb).astype(np.uint8))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY)
    return _url("jpeg", content.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
