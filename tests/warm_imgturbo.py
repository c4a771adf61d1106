"""The command line without the seconds that importing PyTorch takes: a process that forks itself.

Pages of the documentation run a hundred commands. Each is run by `imgturbo.cli.main.main` in a
fresh fork of a process that has imported what commands import, with the arguments, the folder, the
environment and the three streams of whoever asks. `imgturbo` on the pages' PATH is CLIENT.

    python tests/warm_imgturbo.py FOLDER     # makes FOLDER/imgturbo, then waits
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from pathlib import Path

import torch

import data_prep
import imgturbo

LATE = (
    "accelerate", "albumentations", "kornia", "matplotlib.pyplot", "photutils.segmentation",
    "skimage.measure", "skimage.registration", "torch.utils.tensorboard",
)  # fmt: skip

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as to:
    to.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(to, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    to.sendall(asked)
    answer = to.recv(1)
sys.exit(answer[0] if answer else 1)
"""


def serve(folder: Path) -> None:
    """Answer until killed, one command after the other, which is how a page runs them."""
    address = folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        client = folder / "imgturbo"
        aside = folder / "client.part"
        aside.write_text(CLIENT.format(python=sys.executable, address=str(address)))
        aside.chmod(0o755)
        aside.rename(client)
        while True:
            asking, _ = server.accept()
            with asking:
                _answer(asking)


def _answer(asking: socket.socket) -> None:
    head, streams, _, _ = socket.recv_fds(asking, 8, 3)
    length, asked = int.from_bytes(head, "big"), b""
    while len(asked) < length:
        asked += asking.recv(length - len(asked))
    child = os.fork()
    if child == 0:
        _run(json.loads(asked), streams)
    for stream in streams:
        os.close(stream)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError):  # whoever asked was killed meanwhile
        asking.sendall(bytes([code if code >= 0 else 128 - code]))


def _run(asked: tuple[list[str], str, dict[str, str]], streams: list[int]) -> None:
    """The rest of a forked process; it does not return."""
    words, folder, environment = asked
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["imgturbo", *words]
    code = 1
    try:
        from imgturbo.cli.main import main

        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def load() -> None:
    """Import all that commands import, and what PyTorch itself leaves to the first step."""
    for room in (imgturbo, data_prep):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    weight = torch.ones(1, requires_grad=True)
    weight.grad = torch.ones(1)
    torch.optim.AdamW([weight]).step()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    serve(Path(sys.argv[1]))
