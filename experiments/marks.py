"""Parts of a page that commands write: what stands between ``<!-- name: begin -->`` and ``<!-- name: end -->``."""

from __future__ import annotations

from commsim.errors import InputError


def between_marks(page: str, name: str, text: str) -> str:
    """The page with `text`, whole lines, between the marks of that name.

    Raises
    ------
    InputError
        If the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise InputError(f"the page has no {begin.strip()} … {end}")
    return f"{before}{begin}{text}{end}{after}"
