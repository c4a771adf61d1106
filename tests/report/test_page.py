"""The page of a report, opened in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgturbo.report.page import MARK, Figure, Mark, Page, Table, binned, step_of, write_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def page(side=60, sources=3, name="a & b </script>"):
    random = np.random.default_rng(0)
    images = {
        "source": random.random((2, side, side + 7)),
        "prediction": random.random((3, side, side + 7)),
        "truth": random.random((3, side, side + 7)),
    }
    marks = [
        Mark(kind, 5.0 + k, 10.0, (kind, f"{k}"))
        for k, kind in zip(
            range(sources), ("matched", "missed", "invented") * sources, strict=False
        )
    ]
    return Page(
        title=name,
        about="F150W",
        images=images,
        upward=True,
        columns=["class", "number"],
        sources=marks,
        short=(["band", "depth"], [["F150W", "27.1"]]),
        figures=[Figure("A figure", "with words", b"\x89PNG")],
        notes=["a note"],
        radius=4.0,
        tables=[Table("A table", "of numbers", ["band", "value"], [["F150W", "1.0 ± 0.1"]])],
    )


def data_of(path):
    found = re.search(r'type="application/json">(.*?)</script>', path.read_text(), re.S)
    return json.loads(found[1])


def test_a_page_holds_all_that_it_shows(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, page())
    text = path.read_text()
    assert all(mark in path.read_bytes() for mark in MARK)
    assert not re.findall(r'(?:src|href)="(?!data:|report\.json)', text)
    assert "http://" not in text.replace("http://www.w3.org", "")
    data = data_of(path)
    assert set(data["images"]) == {"source", "prediction", "truth"}
    assert data["size"] == {"width": 67, "height": 60}
    assert data["sources"][0] == {"kind": "matched", "x": 5.5, "y": 49.5, "cells": ["matched", "0"]}
    assert text.startswith("<!doctype html>")
    assert "<title>a &amp; b &lt;/script&gt;</title>" in text


def test_large_images_are_binned_and_marks_go_along(tmp_path, monkeypatch):
    monkeypatch.setattr("imgturbo.report.page._LONGEST", 25)
    monkeypatch.setattr("imgturbo.report.page._PIXELS", 600)  # two rows of what is shown at a time
    path = tmp_path / "report.html"
    whole = page()
    shape = (60, 67)
    shown = {
        title: binned(shape, lambda rows, image=image: image[:, rows])
        for title, image in whole.images.items()
    }
    truth = whole.images["truth"][:, :60, :66].reshape(3, 20, 3, 22, 3).mean((2, 4))
    np.testing.assert_allclose(shown["truth"], truth, rtol=1e-6)
    write_page(path, replace(whole, images=shown, step=step_of(shape)))
    data = data_of(path)
    assert data["size"] == {"width": 22, "height": 20}  # 67 and 60 by 3
    assert data["sources"][0]["x"] == pytest.approx(5.5 / 3, abs=0.01)
    assert data["radius"] == pytest.approx(4 / 3, abs=0.01)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_browser_shows_it_and_a_click_goes_to_a_source(tmp_path):
    """The page is driven by a script that is put behind its own, and tells what it saw."""
    path = tmp_path / "report.html"
    write_page(path, page())
    driver = (Path(__file__).parent / "page_driver.js").read_text()
    driven = path.read_text().replace("</body>", f"<script>{driver}</script></body>")
    path.write_text(driven)
    shown = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,844",
            "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", shown.stdout, re.S)[1]
    told = json.loads(title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert told["said"] == []
    assert told["ready"] == "yes"
    assert told["moved"]
    assert told["zoomed"]
    assert told["kind"] == "invented chosen"
    np.testing.assert_allclose(told["middle"], 0, atol=3)
    assert told["filter"].startswith("brightness(2)")
    assert told["hidden"] == "none"
    assert told["marks"] == 3
    assert told["tables"] == ["A table"]
    assert told["loaded"]
    assert told["wide"] <= 500  # the narrowest window of a headless browser
