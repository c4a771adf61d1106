"""Bands whose headers have no FILTER are called as the field says; so of zero points it is said."""

from __future__ import annotations

import pytest
from astropy.io import fits
from prepare_fields import header, settings, stars

from data_prep.prepare import prepare
from imgturbo.cli.main import main
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError


@pytest.fixture
def field(tmp_path):
    """Two source bands and a target in files of one name, each in its folder."""
    files = []
    for folder in ("a", "b", "t"):
        (tmp_path / folder).mkdir()
        cards = header((64, 64))
        del cards["FILTER"]
        files.append(tmp_path / folder / "data.fits")
        fits.writeto(files[-1], stars((64, 64)), cards)
    return {"name": "f", "source": files[:2], "target": files[2:]}


def test_a_field_names_its_bands(tmp_path, field):
    names = {"source_bands": ["g", "Größe"], "target_bands": ["F115W"]}
    config = settings(tmp_path, field | names)
    prepare(config)
    store = TileStore.open(config.out)
    assert store.source.names == ("g", "GroU00DFe")
    assert store.target.names == ("F115W",)
    with pytest.raises(ImgturboError, match="1 band names for 2 bands"):
        prepare(settings(tmp_path, field | {"source_bands": ["g"]}))


def test_the_command_line_names_them_too(tmp_path, field):
    words = [w for side in ("source", "target") for p in field[side] for w in (f"--{side}", str(p))]
    out = tmp_path / "tiles.zarr"
    words += ["--source-bands", "U,V", "--target-bands", "W", "--out", str(out)]
    options = ["prepare.tile.size=16", "prepare.register.method=none", "prepare.split.guard=0"]
    with pytest.raises(SystemExit) as ended:
        main(["prepare", *words, *options])
    assert not ended.value.code
    store = TileStore.open(out)
    assert (store.source.names, store.target.names) == (("U", "V"), ("W",))


def test_fields_of_which_some_state_a_zero_point_are_said(tmp_path):
    """DN of two cameras are others: of one without a zero point nobody can tell."""
    fields = []
    for name, ra, cards in (("f", 150.0, {"MAGZERO": 25.0}), ("g", 151.0, {})):
        files = {}
        for side, unit in (("source", "DN"), ("target", "MJy/sr")):
            head = header((64, 64), ra=ra, unit=unit)
            head.update(cards if side == "source" else {})
            files[side] = [tmp_path / f"{name}_{side}.fits"]
            fits.writeto(files[side][0], stars((64, 64)), head)
        fields.append({"name": name, **files})
    with pytest.warns(UserWarning, match=r"g_source.*no AB zero point.*1 DN of the source.*f_so"):
        prepare(settings(tmp_path, *fields))
