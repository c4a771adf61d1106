"""Bundles of a hub, by huggingface_hub's own code against a stand-in on the loopback."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hub_standin import Hub

from imgturbo.bundle import load_bundle, push
from imgturbo.bundle.card import front_matter, model_card, with_front_matter
from imgturbo.bundle.description import read_description
from imgturbo.bundle.hub import pull
from imgturbo.cli.main import main
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.remote import is_hub_address
from imgturbo.shipped import PRETRAINED

pytest.importorskip("huggingface_hub")

from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import close_session

# Of the library's own HTTP client, about how the library calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SHIPPED = sorted(path.parent for path in PRETRAINED.glob("*/bundle.json"))
SMALL = PRETRAINED / "kodak-colours"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """As if HF_ENDPOINT and HF_HOME had been set before the library was imported."""
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_standin")
    yield hub
    close_session()
    hub.close()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_there_and_back(hub, tmp_path):
    """What is pushed is loaded as the same function, from its own files alone."""
    folder = tmp_path / "mine"
    shutil.copytree(SMALL, folder)
    (folder / "notes.txt").write_text("private")
    (folder / "optimizer.pkl").write_bytes(b"\x80\x04.")
    made = push(folder, "hf://me/colours", license="cc-by-4.0", datasets=["me/kodak"])
    assert set(made.files) == {"bundle.json", "decoder.safetensors", "README.md"}
    assert set(hub.repos["me/colours"][made.commit]) == set(made.files)
    assert str(made).startswith(f"hf://me/colours@{made.commit}: ")

    hub.add("me/colours", {"pytorch_model.bin": b"\x80\x04.", "data.zip": b"PK"})
    loaded, own = load_bundle("hf://me/colours"), load_bundle(folder)
    assert loaded.hash == own.hash
    weights = own.decoder.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in loaded.decoder.state_dict().items())
    assert {name for _, name in hub.asked} == set(made.files)
    card = ModelCard((loaded.path / "README.md").read_text())
    assert (card.data.license, card.data.datasets) == ("cc-by-4.0", ["me/kodak"])


def test_what_was_fetched_is_not_fetched_again_and_works_offline(hub, monkeypatch):
    hub.add("me/colours", files_of(SMALL))
    first = load_bundle("hf://me/colours")
    before = len(hub.asked)
    assert load_bundle("hf://me/colours").path == first.path
    assert describe(Path("hf://me/colours"))["what"]
    assert len(hub.asked) == before
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert load_bundle("hf://me/colours").hash == first.hash
    with pytest.raises(ImgturboError, match="hf://me/other: is not in the cache"):
        load_bundle("hf://me/other")


def test_a_revision_is_what_it_was(hub):
    old = hub.add("me/colours", files_of(SMALL))
    fidelity = files_of(PRETRAINED / "smacs0723-fidelity")
    hub.add("me/colours", fidelity)
    hub.add("me/colours", files_of(SMALL), branch="v1")
    named = [load_bundle(f"hf://me/colours{at}").hash for at in ("", f"@{old}", "@v1")]
    assert named == [load_bundle("smacs0723-fidelity").hash, *2 * [load_bundle(SMALL).hash]]


def test_a_damaged_file_is_noticed_as_in_any_bundle(hub):
    files = files_of(SMALL)
    spoilt = bytearray(files["decoder.safetensors"])
    spoilt[-1] ^= 1
    hub.add("me/colours", {**files, "decoder.safetensors": bytes(spoilt)})
    with pytest.raises(ImgturboError, match=r"decoder\.safetensors is corrupt"):
        load_bundle("hf://me/colours")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://me/nothing", "no such repository at"),
        ("hf://me/closed", "no such repository at .*, or one that needs a token"),
        ("hf://me/colours@v9", "no such revision"),
        ("hf://me/pictures", "holds no bundle, it has no bundle.json"),
        ("hf://colours", "write hf://owner/name"),
        ("hf://me/a/b", "write hf://owner/name"),
        ("hf://me/--colours--", "is no name of a repository"),
    ],
)
def test_what_goes_wrong_is_one_line(hub, address, said):
    hub.add("me/colours", files_of(SMALL))
    hub.add("me/closed", files_of(SMALL))
    hub.private.add("me/closed")
    hub.add("me/pictures", {"README.md": b"# pictures", "a.png": b""})
    with pytest.raises(ImgturboError, match=said) as error:
        load_bundle(address)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(address)
    assert not [name for _, name in hub.asked if name.endswith((".png", ".safetensors"))]


def test_a_hub_that_does_not_answer(hub):
    hub.close()
    hub.server.server_close()
    with pytest.raises(ImgturboError, match="does not answer; fetch it once"):
        load_bundle("hf://me/colours")
    with pytest.raises(ImgturboError, match=r"hf://me/colours: .*try again") as error:
        push(SMALL, "hf://me/colours")
    assert "\n" not in str(error.value)


def test_who_may_not_write_is_told_so(hub, capsys):
    hub.may_write = False
    with pytest.raises(SystemExit) as ended:
        main(["push", "kodak-colours", "hf://me/colours"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "refuses it (403); give a token" in said
    assert said.count("\n") == 1


def test_the_command_pushes(hub, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["push", "kodak-colours", "hf://me/colours@next", "--private"])
    assert ended.value.code == 0
    assert "hf://me/colours@" in capsys.readouterr().out
    assert list(hub.heads["me/colours"]) == ["next"]


def test_a_damaged_bundle_is_not_pushed(hub, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(SMALL, folder)
    weights = folder / "decoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ImgturboError, match="corrupt"):
        push(folder, "hf://me/colours")
    assert not hub.repos


def test_a_heading_that_is_no_yaml_is_not_pushed(hub, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(SMALL, folder)
    (folder / "README.md").write_text("---\ntags: [a\n---\n# mine\n")
    with pytest.raises(ImgturboError, match=r"README\.md: its heading is not valid"):
        push(folder, "hf://me/colours")
    assert not hub.repos


def test_without_the_library_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImgturboError, match=r"pip install 'imgturbo\[hub\]'"):
        pull("hf://me/colours")
    load_bundle(SMALL)  # which needs none


def test_addresses_survive_being_paths():
    assert is_hub_address(Path("hf://me/colours"))
    assert is_hub_address("hf://me/colours")
    assert not is_hub_address("hf/me")
    assert not is_hub_address("runs/hf:/me")


# ------------------------------------------------------------------------------------ the card


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_a_card_is_whole(folder):
    """The library's own classes read all of it, and nothing is left to be filled in."""
    content = read_description(folder)
    for text in (model_card(content), (folder / "README.md").read_text()):
        card = ModelCard(text, ignore_metadata_errors=False)
        data = card.data
        assert (data.library_name, data.license) == ("imgturbo", "bsd-3-clause")
        assert data.pipeline_tag == "image-to-image"
        assert {"imgturbo", "image-to-image"} <= set(data.tags)
        scores = content["record"]["validation"]
        told = {(one.metric_type, one.metric_name): one.metric_value for one in data.eval_results}
        assert told["psnr", "PSNR, forward"] == pytest.approx(scores["forward/psnr"], abs=1e-4)
        assert data.metrics
        assert "more information needed" not in text.lower()
        for heading in ("## Sides", "## Training", "## Validation", "## Limits", "## Licence"):
            assert heading in card.text


def test_what_a_user_wrote_stays():
    heading = {"license": "mit", "tags": ["a"]}
    text = f"---\n{yaml.safe_dump(heading)}---\n# Mine\n--- not a heading\n"
    defaults = front_matter(read_description(SMALL))
    made = with_front_matter(text, defaults, {"datasets": ["me/x"]})
    card = ModelCard(made, ignore_metadata_errors=False)
    assert (card.data.license, card.data.tags, card.data.datasets) == ("mit", ["a"], ["me/x"])
    assert card.data.library_name == "imgturbo"
    assert card.text == "# Mine\n--- not a heading\n"
    assert with_front_matter(made, defaults) == made  # twice is once
