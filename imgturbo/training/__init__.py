"""Training: one loop on Accelerate, exact resume, averaged weights, bundles."""

from __future__ import annotations

from imgturbo.training.loop import TrainResult, train

__all__ = ["TrainResult", "train"]
