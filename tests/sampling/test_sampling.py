"""Sampling laws: a sample is a function of (seed, number); files hold what Python gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.cli.main import app
from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_sky
from imgturbo.sampling import reconstruct, sample, write_reconstruction, write_samples
from imgturbo.sampling.draw import great_circle
from imgturbo.side import Side
from imgturbo.sky import SkyImage
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.files import open_table

SIZE, CODE = 9, 6
IMAGE = Side(
    ("F606W", "F814W"),
    "MJy/sr",
    Stretch(np.array([0.1, 0.0]), np.array([0.5, 0.4]), np.array([2.0, 3.0])),
    pixel_scale=0.04,
)
SMALL = {"width": 4, "depth": 1, "blocks": 1}
SIZED = {"size": SIZE, **SMALL}


def latent(numbers=CODE):
    return Side(tuple(f"z{k + 1}" for k in range(numbers)), "", Stretch.linear(numbers), "latent")


def bundle_of(folder, decoder, encoder=None, source=None, target=IMAGE, shape="vector"):
    """A bundle with random weights; ``source`` None: a code."""
    source = source or latent()
    prior = {"kind": "prior", "numbers": len(source), "shape": shape}
    model = {"decoder": decoder} | ({"encoder": encoder} if encoder else {})
    data = {"source": prior} if source.kind == "latent" else {}
    config = Config.model_validate({"model": model, "data": data})
    torch.manual_seed(2)
    forward = build_network(config.model.decoder, len(source), len(target))
    backward = build_network(
        config.model.encoder or config.model.decoder, len(target), len(source)
    ) if encoder else None  # fmt: skip
    save_bundle(
        folder,
        decoder=forward,
        encoder=backward,
        config=config,
        sides={"source": source, "target": target},
        record={"extent": SIZE},
    )
    return load_bundle(folder)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    scales = Stretch(np.array([0, 2_460_000.5, 1]), np.full(3, np.inf), np.array([1, 1e-3, 2]))
    rows = Side(("a", "b", "c"), "", scales, kind="table", units=("GeV", "d", ""))
    unet = {"kind": "unet", "width": 4, "depth": 1, "blocks": 1}
    return {
        "code": bundle_of(
            folder / "code",
            {"kind": "code_to_image", **SIZED},
            {"kind": "image_to_code", **SIZED},
        ),
        "noisy": bundle_of(
            folder / "noisy", {"kind": "code_to_image", "noise_channels": 2, **SIZED}
        ),
        "map": bundle_of(folder / "map", unet, unet, shape="map"),
        "rows": bundle_of(folder / "rows", {"kind": "mlp", "hidden": [8]}, target=rows),
        "pair": bundle_of(folder / "pair", unet, unet, source=IMAGE),
    }


DRAWN = ("code", "noisy", "map", "rows")


@pytest.mark.parametrize("kind", DRAWN)
def test_a_sample_is_a_function_of_the_seed_and_its_number(bundles, kind):
    bundle = bundles[kind]
    many = bundle.sample(37, seed=5)
    assert many.dtype == (np.float64 if kind == "rows" else np.float32)
    assert many.shape == (37, *((3,) if kind == "rows" else (2, SIZE, SIZE)))
    few = bundle.sample(3, seed=5)
    # In stacks of another size libraries round differently, and in nothing else.
    assert np.allclose(few, many[:3], rtol=1e-4, atol=1e-5)
    assert np.array_equal(many, bundle.sample(37, seed=5))
    by_fives = np.concatenate(list(sample(bundle, 37, 5, batch=5)))
    assert np.allclose(by_fives, many, rtol=1e-4, atol=1e-5)
    assert not np.allclose(bundle.sample(3, seed=6), few, atol=1e-3)
    assert np.abs(many[0] - many[1]).max() > 1e-3


def test_samples_are_the_map_of_standard_normal_codes(bundles):
    from imgturbo.sampling.draw import Latent

    one = Latent.of(bundles["code"])
    codes = one.codes(np.arange(4000), seed=1)
    assert abs(codes.mean()) < 0.02
    assert codes.std() == pytest.approx(1, abs=0.02)
    with torch.no_grad():
        made = bundles["code"].decoder(torch.from_numpy(codes[:5])).numpy()
    wanted = IMAGE.stretch.inverse(np.moveaxis(made, 1, 0).astype(float))
    assert np.allclose(bundles["code"].sample(5, seed=1), np.moveaxis(wanted, 0, 1), rtol=1e-5)


def test_temperature_zero_is_one_picture(bundles):
    for kind in DRAWN:
        cold = bundles[kind].sample(3, temperature=0)
        assert np.allclose(cold[0], cold[1], atol=1e-6)
        assert np.allclose(cold[0], cold[2], atol=1e-6)


def test_codes_that_are_maps_may_be_of_any_size(bundles):
    assert bundles["map"].sample(2, size=13).shape == (2, 2, 13, 13)
    with pytest.raises(ImgturboError, match=r"rows of numbers.*leave --size out"):
        bundles["code"].sample(2, size=13)


def test_the_way_between_two_samples_begins_and_ends_at_them(bundles):
    bundle = bundles["code"]
    way = np.concatenate(list(sample(bundle, 5, seed=3, between=(2, 7))))
    ends = bundle.sample(8, seed=3)[[2, 7]]
    assert np.allclose(way[[0, -1]], ends, rtol=1e-4, atol=1e-5)


@given(t=st.lists(st.floats(0, 1), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_the_arc_keeps_to_the_shell(t, seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 5))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    found = great_circle(a, b, np.array(t)).astype(float)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.allclose(found @ a, np.cos(np.array(t) * np.arccos(a @ b)), atol=1e-5)


# ------------------------------------------------------------------------------------- files


def test_a_stack_holds_the_samples_with_units_bands_and_seed(bundles, tmp_path):
    bundle, out = bundles["code"], tmp_path / "s.fits"
    write_samples(bundle, out, 18, seed=4)
    drawn = bundle.sample(18, seed=4)
    with fits.open(out, checksum=True) as hdus:
        head = hdus[0].header
        assert (head["SEED"], head["NSAMPLES"], head["MODEL"]) == (4, 18, bundle.hash)
        assert head["PIXSCALE"] == IMAGE.pixel_scale
        assert Stretch.from_header(head, IMAGE.names).to_dict() == IMAGE.stretch.to_dict()
        for k, c in ((0, 0), (17, 1), (9, 0)):
            hdu = hdus[f"S{k + 1:03d}", c + 1]
            assert np.array_equal(hdu.data, drawn[k, c])
            assert (hdu.header["FILTER"], hdu.header["BUNIT"]) == (IMAGE.names[c], "MJy/sr")
            assert hdu.header["PREDICTD"]
        assert len(hdus) == 1 + 2 * 18
    write_samples(bundle, out, 3, seed=1)  # a stack of ours may be replaced
    (tmp_path / "other.fits").write_bytes(b"SIMPLE  =  of somebody else")
    with pytest.raises(ImgturboError, match="did not make it"):
        write_samples(bundle, tmp_path / "other.fits", 3)


def test_sheets_and_tables(bundles, tmp_path):
    write_samples(bundles["code"], tmp_path / "s.png", 5)
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    drawn = bundles["rows"].sample(7, seed=2)
    assert drawn.dtype == np.float64
    for name in ("r.csv", "r.tsv", "r.ecsv", "r.fits"):
        write_samples(bundles["rows"], tmp_path / name, 7, seed=2)
        with open_table(tmp_path / name) as table:
            (block,) = table.blocks(["a", "b", "c"])
            units = [column.unit for column in table.columns.values()]
        assert (block.numbers == drawn).all()
        assert units == (["", "", ""] if name[2:] in ("csv", "tsv") else ["GeV", "d", ""])
    assert Table.read(tmp_path / "r.fits").meta["SEED"] == 2


def test_times_keep_their_seconds(bundles):
    """A column of Julian dates a minute apart: float32 would have a quarter of a day."""
    drawn = bundles["rows"].sample(4000, seed=1)[:, 1]
    assert len(np.unique(drawn)) > 3900
    assert abs(drawn.mean() - 2_460_000.5) < 1 / 1440


# ------------------------------------------------------------------------------ there and back


def sky(height, width, hole=True):
    """Noise like the training's, with a pixel that was not measured."""
    noise = np.random.default_rng(0).normal(size=(2, height, width))
    offset, softening = (v[:, None, None] for v in (IMAGE.stretch.offset, IMAGE.stretch.softening))
    data = (offset + noise * softening / 3).astype(np.float32)
    data[:, 3, 4] = np.nan if hole else 0
    return SkyImage.from_array(data, unit="MJy/sr", bands=IMAGE.names)


@pytest.mark.parametrize("shape", [(9, 9), (22, 31), (18, 11)])
def test_squares_go_there_and_back_each_by_itself(bundles, shape):
    bundle, image = bundles["code"], sky(*shape)
    found = reconstruct(bundle, image)
    assert (found.path, found.side) == ("direct", bundle.target)
    assert np.isnan(found.image.data[:, 3, 4]).all()
    assert np.isfinite(found.image.data).sum() == np.isfinite(image.data).sum()
    y = np.nan_to_num(IMAGE.stretch(image.data), nan=0.0)
    last = y[:, -9:, -9:]
    with torch.no_grad():
        back = bundle.decoder(bundle.encoder(torch.from_numpy(last[None])))[0].numpy()
    wanted = IMAGE.stretch.inverse(back.astype(float))
    got, inside = found.image.data[:, -9:, -9:], np.isfinite(image.data[:, -9:, -9:])
    assert np.allclose(got[inside], wanted[inside], rtol=1e-4, atol=1e-4)
    apart = IMAGE.stretch(found.image.data) - IMAGE.stretch(image.data)
    assert found.psnr == pytest.approx(-10 * math.log10(np.nanmean(apart.astype(float) ** 2)))
    assert np.array_equal(found.residual, found.image.data - found.given.data, equal_nan=True)


@pytest.mark.parametrize("path", ["direct", "reverse"])
def test_images_go_by_both_translations(bundles, path):
    bundle, image = bundles["pair"], sky(20, 26)
    found = reconstruct(bundle, image, path)
    there, back = ("backward", "forward") if path == "direct" else ("forward", "backward")
    wanted = translate_sky(bundle, translate_sky(bundle, image, there).mean, back).mean
    assert np.allclose(found.image.data, wanted.data, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert found.path == path


def test_maps_of_codes_go_there_and_back(bundles):
    bundle, image = bundles["map"], sky(17, 12, hole=False)
    found = reconstruct(bundle, image)
    with torch.no_grad():
        y = torch.from_numpy(IMAGE.stretch(image.data)[None])
        back = bundle.decoder(bundle.encoder(y))[0].numpy()
    wanted = IMAGE.stretch.inverse(back.astype(float))
    assert np.allclose(found.image.data, wanted, rtol=1e-3, atol=1e-4)


def test_a_reconstruction_is_written_with_its_residual(bundles, tmp_path):
    found = reconstruct(bundles["code"], sky(18, 18))
    out = write_reconstruction(found, tmp_path / "r.fits", bundles["code"])
    with fits.open(out) as hdus:
        assert np.array_equal(hdus["SCI", 2].data, found.image.data[1], equal_nan=True)
        assert np.array_equal(hdus["RESIDUAL", 1].data, found.residual[0], equal_nan=True)
    write_reconstruction(found, tmp_path / "r.png", bundles["code"])
    assert (tmp_path / "r.png").exists()


# -------------------------------------------------------------------------------- refusals


def test_what_cannot_be_sampled_is_named_in_a_line(bundles, tmp_path):
    cases = [
        (lambda: bundles["pair"].sample(2), "no codes to sample|none of its sides"),
        (lambda: bundles["code"].sample(0), "ask for 1 or more"),
        (lambda: bundles["code"].sample(2, temperature=-1), "zero or more"),
        (lambda: list(sample(bundles["code"], 1, between=(0, 1))), "ask for 2 or more"),
        (lambda: list(sample(bundles["code"], 2, between=(0, -1))), "no number -1"),
        (lambda: write_samples(bundles["code"], tmp_path / "a.csv", 2), "end the name with .fits"),
        (lambda: write_samples(bundles["rows"], tmp_path / "a.png", 2), "written as .csv, .tsv"),
        (lambda: write_samples(bundles["code"], tmp_path / "a.png", 401), "400 samples at most"),
        (lambda: write_samples(bundles["code"], tmp_path / "a.fits", 10**12), "100000 .* at most"),
        (lambda: reconstruct(bundles["noisy"], sky(9, 9)), "holds no encoder"),
        (lambda: reconstruct(bundles["code"], sky(9, 8)), "squares of 9"),
        (lambda: reconstruct(bundles["code"], sky(9, 9), "reverse"), "begins with a latent"),
    ]
    for call, words in cases:
        with pytest.raises(ImgturboError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_command_draws_and_brings_back(bundles, tmp_path):
    from imgturbo.sky import write_sky

    write_sky(tmp_path / "in.fits", sky(18, 20))
    run = CliRunner().invoke
    bundle = ["sample", "--bundle", str(bundles["code"].path)]
    one = run(app, [*bundle, "--n", "4", "--seed", "9", "--out", str(tmp_path / "s.fits")])
    assert one.exit_code == 0, one.output
    assert np.array_equal(
        fits.getdata(tmp_path / "s.fits", ("S003", 1)), bundles["code"].sample(4, seed=9)[2, 0]
    )
    again = [*bundle, "--reconstruct", str(tmp_path / "in.fits"), "--out", str(tmp_path / "r.fits")]
    two = run(app, again)
    assert two.exit_code == 0, two.output
    assert "direct path: PSNR" in two.output
    three = run(app, [*bundle, "--interpolate", "a,b", "--out", str(tmp_path / "w.fits")])
    assert "as --interpolate 0,1" in str(three.exception)
    four = run(app, [*bundle, str(tmp_path / "in.fits"), "--out", str(tmp_path / "w.fits")])
    assert "FILEs go with --reconstruct" in str(four.exception)
