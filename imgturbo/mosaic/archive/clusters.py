"""Workers on this machine, in Slurm's jobs, or of a Dask cluster that is there already.

Dask ``distributed`` brings tasks to workers, notices which die, and gives their tasks to others. A
worker here is a process with one thread of tasks: the network uses the cores (``OMP_NUM_THREADS``)
or the GPU by itself. All of it is loaded only when it is asked for (extra ``archive``).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import psutil
import torch

from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SLURM", "cluster", "slurm_keywords"]

SLURM = "partition=gpu,gres=gpu:1,time=02:00:00,cores=4,memory=32GB"
"""An example of ``--slurm``."""

_MEMORY = 2 << 30  # bytes that a worker on CPUs should find
_PATIENCE = 30  # seconds until a scheduler has answered
_OWN = {"partition": "queue", "account": "account", "time": "walltime", "memory": "memory"}
# Even without a dashboard a scheduler serves its state, at one port, of which a second one warns.
_NO_DASHBOARD: Mapping[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_QUIET = ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler")


@contextlib.contextmanager
def cluster(where: str, jobs: int | None = None, slurm: str | None = None) -> Iterator[Client]:
    """A client of a cluster, for `translate_manifest`; what is started here ends with the block.

    Args:
        where: ``"local"``, ``"slurm"``, or an address (``tcp://HOST:8786``) or a scheduler file of
            a cluster that runs.
        jobs: workers on this machine (None: one a GPU, or one a core as far as memory goes), or
            the most jobs of Slurm at a time, which come and go with the work.
        slurm: what each job asks for: ``"partition=gpu,gres=gpu:1,time=02:00:00,cores=4,…"``.

    Raises:
        ImgturboError: a package is missing, no scheduler answers, or words that do not fit.
    """
    if slurm is not None and where != "slurm":
        raise ImgturboError("--slurm goes with --scheduler slurm; leave it out")
    if jobs is not None and where not in ("local", "slurm"):
        raise ImgturboError(f"--jobs: {where} has its own workers; leave it out")
    dask = _package("distributed")
    _package("dask").config.set({"distributed.comm.timeouts.connect": f"{_PATIENCE}s"})
    for name in _QUIET:  # a worker that dies is our business, and what it says is not one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as open_:
        if where == "local":
            target: Any = open_.enter_context(_local(dask, jobs))
        elif where == "slurm":
            target = open_.enter_context(_slurm(jobs, slurm))
        else:
            target = _running(where)
        try:
            client = open_.enter_context(dask.Client(target, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            raise ImgturboError(
                f"--scheduler {where}: no scheduler answers there ({error}); write local, slurm, "
                "or the address that 'dask scheduler' shows, such as tcp://host:8786"
            ) from error
        yield client


@contextlib.contextmanager
def _local(dask: ModuleType, jobs: int | None) -> Iterator[Any]:
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 0
    cores = cores or os.cpu_count() or 1
    if jobs is None:
        room = max(1, psutil.virtual_memory().available // _MEMORY)
        jobs = torch.cuda.device_count() or min(cores, room)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // jobs))
    with contextlib.ExitStack() as held:
        # The folder that clusters share otherwise has a lock, at which they wait for each other.
        scratch = held.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Creating scratch directories", UserWarning)
            made = dask.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                memory_limit=None,  # windows keep within bounds by themselves
                dashboard_address=None,
                scheduler_kwargs=_NO_DASHBOARD,
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
                env={"OMP_NUM_THREADS": threads},
            )
        yield held.enter_context(made)


def _slurm(jobs: int | None, words: str | None) -> contextlib.AbstractContextManager[Any]:
    jobqueue = _package("dask_jobqueue")
    made = jobqueue.SLURMCluster(**slurm_keywords(words or ""))
    made.adapt(minimum_jobs=0, maximum_jobs=jobs or 1)
    return made


def slurm_keywords(words: str) -> dict[str, Any]:
    """Of ``SLURMCluster``, from ``partition=gpu,gres=gpu:1,time=02:00:00,cores=4,memory=32GB``.

    ``partition``, ``account``, ``time``, ``cores`` and ``memory`` are known; every other word
    becomes a line ``#SBATCH --KEY=VALUE``.

    Raises:
        ImgturboError: a word without an equals sign, cores that are no number, or no memory.
    """
    given: dict[str, str] = {}
    key = ""
    for word in filter(None, words.split(",")):
        name, equals, value = word.partition("=")
        if equals:
            key = name.strip().lstrip("-")
            given[key] = value.strip()
        elif key:  # a comma of the value's own, as in exclude=node1,node2
            given[key] += f",{word.strip()}"
        else:
            raise ImgturboError(f"--slurm {words}: write KEY=VALUE, as in {SLURM}")
    cores = given.pop("cores", "1")
    if not cores.isdigit() or not int(cores):
        raise ImgturboError(f"--slurm cores={cores}: is no number of cores; write cores=4")
    if "memory" not in given:
        raise ImgturboError(f"--slurm: says nothing of memory; write for example {SLURM}")
    known: Mapping[str, str] = {_OWN[key]: given.pop(key) for key in list(given) if key in _OWN}
    return {
        **known,
        "cores": 1,  # tasks at a time; the network's threads are its own
        "job_cpu": int(cores),
        "processes": 1,
        "job_extra_directives": [f"--{key}={value}" for key, value in given.items()],
        "job_script_prologue": [f"export OMP_NUM_THREADS={cores}"],
        "scheduler_options": dict(_NO_DASHBOARD),
        "worker_extra_args": ["--no-dashboard"],
        "log_directory": None,
    }


def _running(where: str) -> Any:
    """A cluster's address, or the file in which its scheduler wrote it."""
    file = Path(where)
    if file.is_file():
        import json

        try:
            return json.loads(file.read_bytes())["address"]
        except (ValueError, KeyError, TypeError, OSError):
            raise ImgturboError(
                f"{file}: is no file of a scheduler; give the one of 'dask scheduler "
                "--scheduler-file FILE'"
            ) from None
    if "://" not in where:
        raise ImgturboError(
            f"--scheduler {where}: write local, slurm, or an address such as tcp://host:8786"
        )
    return where


def _package(name: str) -> ModuleType:
    """A package of the extra; what SIGINT does stays ours, which dask_jobqueue takes over."""
    former = signal.getsignal(signal.SIGINT)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImgturboError(
            f"--scheduler needs the package {error.name or name}: pip install 'imgturbo[archive]'"
        ) from error
    finally:
        if former is not None and signal.getsignal(signal.SIGINT) is not former:
            signal.signal(signal.SIGINT, former)
