"""Commands that do a whole job on data that travel with the package."""

from __future__ import annotations

from pathlib import Path

import typer

from imgturbo.cli.options import Demo, Quick

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def demo(out: Demo = Path("demo"), quick: Quick = False) -> None:
    """The whole job on a simulated sky: observe, prepare, train, translate, score."""
    from imgturbo.demos.sky import run_demo

    run_demo(out, quick=quick)


@commands.command("demo-events")
def demo_events(out: Demo = Path("demo-events"), quick: Quick = False) -> None:
    """Collide protons, train an unfolding and a simulation of events, score what was held out.

    Needs Pythia and fastjet: pip install 'imgturbo[hep]'.
    """
    from imgturbo.demos.events import run_demo

    run_demo(out, quick=quick)


@commands.command("demo-colorize")
def demo_colorize(out: Demo = Path("demo-colorize"), quick: Quick = False) -> None:
    """Train a small colour flow on a few pictures, and colour what it has not seen."""
    from imgturbo.demos.colours import run_demo

    run_demo(out, quick=quick)


@commands.command("demo-arm")
def demo_arm(out: Demo = Path("demo-arm"), quick: Quick = False) -> None:
    """Learn which stances bring an arm's hand to a place, draw them, and put them to the test."""
    from imgturbo.demos.arm import run_demo

    run_demo(out, quick=quick)
