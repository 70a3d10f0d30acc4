"""What tests share, and what the suite says at its end beside pytest's own lines."""

import os
from collections import Counter

import pytest

from commsim.models import MODELS
from commsim.models.fluid import Fluid
from experiments import cli

os.environ.pop("COLUMNS", None)  # pytest-xdist tells its workers a width; what is printed must not depend on it


def pytest_terminal_summary(terminalreporter):
    """How many mutants were refused, and how many were shown to be equivalent, over all algorithms."""
    counts = {"mutants refused": Counter(), "mutants equivalent": Counter()}
    for report in terminalreporter.getreports("passed"):
        for key, value in report.user_properties if report.when == "call" else ():
            if key in counts:
                counts[key].update(value)
    for key, by_kind in counts.items():
        if by_kind:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items()))
            terminalreporter.write_line(f"{key}: {by_kind.total()} ({kinds})")


@pytest.fixture
def commsim(monkeypatch, capsys):
    """Run the program in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setattr("experiments.progress.QUIET_S", 1e9)  # a busy host is no reason for another output
        monkeypatch.setattr("sys.argv", ["commsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def events(monkeypatch):
    """One more model, "events": fluid without its shortcuts."""
    monkeypatch.setitem(MODELS, "events", Fluid(shortcuts=False))
