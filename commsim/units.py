"""Units: what people write ("64MiB", "400Gb/s", "1.3us") to SI numbers, and back. No other file knows a prefix.

Inside the project every quantity is in SI base units and its name ends in the unit: ``_s``, ``_bytes``, ``_Bps``,
``_s_per_byte``, ``_usd``. :func:`parser_for` finds the parser by that ending.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from commsim.errors import InputError

BITS_PER_BYTE = 8

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9, "ps": 1e-12}
_BYTES = {f"{prefix}B": factor for prefix, factor in {**_DECIMAL, **_BINARY}.items()}
_BANDWIDTHS = {
    **{f"{unit}/s": factor for unit, factor in _BYTES.items()},
    **{f"{prefix}b/s": factor / BITS_PER_BYTE for prefix, factor in {**_DECIMAL, **_BINARY}.items()},
}
_TIMES_PER_BYTE = {f"{unit}/B": factor for unit, factor in _SECONDS.items()}
_MONEY = {f"{prefix}USD": factor for prefix, factor in _DECIMAL.items()}
TIME_UNITS = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")]
_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")


def _parse(text: str | float, what: str, units: dict[str, float], example: str, *, bare: bool = False) -> float:
    """Number times unit; a number without a unit is taken only where `bare` (or it is no text: SI already) or zero."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not 0 <= text < float("inf"):
            raise InputError(f"{what} {text!r} must be a finite number, zero or more")
        return float(text)
    match = _NUMBER.fullmatch(str(text))
    if match is None:
        raise InputError(f"{what} {text!r} is not a number with a unit; write it like {example}")
    value, unit = float(match[1]), match[2]
    if unit not in units and not (unit == "" and (bare or value == 0)):
        reason = f"unknown unit {unit!r}" if unit else "a unit is missing"
        raise InputError(f"{what} {text!r}: {reason}; write it like {example}")
    value *= units.get(unit, 1.0)
    if value == float("inf"):
        raise InputError(f"{what} {text!r} must be a finite number; write it like {example}")
    return value


def parse_bytes(text: str | float) -> int:
    """Bytes of a size such as ``"64MiB"``, ``"1e6B"`` or ``"8"`` (sizes alone may go without a unit).

    Raises
    ------
    InputError
        If it is not a size, or not a whole number of bytes.
    """
    short = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}  # nccl-tests' and OSU's short forms: binary
    value = _parse(text, "size", {**_BYTES, **short}, "64MiB or 8B", bare=True)
    if value != int(value):
        raise InputError(f"size {text!r} is not a whole number of bytes")
    return int(value)


def parse_bandwidth(text: str | float) -> float:
    """Bytes per second of ``"25GB/s"`` (bytes) or ``"400Gb/s"`` (bits); a bare number is refused."""
    return _parse(text, "bandwidth", _BANDWIDTHS, "25GB/s or 400Gb/s")


def parse_time(text: str | float) -> float:
    """Seconds of ``"500ns"``; a bare number is refused."""
    return _parse(text, "time", _SECONDS, "500ns or 1.3us")


def parse_time_per_byte(text: str | float) -> float:
    """Seconds per byte of ``"40ps/B"``, or of a throughput such as ``"25GB/s"``."""
    if isinstance(text, str) and text.rstrip().endswith("/s"):
        rate = parse_bandwidth(text)
        if rate == 0:
            raise InputError(f"throughput {text!r} must be above zero")
        return 1 / rate
    return _parse(text, "time per byte", _TIMES_PER_BYTE, "40ps/B or 25GB/s")


def parse_money(text: str | float) -> float:
    """US dollars of ``"300kUSD"``; a bare number is refused."""
    return _parse(text, "price", _MONEY, "300000USD or 300kUSD")


def parse_rate(text: str | float) -> float:
    """Events per second of ``"200M/s"``; a bare number is refused."""
    return _parse(text, "rate", {f"{prefix}/s": factor for prefix, factor in _DECIMAL.items()}, "200M/s")


def parse_flop_rate(text: str | float) -> float:
    """Floating-point operations per second of ``"312TFLOP/s"``; a bare number is refused."""
    return _parse(
        text, "compute rate", {f"{prefix}FLOP/s": factor for prefix, factor in _DECIMAL.items()}, "312TFLOP/s"
    )


def parse_share(text: str | float) -> float:
    """``"5%"`` or ``"0.05"``."""
    return _parse(text, "share", {"%": 0.01}, "5% or 0.05", bare=True)


_PARSERS: dict[str, Callable[[str | float], float]] = {
    "_s_per_byte": parse_time_per_byte,
    "_bytes": parse_bytes,
    "_Bps": parse_bandwidth,
    "_usd": parse_money,
    "_flop_per_s": parse_flop_rate,
    "_per_s": parse_rate,
    "_s": parse_time,
}


def parser_for(name: str) -> tuple[str, Callable[[str | float], float] | None]:
    """Split ``"bandwidth_Bps"`` into the word people write (``"bandwidth"``) and its parser (None: no unit)."""
    for ending, parse in _PARSERS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), parse
    return name, None


def _scaled(value: float, units: list[tuple[float, str]], style: str = ".4g") -> str:
    factor, unit = next(((f, u) for f, u in units if abs(value) >= f), units[-1])
    return f"{format(value / factor, style).removesuffix('.')} {unit}"


def format_time(seconds: float) -> str:
    """Four digits, zeros included, and the unit that suits: ``"12.30 µs"``."""
    return _scaled(seconds, TIME_UNITS, "#.4g")


def format_time_short(seconds: float) -> str:
    """The same without zeros at the end, for names and axes: ``"12.3 µs"``."""
    return _scaled(seconds, TIME_UNITS)


def format_bandwidth(bandwidth_Bps: float) -> str:
    """Decimal bytes per second: ``"25 GB/s"``."""
    return _scaled(bandwidth_Bps, [(1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")])


def format_flop_rate(flop_per_s: float) -> str:
    """``"125 TFLOP/s"``."""
    return _scaled(flop_per_s, [(1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s")])


def format_bytes(n_bytes: int) -> str:
    """Exact: ``"64 MiB"`` where it divides, else the plain number of bytes."""
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n_bytes and n_bytes % factor == 0:
            return f"{n_bytes // factor} {unit}"
    return f"{n_bytes} B"


def format_volume(n_bytes: float) -> str:
    """Decimal bytes, four digits: ``"31.5 MB"``."""
    return _scaled(n_bytes, [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")])


def format_money(usd: float) -> str:
    """``"0.6 M$"``, ``"300 k$"``."""
    return _scaled(usd, [(1e6, "M$"), (1e3, "k$"), (1.0, "$")])


def format_count(number: int, word: str) -> str:
    """``"1 rank"``, ``"2 ranks"``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def microseconds(seconds: float) -> float:
    """Seconds to microseconds: the unit of the nccl-tests and OSU tables."""
    return seconds * 1e6


def gigabytes_per_second(bandwidth_Bps: float) -> float:
    """Bytes per second to GB/s (decimal): the unit of the nccl-tests tables."""
    return bandwidth_Bps / 1e9
