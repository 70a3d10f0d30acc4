"""`make docs`: a page for each algorithm, with its program, cost and a picture of its steps, and an index of them."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from collectives.registry import all_algorithms
from commsim import Algorithm, CommsimError, Schedule
from commsim.collective import ALLREDUCE, COLLECTIVES, collective_named
from commsim.errors import InputError
from commsim.units import parse_bytes
from experiments.choose import acceptor, chosen, proven
from experiments.figures.steps import steps
from experiments.figures.style import save_as, save_small
from experiments.options import require_meaning

FOLDER = Path(__file__).parents[1] / "docs" / "algorithms"
PICTURED_RANKS = (8, 9, 4, 7)  # the first that the algorithm takes
MOST_DRAWN = 32
PICTURED_GROUPS = 4  # ranks in each node

CHANNELS = """\
NCCL runs many channels side by side, each over its own share of the vector, in an order of ranks that uses another NIC.
Here there is one: one NIC of each node carries all that leaves it. Compare the shape of a curve with NCCL's, not its
bandwidth."""

MATRIX = """\
`sizes.csv` holds what each rank (a row) sends to each (a column), in bytes or like `64KiB`; as many rows as ranks. This
makes one for 64 ranks that send 4 KiB to each other, and 64 KiB to the last; write 2 for 64 to get `sizes2.csv`:

    python -c 'p = 64; print(*[",".join(["4KiB"] * (p - 1) + ["64KiB"])] * p, sep="\\n")' > sizes.csv

The program is that of alltoall; each pair has a size of its own."""

PAGE = """\
# {{ collective }}: {{ name }}

{{ text }}
{%- if note %}

{{ note }}
{%- endif %}

![Steps on {{ n_ranks }} ranks]({{ name }}.svg)

{{ pictured }}

| | |
|---|---|
| cost (α per message, β s/B, γ s/B of reduction, p ranks, n bytes) | {{ cost }} |
| takes | {{ constraints }} |
| parameters | {{ params }} |
| source | {{ source }} |
| elsewhere | {{ names }} |

    commsim verify {{ collective }} -a {{ name }}
    commsim simulate {{ collective }} -a {{ name }} -s star:hosts=64,bandwidth=25GB/s,latency=1us{{ keys }}{{ sizes }}
    mpiexec -n 2 commsim run {{ collective }} -a {{ name }},library{{ run_sizes }}
{%- if matrix %}

{{ matrix }}
{%- endif %}

```python
{{ program }}
```

[{{ file }}](../../../{{ file }})
"""

INDEX = """\
# Algorithms

Every algorithm is one file; each was proven on 1 to 40 ranks. Made by `make docs`.

In the costs: α seconds for each message, β seconds for each byte of it, γ seconds for each byte that is reduced; p
ranks, n bytes (of the whole vector, for an alltoall what one rank sends). Under "takes": what an algorithm asks of its
case. *Commutative*: it combines values in another order than that of ranks. *Ranks may round apart*: ranks combine the
same values in different orders, so floats may differ in their last bits from rank to rank.
{% for collective, rows in tables %}
## {{ collective }}

| algorithm | cost | takes |
|---|---|---|
{% for row in rows -%}
| [{{ row.name }}]({{ collective }}/{{ row.name }}.md) | {{ row.cost }} | {{ row.constraints }} |
{% endfor %}{% endfor %}"""


def pages() -> Iterator[tuple[Path, str, Algorithm | None]]:
    """Path and text of every page, with the algorithm that it is about; the index last."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    page, index = environment.from_string(PAGE), environment.from_string(INDEX)
    tables = []
    for collective in COLLECTIVES:
        rows = []
        for algorithm in all_algorithms(collective):
            values = _values(algorithm)
            rows.append(values)
            yield FOLDER / collective / f"{algorithm.name}.md", page.render(values), algorithm
        tables.append((collective, rows))
    yield FOLDER / "README.md", index.render(tables=tables), None


def pictured(algorithm: Algorithm) -> tuple[Algorithm, int]:
    """The algorithm with the parameters of its picture, and the number of ranks.

    Raises
    ------
    CommsimError
        If it takes none of a few small numbers of ranks.
    """
    for n_ranks in PICTURED_RANKS:
        try:
            return algorithm.resolved(n_ranks, 2**20, PICTURED_GROUPS), n_ranks
        except CommsimError as error:
            refusal = error
    raise refusal


def _values(algorithm: Algorithm) -> dict[str, str]:
    module = importlib.import_module(f"collectives.{algorithm.collective.name}.{algorithm.name}")
    shown, n_ranks = pictured(algorithm)
    params = ", ".join(f"`{k}={'chosen by size and ranks' if v is None else v}`" for k, v in algorithm.params.items())
    at = f", `{shown.spec}`" if shown.params else ""
    values = {
        "collective": algorithm.collective.name,
        "name": algorithm.name,
        "text": (inspect.getdoc(module) or "").strip(),
        "n_ranks": str(n_ranks),
        "pictured": f"{n_ranks} ranks{at}. Numbers beside senders are the chunks that they send (`s`: of scratch); "
        "below, every row of squares is what one rank has after the step.",
        "note": _note(algorithm),
        "matrix": MATRIX if algorithm.collective.sizes_each else "",
        "cost": algorithm.formula or "no closed form",
        "constraints": algorithm.conditions or "everything",
        "params": params or "none",
        "source": algorithm.source,
        "names": "; ".join(f"{library}: {name}" for library, name in algorithm.names.items()) or "–",
        "sizes": _sizes(algorithm),
        "run_sizes": _sizes(algorithm).replace("sizes.csv", "sizes2.csv"),
        "keys": ",in_network=both" if _in_fabric(shown, n_ranks) else "",
        "program": inspect.getsource(inspect.unwrap(algorithm.program)).strip(),
        "file": f"collectives/{algorithm.collective.name}/{algorithm.name}.py",
    }
    return {
        key: value.replace("|", "\\|") if key in ("cost", "constraints", "names") else value
        for key, value in values.items()
    }


def _note(algorithm: Algorithm) -> str:
    """What NCCL does otherwise under the same name."""
    if algorithm.names.get("NCCL") not in ("Ring", "Tree"):
        return ""
    return CHANNELS + ("\n[multi_ring](multi_ring.md) has channels." if algorithm.collective is ALLREDUCE else "")


def _in_fabric(algorithm: Algorithm, n_ranks: int) -> bool:
    """Whether switches work for it."""
    return any(part.fabric for step in Schedule(algorithm, n_ranks) if isinstance(step, list) for part in step)


def _sizes(algorithm: Algorithm) -> str:
    if algorithm.collective.sizes_each:
        return " --matrix sizes.csv"
    return "" if algorithm.collective.joins else " --sizes 1MiB"


def draw(
    collective: str,
    text: str | None,
    file: str | None,
    output: Path,
    *,
    n_ranks: int,
    size: str,
    groups: int | None,
    root: int,
    window: str | None = None,
) -> None:
    """`commsim steps`: one picture, as the command line asks for it.

    Raises
    ------
    InputError
        For a case that the algorithm refuses, too many ranks, or a file ending that no picture has.
    """
    if output.suffix not in (".svg", ".png", ".pdf") or not os.access(output.parent, os.W_OK):
        raise InputError(f"-o {output}: must be a .svg, .png or .pdf file in a folder that exists")
    if not 1 <= n_ranks <= MOST_DRAWN:
        raise InputError(f"--ranks {n_ranks}: a picture has 1 to {MOST_DRAWN} ranks, each a line")
    n_bytes = parse_bytes(size)
    require_meaning(collective_named(collective), root=root)
    if text is None and file is None:
        raise InputError(
            f"-a names the algorithm to draw; commsim list algorithms --collective {collective} shows them"
        )
    choice = chosen(collective, text, file, acceptor(n_ranks, [n_bytes], groups))
    if len(choice.algorithms) > 1:
        names = ", ".join(one.name for one in choice.algorithms)
        raise InputError(f"-a and --file name several algorithms ({names}); a picture has one")
    proven(choice, n_ranks, [n_bytes], groups, root=root)
    figure = steps(choice.algorithms[0], n_ranks, n_bytes=n_bytes, groups=groups, root=root, window=_window(window))
    save_as(figure, output)


def _window(text: str | None) -> tuple[int, int] | None:
    """``"4:9"`` as two numbers."""
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not first.isdecimal() or not last.isdecimal():
        raise InputError(f"--steps {text!r}: write it like 4:9, counted from 0")
    return int(first), int(last)


def main() -> None:
    """Write all pages and pictures; remove those of algorithms that are gone."""
    written = set()
    for path, text, algorithm in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        written.add(path)
        if algorithm is not None:
            shown, n_ranks = pictured(algorithm)
            picture = path.with_suffix(".svg")
            save_small(steps(shown, n_ranks, groups=PICTURED_GROUPS), picture)
            written.add(picture)
    for path in [*FOLDER.rglob("*.md"), *FOLDER.rglob("*.svg")]:
        if path not in written:
            path.unlink()
    sys.stdout.write(f"{len(written)} files in {FOLDER}\n")


if __name__ == "__main__":
    main()
