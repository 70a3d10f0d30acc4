"""What people write becomes SI; what cannot be meant is refused, with the value and the way to write it."""

import pytest

from commsim import units
from commsim.errors import CommsimError, InputError


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_bytes, "64MiB", 64 * 2**20),
        (units.parse_bytes, "1e6B", 10**6),
        (units.parse_bytes, "3kB", 3000),
        (units.parse_bytes, "8", 8),
        (units.parse_bytes, "1G", 2**30),
        (units.parse_bytes, " 0 ", 0),
        (units.parse_bytes, 12, 12),
        (units.parse_bandwidth, "25GB/s", 25e9),
        (units.parse_bandwidth, "400Gb/s", 50e9),
        (units.parse_bandwidth, "1GiB/s", 2**30),
        (units.parse_bandwidth, 5e9, 5e9),
        (units.parse_time, "1.3us", 1.3e-6),
        (units.parse_time, "1.3µs", 1.3e-6),
        (units.parse_time, ".5 ms", 5e-4),
        (units.parse_time, "40ps", 4e-11),
        (units.parse_time, "0", 0),
        (units.parse_time_per_byte, "40ps/B", 4e-11),
        (units.parse_time_per_byte, "25GB/s", 4e-11),
        (units.parse_money, "300kUSD", 300e3),
    ],
)
def test_text_becomes_si(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_bytes, "64Mib"),
        (units.parse_bytes, "1.5"),
        (units.parse_bytes, "0.3KiB"),
        (units.parse_bytes, 2.5),
        (units.parse_bytes, "-1"),
        (units.parse_bytes, -1),
        (units.parse_bytes, "1e400"),
        (units.parse_bytes, "nan"),
        (units.parse_bytes, float("nan")),
        (units.parse_bytes, "inf"),
        (units.parse_bytes, ""),
        (units.parse_bytes, None),
        (units.parse_bytes, True),
        (units.parse_bandwidth, "25"),
        (units.parse_bandwidth, "25GB"),
        (units.parse_bandwidth, "25Gbps"),
        (units.parse_bandwidth, "-1GB/s"),
        (units.parse_bandwidth, "1e300TB/s"),
        (units.parse_time, "5"),
        (units.parse_time, "5 minutes"),
        (units.parse_time, "nan"),
        (units.parse_time, "1us2"),
        (units.parse_time_per_byte, "0GB/s"),
        (units.parse_time_per_byte, "3ps"),
        (units.parse_money, "300k"),
    ],
)
def test_nonsense_is_refused_with_its_value(parse, text):
    with pytest.raises(InputError) as error:
        parse(text)
    assert str(text) in str(error.value)
    assert isinstance(error.value, (CommsimError, ValueError))


def test_the_message_shows_how_to_write_it():
    with pytest.raises(InputError, match=r"'5': a unit is missing; write it like 500ns"):
        units.parse_time("5")
    with pytest.raises(InputError, match=r"unknown unit 'Gbps'; write it like 25GB/s or 400Gb/s"):
        units.parse_bandwidth("25Gbps")


@pytest.mark.parametrize(
    ("name", "word", "text", "value"),
    [
        ("bandwidth_Bps", "bandwidth", "1kB/s", 1e3),
        ("gamma_s_per_byte", "gamma", "1ns/B", 1e-9),
        ("latency_s", "latency", "1ns", 1e-9),
        ("price_usd", "price", "2USD", 2),
        ("n_bytes", "n", "2KiB", 2048),
    ],
)
def test_the_ending_of_a_name_chooses_the_parser(name, word, text, value):
    found, parse = units.parser_for(name)
    assert (found, parse(text)) == (word, pytest.approx(value))


def test_a_name_without_unit_has_no_parser():
    assert units.parser_for("hosts") == ("hosts", None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (units.format_time(12.341e-6), "12.34 µs"),
        (units.format_time(0), "0.000 ns"),
        (units.format_time(2.5), "2.500 s"),
        (units.format_time_short(2.5e-6), "2.5 µs"),
        (units.format_bandwidth(25e9), "25 GB/s"),
        (units.format_bytes(64 * 2**20), "64 MiB"),
        (units.format_bytes(1000), "1000 B"),
        (units.format_bytes(0), "0 B"),
        (units.format_volume(31.5e6), "31.5 MB"),
        (units.format_money(300e3), "300 k$"),
        (units.format_money(0.6e6), "600 k$"),
        (f"{units.format_count(1, 'rank')}, {units.format_count(0, 'rank')}", "1 rank, 0 ranks"),
        (f"{units.microseconds(1e-6):g} {units.gigabytes_per_second(1e9):g}", "1 1"),
    ],
)
def test_numbers_are_shown_for_people(text, shown):
    assert text == shown


@pytest.mark.parametrize("n_bytes", [0, 1, 1023, 1024, 3 * 2**20, 2**40, 10**9])
def test_shown_bytes_read_back_exactly(n_bytes):
    assert units.parse_bytes(units.format_bytes(n_bytes)) == n_bytes
