"""The commands of colour: words in, sheets out, mistakes in one line with status 2."""

from __future__ import annotations

import pytest
from color_standins import colour_picture, grey_picture, make_bundle

from imgturbo.sky import read_sky


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("flow") / "bundle")


def test_colorize_and_every_latent_command(run, bundle, tmp_path):
    grey, colour = grey_picture(tmp_path / "grey.png"), colour_picture(tmp_path / "colour.png")
    model = ("--bundle", bundle.path)
    out = tmp_path / "out"
    status, told, _ = run("colorize", *model, grey, "--samples", 2, "--out", out)
    assert (status, told.split()) == (0, [str(out / "grey_sheet.png")])
    for name, words in {
        "saturation": (grey, "--samples", 2),
        "interpolate": (colour, "--grey"),
        "transfer": (grey, "--reference", colour, "--mix", "1,0"),
        "scales": (grey, "--seed", 3, "--size", 16),
    }.items():
        sheet = tmp_path / f"{name}.png"
        status, told, _ = run("latent", name, *model, *words, "--out", sheet)
        assert (status, told.split()) == (0, [str(sheet)])
        assert read_sky(sheet).data.shape[0] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("colorize", "COLOUR", "--out", "OUT"), "--grey"),
        (("colorize", "GREY", "--out", "OUT", "--temperature", "-1"), "temperature"),
        (("latent", "saturation", "GREY", "--out", "OUT.jpg"), "OUT.png"),
        (("latent", "transfer", "GREY", "--reference", "GREY", "--out", "OUT.png"), "reference"),
        (
            ("latent", "transfer", "GREY", "--reference", "COLOUR", "--out", "OUT.png",
             "--mix", "a,b"),
            "numbers",
        ),
        (("latent",), "Missing command"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, bundle, tmp_path, words, said):
    names = {
        "GREY": grey_picture(tmp_path / "grey.png"),
        "COLOUR": colour_picture(tmp_path / "colour.png"),
    }
    words = [str(names.get(w, tmp_path / w if w.startswith("OUT") else w)) for w in words]
    model = ["--bundle", bundle.path] if len(words) > 1 else []
    status, _, told = run(*words, *model)
    assert status == 2
    assert told.startswith("error: ")
    assert said in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("OUT*"))
