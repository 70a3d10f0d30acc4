"""hwloc's XML (``lstopo --of xml``): NUMA nodes, PCI bridges with their rates, and the devices behind them.

hwloc 1.11, 2 and 3: ``<object type="Bridge|PCIDev|OSDev|NUMANode|Package|Core" …>``, nested; ``pci_link_speed`` in
GB/s; ``osdev_type`` 1 and 5 are GPUs, 2 and 3 network devices (hwloc, "I/O devices" and hwloc2.dtd).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from commsim.errors import InputError
from topologies.importers import figures
from topologies.importers.description import Description, LinkClass
from topologies.importers.xml_lines import Element, parsed

GPU_NAMES = ("cuda", "nvml", "rsmi", "ve", "ze", "opencl")
MEMORY_GBps = 20.0  # ASSUMED: what one core moves


def read(text: str) -> Description:
    """The host that the text describes: its GPUs, or where there are none its cores, hold the ranks.

    Raises
    ------
    InputError
        Beginning with the line.
    """
    root = parsed(text)
    if root.tag != "topology" or not any(root.all("object")):
        raise InputError(
            f"{root.line}: <{root.tag}> is not hwloc's topology, which begins with <topology> and <object>s"
        )
    return _Reader(root).description


class _Reader:
    def __init__(self, root: Element) -> None:
        self.description = Description("hwloc's XML")
        self._by_index: dict[str, str] = {}
        machine = next(root.all("object"))
        homes = list(_homes(machine))
        for at, home in enumerate(homes):
            self._switch(f"numa{at}", home, f"{home.attributes['type']} {home.attributes.get('os_index', at)}")
        devices = [(pci, gpu) for pci in machine.all("object") if _type(pci) == "PCIDev" for gpu in [_gpu(pci)] if gpu]
        for at, (pci, gpu) in enumerate(devices):
            name = f"gpu{at}"
            self.description.devices[name] = {"node": "node0"}
            self.description.comments[name] = f"{gpu} {pci.attributes.get('pci_busid', '')}"
            self.description.lines[name] = pci.line
            self._by_index |= {str(id(pci)): name}
        self._inside(machine, "numa0", {id(home): f"numa{at}" for at, home in enumerate(homes)})
        if not devices:
            self._cores(homes)
        for a, b in combinations([f"numa{at}" for at in range(len(homes))], 2):
            self.description.cable(a, b, "cpus", figures.between_cpus(None, ""))
        self._nvlinks(root)
        if not self.description.devices:
            raise InputError(f"{root.line}: it has neither GPUs nor cores: there is nothing that could hold a rank")

    def _switch(self, name: str, element: Element, comment: str) -> None:
        self.description.switches[name] = {"node": "node0"}
        self.description.comments[name], self.description.lines[name] = comment, element.line

    def _inside(self, element: Element, above: str, homes: dict[int, str]) -> None:
        """Devices in `element`, below the vertex `above`; bridges that lead to one device only are part of its link."""
        for child in element.of("object"):
            kind = _type(child)
            if kind == "Bridge":
                below = list(_ends(child))
                if len(below) > 1 and child.attributes.get("bridge_type", "1-1").startswith("1"):
                    name = f"pcie{sum(own.startswith('pcie') for own in self.description.switches)}"
                    self._switch(name, child, child.attributes.get("pci_busid", "bridge"))
                    self.description.cable(name, above, "pcie", _link(child), line=child.line)
                    self._inside(child, name, homes)
                else:
                    self._inside(child, above, homes)
            elif kind == "PCIDev":
                self._device(child, above)
                self._inside(child, above, homes)
            else:
                self._inside(child, homes.get(id(child), _home_in(child, homes) or above), homes)

    def _device(self, pci: Element, above: str) -> None:
        name = self._by_index.get(str(id(pci)))
        if name is None and (nic := _nic(pci)):
            name = f"nic{len(self.description.nics)}"
            self._switch(name, pci, nic)
            self.description.nics[name] = None
        if name is not None:
            self.description.cable(name, above, "pcie", _link(pci), line=pci.line)
            for os_device in pci.all("object"):
                self._by_index.setdefault(os_device.attributes.get("gp_index", ""), name)

    def _cores(self, homes: list[Element]) -> None:
        memory = LinkClass(
            figures.gigabytes(MEMORY_GBps),
            f"ASSUMED: {MEMORY_GBps:g} GB/s of one core",
            0.1e-6,
            "ASSUMED: 0.2 us between cores",
        )
        for at, home in enumerate(homes):
            for core in home.all("object"):
                if _type(core) == "Core":
                    name = f"core{len(self.description.devices)}"
                    self.description.devices[name] = {"node": "node0", "numa": f"numa{at}"}
                    self.description.cable(name, f"numa{at}", "memory", memory, line=core.line)

    def _nvlinks(self, root: Element) -> None:
        """The matrix of NVLink bandwidths (MB/s), where hwloc was built with NVML."""
        for tag in ("distances2", "distances2hetero"):
            for table in root.all(tag):
                if table.attributes.get("name") not in ("NVLinkBandwidth", "XGMIBandwidth"):
                    continue
                indexes = " ".join(part.text for part in table.of("indexes")).split()
                values = " ".join(part.text for part in table.of("u64values")).split()
                if len(values) != len(indexes) ** 2 or not all(value.isdecimal() for value in values):
                    raise InputError(f"{table.line}: <{tag}> has {len(values)} values for {len(indexes)} devices")
                self._matrix([index.rpartition(":")[2] for index in indexes], values, table)

    def _matrix(self, indexes: list[str], values: list[str], table: Element) -> None:
        n = len(indexes)
        for i, j in combinations(range(n), 2):
            there, back = int(values[i * n + j]), int(values[j * n + i])
            ends = [self._by_index.get(indexes[k]) for k in (i, j)]
            if there != back:
                raise InputError(f"{table.line}: {ends[0]} to {ends[1]} has {there} MB/s, and {back} MB/s back")
            if there and ends[0] and ends[1] and ends[0] != ends[1]:
                latency = figures.nvlink(None, 1, to_switch=False)
                rate = figures.gigabytes(there / 1000)
                link = LinkClass(rate, "hwloc's NVLinkBandwidth", latency.latency_s, latency.latency_source)
                self.description.cable(ends[0], ends[1], "nvlink", link, line=table.line)


def _type(element: Element) -> str:
    return element.attributes.get("type", "")


def _homes(machine: Element) -> Iterator[Element]:
    """What I/O hangs on: the objects that hold a NUMA node, else packages, else the machine."""
    holders = [
        element
        for element in (machine, *machine.all("object"))
        if _type(element) != "NUMANode" and any(_type(child) == "NUMANode" for child in element.of("object"))
    ]
    nodes = [element for element in machine.all("object") if _type(element) == "NUMANode"]
    inside = [node for node in nodes if any(_type(child) not in ("", "NUMANode") for child in node.of("object"))]
    packages = [element for element in machine.all("object") if _type(element) in ("Package", "Socket")]
    yield from inside or ([holder for holder in holders if holder is not machine]) or packages or [machine]


def _home_in(element: Element, homes: dict[int, str]) -> str | None:
    """The first NUMA node inside a package: its bridges hang beside, not below it."""
    return next((homes[id(child)] for child in element.all("object") if id(child) in homes), None)


def _ends(bridge: Element) -> Iterator[Element]:
    return (pci for pci in bridge.all("object") if _type(pci) == "PCIDev" and (_gpu(pci) or _nic(pci)))


def _gpu(pci: Element) -> str | None:
    """The name of the GPU behind a PCI device: one with a compute interface, or of a vendor that makes no others."""
    names = [
        own.attributes.get("name", "")
        for own in pci.all("object")
        if _type(own) == "OSDev" and (own.attributes.get("osdev_type") in ("1", "5") or _is_gpu_name(own))
    ]
    if re.match(r"03\d\d \[(10de|1002)", pci.attributes.get("pci_type", "")):  # NVIDIA, AMD
        names.append("gpu")
    return next((name for name in names if name.startswith((*GPU_NAMES, "gpu"))), None)


def _is_gpu_name(own: Element) -> bool:
    return own.attributes.get("name", "").startswith(GPU_NAMES)


def _nic(pci: Element) -> str | None:
    """The name of a fabric's adapter: OpenFabrics and BXI devices; Ethernet ports alone are not taken."""
    found = [own for own in pci.all("object") if _type(own) == "OSDev"]
    names = [own.attributes.get("name", "") for own in found if own.attributes.get("osdev_type") == "3"]
    names += [
        own.attributes.get("name", "")
        for own in found
        if own.attributes.get("name", "").startswith(("mlx", "hsn", "hfi"))
    ]
    return next((name for name in names if name), None)


def _link(pci: Element) -> LinkClass:
    text = pci.attributes.get("pci_link_speed", "0")
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise InputError(f"{pci.line}: <object> pci_link_speed={text!r} must be GB/s, zero or more")
    if speed == 0:
        return figures.pcie(None, "")
    return figures.pcie(figures.gigabytes(round(speed, 3)), f"pci_link_speed {speed:.4g} GB/s")
