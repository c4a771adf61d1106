"""Before and after a fine-tuning, on standard output and in the card of the new bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["finetuned_rows", "finetuned_table"]

_NAMES = {  # of a score: what it is called, and its format
    "psnr": ("PSNR dB ↑", ".2f"),
    "ssim": ("SSIM ↑", ".4f"),
    "l1": ("L1 ↓", ".4f"),
    "lpips": ("LPIPS ↓", ".4f"),
    "st_lpips": ("ST-LPIPS ↓", ".4f"),
    "flux_bias": ("flux bias", "+.1%"),
}


def finetuned_rows(content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A line a score: its name, before, after; biases with their standard errors."""
    before, after = content["before"], content["after"]
    rows = []
    for key in dict.fromkeys([*before, *after]):
        way, score, band = [*key.split("/"), ""][:3]
        if score == "flux_error":
            continue
        called, form = _NAMES.get(score, (score, ".4g"))
        error = f"{way}/flux_error/{band}" if score == "flux_bias" else ""
        name = f"{way}: {called}{band and ' '}{band}"
        old, new = (_cell(scores, key, form, error) for scores in (before, after))
        rows.append((name, old, new))
    return rows


def _cell(scores: Mapping[str, float], key: str, form: str, error: str) -> str:
    if key not in scores:
        return "–"
    beside = f" ± {scores[error]:.1%}" if error in scores else ""
    return f"{scores[key]:{form}}{beside}"


def finetuned_table(content: Mapping[str, Any]) -> None:
    """Print the comparison that ``finetune.json`` holds."""
    from imgturbo.report.tables import plain_table, wide_console

    plain_table(("held-out score", "before", "after"), finetuned_rows(content))
    for note in content["notes"]:
        wide_console().print(note, markup=False, highlight=False)
