"""Between codes and images: any size, nobody else's batch, gradients, and what does not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import CodeToImageConfig, Config, ImageToCodeConfig, MLPConfig, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.translate import translate_array
from imgturbo.nets import FreshNoise, build_generator
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

SMALL = {"width": 4, "depth": 2, "blocks": 1}


def pair(size=13, code=5, bands=2, **keys):
    """A decoder and an encoder for images of ``size`` pixels."""
    torch.manual_seed(0)
    keys = {**SMALL, "size": size, **keys}
    return (
        build_generator(CodeToImageConfig(**keys), code, bands),
        build_generator(ImageToCodeConfig(**keys), bands, code),
    )


@given(
    size=st.integers(1, 37),
    depth=st.integers(0, 4),
    code=st.integers(1, 9),
    bands=st.integers(1, 3),
)
def test_any_size_there_and_back(size, depth, code, bands):
    if 2**depth > 4 * size:
        with pytest.raises(ImgturboError, match=f"{size} pixels cannot be halved {depth} times"):
            pair(size, code, bands, depth=depth)
        return
    decoder, encoder = pair(size, code, bands, depth=depth)
    z = torch.randn(2, code)
    x = decoder(z)
    assert x.shape == (2, bands, size, size)
    assert encoder(x).shape == (2, code)
    assert encoder(x).isfinite().all()


def test_a_sample_does_not_depend_on_what_else_is_in_its_batch():
    decoder, encoder = pair()
    z, x = torch.randn(3, 5), torch.randn(3, 2, 13, 13)
    for network, u in ((decoder, z), (encoder, x)):
        alone = torch.cat([network(one[None]) for one in u])
        assert torch.allclose(network(u), alone, atol=1e-5)
        assert (network(u)[0] - network(u)[1]).abs().max() > 1e-3


@pytest.mark.parametrize("norm", ["none", "channel"])
def test_gradients_reach_every_weight(norm):
    decoder, encoder = pair(norm=norm, noise_channels=2)
    (encoder(decoder(torch.randn(2, 5), FreshNoise()), FreshNoise()) ** 2).sum().backward()
    for network in (decoder, encoder):
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


def test_noise_makes_draws_and_none_is_one_answer():
    decoder, _ = pair(noise_channels=3)
    z = torch.randn(1, 5)
    assert decoder.stochastic
    assert torch.equal(decoder(z), decoder(z))
    assert not torch.equal(decoder(z, FreshNoise()), decoder(z, FreshNoise()))


def test_validity_of_a_code_is_that_of_anything_in_the_image():
    decoder, encoder = pair()
    valid = torch.zeros(2, 1, 13, 13, dtype=torch.bool)
    valid[0, 0, 3, 4] = True
    code = encoder.carry(valid, torch.zeros(2, 5))
    assert code.tolist() == [[True], [False]]
    assert decoder.carry(code, torch.zeros(2, 2, 13, 13)).flatten(1).all(1).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("network", "given", "wanted", "words"),
    [
        (0, None, 13, None),
        (1, 13, None, None),
        (0, 13, 13, "reads codes.*image_to_code"),
        (0, None, None, "writes images.*mlp"),
        (0, None, 16, r"makes images of 13 pixels.*is 16.*model\.decoder\.size\) to 16"),
        (1, None, 5, "reads images.*code_to_image"),
        (1, 13, 13, "writes codes.*unet"),
        (1, 12, None, r"reads images of 13 pixels.*is 12.*model\.encoder\.size\) to 12"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(network, given, wanted, words):
    if words is None:
        pair()[network].check(given, wanted)
        return
    with pytest.raises(ImgturboError, match=words) as caught:
        pair()[network].check(given, wanted)
    assert "\n" not in str(caught.value)


def test_other_networks_say_which_kind_leads_there():
    for config, read, wanted, words in (
        (MLPConfig(), None, 16, "code_to_image"),
        (UNetConfig(width=4), None, 16, "code_to_image"),
        (UNetConfig(width=4), 16, None, "image_to_code"),
    ):
        with pytest.raises(ImgturboError, match=words):
            build_generator(config, 2, 2).check(read, wanted)


def test_shapes_that_are_not_read_are_named():
    decoder, encoder = pair()
    with pytest.raises(ImgturboError, match=r"reads codes \(B, 5\).*\(2, 4\)"):
        decoder(torch.zeros(2, 4))
    with pytest.raises(ImgturboError, match=r"\(B, 2, 13, 13\).*\(1, 2, 13, 14\)"):
        encoder(torch.zeros(1, 2, 13, 14))
    for network, channels in ((decoder, 5), (encoder, 2)):
        with pytest.raises(ImgturboError, match=r"no place on the sky.*imgturbo sample"):
            translate_array(network, torch.zeros(channels, 13, 13).numpy())


def test_bundles_bring_both_back(tmp_path):
    decoder, encoder = pair()
    keys = {**SMALL, "size": 13}
    config = Config.model_validate(
        {"model": {"decoder": {"kind": "code_to_image", **keys},
                   "encoder": {"kind": "image_to_code", **keys}}}
    )  # fmt: skip
    sides = {
        "source": Side(tuple("abcde"), "", Stretch.linear(5), kind="latent"),
        "target": Side(("F1", "F2"), "MJy/sr", Stretch.linear(2)),
    }
    save_bundle(
        tmp_path / "b", decoder=decoder, encoder=encoder, config=config, sides=sides, record={}
    )
    loaded = load_bundle(tmp_path / "b")
    z, x = torch.randn(2, 5), torch.randn(2, 2, 13, 13)
    assert torch.equal(loaded.decoder(z), decoder(z))
    assert torch.equal(loaded.encoder(x), encoder(x))
    assert load(save(decoder.state_dict())).keys() == decoder.state_dict().keys()
