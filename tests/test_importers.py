"""Machines from what tools print: read, written as a system file, simulated; damage is named with its line."""

import re
from pathlib import Path

import numpy as np
import pytest

import collectives
import topologies
from commsim import simulate
from commsim.errors import InputError
from topologies.importers import imported
from topologies.importers.combined import READERS
from topologies.importers.xml_lines import parsed

DATA = Path(__file__).parent / "data" / "machines"
FILES = sorted(path for path in DATA.iterdir() if path.name != "README.md")


def system_of(tmp_path, description):
    path = tmp_path / "imported.toml"
    path.write_text(description.toml())
    return topologies.find(str(path))


def made(tmp_path, *names, **options):
    return system_of(tmp_path, imported([DATA / name for name in names], **options))


def way(system, src, dst):
    hops = system.topology.route(np.array([src]), np.array([dst]))[0]
    return [system.topology.vertex_name(int(system.topology.links.dst[hop])) for hop in hops if hop >= 0]


def rate(system, link):
    names = [system.topology.link_name(i) for i in range(system.topology.n_links)]
    return float(system.topology.links.bandwidth_Bps[names.index(link)])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_imported_simulates_at_once_and_says_what_was_assumed(tmp_path, path):
    description = imported([path])
    system = system_of(tmp_path, description)
    assert system.n_devices == len(description.devices)
    assert simulate(collectives.allreduce.ring, system, "1MiB", model="fluid").time_s > 0
    assert dict(system.assumed) == description.assumed
    assert any("latency" in key for key in system.assumed)
    text = description.toml()
    assert text.count("# ASSUMED") == len(system.assumed)
    assert description.toml() == imported([path]).toml()


def test_nccl_with_nvswitches(tmp_path):
    system = made(tmp_path, "nccl_hgx_h100.xml")
    assert (system.n_devices, system.ranks_per_node(8)) == (8, 8)
    assert way(system, 0, 7) == ["nvswitch", "gpu7"]
    assert rate(system, "gpu0→nvswitch") == pytest.approx(18 * 20.6e9)
    assert rate(system, "pcie0→cpu0") == 48e9
    assert rate(system, "cpu0→cpu1") == 22e9
    assert simulate(collectives.allreduce.nvls, system, "1MiB").time_s > 0
    assert not any("nvlink bandwidth" in key or "pcie bandwidth" in key for key in system.assumed)


def test_nccl_with_links_from_gpu_to_gpu(tmp_path):
    system = made(tmp_path, "nccl_dgx1_v100.xml")
    cube = topologies.hybrid_cube_mesh(bandwidth_Bps=20e9, latency_s=0.0).topology
    cables = {tuple(sorted((int(a), int(b)))) for a, b in zip(cube.links.src, cube.links.dst, strict=True) if a < 8 > b}
    own = system.topology.links
    found = {tuple(sorted((int(a), int(b)))) for a, b in zip(own.src, own.dst, strict=True) if a < 8 > b}
    assert len(found) == 16
    assert found == {pair for pair in cables if pair[1] < 8} or len(cables) == len(found)
    assert (rate(system, "gpu0→gpu1"), rate(system, "gpu0→gpu2")) == (40e9, 20e9)
    assert way(system, 0, 7) == ["pcie0", "cpu0", "cpu1", "pcie3", "gpu7"]
    assert system.in_network == {}
    assert rate(system, "cpu0→cpu1") == 6e9


def test_several_nodes_are_numbered_node_by_node_on_one_switch(tmp_path):
    system = made(tmp_path, "nccl_hgx_h100.xml", nodes=3)
    assert (system.n_devices, system.ranks_per_node(24)) == (24, 8)
    assert [system.topology.vertex_name(v) for v in (0, 7, 8, 23)] == [
        "node0.gpu0",
        "node0.gpu7",
        "node1.gpu0",
        "node2.gpu7",
    ]
    assert way(system, 0, 15) == [
        *("node0.pcie0", "node0.nic0", "fabric"),
        *("node1.nic7", "node1.pcie7", "node1.gpu7"),
    ]
    assert rate(system, "node2.nic3→fabric") == 50e9
    assert simulate(collectives.allreduce.node_split, system, "1MiB").time_s > 0
    cores = made(tmp_path, "hwloc1_cpus.xml", nodes=2)
    assert cores.ranks_per_node(8) == 4


def test_nvidia_smi_is_the_same_machine_as_nccl_s(tmp_path):
    smi, nccl = made(tmp_path, "nvidia_smi_hgx_h100.txt"), made(tmp_path, "nccl_hgx_h100.xml")
    assert (smi.n_devices, smi.topology.n_vertices, smi.topology.n_links) == (8, 27, 66)
    assert (nccl.n_devices, nccl.topology.n_vertices, nccl.topology.n_links) == (8, 27, 66)
    assert way(smi, 0, 5) == ["nvswitch", "gpu5"]
    assert smi.in_network == nccl.in_network


def test_nvidia_smi_with_bridges_and_escape_sequences(tmp_path):
    system = made(tmp_path, "nvidia_smi_a100_pcie.txt")
    assert system.n_devices == 4
    assert way(system, 0, 1) == ["gpu1"]
    assert way(system, 1, 2) == ["bridges0", "pcie0", "gpu2"]
    assert rate(system, "gpu2→gpu3") == 240e9
    assert "nvlink bandwidth" in system.assumed


def test_ibnetdiscover(tmp_path):
    description = imported([DATA / "ibnetdiscover.txt"])
    system = system_of(tmp_path, description)
    assert list(description.devices)[:3] == ["node01.hca0", "node01.hca1", "node02.hca0"]
    assert [name for name in description.switches if "host" not in name] == ["leaf0", "leaf1", "spine0", "spine1"]
    assert way(system, 0, 2) == ["leaf0", "node02.hca0"]
    assert way(system, 0, 1) == ["node01.host", "node01.hca1"]
    assert rate(system, "leaf1→node04.hca1") == 25e9
    assert system.topology.classes["4xhdr"].size == 2 * (8 + 8)
    assert system.ranks_per_node(8) == 2


def test_hwloc(tmp_path):
    system = made(tmp_path, "hwloc_a100.xml")
    assert way(system, 0, 3) == ["gpu3"]
    assert rate(system, "gpu0→gpu3") == 100e9
    assert rate(system, "gpu0→pcie0") == pytest.approx(31.508e9, rel=1e-3)
    assert "mlx5_1" in imported([DATA / "hwloc_a100.xml"]).comments["nic1"]
    cores = made(tmp_path, "hwloc1_cpus.xml")
    assert way(cores, 0, 3) == ["numa0", "numa1", "core3"]
    assert cores.topology.tiers["numa"].tolist()[:4] == [0, 0, 1, 1]


def test_a_node_and_its_fabric_together(tmp_path):
    system = made(tmp_path, "hwloc_a100.xml", "ibnetdiscover.txt")
    assert (system.n_devices, system.ranks_per_node(16)) == (16, 4)
    path = way(system, 0, 15)
    assert path[:3] == ["node01.pcie0", "node01.nic0", "leaf0"]
    assert path[-3:] == ["node04.nic1", "node04.pcie1", "node04.gpu3"]
    same = made(tmp_path, "ibnetdiscover.txt", "hwloc_a100.xml")
    assert same.topology.n_links == system.topology.n_links


def changed_copy(tmp_path, name, *changes):
    text = (DATA / name).read_text()
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text)
        assert count
    path = tmp_path / name
    path.write_text(text)
    return imported([path])


def test_what_real_files_also_have(tmp_path):
    net = '<net name="mlx5_0" dev="0" speed="200000" port="1"/><net name="mlx5_1" dev="1" speed="200000" port="2"/>'
    two_ports = changed_copy(tmp_path, NCCL, (r"<net .*/>", net))
    assert set(two_ports.nics.values()) == {50e9}
    assert two_ports.comments["nic0"] == "mlx5_0 mlx5_1"
    virtual = changed_copy(
        tmp_path, NCCL, ('link_speed="32.0 GT/s PCIe" link_width="16"', 'link_speed="Unknown speed" link_width="63"')
    )
    assert "pcie bandwidth" in virtual.assumed
    unnamed = changed_copy(tmp_path, IB, (r"node\d\d mlx5_\d", "MT4123 ConnectX6 Mellanox Technologies"))
    assert len({tiers["node"] for tiers in unnamed.devices.values()}) == 8
    external = changed_copy(tmp_path, IB, (r"\n\[21\]", "\n[21][ext 21]"))
    assert external.cables == imported([DATA / IB]).cables
    plain = changed_copy(tmp_path, HWLOC, (r'<object type="OSDev" .*name="(cuda|nvml).*/>', ""))
    assert list(plain.devices) == ["gpu0", "gpu1", "gpu2", "gpu3"]


def test_two_files_that_disagree_name_both(tmp_path):
    with pytest.raises(
        InputError, match=r"ibnetdiscover\.txt:\d+: node01 has 2 adapters, but .*hgx_h100\.xml has 8 NICs"
    ):
        made(tmp_path, "nccl_hgx_h100.xml", "ibnetdiscover.txt")
    text = (DATA / "nccl_dgx1_v100.xml").read_text()
    two = re.sub(r'(?s)<nic>\s*<net name="mlx5_[23]".*?</nic>', "", text)
    (tmp_path / "two.xml").write_text(two)
    with pytest.raises(
        InputError, match=r"ibnetdiscover\.txt:\d+: node01 mlx5_0 runs at 25 GB/s, but nic0 of .*two\.xml:\d+ at 12\.5"
    ):
        imported([tmp_path / "two.xml", DATA / "ibnetdiscover.txt"])
    with pytest.raises(InputError, match="one must describe a node and one the fabric"):
        made(tmp_path, "nccl_hgx_h100.xml", "hwloc_a100.xml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_file_that_was_cut_is_refused_or_read_as_far_as_it_is_whole(tmp_path, path, share):
    text = path.read_text()
    cut = tmp_path / path.name
    cut.write_text(text[: int(len(text) * share)])
    error, description = outcome(cut)
    if error is None:  # the legend of nvidia-smi follows the matrix
        assert path.name.startswith("nvidia_smi")
        assert description.devices == imported([path]).devices
    else:
        assert re.match(rf"{re.escape(str(cut))}(:\d+)?: ", error)
        assert "\n" not in error


def outcome(path):
    """What is wrong, or what was read."""
    try:
        return None, imported([path])
    except InputError as error:
        return str(error), None


def test_an_xml_cut_in_half_says_where():
    text = (DATA / "nccl_hgx_h100.xml").read_text()
    with pytest.raises(InputError, match=r"^\d+: the file ends inside <\w+> of line \d+: it was cut"):
        READERS["nccl"](text[: len(text) // 2])


NCCL, SMI, IB, HWLOC = "nccl_hgx_h100.xml", "nvidia_smi_hgx_h100.txt", "ibnetdiscover.txt", "hwloc_a100.xml"


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            NCCL,
            'link_speed="32.0 GT/s PCIe"',
            'link_speed="33 GT/s"',
            r":3: <pci> link_speed.*'33 GT/s' is no PCIe speed",
        ),
        (NCCL, 'link_width="16"', 'link_width="-16"', r":3: .*'-16' is no PCIe width"),
        (NCCL, 'speed="400000"', 'speed="-1"', r":6: <net> speed='-1' must be Mb/s above 0"),
        (NCCL, 'speed="400000"', 'speed="0"', r":6: <net> speed='0' must be"),
        (NCCL, ' speed="400000"', "", r":6: <net> has no speed"),
        (NCCL, 'count="5"', 'count="0"', r"<nvlink> count='0' must be a whole number of at least 1"),
        (NCCL, 'dev="1" sm', 'dev="0" sm', r"<gpu> dev=0 is there already, in line"),
        (NCCL, 'dev="1" sm', 'dev="x" sm', r"<gpu> dev='x' is not a number"),
        (NCCL, "0000:28:00.0", "0000:10:00.0", r"busid='0000:10:00.0' is there already, as pcie0"),
        (NCCL, ' busid="0000:10:00.0"', "", r":3: <pci> has no busid"),
        (NCCL, "</gpu>", "</gpo>", r"not XML: mismatched tag"),
        (NCCL, "<system", "<sistem", r"none of the known kinds"),
        (
            "nccl_dgx1_v100.xml",
            'count="2"',
            'count="3"',
            r"<nvlink> gpu0 has 3 links to gpu1, which has 2 of line \d+ back",
        ),
        (
            "nccl_dgx1_v100.xml",
            'target="0000:07:00.0"',
            'target="0000:99:00.0"',
            r"'0000:99:00.0' is no <pci> of this file",
        ),
        (SMI, "GPU1\tNV18", "GPU1\tNV12", r":3: GPU1 to GPU0 is NV12, but by line 2 GPU0 to GPU1 is NV18"),
        (SMI, "GPU1\tNV18", "GPU1\tNVX", r":3: GPU1 to GPU0: unknown connection 'NVX'"),
        (SMI, "GPU1\tNV18", "GPU1\t X ", r":3: GPU1 to GPU0: unknown connection 'X'"),
        (SMI, "GPU3\t", "GPU2\t", r":1: GPU2 is a column twice"),
        (SMI, "\nNIC7", "\nnic7", r":1: NIC7 is a column, but has no line"),
        (
            IB,
            '"S-b8599f0300011000"[1]',
            '"S-b8599f03000110ff"[1]',
            r":11: .*which by line 60 is linked to S-b8599f03000110ff",
        ),
        (
            IB,
            'Switch\t41 "S-b8599f0300012000"',
            "# Switch",
            r":\d+: port 1 of .* is there already|has no block of its own",
        ),
        (IB, "4xHDR", "4xHRD", r":\d+: unknown InfiniBand speed 'HRD'; did you mean 'HDR'"),
        (IB, "4xHDR", "4xEDR", r":\d+: .* is linked at 4xEDR to .*, which by line \d+ is linked to .* at 4xHDR"),
        (IB, "4xHDR", "", r":\d+: port 1 of MF0;sw-leaf01.* has no width and speed"),
        (IB, "Ca\t1", "Ca\tone", r":\d+: it begins a block"),
        (
            IB,
            'Ca\t1 "H-0c42a1030001a1b2"',
            'Ca\t1 "H-0c42a1030000a1b2"',
            r":\d+: Ca H-0c42a1030000a1b2 is there already",
        ),
        (
            HWLOC,
            'pci_link_speed="31.507692"',
            'pci_link_speed="fast"',
            r":\d+: <object> pci_link_speed='fast' must be GB/s",
        ),
        (HWLOC, 'pci_link_speed="31.507692"', 'pci_link_speed="-1"', r"pci_link_speed='-1' must be GB/s"),
        (HWLOC, "1000000 100000", "1000000 90000", r":\d+: gpu0 to gpu1 has 90000 MB/s, and 100000 MB/s back"),
        (HWLOC, "1000000 100000", "1000000", r":\d+: <distances2> has 15 values for 4 devices"),
        (HWLOC, "<!DOCTYPE topology", '<!DOCTYPE topology [<!ENTITY a "b">] ><!--', r"entity|not XML"),
    ],
)
def test_damage_is_named_with_file_and_line(tmp_path, name, old, new, said):
    text = (DATA / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        imported([path])
    assert str(error.value).startswith(str(path))
    assert re.search(said, str(error.value))
    assert "\n" not in str(error.value)


def test_what_cannot_be_meant_is_refused(tmp_path):
    for text, kind, said in (
        ("hello", None, "none of the known kinds"),
        ("hello", "nccl", "not XML"),
        ("hello", "nvidia-smi", "no line of columns"),
        ("hello", "ibnetdiscover", "no line begins with Switch or Ca"),
        ("<system/>", None, "has no <gpu>"),
        ("<topology/>", "hwloc", "is not hwloc's topology"),
        ("hello", "ncl", "unknown kind of topology file 'ncl'; did you mean 'nccl'"),
    ):
        (tmp_path / "file").write_text(text)
        with pytest.raises(InputError, match=re.escape(said)):
            imported([tmp_path / "file"], kind)
    with pytest.raises(InputError, match="missing: cannot be read"):
        imported([tmp_path / "missing"])
    with pytest.raises(InputError, match="--nodes 0"):
        imported([DATA / NCCL], nodes=0)
    with pytest.raises(InputError, match="lists all nodes already"):
        imported([DATA / IB], nodes=2)
    with pytest.raises(InputError, match="give one file"):
        imported([DATA / IB, DATA / NCCL, DATA / SMI])


def test_lines_of_xml_and_no_entities():
    root = parsed('<a>\n <b x="1"/>\n <c>text</c>\n</a>')
    assert [(child.tag, child.line, child.text) for child in root.children] == [("b", 2, ""), ("c", 3, "text")]
    with pytest.raises(InputError, match=r"^1: it declares an entity, 'lol'"):
        parsed('<!DOCTYPE a [<!ENTITY lol "x">]><a>&lol;</a>')
