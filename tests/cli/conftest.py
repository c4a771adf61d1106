"""The command line in process: what a stranger types, what is printed."""

from __future__ import annotations

import pytest

from imgturbo.cli.main import main


@pytest.fixture
def run(capsys, monkeypatch):
    """``run(words…)`` → (exit status, standard output, standard error).

    Progress, which depends on the clock, is not shown.
    """
    monkeypatch.setattr("imgturbo.report.progress._PLAIN_FIRST", float("inf"))

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return ended.value.code, *capsys.readouterr()

    return run
