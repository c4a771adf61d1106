"""What is refused is refused in one line (law 7)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imgturbo.errors import ImgturboError


def in_one_line(caught: pytest.ExceptionInfo[ImgturboError], *words: str) -> None:
    """What was raised says all of these words, in one line."""
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def one_line(call: Callable[[], object], *words: str) -> None:
    """A call is refused, in one line that says all of these words."""
    with pytest.raises(ImgturboError) as caught:
        call()
    in_one_line(caught, *words)
