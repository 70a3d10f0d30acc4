"""NCCL's topology XML (``NCCL_TOPO_DUMP_FILE``): the node as NCCL sees it.

``<system>`` holds ``<cpu>`` (NUMA nodes), these ``<pci>`` (switches and devices, nested), and devices a ``<gpu>`` with
its ``<nvlink>`` or a ``<nic>`` with its ``<net>`` (NCCL 2.30, src/graph/xml.cc and topo.cc). RCCL's ``<xgmi>`` is read
as ``<nvlink>`` is.
"""

from __future__ import annotations

from itertools import combinations

from commsim.errors import InputError
from topologies.importers import figures
from topologies.importers.description import Description, LinkClass
from topologies.importers.xml_lines import Element, parsed

INTEL_GBps = (
    (0xCF, 40.0, "Emerald Rapids"),
    (0x8F, 22.0, "Sapphire Rapids"),
    (0x55, 10.0, "Skylake"),
    (0, 6.0, "older"),
)
AMD_GBps, POWER9_GBps = 16.0, 32.0
NO_WIDTHS = ("", "0", "63", "255")
GPU_CLASSES, NVSWITCH_CLASS = ("0x0300", "0x0302", "0x0380", "0x1200"), "0x0680"


def read(text: str) -> Description:
    """The node that the text describes.

    Raises
    ------
    InputError
        Beginning with the line.
    """
    root = parsed(text)
    if root.tag != "system":
        raise InputError(f"{root.line}: <{root.tag}> is not NCCL's topology, which begins with <system>")
    return _Reader(root).description


class _Reader:
    def __init__(self, root: Element) -> None:
        self.description = Description("NCCL's topology XML")
        self._root = root
        self._vertex_of: dict[str, str] = {}  # by PCI bus id
        self._sm: dict[str, str] = {}
        self._number_gpus()
        cpus = list(root.of("cpu"))
        for at, cpu in enumerate(cpus):
            self._switch(f"cpu{at}", cpu, f"NUMA node {cpu.attributes.get('numaid', at)}")
            for pci in cpu.of("pci"):
                self._pci(pci, f"cpu{at}")
        for (a, one), (b, _) in combinations(enumerate(cpus), 2):
            self.description.cable(f"cpu{a}", f"cpu{b}", "cpus", _from_cpu(one), line=one.line)
        self._nvlinks()
        if not self.description.devices:
            raise InputError(f"{root.line}: <system> has no <gpu>: there is nothing that could hold a rank")

    def _number_gpus(self) -> None:
        """GPUs are named by their ``dev``, so ranks are in CUDA's order."""
        found: dict[int, Element] = {}
        for pci in self._root.all("pci"):
            for gpu in pci.of("gpu"):
                dev = gpu.attributes.get("dev", str(len(found)))
                if not dev.isdecimal():
                    raise InputError(f"{gpu.line}: <gpu> dev={dev!r} is not a number")
                if int(dev) in found:
                    raise InputError(f"{gpu.line}: <gpu> dev={dev} is there already, in line {found[int(dev)].line}")
                found[int(dev)] = gpu
        for number in sorted(found):
            self.description.devices[f"gpu{number}"] = {"node": "node0"}

    def _switch(self, name: str, element: Element, comment: str) -> None:
        self.description.switches[name] = {"node": "node0"}
        self.description.comments[name] = comment
        self.description.lines[name] = element.line

    def _pci(self, pci: Element, above: str) -> None:
        busid = _attribute(pci, "busid")
        if busid in self._vertex_of:
            raise InputError(f"{pci.line}: <pci> busid={busid!r} is there already, as {self._vertex_of[busid]}")
        link = self._link(pci)
        gpus, nets = list(pci.of("gpu")), [net for nic in pci.of("nic") for net in nic.of("net")]
        if gpus:
            name = f"gpu{gpus[0].attributes.get('dev', len(self._vertex_of))}"
            self.description.comments[name], self.description.lines[name] = busid, pci.line
        elif nets:
            name = self._nic(nets, pci)
        elif list(pci.of("nic")):
            return  # a NIC that NCCL does not use
        else:
            name = f"pcie{sum(own.startswith('pcie') for own in self.description.switches)}"
            self._switch(name, pci, busid)
        self._vertex_of[busid] = name
        self.description.cable(name, above, "pcie", link, line=pci.line)
        for below in pci.of("pci"):
            self._pci(below, name)

    def _link(self, pci: Element) -> LinkClass:
        speed, width = (pci.attributes.get(key, "") for key in ("link_speed", "link_width"))
        if speed == "" or speed.startswith("Unknown") or width in NO_WIDTHS:  # virtual machines
            return figures.pcie(None, "")
        try:
            return figures.pcie_of(speed, width)
        except InputError as error:
            raise InputError(f"{pci.line}: <pci> link_speed and link_width: {error}") from None

    def _nic(self, nets: list[Element], pci: Element) -> str:
        """One vertex for the ports of one PCI device."""
        name = f"nic{len(self.description.nics)}"
        self._switch(name, pci, " ".join(net.attributes.get("name", "NIC") for net in nets))
        self.description.nics[name] = sum(_speed_Bps(net) for net in nets)
        self.description.guids[name] = nets[0].attributes.get("guid", "").removeprefix("0x")
        return name

    def _nvlinks(self) -> None:
        """To NVSwitches, which are one plane, and from GPU to GPU."""
        counts: dict[tuple[str, str], tuple[int, Element]] = {}
        for pci in self._root.all("pci"):
            for gpu in pci.of("gpu"):
                own = self._vertex_of[_attribute(pci, "busid")]
                for link in (*gpu.of("nvlink"), *gpu.of("xgmi")):
                    other = self._target(link)
                    if other is not None:
                        before = counts.get((own, other), (0, link))[0]
                        counts[own, other] = before + _whole(link, "count"), link
                        self._sm[own] = gpu.attributes.get("sm", "")
        for (a, b), (count, link) in counts.items():
            back = counts.get((b, a), (None, link))
            if b != "nvswitch" and back[0] != count:
                said = f"{back[0]} of line {back[1].line}" if back[0] is not None else "none"
                raise InputError(f"{link.line}: <{link.tag}> {a} has {count} links to {b}, which has {said} back")
            if b == "nvswitch" or a < b:
                self._cable(a, b, count, link)

    def _cable(self, a: str, b: str, count: int, link: Element) -> None:
        sm = self._sm.get(a, "")
        if link.tag == "xgmi":
            source = f"ASSUMED: {count} x {figures.XGMI_GBps:g} GB/s"
            link_class = figures.nvlink(90, count, to_switch=False)
            link_class = LinkClass(
                figures.gigabytes(count * figures.XGMI_GBps), source, link_class.latency_s, "ASSUMED"
            )
        else:
            link_class = figures.nvlink(int(sm) if sm.isdecimal() else None, count, to_switch=b == "nvswitch")
        if b == "nvswitch":
            self.description.switches.setdefault("nvswitch", {"node": "node0"})
            if sm.isdecimal() and int(sm) >= 90:
                self.description.in_network["node"] = "both"
        self.description.cable(a, b, link.tag, link_class, line=link.line)

    def _target(self, link: Element) -> str | None:
        target, kind = _attribute(link, "target"), link.attributes.get("tclass", "")
        if kind.startswith(NVSWITCH_CLASS):
            return "nvswitch"
        if target in self._vertex_of:
            return self._vertex_of[target]
        if kind.startswith(GPU_CLASSES):
            raise InputError(f"{link.line}: <{link.tag}> target={target!r} is no <pci> of this file")
        return None  # a CPU's own NVLink, or a device that NCCL left out


def _attribute(element: Element, key: str) -> str:
    if key not in element.attributes:
        raise InputError(f"{element.line}: <{element.tag}> has no {key}")
    return element.attributes[key]


def _speed_Bps(net: Element) -> float:
    speed = _attribute(net, "speed")
    try:
        megabits = float(speed)
    except ValueError:
        megabits = -1.0
    if not 0 < megabits < float("inf"):
        raise InputError(f"{net.line}: <net> speed={speed!r} must be Mb/s above 0")
    return figures.gigabits(megabits / 1000)


def _whole(element: Element, key: str) -> int:
    value = _attribute(element, key)
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"{element.line}: <{element.tag}> {key}={value!r} must be a whole number of at least 1")
    return int(value)


def _from_cpu(cpu: Element) -> LinkClass:
    """To another one: by its vendor, as NCCL does (graph/topo.cc, ncclTopoGetInterCpuBw)."""
    vendor, arch = cpu.attributes.get("vendor", ""), cpu.attributes.get("arch", "")
    if "AMD" in vendor or "Hygon" in vendor:
        return figures.between_cpus(AMD_GBps, f"AMD, {figures.NCCL}")
    if arch == "ppc64":
        return figures.between_cpus(POWER9_GBps, f"POWER9, {figures.NCCL}")
    model = cpu.attributes.get("modelid", "")
    if "Intel" in vendor and model.isdecimal():
        _, rate, name = next(row for row in INTEL_GBps if int(model) >= row[0])
        return figures.between_cpus(rate, f"Intel, {name}, {figures.NCCL}")
    return figures.between_cpus(None, "")
