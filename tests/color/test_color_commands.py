"""The commands of colour: words in, sheets out, mistakes in one line with status 2."""

from __future__ import annotations

import json

import pytest
from color_standins import colour_picture, grey_picture

from imgturbo.cli.main import main
from imgturbo.sky import read_sky


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_colorize_and_every_latent_command(bundle, tmp_path, capsys):
    grey, colour = grey_picture(tmp_path / "grey.png"), colour_picture(tmp_path / "colour.png")
    model = ("--bundle", bundle.path)
    out = tmp_path / "out"
    assert run("colorize", *model, grey, "--samples", 2, "--out", out) == 0
    assert capsys.readouterr().out.split() == [str(out / "grey_sheet.png")]
    for name, words in {
        "saturation": (grey, "--samples", 2),
        "interpolate": (colour, "--grey"),
        "transfer": (grey, "--reference", colour, "--mix", "1,0"),
        "scales": (grey, "--seed", 3, "--size", 16),
    }.items():
        sheet = tmp_path / f"{name}.png"
        assert run("latent", name, *model, *words, "--out", sheet) == 0
        assert capsys.readouterr().out.split() == [str(sheet)]
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
def test_mistakes_are_one_line(bundle, tmp_path, capsys, words, said):
    names = {
        "GREY": grey_picture(tmp_path / "grey.png"),
        "COLOUR": colour_picture(tmp_path / "colour.png"),
    }
    words = [str(names.get(w, tmp_path / w if w.startswith("OUT") else w)) for w in words]
    model = ["--bundle", bundle.path] if len(words) > 1 else []
    assert run(*words, *model) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not list(tmp_path.glob("OUT*"))


@pytest.mark.slow
def test_the_quick_demo_does_the_whole_job(tmp_path, capsys):
    out = tmp_path / "demo"
    for _ in range(2):  # and the same again, where all is there already
        assert run("demo-colorize", "--quick", "--out", out) == 0
        told = capsys.readouterr().out
        assert str(out / "sheet.png") in told
    assert sorted(path.name for path in out.iterdir()) == ["quick", "scores.json", "sheet.png"]
    scores = json.loads((out / "scores.json").read_text())
    nats = scores["nats_per_dimension"]["all"]
    assert nats["trained"] < nats["untrained"]
    distance = scores["rms_ab_between_samples"]
    assert distance["1"] > distance["0.5"] > distance["0"] == 0
    assert read_sky(out / "sheet.png").data.std() > 0.05
