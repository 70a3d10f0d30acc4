"""The pages for people run as they stand, and print what they say."""

import re
import runpy
from pathlib import Path

import pytest

PAGES = Path(__file__).parent.parent / "docs"


def blocks(page, language):
    """The blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def commands(page):
    """Each command of the console blocks with what it prints, as the page says (empty: not said)."""
    for block in blocks(page, "console"):
        yield from re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)


@pytest.mark.parametrize("page", ["write-an-algorithm.md"])
def test_what_a_page_says_is_so(page, commsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for text in blocks(page, "python"):
        Path(re.match(r"# (\w+\.py)\n", text)[1]).write_text(text)
    n_run = 0
    for command, said in commands(page):
        program, *words = command.split()
        if program != "commsim":
            continue  # real ranks: tests/test_mpi.py
        code, out, err = commsim(*words)
        errors = "".join(line for line in err.splitlines(keepends=True) if line.startswith("commsim: "))  # no progress
        assert not said or out + errors == said, command
        assert bool(code) == said.startswith("commsim: "), err
        n_run += 1
    assert n_run > 10
    for script in tmp_path.glob("check_*.py"):
        runpy.run_path(str(script))
