"""Fine-tuning: never worse on held-out sky, in the bundle's own numbers, in both directions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_standins import SIDES, TILE, make_tiles, other, side, trained

from imgturbo.bundle import load_bundle
from imgturbo.config import Config, load_config
from imgturbo.data import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.finetuning import FineTuned, finetune
from imgturbo.finetuning.compare import Scored
from imgturbo.finetuning.tiles import onto_sides
from imgturbo.sky.stretch import Stretch
from imgturbo.training import TrainResult, best, train
from imgturbo.training.checkpoint import Checkpoints

UNET = {"decoder": {"kind": "unet", "width": 4, "depth": 1, "blocks": 1}}
CRITIC = {"critic": {"width": 2, "layers": 1}}
SHORT = ("train.steps=30", "train.validate_every=10", "train.checkpoint_every=10")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Both directions."""
    return trained(
        tmp_path_factory.mktemp("start"),
        {**UNET, "encoder": UNET["decoder"], **CRITIC},
        {"preset": "turbo", "marginal": {"x_tilde": 0, "x_hat": 0, "z_tilde": 0, "z_hat": 0}},
    )


@pytest.fixture(scope="module")
def tuned(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    tiles = make_tiles(folder / "mine.zarr")
    return finetune(start, folder / "out", tiles=tiles, overrides=[*SHORT, "train.lr=0.01"])


def weights(bundle):
    return {**bundle.decoder.state_dict(), **{f"e{k}": v for k, v in
                                             bundle.encoder.state_dict().items()}}  # fmt: skip


def test_it_learns_both_directions_and_tells_before_and_after(start, tuned):
    assert tuned.improved
    before, after = tuned.before.content(), tuned.after.content()
    assert after["forward/psnr"] > before["forward/psnr"]
    assert {"backward/psnr", "backward/flux_bias/F814W", "forward/flux_bias/F150W"} <= set(after)
    assert tuned.before.samples == tuned.after.samples == 5
    made = load_bundle(tuned.bundle)
    assert (made.source, made.target) == (start.source, start.target)
    content = json.loads((tuned.run.out / "finetune.json").read_text())
    assert content == tuned.content() == made.record["finetuned"]
    assert content["fine-tuned from"] == start.hash == made.record["initial"]
    card = (tuned.bundle / "README.md").read_text()
    assert "## Fine-tuning" in card
    assert f"| forward: PSNR dB ↑ | {before['forward/psnr']:.2f} |" in card


def test_scores_of_the_table_are_those_that_choose(tuned):
    """The run's own validation and the table are of one thing."""
    told = load_bundle(tuned.bundle).record["validation"]
    for name, value in told.items():
        assert tuned.after.scores[name] == pytest.approx(value, rel=1e-4), name


def test_a_bias_of_fluxes_is_what_it_says(start, tmp_path):
    """Of a network that is k times as bright as the truth it is k − 1."""
    from imgturbo.finetuning.compare import _Beside

    made = side(("F150W",), "MJy/sr", softening=np.inf)
    given = side(("F606W", "F814W"), "electron/s")
    beside, notes = _Beside(given, made, []), []
    z = torch.rand(3, 2, TILE, TILE) * 2
    x = torch.rand(3, 1, TILE, TILE)
    offset = float(made.stretch.offset[0])
    beside.see(lambda _: 1.25 * x, (z, torch.ones(3, 1, TILE, TILE) > 0), (x, x >= 0))
    assert offset == 0
    assert beside.scores()["flux_bias/F150W"] == pytest.approx(0.25, abs=1e-6)
    assert beside.scores()["flux_error/F150W"] == pytest.approx(0, abs=1e-6)
    assert notes == []


def test_what_does_not_help_is_not_kept(start, tmp_path):
    """A rate that ruins the network: the result is the start, and training ends early."""
    tiles = make_tiles(tmp_path / "mine.zarr")
    ruin = [*SHORT, "train.lr=30", "train.steps=500", "train.patience=2", "train.warmup=0"]
    done = finetune(start, tmp_path / "out", tiles=tiles, overrides=ruin)
    assert not done.improved
    assert done.run.best_step == 0
    assert done.run.step == 20  # two validations in vain
    assert "nothing was better" in done.message
    made = load_bundle(done.bundle)
    for name, value in weights(start).items():
        assert torch.equal(weights(made)[name], value), name
    assert done.before.content() == done.after.content()
    assert "nothing was better there" in (done.bundle / "README.md").read_text()


def test_an_interrupted_run_goes_on_from_its_very_beginning(start, tuned, tmp_path):
    """With nothing but the checkpoint of step 0, the end is the same to the last bit."""
    out = tmp_path / "out"
    tiles = make_tiles(tmp_path / "mine.zarr")
    words = [*SHORT, "train.lr=0.01", "train.keep=9"]
    whole = finetune(start, out, tiles=tiles, overrides=words)
    for step in (10, 20, 30):
        shutil.rmtree(Checkpoints(out / "checkpoints", 9).at(step).path)
    (out / "checkpoints" / "last.json").unlink()
    (out / "checkpoints" / "best.json").unlink()
    again = finetune(start, out, tiles=tiles, overrides=words)
    assert again.run.best_step == whole.run.best_step
    assert load_bundle(again.bundle).hash == load_bundle(tuned.bundle).hash
    assert again.after.content() == whole.after.content()


def test_patience_counts_validations(tmp_path):
    """Without patience all steps are made, and the first weights are not scored."""
    tiles = make_tiles(tmp_path / "t.zarr")
    tree = {
        "data": {"tiles": str(tiles), "batch_size": 4},
        "model": UNET,
        "objective": {"preset": "custom", "paired": {"x_tilde": 1}},
        "train": {"out": str(tmp_path / "run"), "steps": 8, "validate_every": 2, "lr": 50,
                  "warmup": 0, "trackers": ["jsonl"], "checkpoint_every": 2},
    }  # fmt: skip
    assert train(Config.model_validate(tree)).step == 8
    tree["train"] |= {"patience": 1, "out": str(tmp_path / "patient")}
    ended = train(Config.model_validate(tree))
    assert ended.finished
    assert ended.step - ended.best_step == 2
    assert train(Config.model_validate(tree)).step == ended.step  # nor does it go on later


# ------------------------------------------------------------------------- the bundle's numbers


@settings(max_examples=6)
@given(
    softening=st.floats(0.05, 5),
    zero=st.floats(20, 28),
    offset=st.floats(-1, 1),
    turned=st.booleans(),
)
def test_tiles_are_brought_to_the_numbers_of_the_bundle(
    start, tmp_path_factory, softening, zero, offset, turned
):
    """Whatever unit, zero point, stretch and order of bands they were prepared in."""
    folder = tmp_path_factory.mktemp("brought")
    bands = ("F814W", "F606W") if turned else ("F606W", "F814W")
    own = side(bands, "electron/s", softening, zeropoints=(zero, zero))
    stretch = Stretch(own.stretch.offset + offset, own.stretch.softening, own.stretch.scale)
    store = TileStore.open(make_tiles(folder / "s.zarr", other("source", **{
        "names": bands, "stretch": stretch, "zeropoints": (zero, zero)})))  # fmt: skip
    brought = onto_sides(store, start, folder / "b.zarr")
    assert (brought.source, brought.target) == (start.source, start.target)
    for name in ("train", "validation"):
        old, new = store.split(name), brought.split(name)
        valid = np.asarray(old.source_valid[:])[:, None]
        flux = stretch.inverse(np.moveaxis(np.asarray(old.source[:], np.float64), 1, 0))
        flux = flux[::-1] if turned else flux
        wanted = start.source.stretch(flux * 10 ** (0.4 * (25.0 - zero)))
        got = np.asarray(new.source[:])
        assert np.abs(np.where(valid, np.moveaxis(wanted, 0, 1), 0) - got).max() < 2e-5
        assert np.array_equal(new.target[:], old.target[:])
        assert np.array_equal(new.target_valid[:], old.target_valid[:])


def test_a_store_of_the_same_numbers_is_used_as_it_is(start, tmp_path):
    store = TileStore.open(make_tiles(tmp_path / "s.zarr"))
    assert onto_sides(store, start, tmp_path / "b.zarr") is store
    assert not (tmp_path / "b.zarr").exists()


def test_a_store_that_was_brought_before_is_used_again(start, tmp_path):
    store = TileStore.open(make_tiles(tmp_path / "s.zarr", other("target", pixel_scale=0.0502)))
    first = onto_sides(store, start, tmp_path / "b.zarr")
    when = (first.path / "files.json").stat().st_mtime_ns
    assert onto_sides(store, start, first.path).digest == first.digest
    assert (first.path / "files.json").stat().st_mtime_ns == when


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("source", {"names": ("F606W", "F435W")}, "bundle wants F606W, F814W; got F606W, F435W"),
        ("target", {"unit": "electron/s"}, "bundle wants MJy/sr; got electron/s"),
        ("target", {"pixel_scale": 0.1}, "pixels of 0.1 arcsec, the bundle was trained at 0.05"),
        ("source", {"kind": "table"}, "holds tables, and the bundle's images"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(start, tmp_path, name, changes, said):
    tiles = make_tiles(tmp_path / "s.zarr", other(name, **changes))
    with pytest.raises(ImgturboError, match=said) as error:
        finetune(start, tmp_path / "out", tiles=tiles)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "bundle").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "give --source and --target files"),
        ({"source": ["a.fits"], "tiles": "s.zarr"}, "either files or a tile store"),
        ({"tiles": "s.zarr", "overrides": ["model.decoder.width=5"]}, "'model' is the bundle's"),
        ({"tiles": "s.zarr", "overrides": ["train.out=x"]}, "--out and --bundle say"),
    ],
)
def test_words_that_do_not_go_together(start, tmp_path, words, said):
    with pytest.raises(ImgturboError, match=said):
        finetune(start, tmp_path / "out", **words)


def test_codes_have_no_files(start, tmp_path):
    from dataclasses import replace

    coded = replace(start, source=replace(start.source, kind="latent"))
    with pytest.raises(ImgturboError, match="source side is drawn from a prior"):
        finetune(coded, tmp_path / "out", tiles="s.zarr")


def test_a_config_is_laid_over_the_defaults(start, tmp_path):
    """What it does not say stays the bundle's."""
    file = tmp_path / "more.yaml"
    file.write_text("train: {lr: 0.25}\nobjective: {signal: 2}\n")
    base = start.config
    laid = load_config(file, ["seed=7"], base)
    assert (laid.train.lr, laid.objective.signal, laid.seed) == (0.25, 2, 7)
    assert laid.model == base.model
    assert laid.train.steps == base.train.steps
    file.write_text("model: {decoder: {kind: resnet, blocks: 2}}\n")  # keys of another kind go
    assert load_config(file, (), base).model.decoder.kind == "resnet"


# ------------------------------------------------------------------------------- other engines


def test_a_flow_is_tuned_by_its_likelihood(tmp_path):
    flow = {
        "kind": "cinn",
        "stages": [{"injector": True, "blocks": 1, "width": 4, "coarse_blocks": 1,
                    "coarse_width": 4}],
        "actnorm": True,
        "condition": {"kind": "vgg", "width": 4, "blocks": 1},
    }  # fmt: skip
    start = trained(tmp_path, {"decoder": flow}, {"noise": 0.05}, tile=16)
    with pytest.raises(ImgturboError, match=r"waits for a better forward/bits, which .* do not"):
        finetune(start, tmp_path / "no", tiles=make_tiles(tmp_path / "holes.zarr", tile=16))
    tiles = make_tiles(tmp_path / "mine.zarr", tile=16, holes=0)
    done = finetune(start, tmp_path / "out", tiles=tiles, overrides=SHORT)
    assert done.after.scores["forward/bits"] <= done.before.scores["forward/bits"]


@pytest.mark.parametrize("brought", [False, True])
def test_an_unpaired_set_is_scored_without_pairs(start, tmp_path, brought):
    """By what comes back from the cycle, and never worse in that."""
    sides = other("source", pixel_scale=0.0502) if brought else SIDES
    tiles = make_tiles(tmp_path / "apart.zarr", sides, paired=False)
    done = finetune(start, tmp_path / "out", tiles=tiles, overrides=SHORT)
    before, after = done.before.content(), done.after.content()
    assert after["direct/psnr"] >= before["direct/psnr"] - 1e-9
    assert "forward/psnr" not in after


def test_a_table_is_tuned_from_one_file(tmp_path):
    sides = {
        "source": side(("a", "b"), "GeV", np.inf, kind="table", pixel_scale=None, zeropoints=()),
        "target": side(("c",), "GeV", np.inf, kind="table", pixel_scale=None, zeropoints=()),
    }
    model = {"decoder": {"kind": "mlp", "hidden": [8]}, "critic": {"kind": "mlp", "hidden": [4]}}
    objective = {"preset": "custom", "paired": {"x_tilde": 1}}
    start = trained(tmp_path, model, objective, sides, tile=None)
    rows = np.random.default_rng(0).gamma(1.0, size=(40, 2))
    lines = [f"{a},{b},{0.7 * a}" for a, b in rows]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["a,b,c", *lines]) + "\n")
    with pytest.warns(UserWarning, match="taken to be in GeV"):
        done = finetune(start, tmp_path / "out", [table], overrides=[*SHORT, "train.lr=0.02"])
    made = load_bundle(done.bundle)
    assert made.target == start.target
    assert done.after.scores["forward/psnr"] > done.before.scores["forward/psnr"]
    assert not [name for name in done.after.scores if "lpips" in name or "flux" in name]


def test_fluxes_that_got_worse_are_said():
    """Whatever score chose: PSNR rises while a faint galaxy's light is lost."""
    before = {"forward/flux_bias/A": -0.02, "forward/flux_error/A": 0.01,
              "forward/flux_bias/B": 0.3, "forward/flux_error/B": 0.01}  # fmt: skip
    after = {**before, "forward/flux_bias/A": -0.09, "forward/flux_bias/B": -0.1}
    run = TrainResult(Path("run"), 1, True, 0.1, {}, 1, None)
    done = FineTuned(None, run, "hash", Scored(before, 2), Scored(after, 2, ["else"]))
    notes = done.content()["notes"]
    assert notes[0] == "else"
    assert [note.partition(", which")[0] for note in notes[1:]] == [
        "forward: flux bias A went from -2.0% to -9.0%"
    ]
