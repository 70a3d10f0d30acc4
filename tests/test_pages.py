"""The pages of docs/algorithms are what `make docs` makes: one for each algorithm, with its picture."""

import pytest

from experiments.pages import FOLDER, pages

PAGES = list(pages())


@pytest.mark.parametrize(("path", "text", "algorithm"), PAGES, ids=[str(page[0].relative_to(FOLDER)) for page in PAGES])
def test_every_page_is_up_to_date(path, text, algorithm):
    assert path.is_file(), "run make docs"
    assert path.read_text() == text, "run make docs"
    if algorithm is not None:
        assert path.with_suffix(".svg").is_file()
        assert algorithm.source, "every algorithm has a source"


def test_nothing_else_lies_there():
    known = {path for path, *_ in PAGES} | {path.with_suffix(".svg") for path, _, algorithm in PAGES if algorithm}
    assert {*FOLDER.rglob("*.md"), *FOLDER.rglob("*.svg")} == known
