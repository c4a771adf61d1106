"""What other packages bring: found by their entry points, loaded when asked for, and no sooner."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from plugin_package import install
from tiles_anywhere import anywhere

from imgturbo import plugins
from imgturbo.bundle import load_bundle
from imgturbo.cli.main import main
from imgturbo.config import Config, ModelConfig, forget_decoder
from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.engines import ENGINES, build_network
from imgturbo.errors import ImgturboError
from imgturbo.nets import forget_generator
from imgturbo.side import Side
from imgturbo.simulators import SIMULATORS, make_simulator
from imgturbo.sky import read_sky
from imgturbo.sky.readers import READERS
from imgturbo.sky.stretch import Stretch
from imgturbo.tables import is_table, open_table
from imgturbo.training import best, train

TABLES = (ENGINES, SIMULATORS, READERS)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """``installed(**)`` installs a package, as :func:`install`; all is as before afterwards."""
    before = [table.loaded for table in TABLES]

    def put(**more):
        folder = install(tmp_path / f"site-{more.get('name', 'tinysky')}", **more)
        monkeypatch.syspath_prepend(folder)
        plugins._found.cache_clear()

    yield put
    for table, things in zip(TABLES, before, strict=True):
        for name in set(table.loaded) - set(things):
            del table[name]
    forget_generator("blur")
    for section in list(ModelConfig.model_fields["decoder"].annotation.__args__):
        if section.__module__ == "tinysky":
            forget_decoder(section)
    for module in ("tinysky", "broken", "other"):
        sys.modules.pop(module, None)
    monkeypatch.undo()
    plugins._found.cache_clear()


def blurred(**model):
    return Config.model_validate({"model": {"decoder": {"kind": "blur", **model}}})


def test_nothing_is_imported_before_it_is_asked_for(installed):
    installed()
    assert {"blur", "unet"} <= set(ENGINES)
    assert "coin" in SIMULATORS
    assert plugins.offered(plugins.READERS) == {"npy": "tinysky 1.2", "words": "tinysky 1.2"}
    Config.model_validate({"model": {"decoder": {"kind": "unet"}}})
    make_simulator("arm")
    assert "tinysky" not in sys.modules
    assert len(ENGINES) == len(list(ENGINES))


def test_a_generator_goes_the_whole_way(installed, tmp_path, monkeypatch):
    """A config of its own, trained by the eight terms both ways, saved and loaded."""
    installed()
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    side = Side(("A",), "MJy/sr", Stretch.linear(1))
    z = np.random.default_rng(0).normal(size=(4, 1, 9, 9)).astype(np.float32)
    valid = np.ones((4, 9, 9), bool)
    with TileStore.create(tmp_path / "t.zarr", TileSpec(9, side, side, ("f",), {})) as writer:
        for split in ("train", "validation"):
            writer.append(split, Tiles(z, z, valid, valid, **anywhere(4)))
    config = Config.model_validate({
        "data": {"tiles": str(tmp_path / "t.zarr"), "batch_size": 2},
        "model": {"decoder": {"kind": "blur", "width": 5}, "encoder": {"kind": "blur"},
                  "critic": {"width": 2, "layers": 0}},
        "objective": {"preset": "turbo"},
        "train": {"out": str(tmp_path / "run"), "steps": 2, "trackers": []},
    })  # fmt: skip
    made = load_bundle(train(config).bundle)
    assert type(made.decoder).__name__ == "Blur"
    assert (made.decoder.far, made.encoder.far) == (2, 1)
    image = np.ones((1, 23, 31), np.float32)
    assert made.translate(image).mean.shape == image.shape


def test_its_keys_are_its_own(installed):
    installed()
    assert build_network(blurred(width=7).model.decoder, 2, 1).reach() == 3
    with pytest.raises(ImgturboError, match=r"'model\.decoder\.widht'; did you mean 'width'"):
        Config.from_overrides(["model.decoder.kind=blur", "model.decoder.widht=3"])


def test_a_simulator_is_drawn_from(installed):
    installed()
    parameters, seen = make_simulator("coin").draw(np.random.default_rng(0), 5)
    assert parameters.shape == seen.shape == (5, 1)


def test_files_of_its_formats_are_read_like_any(installed, tmp_path):
    installed()
    data = np.random.default_rng(0).normal(size=(2, 7, 11)).astype(np.float32)
    np.save(tmp_path / "sky.npy", data)
    sky = read_sky(tmp_path / "sky.npy", bands=["B1"])
    assert (sky.unit, sky.bands) == ("MJy/sr", ("B1",))
    assert np.array_equal(sky.data, data[1:])
    (tmp_path / "t.words").write_text("a b\n1 2\n3 4\n")
    assert is_table(tmp_path / "t.words")
    assert not is_table(tmp_path / "sky.npy")
    with open_table(tmp_path / "t.words") as table:
        blocks = list(table.blocks(["b", "a"], rows=1))
        assert [block.numbers.tolist() for block in blocks] == [[[2, 1]], [[4, 3]]]
        assert table.columns["a"].unit == "GeV"
    with pytest.raises(ImgturboError, match="is an image, not a table"):
        open_table(tmp_path / "sky.npy")
    with pytest.raises(ImgturboError, match="is a table, not an image"):
        read_sky(tmp_path / "t.words")
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(ImgturboError, match=r"bad\.npy: is damaged.*the package that reads it"):
        read_sky(tmp_path / "bad.npy")


@pytest.mark.parametrize(
    ("group", "name", "value", "ask", "said"),
    [
        ("generators", "bad", "broken:thing", "generator", "cannot be imported .*no such luck"),
        ("generators", "bad", "other:number", "generator", "is no imgturbo.engines.Kind but int"),
        ("generators", "unet", "other:number", "generator", "the name of one that imgturbo has"),
        ("generators", "bad", "other:nothing", "generator", "cannot be imported .*AttributeError"),
        ("simulators", "bad", "broken:thing", "simulator", "cannot be imported"),
        ("simulators", "bad", "other:number", "simulator", "is no class of a Simulator but int"),
        ("simulators", "bad", "tinysky:Coin", "simulator", "calls itself 'coin'"),
        ("simulators", "arm", "tinysky:Coin", "simulator", "the name of one that imgturbo has"),
        ("readers", "bad", "other:number", "reader", "is no class of an ImageFile or a TableRead"),
        ("readers", "csv", "tinysky:Words", "reader", "the name of one that imgturbo has"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(
    installed, tmp_path, group, name, value, ask, said
):
    installed(entries={})
    installed(name="broken", entries={}, module="raise RuntimeError('no\\nsuch luck')")
    installed(name="other", entries={f"imgturbo.{group}": {name: value}}, module="number = 3")
    (tmp_path / f"t.{name}").write_text("a\n1\n")
    doing = {
        "generator": lambda: Config.from_overrides([f"model.decoder.kind={name}"]),
        "simulator": lambda: make_simulator(name),
        "reader": lambda: open_table(tmp_path / f"t.{name}"),
    }[ask]
    with pytest.raises(ImgturboError, match=said) as error:
        doing()
    assert "other 1.2" in str(error.value)
    assert "\n" not in str(error.value)
    # Nobody else is harmed by it.
    assert Config.from_overrides(["model.decoder.kind=resnet"])
    assert make_simulator("linear")


def test_two_packages_of_one_name(installed):
    installed()
    installed(name="other", entries={"imgturbo.simulators": {"coin": "other:Coin"}})
    with pytest.raises(ImgturboError, match=r"coin: the packages .*1\.2 and .*1\.2 both bring"):
        make_simulator("coin")


def test_lists_of_what_there_is_name_them(installed, tmp_path, capsys):
    installed()
    with pytest.raises(ImgturboError, match=r"installed packages add coin \(tinysky 1\.2\)"):
        make_simulator("nothing at all")
    with pytest.raises(ImgturboError, match=r"'unet'.*installed packages add blur \(tinysky"):
        Config.from_overrides(["model.decoder.kind=nothing"])
    (tmp_path / "t.xyz").write_text("1")
    with pytest.raises(ImgturboError, match=r"add npy \(tinysky 1\.2\), words"):
        open_table(tmp_path / "t.xyz")
    with pytest.raises(SystemExit):
        main(["presets"])
    assert "blur (tinysky 1.2)" in capsys.readouterr().out
    assert "tinysky" not in sys.modules


def test_a_bundle_of_a_kind_that_is_not_installed_says_so(tmp_path, installed):
    installed()
    config = blurred()
    from imgturbo.bundle import save_bundle

    side = Side(("A",), "", Stretch.linear(1))
    network = build_network(config.model.decoder, 1, 1)
    save_bundle(tmp_path / "b", decoder=network, encoder=None, config=config, record={},
                sides={"source": side, "target": side})  # fmt: skip
    assert load_bundle(tmp_path / "b").decoder.reach() == 1
    forget_decoder(type(config.model.decoder))
    sys.path[:] = [path for path in sys.path if "site-tinysky" not in path]
    plugins._found.cache_clear()
    with pytest.raises(ImgturboError, match=r"kind 'blur', .*install the package that brings it"):
        load_bundle(tmp_path / "b")
