"""imgturbo: translate the sky as one telescope saw it into what another would have seen.

The public names, listed with their homes in ``__init__.pyi``, load on first use: importing imgturbo
costs nothing, and needs no astropy.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
