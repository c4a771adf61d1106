"""What draws of many posteriors cost, beside FrEIA 0.2 and zuko: all in one run.

    python benchmarks/posterior_sampling.py [--posteriors 10000] [--draws 1000] [--repeats 3]
                                            [--part 0.05] [--json FILE]

The problem is that of a robot arm (Kruse et al. 2021, arXiv:2101.10763): four numbers given two.
Three rivals have the same chain of conditional affine couplings, with the same sizes, fixed
permutations and soft clamps; ours and FrEIA's have the same weights too, which is proved by their
outputs first. zuko's couplings (``NICE`` with its affine maps) move one half each, so that it has
twice as many; its masked autoregressive flow (``MAF``) stands for a family whose draws need a pass
a number. Ours with splines, a mixture density network and flow matching are for scale.

    features   the condition's network, once a posterior
    draws      noise → x, all draws of a posterior together where the library lets them be

Rounds are interleaved, since the load of a shared machine changes; a ratio is the median of the
rounds' own ratios. With ``--part`` that share of the posteriors is drawn, and times are what all
would take.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import FrEIA.framework as framework
import FrEIA.modules as peers
import torch
import zuko
from torch import Tensor, nn

from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.files import write_json
from imgturbo.flows import Affine, Clamp, Coupling
from imgturbo.nets import Generator

BLOCKS, LAYERS, WIDTH, FEATURES, ALPHA = 6, 2, 64, 32, 1.5
ROWS = 1 << 12  # drawn at once, by every library
SLOW = ("ours, flow matching",)  # of which an eighth is drawn
SUMMARY = {"kind": "dense", "hidden": [64], "features": FEATURES}


def ours(**decoder: Any) -> Generator:
    """A network of ours whose weights are not those of the identity."""
    torch.manual_seed(0)
    section = {"condition": SUMMARY, **decoder}
    config = Config.model_validate({"model": {"decoder": section}}).model.decoder
    network = build_network(config, 2, 4).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network


def flow(law: str) -> Generator:
    """Our flow, in FrEIA's conventions where it has them."""
    network = ours(
        kind="flow", blocks=BLOCKS, layers=LAYERS, width=WIDTH, law=law, mixing="permutation",
        injector=False, reach=None, clamp=ALPHA,
    )  # fmt: skip
    if law == "affine":
        for layer in network.modules():
            if isinstance(layer, Coupling):
                layer.law = Affine(Clamp(ALPHA, scaled=False, factor=0.636))
    return network


def freia(network: Any) -> Any:
    """FrEIA's ``SequenceINN`` of the layers of our flow, with their weights."""
    peer = framework.SequenceINN(4)
    for layer in network.flow.transforms:
        if isinstance(layer, Coupling):
            nets = iter([layer.predict_second, layer.predict_first])
            peer.append(
                peers.GLOWCouplingBlock,
                cond=0,
                cond_shape=(FEATURES,),
                subnet_constructor=lambda i, o, nets=nets: subnet(next(nets)),
                clamp=ALPHA,
            )
        else:
            peer.append(peers.PermuteRandom)
            peer[-1].perm.data.copy_(layer.index)
            peer[-1].perm_inv.data.copy_(torch.argsort(layer.index))
    return peer.eval()


def subnet(predictor: Any) -> nn.Sequential:
    """FrEIA's network reads x and c as one array, so that the first weights lie side by side."""
    layers: list[nn.Module] = []
    for layer in predictor.layers:
        weight = layer.weight
        if not layers:
            weight = torch.cat([weight, predictor.from_condition.weight], dim=1)
        copied = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            copied.weight.copy_(weight)
            copied.bias.copy_(layer.bias)
        layers += [copied, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


Draw = Callable[[Tensor, int], Tensor]
"""(stretched observations (B, 2), n) → (B, n, 4)."""


def by_freia(network: Any, peer: Any) -> Draw:
    """Its condition has a row for each draw."""

    def draw(u: Tensor, n: int) -> Tensor:
        (features,) = network.conditions(u)
        epsilon = torch.randn(len(u) * n, 4)
        x, _ = peer(epsilon, c=[features.repeat_interleave(n, 0)], rev=True, jac=False)
        return x.view(len(u), n, 4)  # type: ignore[no-any-return]

    return draw


def by_zuko(network: Any, peer: Any) -> Draw:
    """Its flow of a batch of conditions draws n of each."""

    def draw(u: Tensor, n: int) -> Tensor:
        (features,) = network.conditions(u)
        return peer(features).sample((n,)).transpose(0, 1)  # type: ignore[no-any-return]

    return draw


def rivals() -> dict[str, Draw]:
    """All that is compared, by name; the first is what ratios are of."""
    affine = flow("affine")
    peer = freia(affine)
    u, epsilon = torch.randn(64, 2), torch.randn(64, 4)
    with torch.no_grad():
        (features,) = affine.conditions(u)
        expected, _ = peer(epsilon, c=[features], rev=True)
        parity = float((affine.push(epsilon, [features]) - expected).abs().max())
    print(f"ours and FrEIA at the same weights differ by {parity:.1e}")
    hidden = [WIDTH] * LAYERS
    nice = zuko.flows.NICE(4, FEATURES, transforms=2 * BLOCKS, hidden_features=hidden)
    maf = zuko.flows.MAF(4, FEATURES, transforms=BLOCKS, hidden_features=hidden)
    return {
        "ours, affine": affine.posterior,
        "FrEIA, affine": by_freia(affine, peer),
        "zuko, affine (NICE)": by_zuko(affine, nice.eval()),
        "zuko, MAF": by_zuko(affine, maf.eval()),
        "ours, spline": flow("spline").posterior,
        "ours, mdn": ours(kind="mdn", components=16).posterior,
        "ours, flow matching": ours(kind="flow_matching", width=128, blocks=3, steps=16).posterior,
    }


@torch.inference_mode()
def measure(posteriors: int, draws: int, repeats: int, part: float) -> dict[str, Any]:
    """Seconds of every round, for all posteriors."""
    drawn = max(1, round(posteriors * part))
    at_once = max(1, ROWS // draws)
    observed = torch.randn(drawn, 2).split(at_once)
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    calls = rivals()
    for call in calls.values():
        call(observed[0], draws)
    for _ in range(repeats):
        for name, call in calls.items():
            mine = observed[: max(1, len(observed) // 8)] if name in SLOW else observed
            start, start_cpu = time.perf_counter(), time.process_time()
            for chunk in mine:
                found = call(chunk, draws)
                assert found.shape == (len(chunk), draws, 4)
            scale = posteriors / sum(map(len, mine))
            seconds.setdefault(name, []).append(scale * (time.perf_counter() - start))
            cpu.setdefault(name, []).append(scale * (time.process_time() - start_cpu))
    return {
        "posteriors": posteriors, "draws": draws, "drawn": drawn, "seconds": seconds, "cpu": cpu,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--posteriors", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", type=float, default=1.0, help="share of the posteriors drawn")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries
        facts = measure(options.posteriors, options.draws, options.repeats, options.part)
    print(
        f"{facts['posteriors']} posteriors × {facts['draws']} draws of 4 numbers, "
        f"{facts['threads']} thread(s), {facts['drawn']} posteriors drawn"
    )
    first = next(iter(facts["cpu"]))
    for name, own in facts["seconds"].items():
        cpu = facts["cpu"][name]
        ratio = statistics.median(a / b for a, b in zip(cpu, facts["cpu"][first], strict=True))
        print(
            f"  {name:22} {statistics.median(own):8.1f} s  {statistics.median(cpu):8.1f} CPU s   "
            f"{ratio:6.2f} times {first!r}"
        )
    if options.json:
        write_json(options.json, facts)


if __name__ == "__main__":
    main()
