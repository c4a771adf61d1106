"""What the flows cost beside FrEIA 0.2: time of training and sampling, memory of activations.

    python benchmarks/flows.py [--batches 4 1] [--threads 1 2] [--repeats 7] [--json FILE]

Both libraries hold the published colorization network (Ardizzone et al. 2019, arXiv:1907.02392):
2 × 64 × 64 through four stages and the dense backend, the same layers in the same conventions with
the same weights, which is proved first by their outputs. The networks of the condition stay
outside: its features are tensors, one for each of the 22 conditional couplings and a vector for the
backend, whose gradients are wanted.

    training     ½‖w‖² − log|det| forward and backward
    sampling     the inverse at 8 latents of every condition
    activations  bytes that autograd keeps for the backward pass, each storage once

Rounds are interleaved, since the load of a shared machine changes, and a ratio is the median of the
rounds' own ratios. Each count of threads has a process of its own. FrEIA runs as it comes, and with
its weights in channels-last layout, which it does not ask for but bears; eager and compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import FrEIA.framework as framework
import FrEIA.modules as peers
import torch
from torch import Tensor, nn

from imgturbo.config import FlowConfig, FlowDenseConfig, FlowStageConfig, PyramidConditionConfig
from imgturbo.files import write_json
from imgturbo.flows import (
    Affine,
    Clamp,
    Coupling,
    DensePredictor,
    Flatten,
    HaarDownsampling,
    MultiScaleCINN,
    OrthogonalMixing,
    Permutation,
    PixelUnshuffle,
    Pyramid,
    Split,
)

SIDE = 64  # pixels of x
ALPHA = 1.5
SAMPLES = 8  # of one condition


# ------------------------------------------------------------------------------- two networks


def build_ours(memory_saving: bool = False) -> Pyramid:
    """The published flow with FrEIA's clamp; no weight is zero, so that every coupling moves x."""
    unshuffled: dict[str, Any] = {"down": "unshuffle", "order": "channel"}
    config = FlowConfig(
        stages=[
            FlowStageConfig(blocks=4, width=32, coarse_width=64, **unshuffled),
            FlowStageConfig(blocks=6, width=64, coarse_width=128, keep=0.5, **unshuffled),
            FlowStageConfig(blocks=6, width=128, coarse_width=256, keep=0.5, **unshuffled),
            FlowStageConfig(blocks=6, width=256, coarse_width=256, keep=0.25, rebalance=0.5),
        ],
        dense=FlowDenseConfig(size=SIDE, blocks=8, width=512),
        condition=PyramidConditionConfig(scale=4, width=8, max_width=16, blocks=1),
        reach=None,
        memory_saving=memory_saving,
    )
    torch.manual_seed(0)
    # As `imgturbo train` and `imgturbo translate` lay out every network.
    flow = MultiScaleCINN(config, 2, 1).flow.to(memory_format=torch.channels_last)
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.law = Affine(Clamp(ALPHA, scaled=False, factor=0.636))
    with torch.no_grad():
        for parameter in flow.parameters():
            if not parameter.any():  # last layers
                parameter.normal_(std=0.01)
    return flow


def subnet(predictor: Any) -> nn.Sequential:
    """FrEIA's network reads x and c as one array, so that the first weights lie side by side."""
    layers: list[nn.Module] = []
    for layer in predictor.layers:
        weight = layer.weight
        if not layers and predictor.from_condition is not None:
            weight = torch.cat([weight, predictor.from_condition.weight], dim=1)
        weight = weight.contiguous()
        copied: Any
        if isinstance(predictor, DensePredictor):
            copied = nn.Linear(weight.shape[1], weight.shape[0])
        else:
            size = weight.shape[-1]
            copied = nn.Conv2d(weight.shape[1], weight.shape[0], size, padding=size // 2)
        with torch.no_grad():
            copied.weight.copy_(weight)
            copied.bias.copy_(layer.bias)
        slope = predictor.slope
        layers += [copied, nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class AnyLayoutFlatten(peers.Flatten):  # type: ignore[misc]
    """FrEIA's own refuses channels-last arrays."""

    def forward(self, x: Sequence[Tensor], **options: Any) -> Any:
        return super().forward([x[0].contiguous()], **options)


def build_peer(flow: Pyramid) -> Any:
    """FrEIA's ``GraphINN`` of the layers of ``flow``, with their weights."""
    nodes: list[Any] = [framework.InputNode(2, SIDE, SIDE)]
    conditions: list[Any] = []
    latents: list[Any] = []
    node: Any = nodes[0]

    def add(kind: Any, condition: Any = None, **options: Any) -> Any:
        nodes.append(framework.Node(node, kind, options, conditions=condition))
        return nodes[-1]

    def condition_of(coupling: Coupling) -> Any:
        reads: Any = coupling.predict_second.from_condition
        if reads is None:
            return None
        dense = isinstance(coupling.predict_second, DensePredictor)
        if not (dense and len(conditions[-1].output_dims[0]) == 1):  # the backend shares one
            sides = node.output_dims[0][1:]
            conditions.append(framework.ConditionNode(reads.weight.shape[1], *sides))
        return conditions[-1]

    stages: list[Any] = list(flow.stages)
    for stage, split in zip(stages, flow.splits, strict=True):
        for layer in stage.transforms:
            if isinstance(layer, Coupling):
                # FrEIA asks for the network of the second half first.
                makers = iter([layer.predict_second, layer.predict_first])
                node = add(
                    peers.GLOWCouplingBlock,
                    condition_of(layer),
                    subnet_constructor=lambda i, o, makers=makers: subnet(next(makers)),
                    clamp=ALPHA,
                )
            elif isinstance(layer, OrthogonalMixing):
                node = add(peers.Fixed1x1Conv, M=layer.matrix.T)
            elif isinstance(layer, Permutation):
                node = add(peers.PermuteRandom)
                node.module.perm.data.copy_(layer.index)
                node.module.perm_inv.data.copy_(torch.argsort(layer.index))
            elif isinstance(layer, PixelUnshuffle):
                node = add(peers.IRevNetDownsampling)
            elif isinstance(layer, HaarDownsampling):
                node = add(peers.HaarDownsampling, order_by_wavelet=True, rebalance=layer.rebalance)
            elif isinstance(layer, Flatten):
                node = add(AnyLayoutFlatten)
            else:
                raise TypeError(f"FrEIA has no {layer}")
        if isinstance(split, Split):
            parts = add(peers.Split, section_sizes=list(split.sizes))
            latents.append(framework.OutputNode(parts.out1))
            nodes.append(latents[-1])
            node = parts.out0[0]
    nodes.append(framework.OutputNode(node))
    return framework.GraphINN([*conditions, *nodes])


def draw_conditions(flow: Pyramid, batch: int) -> list[list[Tensor | None] | Tensor]:
    """For each stage a tensor a coupling (None elsewhere), for the backend one vector."""
    conditions: list[list[Tensor | None] | Tensor] = []
    stages: list[Any] = list(flow.stages)
    for level, stage in enumerate(stages):
        if isinstance(stage.transforms[0], Flatten):
            conditions.append(torch.randn(batch, 512, requires_grad=True))
            continue
        side = SIDE >> level
        own: list[Tensor | None] = []
        for layer in stage.transforms:
            predict: Any = layer.predict_second if isinstance(layer, Coupling) else None
            if predict is None or predict.from_condition is None:
                own.append(None)
                continue
            features = torch.randn(batch, predict.from_condition.in_channels, side, side)
            # Laid out as the condition networks leave them.
            own.append(features.to(memory_format=torch.channels_last).requires_grad_())
        conditions.append(own)
    return conditions


def flat(conditions: Sequence[list[Tensor | None] | Tensor]) -> list[Tensor]:
    tensors = [c if isinstance(c, list) else [c] for c in conditions]
    return [tensor for own in tensors for tensor in own if tensor is not None]


# -------------------------------------------------------------------------------- measurements


def rounds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, Any]:
    """Seconds and CPU seconds of every call in every round, in turn; one warm-up before."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {"wall": wall, "cpu": cpu}


def kept_bytes(network: nn.Module, inputs: Sequence[Tensor], call: Callable[[], object]) -> int:
    """Bytes of the distinct storages that ``call`` leaves for its backward pass."""
    held = [*network.parameters(), *network.buffers(), *inputs]
    known = {tensor.untyped_storage().data_ptr() for tensor in held}
    kept: dict[int, Any] = {}  # holds the tensors too, or an address could be used twice

    def pack(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in known:
            kept[pointer] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = call()
    del outputs
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def loss(latents: Sequence[Tensor], log_det: Tensor) -> Tensor:
    return (0.5 * sum(w.square().flatten(1).sum(1) for w in latents) - log_det).mean()


def measure(batch: int, repeats: int, compiled: bool) -> dict[str, Any]:
    """All figures of one batch size, in this process."""
    ours, saving = build_ours(), build_ours(memory_saving=True)
    peer = build_peer(ours)
    peer_last = build_peer(ours).to(memory_format=torch.channels_last)
    conditions = draw_conditions(ours, batch)
    tensors = flat(conditions)
    plain = [tensor.detach().contiguous().requires_grad_() for tensor in tensors]
    x = torch.randn(batch, 2, SIDE, SIDE)

    w, log_det = ours(x, conditions)
    expected, jacobian = peer(x, c=plain)
    parity = max(float((a - b).abs().max()) for a, b in zip(w, expected, strict=True))
    facts: dict[str, Any] = {"batch": batch, "parity": parity}
    facts["parity_log_det"] = float(((log_det - jacobian) / jacobian).abs().max())

    repeated = [c.detach().repeat_interleave(SAMPLES, 0) for c in plain]
    shared = [
        [None if t is None else t.detach() for t in c] if isinstance(c, list) else c.detach()
        for c in conditions
    ]
    latents = [torch.randn(batch * SAMPLES, *part.shape[1:]) for part in w]
    del w, log_det, expected, jacobian

    def train(network: nn.Module, call: Callable[[], Any]) -> Callable[[], None]:
        leaves = [*(p for p in network.parameters() if p.requires_grad), *tensors, *plain]

        def step() -> None:
            for leaf in leaves:
                leaf.grad = None
            loss(*call()).backward()

        return step

    def both(network: Any, is_ours: bool, forward: Any, inverse: Any) -> tuple[Any, Any]:
        if is_ours:
            sample = lambda: inverse(latents, shared)  # noqa: E731
            return train(network, lambda: forward(x, conditions)), torch.no_grad()(sample)
        sample = lambda: inverse(latents, c=repeated, rev=True, jac=False)  # noqa: E731
        own = plain if network is peer else tensors
        return train(network, lambda: forward(x, c=own)), torch.no_grad()(sample)

    networks = {
        "freia": (peer, False),
        "freia channels-last": (peer_last, False),
        "ours": (ours, True),
        "ours memory-saving": (saving, True),
    }
    training, sampling = {}, {}
    for name, (network, is_ours) in networks.items():
        inverse = network.inverse if is_ours else network
        training[name], sampling[name] = both(network, is_ours, network, inverse)
        if compiled and network is not saving:
            name += " compiled"
            fast, fast_inverse = torch.compile(network), torch.compile(inverse)
            training[name], sampling[name] = both(network, is_ours, fast, fast_inverse)
    del sampling["ours memory-saving"]  # the same as without
    facts["training_s"] = rounds(training, repeats)
    facts["sampling_s"] = rounds(sampling, repeats)
    facts["activations_bytes"] = {
        "freia": kept_bytes(peer, [x, *plain], lambda: peer(x, c=plain)),
        "ours": kept_bytes(ours, [x, *tensors], lambda: ours(x, conditions)),
        "ours memory-saving": kept_bytes(saving, [x, *tensors], lambda: saving(x, conditions)),
    }
    return facts


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times ``fast`` goes into ``slow``: the median of the rounds."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def show(facts: dict[str, Any]) -> None:
    print(
        f"\nbatch {facts['batch']}, {facts['threads']} thread(s); latents differ from FrEIA's by "
        f"{facts['parity']:.1e}, log-determinants by {facts['parity_log_det']:.1e} of theirs"
    )
    for what in ("training", "sampling"):
        wall, cpu = facts[f"{what}_s"]["wall"], facts[f"{what}_s"]["cpu"]
        for name, own in wall.items():
            peer = "freia compiled" if "compiled" in name else "freia"
            print(
                f"  {what:9} {name:30} {1e3 * statistics.median(own):8.1f} ms   "
                f"{ratio(wall, peer, name):5.2f} times as fast as {peer} "
                f"({ratio(cpu, peer, name):.2f} in CPU seconds)"
            )
    kept = facts["activations_bytes"]
    for name, own in kept.items():
        print(
            f"  activations {name:28} {own / facts['batch'] / 1e6:8.2f} MB an image   "
            f"{kept['freia'] / own:6.1f} × less than freia"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other libraries, to standard error
            facts = measure(options.batches[0], options.repeats, not options.eager)
        print(json.dumps(facts))
        return
    figures: list[dict[str, Any]] = []
    for threads in options.threads:
        for batch in options.batches:
            command = [sys.executable, __file__, "--child", "--batches", str(batch)]
            command += ["--repeats", str(options.repeats), *["--eager"] * options.eager]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            facts = json.loads(done.stdout.splitlines()[-1])
            facts |= {"threads": threads, "torch": torch.__version__, "cpu": platform.machine()}
            figures.append(facts)
            show(facts)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
