"""Residual alignment of one sky image onto another, from the sources that both of them see."""

from __future__ import annotations

from data_prep.register.align import register
from data_prep.register.registration import Registration

__all__ = ["Registration", "register"]
