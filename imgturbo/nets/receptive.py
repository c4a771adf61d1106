r"""How far a network sees, measured: NaN is put into some pixels, and where it comes out is read.

NaN survives every sum and product, also with weights that are zero, so the outputs it reaches are
the outputs that depend on the pixels it was put into. For a generator of stride s let J(c) be the
last output column that NaN in the columns a … c reaches. Then the reach to the right is

    R₊ = max_{a ≤ c < a + s} (J(c) − c),

the grids of the network repeating every s columns; likewise to the left, and for rows. Windows cut
noise as they cut pixels, so that a network with latents gets NaN in these too: in every cell of
theirs that lies within a … c, which a window that ends at c still has. J rises in steps, and only
where it rises can the maximum be, so these columns are found by bisection rather than by trying all
s. The halo of a mosaic window is the largest of the four reaches. A critic's patch is found in the
same way: the first and the last column that change one given score.

Probes are thin strips in double precision, because fast kernels for single precision (Winograd)
leak NaN to neighbours. How far a network sees is a matter of its layers and not of its weights, nor
of its width: every weight is replaced by one small number, and convolutions, which connect every
channel to every other, are done once on the sum of all channels. So large networks cost little.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from imgturbo.errors import ImgturboError
from imgturbo.nets.generator import Generator
from imgturbo.nets.patchgan import PatchGAN

__all__ = ["patch_field", "receptive_field"]

_LONGEST = 8192  # pixels of strip before a network is said to see everything
_CACHE = "_receptive_field"

Probe = Callable[[int, int], Tensor]
"""First and last pixel of NaN along a strip ↦ which outputs along it get NaN."""


def receptive_field(generator: Generator) -> int:
    """The halo in pixels: the largest distance at which an input pixel can change an output pixel.

    Measured once and remembered on the module, which is otherwise left as it was; where the
    generator says itself how far it sees, that is taken.

    Args:
        generator: maps (B, C, H, W) → (B, C', H, W), or rows of a table.

    Raises:
        ImgturboError: every output depends on the whole image, as with a statistic over it or
            after many passes, so that windows would leave seams whatever their overlap.
    """
    known = generator.reach()
    if known is not None:
        return known
    if generator.whole_image:
        raise ImgturboError(
            f"every pixel that {type(generator).__name__} makes depends on all of what it is given "
            "(by instance norm, or in many denoising steps), so windows of a mosaic cannot agree; "
            "blend them (--window 256 --overlap 64), or use another network"
        )
    if _CACHE not in generator.__dict__:
        probed = generator.narrow()
        generator.__dict__[_CACHE] = max(_reach(probed, axis) for axis in (2, 3))
    return int(generator.__dict__[_CACHE])


def patch_field(critic: PatchGAN) -> list[int]:
    """Width in pixels of the patch that one score depends on, for each scale of the critic.

    Measured on a critic of the same layers with a single channel: spectral norms cost much and
    change nothing here.
    """
    thin = PatchGAN(critic.config.model_copy(update={"width": 1, "norm": "none"}), channels=1)
    scales = range(len(critic.scales))
    return [max(_patch(thin, scale, axis) for axis in (2, 3)) for scale in scales]


def _reach(generator: Generator, axis: int) -> int:
    """Largest distance between an input and an output that it changes, along ``axis``."""
    channels, stride = generator.in_channels, generator.stride
    length = stride * max(8, 64 // stride)
    while length <= _LONGEST:
        noisy = generator.stochastic
        with _prober(generator, channels, stride, length, axis, noisy=noisy) as probe:
            reach = _reach_within(probe, length, stride)
        if reach is not None:
            return reach
        length *= 2
    raise ImgturboError(
        f"{type(generator).__name__} sees more than {_LONGEST // 2} pixels far: it cannot be "
        "applied to a mosaic by windows; use a network without statistics over the image"
    )


def _reach_within(probe: Probe, length: int, stride: int) -> int | None:
    """The reach, or None where it might not fit into a strip of this length."""
    first = length // stride // 2 * stride
    last = first + stride - 1

    def touched(a: int, b: int) -> tuple[int, int]:
        reached = probe(a, b).nonzero()
        # A network need not use every pixel; those unused reach nothing.
        return (int(reached[0]), int(reached[-1])) if len(reached) else (length, -1)

    low, high = touched(first, last)
    if low == 0 or high == length - 1:
        return None
    right = _widest(lambda t: touched(first, first + t)[1], stride) - first
    left = _widest(lambda t: -touched(last - t, last)[0], stride) + last
    return max(left, right, 0)


def _patch(critic: PatchGAN, scale: int, axis: int) -> int:
    """Pixels along ``axis`` that one score of scale ``scale`` depends on."""
    across = critic.smallest
    length = 4 * across
    while length <= _LONGEST:
        with _prober(_Scale(critic, scale), critic.channels, across, length, axis) as probe:
            pixels = range(length)
            score = len(probe(0, 0)) // 2
            first = bisect_left(pixels, True, key=lambda c: bool(probe(0, c)[score]))
            after = bisect_left(pixels, True, key=lambda c: not bool(probe(c, length - 1)[score]))
        if first > 0 and after < length:
            return after - first
        length *= 2
    raise ImgturboError(f"the critic's patch is wider than {_LONGEST} pixels")


class _NoiseIn:
    """Latents that are NaN in the cells of their grid within some pixels on ``axis``, else 0."""

    def __init__(self, first: int, last: int, axis: int) -> None:
        self.first, self.last, self.axis = first, last, axis

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        latents = like.new_zeros(tuple(shape))
        begin, end = -(-self.first // stride), (self.last + 1) // stride
        if begin < end:
            latents.narrow(self.axis, begin, end - begin).fill_(torch.nan)
        return latents


class _Scale(nn.Module):
    """One of a critic's score maps."""

    def __init__(self, critic: PatchGAN, scale: int) -> None:
        super().__init__()
        self.critic = critic
        self.scale = scale

    def forward(self, u: Tensor) -> Tensor:
        return self.critic(u)[self.scale]


def _widest(rising: Callable[[int], int], stride: int) -> int:
    """max over 0 ≤ t < stride of rising(t) − t, for a function that rises in steps."""
    best = rising(0)

    def search(low: int, at_low: int, high: int, at_high: int) -> None:
        nonlocal best
        if at_low == at_high:
            return
        if high - low == 1:
            best = max(best, at_high - high)
            return
        middle = (low + high) // 2
        at_middle = rising(middle)
        search(low, at_low, middle, at_middle)
        search(middle, at_middle, high, at_high)

    search(0, best, stride - 1, rising(stride - 1))
    return best


class _OneChannel(TorchFunctionMode):
    """Inside, convolutions without groups compute one output channel from the inputs' sum.

    As far as NaN goes that is exact: NaN in any channel reaches all of the output's.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        outputs = {torch.conv2d: 0, torch.conv_transpose2d: 1}.get(func)  # the weight's axis
        if outputs is None or kwargs.get("groups", 1) != 1 or (args[6:] or (1,))[0] != 1:
            return func(*args, **kwargs)
        h, weight, *others = args
        thin = func(h.sum(1, keepdim=True), weight[:1, :1], None, *others[1:], **kwargs)
        # Memory of its own for every channel, since what comes next may work in place.
        return thin.repeat(1, weight.shape[outputs], 1, 1)


@contextmanager
def _prober(
    module: nn.Module, channels: int, across: int, length: int, axis: int, *, noisy: bool = False
) -> Iterator[Probe]:
    """A probe of strips ``length`` long on ``axis`` and ``across`` wide on the other.

    What is ``noisy`` takes latents beside the strip, in which NaN is put as well. The module is in
    eval while it is probed; its weights and buffers are not touched.
    """
    small = torch.tensor(1e-3, dtype=torch.float64)
    state = {name: small.expand(p.shape) for name, p in module.named_parameters()}
    for name, buffer in module.named_buffers():
        known = buffer.detach().cpu()
        state[name] = known.double() if known.is_floating_point() else known
    clean = torch.zeros(1, channels, across, length, dtype=torch.float64)
    if axis == 2:
        clean = clean.transpose(2, 3).contiguous()
    modes = {part: part.training for part in module.modules()}
    zoom: Fraction = getattr(module, "zoom", Fraction(1))

    def probe(first: int, last: int) -> Tensor:
        u = clean.clone()
        u.narrow(axis, first, last - first + 1).fill_(torch.nan)
        with torch.no_grad(), torch.autocast("cpu", enabled=False), _OneChannel():
            given = (u, _NoiseIn(first, last, axis)) if noisy else (u,)
            output = functional_call(module, state, given)
        reached = output.isnan().any(1)[0].any(3 - axis)
        # An output on another grid counts for the pixels of the input that it lies in, or holds.
        finer = reached.unflatten(0, (-1, zoom.numerator)).any(1)
        return finer.repeat_interleave(zoom.denominator)

    module.eval()
    try:
        yield probe
    finally:
        for part, training in modes.items():
            part.training = training
