"""Machines as files: device by device, on top of others, with links other than built; every mistake has a line."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import collectives
import topologies
from commsim import Endpoint, simulate
from commsim.errors import InputError
from commsim.machine_file import expanded, filled

GOOD = """\
[topology]
routing = "ecmp"
seed = 3

[class.nvlink]
bandwidth = "450GB/s"
latency = "500ns"

[class.pcie]
bandwidth = "32GB/s"
latency = "900ns"
duplex = "half"

[[device]]
name = "node[0-1].gpu[0-3]"
node = "node{0}"
rail = "{1}"

[[switch]]
name = "node[0-1].nvswitch"
node = "node{0}"

[[switch]]
name = "core"

[[link]]
from = "node[0-1].gpu[0-3]"
to = "node{0}.nvswitch"
class = "nvlink"

[[link]]
from = "node?.gpu*"
to = "core"
class = "pcie"
latency = "1us"

[in_network]
node = "both"

[assumed]
nvlink = "a guess (2026-11)"
"""
OVER = """\
[topology]
extends = "machine.toml"

[[override]]
links = "class pcie"
bandwidth = "16GB/s"

[[degraded]]
links = "node0.gpu0→node0.nvswitch"
factor = 0.5

[[failed]]
links = "node1.gpu3<->core"
"""


def read(tmp_path, text, name="machine.toml"):
    (tmp_path / name).write_text(text)
    return topologies.find(str(tmp_path / name))


def rates(topology):
    names = [topology.link_name(link) for link in range(topology.n_links)]
    return dict(zip(names, topology.links.bandwidth_Bps.tolist(), strict=True))


def test_a_machine_is_what_its_file_lists(tmp_path):
    system = read(tmp_path, GOOD)
    topology = system.topology
    assert (system.n_devices, topology.n_vertices, topology.n_links) == (8, 11, 32)
    assert [topology.vertex_name(v) for v in (0, 5, 8, 10)] == ["node0.gpu0", "node1.gpu1", "node0.nvswitch", "core"]
    assert topology.tiers["node"].tolist() == [0] * 4 + [1] * 4 + [0, 1, -1]
    assert topology.tiers["rail"][:8].tolist() == [0, 1, 2, 3] * 2
    assert {name: len(links) for name, links in topology.classes.items()} == {"nvlink": 16, "pcie": 16}
    assert rates(topology)["core→node1.gpu2"] == 32e9
    assert (topology.links.media != np.arange(32)).sum() == 8
    assert system.in_network == {"node": {"reduce", "multicast"}}
    assert system.assumed == {"nvlink": "a guess (2026-11)"}
    assert system.ranks_per_node(8) == 4
    assert simulate(collectives.allreduce.node_split, system, "1MiB").params["ranks_per_node"] in (4, (4,))
    assert simulate(collectives.allreduce.nvls_tree, system, "1MiB").time_s > 0


def test_a_file_extends_another_one(tmp_path):
    base = read(tmp_path, GOOD)
    system = read(tmp_path, OVER, "over.toml")
    assert system.name.endswith("over.toml")
    before, after = rates(base.topology), rates(system.topology)
    assert set(before) - set(after) == {"node1.gpu3→core", "core→node1.gpu3"}
    assert after["node0.gpu0→node0.nvswitch"] == 225e9
    assert after["node0.nvswitch→node0.gpu0"] == 450e9
    assert {rate for name, rate in after.items() if "core" in name} == {16e9}
    assert (system.in_network, system.assumed) == (base.in_network, base.assumed)
    route = system.topology.route(np.array([7]), np.array([0]))[0]
    assert [system.topology.link_name(link) for link in route] == [
        "node1.gpu3→node1.nvswitch", "node1.nvswitch→node1.gpu0", "node1.gpu0→core", "core→node0.gpu0",
    ] or len(route) == 4  # fmt: skip


def test_a_file_extends_a_generator_and_its_routes_stay(tmp_path):
    text = '[topology]\nextends = "dgx_h100:nodes=2"\n[[override]]\nlinks = "leaf*"\nlatency = "2us"\n'
    system, dgx = read(tmp_path, text), topologies.dgx_h100(nodes=2)
    src, dst = np.arange(16), (np.arange(16) + 9) % 16
    np.testing.assert_array_equal(system.topology.route(src, dst), dgx.topology.route(src, dst))
    assert sorted({*system.topology.links.latency_s.tolist()}) == pytest.approx([0.3e-6, 0.45e-6, 1.2e-6, 2e-6])
    assert (system.price_usd, system.assumed["price"]) == (dgx.price_usd, dgx.assumed["price"])
    on_generator = '[topology]\ngenerator = "star"\nhosts = 4\nbandwidth = "1GB/s"\nlatency = "1us"\n'
    star = read(tmp_path, f'{on_generator}[[degraded]]\nlinks = "host2"\nfactor = 0.25\n')
    assert sorted(star.topology.links.bandwidth_Bps.tolist()) == [0.25e9] * 2 + [1e9] * 6


def test_devices_and_links_are_added_to_a_generator(tmp_path):
    text = """
[topology]
extends = "dgx_h100:nodes=2"
[[device]]
name = "storage"
[[link]]
from = "storage"
to = "leaf[0-1]"
bandwidth = "25GB/s"
latency = "1us"
"""
    system = read(tmp_path, text)
    assert system.n_devices == 17
    names = [system.topology.vertex_name(v) for v in range(18)]
    assert names[15:] == ["node1.gpu7", "storage", "node0.nvswitch"]
    route = system.topology.route(np.array([16]), np.array([1]))[0]
    found = [system.topology.link_name(link) for link in route]
    assert (found[0], found[-1]) == ("storage→leaf1", "node0.pcie0→node0.gpu1")
    old, new = topologies.dgx_h100(nodes=2).topology, rates(system.topology)
    assert {name: new[name] for name in rates(old)} == rates(old)


def check_place(error, path, line):
    """One line, which begins with the file and the number of the line of it that says so."""
    text = str(error)
    assert "\n" not in text
    if line is None:
        assert text.startswith(f"{path}: ")
    else:
        number = int(re.match(re.escape(str(path)) + r":(\d+): ", text)[1])
        found = path.read_text().splitlines()[number - 1]
        assert found in line.splitlines() or (line and line in found)


def test_all_with_all_is_one_cable_each(tmp_path):
    link = '[[link]]\nfrom = "a*"\nto = "a[0-3]"\nbandwidth = "1GB/s"\nlatency = "1us"\n'
    topology = read(tmp_path, f'[[device]]\nname = "a[0-3]"\n{link}').topology
    assert topology.n_links == 2 * 6
    one_way = read(tmp_path, f'[[device]]\nname = "a[0-3]"\n{link}duplex = "simplex"\n').topology
    assert one_way.n_links == 12
    assert sorted(zip(one_way.links.src, one_way.links.dst, strict=True)) == sorted(
        zip(topology.links.src, topology.links.dst, strict=True)
    )


def test_links_are_added_in_the_classes_of_what_a_file_extends(tmp_path):
    read(tmp_path, GOOD)
    more = '[[link]]\nfrom = "node0.gpu0"\nto = "node0.gpu1"\nclass = "{}"\n'
    text = f'[topology]\nextends = "machine.toml"\n{more.format("pcie")}{more.format("nvlink")}'
    topology = read(
        tmp_path, text.replace('to = "node0.gpu1"\nclass = "nv', 'to = "node0.gpu2"\nclass = "nv'), "o.toml"
    ).topology
    assert rates(topology)["node0.gpu0→node0.gpu1"] == 32e9
    assert rates(topology)["node0.gpu2→node0.gpu0"] == 450e9
    assert (topology.links.media != np.arange(topology.n_links)).sum() == 9
    assert len(topology.classes["nvlink"]) == 18


def test_names_by_range():
    assert list(expanded("a[0-1].b[8-10]")) == ["a0.b8", "a0.b9", "a0.b10", "a1.b8", "a1.b9", "a1.b10"]
    assert expanded("a[0-1].b[8-10]")["a1.b9"] == (1, 9)
    assert expanded("plain") == {"plain": ()}
    assert filled("leaf{1}.{0}", (3, 5)) == "leaf5.3"
    with pytest.raises(InputError, match="stands for nothing"):
        expanded("a[3-1]")
    with pytest.raises(InputError, match="too many"):
        expanded("a[0-99999].b[0-99999]")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('bandwidth = "450GB/s"', 'bandwidth = "-450GB/s"', ..., "[class.nvlink] bandwidth: bandwidth '-450GB/s'"),
        ('bandwidth = "450GB/s"', 'bandwidth = "0GB/s"', ..., "[class.nvlink] bandwidth: it must be above 0"),
        ('bandwidth = "450GB/s"', "bandwidth = 450", ..., "[class.nvlink] bandwidth: 450: write a text with its unit"),
        (
            'latency = "500ns"',
            'latncy = "500ns"',
            ...,
            "unknown key of [class.nvlink]: 'latncy'; did you mean 'latency'",
        ),
        ('latency = "500ns"', "", "[[link]]", "[[link]]: latency = … is missing, here or in its class"),
        ('duplex = "half"', 'duplex = "hlaf"', ..., "unknown duplex 'hlaf'; did you mean 'half'"),
        (
            'latency = "1us"',
            'duplex = "full"',
            ...,
            "[[link]] duplex: full contradicts [class.pcie], which is half duplex",
        ),
        ('to = "core"', 'to = "croe"', ..., "[[link]] to: unknown device or switch 'croe'; did you mean 'core'"),
        ('from = "node?.gpu*"', 'from = "node?.cpu*"', ..., "[[link]] from: unknown device or switch 'node?.cpu*'"),
        ('class = "nvlink"', 'class = "nvlnk"', ..., "[[link]] class: unknown class of links 'nvlnk'"),
        ('name = "core"', 'name = "node0.gpu1"', ..., "[[switch]] name: 'node0.gpu1' is there already, by line 14"),
        ('name = "core"', "name = 3", ..., "[[switch]] name: 3 is not a text"),
        ('name = "core"', "", "[[switch]]", "[[switch]]: name = … is missing"),
        ('rail = "{1}"', 'rail = "{2}"', ..., "[[device]] rail: '{2}': there is no range number 2"),
        ('node = "node{0}"', 'nodes = "node{0}"', ..., "'nodes' would be a tier of its own; did you mean 'node'?"),
        ('rail = "{1}"', "rail = 1.5", ..., "[[device]] rail: 1.5 is neither a text nor a number"),
        (
            'to = "node{0}.nvswitch"',
            'to = "node{2}.nvswitch"',
            ...,
            "[[link]] to: 'node{2}.nvswitch': there is no range",
        ),
        ('to = "core"', 'to = "node{0}.nvswitch"', ..., "there is no range number 0"),
        ('to = "core"', 'to = "node7.gpu*"', ..., "unknown device or switch 'node7.gpu*'"),
        ('class = "pcie"', 'class = "pcie"\ncount = 0', ..., "[[link]] count: 0 is not a whole number of at least 1"),
        ("[in_network]", "[in_netwrok]", ..., "unknown section 'in_netwrok'; did you mean 'in_network'"),
        ('node = "both"', 'node = "bth"', ..., "[in_network] node: unknown in_network 'bth'"),
        ('node = "both"', 'nod = "both"', ..., "unknown key of [in_network]: 'nod'; did you mean 'node'"),
        ('routing = "ecmp"', 'routing = "shortest"', ..., "seed=3 does nothing with routing=shortest"),
        ('routing = "ecmp"', 'ruoting = "ecmp"', ..., "did you mean 'routing'"),
        ("seed = 3", 'seed = "x"', ..., "[topology] seed: 'x' is not a whole number"),
        (
            '[[link]]\nfrom = "node?.gpu*"',
            '[[link]]\nfrom = "node0.gpu*"',
            None,
            "no way from node0.gpu0 to node1.gpu0",
        ),
        (
            '[[switch]]\nname = "core"',
            '[[device]]\nname = "lonely"\n[[switch]]\nname = "core"',
            ...,
            "'lonely' has no link",
        ),
        ("[class.nvlink]", "[topology.class.nvlink]", "[topology]", "unknown"),
        ("[[device]]", "[device]", ..., "device must be written [[device]]"),
        ("[[link]]", "[[link", None, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path, old, new, line, said):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        read(tmp_path, GOOD.replace(old, new, 1))
    check_place(error.value, tmp_path / "machine.toml", new if line is ... else line)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('extends = "machine.toml"', 'extends = "missing.toml"', ..., "missing.toml: cannot be read"),
        ('extends = "machine.toml"', 'extends = "over.toml"', ..., "extends: over.toml extends this file itself"),
        (
            'extends = "machine.toml"',
            'extends = "dgx_h10:nodes=2"',
            ...,
            "unknown system 'dgx_h10'; did you mean 'dgx_h100'",
        ),
        ('extends = "machine.toml"', 'extends = "dgx_h100:node=2"', ..., "did you mean 'nodes'"),
        ('links = "class pcie"', 'links = "class pci"', ..., "[[override]] links: unknown class of links 'pci'"),
        ('links = "class pcie"', "", "[[override]]", "[[override]]: links = … is missing"),
        ('bandwidth = "16GB/s"', "", "class pcie", "say what is other about these links"),
        ("factor = 0.5", "factor = 0", ..., "factor 0 must be above 0"),
        ("factor = 0.5", 'factor = "half"', ..., "[[degraded]] factor: 'half' is not a share"),
        ("factor = 0.5", 'duplex = "half"\nlatency = "-1s"', ..., "[[degraded]] latency"),
        ("[[degraded]]", "[[degrade]]", ..., "unknown section 'degrade'; did you mean 'degraded'"),
        (
            "node1.gpu3<->core",
            "node1.gpu9<->core",
            ...,
            "unknown device or switch 'node1.gpu9'; did you mean 'node1.gpu",
        ),
        ("node1.gpu3<->core", "node1.gpu3->core", ..., "half of a half-duplex cable"),
        ("node1.gpu3<->core", "core", ..., "no way from node0.gpu0 to node1.gpu0"),
        ("[[failed]]", "[class.pcie]\nbandwidth = '8GB/s'\n[[failed]]", ..., "machine.toml has 32 GB/s for this class"),
        ("[[failed]]", "[[device]]\nname = 'node0.gpu0'\n[[failed]]", ..., "is there already, by"),
    ],
)
def test_files_that_disagree_and_changes_that_are_none(tmp_path, old, new, line, said):
    read(tmp_path, GOOD)
    assert old in OVER
    with pytest.raises(InputError) as error:
        read(tmp_path, OVER.replace(old, new, 1), "over.toml")
    check_place(error.value, tmp_path / "over.toml", new if line is ... else line)
    assert said in str(error.value)


def test_one_cable_of_two_duplexes_is_a_contradiction(tmp_path):
    again = '[[link]]\nfrom = "core"\nto = "node1.gpu0"\nbandwidth = "1GB/s"\nlatency = "1us"\nduplex = "full"\n'
    with pytest.raises(InputError, match=r"machine.toml:\d+: .*node1.gpu0–core is full duplex here and half duplex"):
        read(tmp_path, GOOD.replace("[in_network]", again + "[in_network]", 1))


def test_a_simplex_link_runs_one_way(tmp_path):
    text = GOOD.replace('duplex = "half"', 'duplex = "simplex"')
    with pytest.raises(InputError, match=r"there is no way from node0\.gpu0 to node1\.gpu0"):
        read(tmp_path, text)
    back = '[[link]]\nfrom = "core"\nto = "node?.gpu*"\nclass = "pcie"\n'
    assert read(tmp_path, text.replace("[in_network]", back + "[in_network]")).topology.n_links == 32


def test_a_machine_without_devices_is_refused(tmp_path):
    for text in ('[[switch]]\nname = "a"\n', "[class.x]\n", "[topology]\n", ""):
        with pytest.raises(InputError, match=re.escape(str(tmp_path))):
            read(tmp_path, text)
    one = read(tmp_path, '[[device]]\nname = "alone"\n')
    assert (one.n_devices, one.topology.n_links) == (1, 0)
    for model in ("hockney", "loggp", "fluid"):
        assert simulate(collectives.allreduce.ring, one, "1MiB", model=model).time_s == 0
    slow = replace(one, endpoint=Endpoint.uniform(gamma_s_per_byte=1e-9))
    assert simulate(collectives.allreduce.ring, slow, "1MiB").bottleneck == "nothing to do"


DOCS = Path(__file__).parents[1] / "docs" / "topologies.md"


def test_the_files_of_the_docs_are_read(tmp_path):
    own, over = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    system = read(tmp_path, own)
    assert (system.n_devices, system.ranks_per_node(8)) == (8, 4)
    assert "failed" in over
    assert read(tmp_path, over, "over.toml").topology.n_links < topologies.dgx_h100(nodes=4).topology.n_links
