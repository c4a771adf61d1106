"""Ground truth and posteriors by the command line."""

from __future__ import annotations

import json

import pytest

from imgturbo.config import Config
from imgturbo.training import train

ARM = ("--problem", "arm", "--targets", 3, "--keep", 20, "--pool", 2000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A network with noise that has hardly been trained, from observations to parameters."""
    out = tmp_path_factory.mktemp("posterior") / "run"
    settings = {"steps": 2, "warmup": 0, "validate_every": 2, "trackers": ["jsonl"]}
    source = {"kind": "simulator", "name": "linear", "given": "observations", "validation": 8}
    network = {"kind": "mlp", "hidden": [8], "noise_channels": 2}
    config = Config.model_validate(
        {
            "data": {"batch_size": 4, "source": source},
            "model": {"decoder": network, "critic": {"kind": "mlp", "hidden": [8]}},
            "objective": {"preset": "turbo"},
            "train": settings | {"out": str(out)},
        }
    )
    return train(config).bundle


def test_a_truth_is_made_once_and_its_floor_is_told(run, tmp_path):
    out = tmp_path / "arm.safetensors"
    status, told, err = run("truth", *ARM, "--out", out)
    assert (status, err) == (0, "")
    assert "3 targets, 20 draws each" in told
    assert "noise floor of MMD², kernel multiquadric: biased" in told
    before = out.stat().st_mtime_ns
    assert run("truth", *ARM, "--out", out)[:2] == (0, told)
    assert out.stat().st_mtime_ns == before


def test_posteriors_are_judged(run, bundle, tmp_path):
    truth, out = tmp_path / "linear.safetensors", tmp_path / "scores"
    run("truth", "--problem", "linear", "--method", "exact", "--targets", 9, "--keep", 5,
        "--out", truth)  # fmt: skip
    words = ("--bundle", bundle, "--samples", 5, "--truth", truth, "--out", out)
    status, told, err = run("posterior", *words)
    assert (status, err) == (0, "")
    assert "MMD² to the truth" in told
    assert "9 targets, 5 draws each" in told
    assert max(map(len, told.splitlines())) <= 160
    assert set(json.loads((out / "posterior.json").read_text())["posterior"]) == {"z1", "z2", "z3"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--problem", "alm"), "--problem: no simulator is called 'alm'; did you mean 'arm'"),
        ((*ARM, "--option", "noise=1"), "unknown key 'noise'"),
        ((*ARM, "--option", "noise"), "section.key=value"),
        ((*ARM, "--method", "exact"), "arm: its posterior is not known in closed form"),
        ((*ARM, "--pool", 10), "a pool of 10 holds no 20 neighbours"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, words, told):
    status, _, err = run("truth", *words, "--out", tmp_path / "t.safetensors")
    assert status == 2
    assert told in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_other_files_are_no_truth(run, bundle, tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(b"no tensors")
    status, _, err = run("posterior", "--bundle", bundle, "--truth", path)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "make it anew" in err


def test_rows_of_a_problem_are_written(run, tmp_path):
    out = tmp_path / "throws.ecsv"
    words = ("simulate", "--problem", "ballistics", "--n", 20, "--option", "impact=root")
    assert run(*words, "--out", out) == (0, f"{out}\n", "")
    text = out.read_text()
    assert "impact=" in text
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == 21


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--n", 5), "--n goes with --problem"),
        (("--problem", "arm", "--size", 128), "--size is of a sky, not of a problem"),
        (("--problem", "arm", "--n", 0), "0 rows"),
    ],
)
def test_words_of_skies_and_of_problems_do_not_mix(run, tmp_path, words, told):
    status, _, err = run("simulate", *words, "--out", tmp_path / "t.csv")
    assert (status, len(err.splitlines())) == (2, 1)
    assert told in err
    assert not list(tmp_path.iterdir())
