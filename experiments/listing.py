"""`commsim list`: what exists, as rows."""

from __future__ import annotations

import csv
import inspect
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collectives.registry import all_algorithms
from commsim import Algorithm
from commsim.errors import InputError, unknown_name
from commsim.models import MODELS
from commsim.spec import keys_of
from commsim.units import format_bandwidth, format_bytes, format_count, format_money, format_time_short
from experiments.left_out import wrapped
from experiments.policies import POLICIES
from experiments.workloads import ddp
from experiments.workloads import registry as workloads
from topologies import MACHINES, SYSTEMS
from topologies.machines import Machine

Rows = list[dict[str, Any]]
MACHINE_COLUMNS = ("node", "nics", "links", "price", "sources", "assumed")


@dataclass(frozen=True)
class Wanted:
    """What to list.

    Attributes
    ----------
    name : str or None
        A part of the name.
    collective, library : str or None
        Of algorithms alone.
    keeps_order : bool
        Only algorithms that combine values in the order of ranks.
    """

    name: str | None = None
    collective: str | None = None
    library: str | None = None
    keeps_order: bool = False

    def refuse_for(self, what: str) -> None:
        """Filters that only algorithms have mean nothing elsewhere."""
        given = {"--collective": self.collective, "--library": self.library, "--keeps-order": self.keeps_order}
        for option, value in given.items():
            if value:
                raise InputError(f"{option} means nothing for {what}; it is for commsim list algorithms")


def listed(what: str, wanted: Wanted) -> Rows:
    """Rows of what exists.

    Raises
    ------
    InputError
        For an unknown list, collective or library, a filter without meaning, or if nothing is left.
    """
    if what not in LISTS:
        raise unknown_name("list", what, LISTS)
    if what != "algorithms":
        wanted.refuse_for(what)
    rows = LISTS[what](wanted)
    title = {"policies": "policy"}.get(what, what.removesuffix("s"))
    if not rows:
        raise InputError("nothing is left: no algorithm has all that was asked for")
    left = [row for row in rows if wanted.name is None or wanted.name in row[title]]
    if not left:
        raise unknown_name(title, wanted.name or "", {row[title] for row in rows})
    return left


def _algorithms(wanted: Wanted) -> Rows:
    found = all_algorithms(wanted.collective)
    if wanted.library is not None:
        known = {_plain(library): library for one in all_algorithms() for library in one.names}
        if _plain(wanted.library) not in known:
            raise unknown_name("library", _plain(wanted.library), known)
        found = [one for one in found if known[_plain(wanted.library)] in one.names]
    return [_algorithm(one) for one in found if one.keeps_order or not wanted.keeps_order]


def _plain(library: str) -> str:
    """Its name as people may write it: ``openmpi`` is Open MPI."""
    return "".join(letter for letter in library.lower() if letter.isalnum() or letter == "+")


def _algorithm(one: Algorithm) -> dict[str, Any]:
    return {
        "collective": one.collective.name,
        "algorithm": one.name,
        "params": ", ".join(f"{k}={'chosen' if v is None else v}" for k, v in one.params.items()),
        "constraints": one.conditions,
        "cost": one.formula,
        "source": one.source,
        "names": "; ".join(f"{library}: {name}" for library, name in one.names.items()),
    }


def _systems(wanted: Wanted) -> Rows:
    return [_system(name, factory) for name, factory in SYSTEMS.items()]


def _system(name: str, factory: Callable[..., Any]) -> dict[str, Any]:
    keys = keys_of(factory)
    needed = [f"{key}=…" for key, p in keys.items() if p.default is p.empty]
    optional = _takes(factory)
    row = {"system": name, "what": _first_line(factory), "needs": ", ".join(needed), "takes": ", ".join(optional)}
    return {**row, **(_machine(MACHINES[name]) if name in MACHINES else dict.fromkeys(MACHINE_COLUMNS, ""))}


def _takes(factory: Callable[..., Any]) -> list[str]:
    """The keys that may be left out, with their defaults."""
    return [f"{key}={shown(p.name, p.default)}" for key, p in keys_of(factory).items() if p.default is not p.empty]


def _machine(machine: Machine) -> dict[str, str]:
    """What a machine that exists is made of, and where its figures are from."""
    price = "" if machine.price_usd is None else f"{format_money(machine.price_usd)} a node"
    devices = f"{format_count(machine.devices_per_node, 'device')} ({machine.device.name})"
    links = "; ".join(f"{word}: {link.name}, {link.described()}" for word, link in machine.links.items())
    assumed = "; ".join(f"{key}: {text}" for key, text in machine.assumed.items())
    node = f"{devices}, 1 to {machine.most_nodes} nodes"
    values = (node, machine.nics, links, price, "; ".join(machine.sources), assumed)
    return dict(zip(MACHINE_COLUMNS, values, strict=True))


def shown(name: str, value: Any) -> str:
    """A default as users would write it: in the unit at the end of the parameter's name."""
    if value is None:
        return "chosen"
    for ending, form in _FORMS.items():
        if name.endswith(ending) and isinstance(value, (int, float)):
            return form(value).replace(" ", "").replace("µ", "u") if value else "0"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


_FORMS: dict[str, Callable[[Any], str]] = {
    "_Bps": format_bandwidth,
    "_s_per_byte": lambda value: format_bandwidth(1 / value),
    "_usd": lambda value: f"{value:g}USD",
    "_s": format_time_short,
    "_bytes": lambda value: format_bytes(value),
}


def _models(wanted: Wanted) -> Rows:
    return [{"model": name, "what": model.description} for name, model in MODELS.items()]


def _workloads(wanted: Wanted) -> Rows:
    """A row for each published form of each, or for the spec or file that is asked for."""
    name = wanted.name or ""
    asked = ":" in name or workloads.is_file(name)
    return [_workload(spec) for spec in ([name] if asked else workloads.specs())]


def _workload(spec: str) -> dict[str, Any]:
    found = workloads.find(spec)
    length = "" if found.tokens_per_sample == 1 else f" of {found.tokens_per_sample} tokens"
    return {
        "workload": spec,
        "parameters": found.n_parameters,
        "tensors": len(found.gradients),
        "n_bytes": found.gradient_bytes,
        "dtype": ", ".join(found.gradient_bytes_by_dtype),
        "largest": f"{found.largest.name} {'x'.join(map(str, found.largest.shape))}",
        "buckets": len(ddp.buckets(found)),
        "flops": found.forward_flops,
        "sample": found.sample + length,
        "takes": ", ".join(_takes(workloads.factory_of(spec))),
        "source": found.source,
    }


def _policies(wanted: Wanted) -> Rows:
    """A row for each; keys that take no value by default are common to all, or taken from the system."""
    return [
        {
            "policy": name,
            "what": _first_line(factory),
            "takes": ", ".join(_takes(factory)),
            "over": factory().backend.name,
            "source": factory().source,
        }
        for name, factory in POLICIES.items()
    ]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0].replace("`", "")


LISTS: dict[str, Callable[[Wanted], Rows]] = {
    "algorithms": _algorithms,
    "systems": _systems,
    "models": _models,
    "workloads": _workloads,
    "policies": _policies,
}


def as_text(rows: Rows, style: str, width: int | None = None) -> str:
    """Rows as ``table`` (a paragraph each, in lines of at most `width`), ``csv`` or ``json``.

    Raises
    ------
    UnknownNameError
        For another style.
    """
    if style == "json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    if style != "table":
        raise unknown_name("format", style, ("table", "csv", "json"))
    return "\n".join(_paragraph(row, width) for row in rows)


def _paragraph(row: dict[str, Any], width: int | None) -> str:
    """The name in front, then indented lines for each other column that says something."""
    titles = ("collective", "algorithm", "system", "model", "workload", "policy")
    head = " ".join(str(row[key]) for key in titles if key in row)
    told = [
        (f"  {key:<12}", f"{value:,}" if isinstance(value, int) else value)
        for key, value in row.items()
        if key not in titles and value
    ]
    return "\n".join([head, *(line for key, value in told for line in wrapped(f"{key}{value}", width, 14)), ""])
