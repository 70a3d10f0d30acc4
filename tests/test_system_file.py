"""Systems as TOML: written, read back the same, and every mistake named with file and key."""

import numpy as np
import pytest

import topologies
from commsim.errors import CommsimError, InputError
from commsim.system import BySize, Endpoint
from commsim.system_file import read_system, write_system

GOOD = """
[topology]
generator = "star"
hosts = 4
bandwidth = "8GB/s"
latency = "250ns"
overhead = "1us"

[endpoint]
gap = "2us"
message = [{from = "0B", overhead = "0.5us", efficiency = 0.5}, {from = "64KiB", efficiency = 1}]
both_ways = [{efficiency = 0.25}]
reduction = [{overhead = "1us", throughput = "20GB/s"}]

[notes]
host = "here"
"""


def read(tmp_path, text):
    path = tmp_path / "machine.toml"
    path.write_text(text)
    return read_system(path, topologies.SYSTEMS)


def test_what_a_file_says_is_what_is_read(tmp_path):
    system = read(tmp_path, GOOD)
    assert system.name == str(tmp_path / "machine.toml")
    assert system.n_devices == 4
    assert system.notes == {"host": "here"}
    assert set(system.topology.links.bandwidth_Bps.tolist()) == {8e9}
    assert system.endpoint == Endpoint(
        message=BySize((0, 65536), (0.5e-6, 0.0), (0.5, 1.0)),
        both_ways=BySize((0,), (0.0,), (0.25,)),
        gap_s=2e-6,
        reduction=BySize((0,), (1e-6,), (20e9,)),
    )


def test_without_an_endpoint_the_generators_keys_count(tmp_path):
    system = read(tmp_path, GOOD[: GOOD.index("[endpoint]")])
    assert system.endpoint == Endpoint(message=BySize(overhead_s=(1e-6,)))
    assert (system.notes, system.price_usd) == ({}, None)
    found = topologies.find(str(tmp_path / "machine.toml"))
    assert (found.name, found.endpoint) == (system.name, system.endpoint)


def test_switches_that_reduce_and_copy_are_a_key_of_the_generator(tmp_path):
    system = read(tmp_path, GOOD.replace("hosts = 4", 'hosts = 4\nin_network = "multicast"'))
    assert system.in_network == {"all": {"multicast"}}
    assert read(tmp_path, GOOD).in_network == {}
    with pytest.raises(InputError, match=r"machine\.toml:5: unknown in_network 'cast'; did you mean 'multicast'"):
        read(tmp_path, GOOD.replace("hosts = 4", 'hosts = 4\nin_network = "cast"'))
    with pytest.raises(InputError, match="in_network=True: True is not a text"):
        read(tmp_path, GOOD.replace("hosts = 4", "hosts = 4\nin_network = true"))


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint(),
        Endpoint.uniform(overhead_s=1.25e-6, gap_s=3e-7, gamma_s_per_byte=4e-11),
        Endpoint.uniform(eager_limit_bytes=8192, pair_efficiency=0.5, message_rate_per_s=2e8),
        Endpoint(burst_bytes=18028),
        Endpoint(
            BySize((0, 1000, 65536), (1e-7, 2.5e-6, 0.0), (0.125, 0.5, 0.987654)),
            BySize((0, 7), (1e-6, 0.0), (0.3, 1.0)),
            1e-9,
            BySize((0, 4096), (1e-6, 2e-6), (3.5e9, 1.25e10)),
        ),
    ],
)
def test_round_trip(tmp_path, endpoint):
    path = tmp_path / "written.toml"
    parameters = {"down": "2x3", "up": "1x2", "bandwidth": "12.5GB/s", "latency": "250ns"}
    notes = {"host": "a ✓", "sizes": [1, 2], "fit": {"error": 0.03}}
    write_system(path, {"topology": {"generator": "xgft", **parameters}}, endpoint, notes)
    system = read_system(path, topologies.SYSTEMS)
    made = topologies.xgft((2, 3), (1, 2), 12.5e9, 250e-9)
    for name in ("src", "dst", "latency_s", "bandwidth_Bps"):
        found, wanted = getattr(system.topology.links, name), getattr(made.topology.links, name)
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert system.notes == notes
    assert system.endpoint.gap_s == pytest.approx(endpoint.gap_s)
    assert system.endpoint.burst_bytes == endpoint.burst_bytes
    for name in ("message", "both_ways", "reduction"):
        found, wanted = getattr(system.endpoint, name), getattr(endpoint, name)
        assert (found is None) == (wanted is None)
        if wanted is not None:
            assert found.min_bytes == wanted.min_bytes
            assert found.overhead_s == pytest.approx(wanted.overhead_s, rel=1e-5)
            assert found.rate == pytest.approx(wanted.rate, rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[topology]", "[topolgy]", "unknown section 'topolgy'; did you mean 'topology'?"),
        ("[notes]", "[note]", "did you mean 'notes'?"),
        ("[notes]", "[[notes]]", "notes must be a table"),
        ('generator = "star"', "", 'needs generator = "…"'),
        ('"star"', '"strar"', "unknown generator 'strar'; did you mean 'star'?"),
        ('"star"', '["star"]', "unknown generator"),
        ('"star"', "3", "unknown generator '3'"),
        ("hosts = 4", "host = 4", "unknown key of generator 'star': 'host'; did you mean 'hosts'?"),
        ("hosts = 4", "", "needs hosts="),
        ("hosts = 4", "hosts = 2.5", "hosts=2.5: 2.5 is not a whole number"),
        ("hosts = 4", "hosts = [4]", "hosts=[4]"),
        ("hosts = 4", "hosts = true", "hosts=True"),
        ("hosts = 4", "hosts = {}", "hosts={}"),
        ("hosts = 4", "hosts = 0", "hosts=0 must be at least 1"),
        ("hosts = 4", "hosts = ", "not TOML"),
        ('"8GB/s"', "8e9", "bandwidth = 8000000000.0: write a text with its unit"),
        ('"8GB/s"', '"8"', "bandwidth=8: bandwidth '8': a unit is missing"),
        ('"8GB/s"', '"-8GB/s"', "bandwidth=-8GB/s"),
        ('"8GB/s"', "[1]", "bandwidth=[1]"),
        ('"250ns"', "true", "latency = True"),
        ('"250ns"', "nan", "latency = nan"),
        ('"250ns"', "1979-05-27", "latency=1979-05-27"),
        ('gap = "2us"', 'gaps = "2us"', "unknown key of [endpoint]: 'gaps'; did you mean 'gap'?"),
        ('gap = "2us"', "gap = 2", "[endpoint] gap = 2: write a text with its unit"),
        ('gap = "2us"', 'gap = "2"', "[endpoint] gap: time '2': a unit is missing"),
        ('from = "0B", ', 'form = "0B", ', "unknown key of [endpoint] message: 'form'; did you mean 'from'?"),
        ('from = "64KiB"', 'from = "64KiX"', "[endpoint] message from: size '64KiX'"),
        ('from = "64KiB"', "from = 64", "[endpoint] message from = 64"),
        ('from = "64KiB"', 'from = "0B"', "must begin at 0 and ascend"),
        ('from = "0B"', 'from = "1B"', "must begin at 0"),
        ('"0.5us"', '"-1us"', "[endpoint] message overhead: time '-1us'"),
        ("efficiency = 0.5}", "efficiency = 1.5}", "efficiency = 1.5 must be above 0 and at most 1"),
        ("efficiency = 0.5}", 'efficiency = "1"}', "efficiency = '1' must be"),
        ("efficiency = 0.5}", "efficiency = nan}", "efficiency = nan must be"),
        (", efficiency = 0.5}", "}", "message needs efficiency in every class"),
        ("both_ways = [{efficiency = 0.25}]", "both_ways = []", "[endpoint] both_ways must be a list"),
        ("both_ways = [{efficiency = 0.25}]", "both_ways = 3", "[endpoint] both_ways must be a list"),
        ("both_ways = [{efficiency = 0.25}]", "both_ways = [3]", "[endpoint] both_ways must be a list"),
        ('"20GB/s"', '"0GB/s"', "a rate above 0"),
        ('"20GB/s"', '"20GB"', "[endpoint] reduction throughput: bandwidth '20GB'"),
        ("[endpoint]", "[endpoint", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, old, new, said):
    assert GOOD.count(old) == 1
    with pytest.raises(InputError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert str(tmp_path / "machine.toml") in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "endpoint = 3", "topology = 3", "[endpoint]\n"])
def test_a_file_without_a_topology_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="topology"):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"missing\.toml: cannot be read \(No such file"):
        read_system(tmp_path / "missing.toml", topologies.SYSTEMS)
    with pytest.raises(InputError, match="cannot be read"):
        read_system(tmp_path, topologies.SYSTEMS)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommsimError, match=r"binary\.toml: not TOML"):
        topologies.find(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"8GB/s"', '"8"', 'bandwidth = "8"'),
        ("hosts = 4", "host = 4", "host = 4"),
        ("hosts = 4", "", "generator = "),
        ('gap = "2us"', "gap = 2", "gap = 2"),
        ("efficiency = 0.5}", "efficiency = 2}", "message = "),
        ("[notes]", "[note]", "[note]"),
    ],
)
def test_a_mistake_has_its_line(tmp_path, old, new, line):
    with pytest.raises(InputError) as error:
        read(tmp_path, GOOD.replace(old, new))
    number = int(str(error.value).split(":")[1])
    assert (tmp_path / "machine.toml").read_text().splitlines()[number - 1].startswith(line)
