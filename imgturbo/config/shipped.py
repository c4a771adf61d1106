"""The configs that travel with imgturbo, found from any folder.

From a checkout they are in `configs/`; an installed package has them inside. `imgturbo train
configs/demo.yaml` means the file of that name in the current folder, and the one that travels with
imgturbo where there is none.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["config_path", "found_config"]

_FOLDER = "configs"


def config_path(name: str) -> Path:
    """A config that ships with imgturbo: from the installed package, else from the checkout.

    Args:
        name: below configs/, like ``demo.yaml`` or ``vectors/arm.yaml``.
    """
    packaged = Path(str(files("imgturbo"))) / _FOLDER / name
    return packaged if packaged.exists() else Path(__file__).parents[2] / _FOLDER / name


def found_config(path: Path) -> Path:
    """``path``, or the shipped config that it names where there is no such file."""
    if path.parts[:1] == (_FOLDER,) and not path.exists():
        shipped = config_path(str(Path(*path.parts[1:])))
        if shipped.is_file():
            return shipped
    return path
