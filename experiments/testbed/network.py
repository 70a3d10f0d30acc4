"""Build a wiring in network namespaces, and take it away. All netlink is here.

What is set, and why: docs/testbed.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commsim.errors import ExecutionError
from experiments.testbed.wiring import Port, Wiring

DATA, MANAGEMENT = "data", "management"
NEIGHBOUR, STATIC, OF_BRIDGE = 0x80, 0x40, 0x04  # NUD_PERMANENT, NUD_NOARP, NTF_MASTER
ETH_P_IP = 0x0800
MTU_BYTES = 9000
FRAME_BYTES = MTU_BYTES + 14  # with its Ethernet header, as the queues count it
BURST_BYTES = FRAME_BYTES  # of the buckets, which may go into debt for one packet of the kernel's
SMALL = "0x0/0xff+2"  # an IP header's third byte is zero where the packet is below 256 B
WINDOW_FRAMES = 16  # of each connection, from the first message on
SENT_BYTES = 24 * MTU_BYTES  # and what it may have sent, with what the kernel counts for its packets, at most
RECEIVED_BYTES = 4 * 2**20  # room that never ends
SETTINGS = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_slow_start_after_idle": "0",
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/tcp_autocorking": "0",
    "net/ipv4/tcp_limit_output_bytes": str(MTU_BYTES),
    "net/ipv4/tcp_sack": "0",  # what overtakes is not taken for a loss: nothing is ever lost
    "net/ipv4/tcp_reordering": "300",
    "net/ipv4/tcp_early_retrans": "0",
    "net/ipv4/tcp_rmem": f"4096 {RECEIVED_BYTES} {RECEIVED_BYTES}",
    "net/ipv4/tcp_wmem": f"4096 {SENT_BYTES} {SENT_BYTES}",
}


def address(device: int, network: int) -> str:
    """IPv4 address of a device; the same in every testbed, since each has namespaces of its own."""
    return f"10.{network}.{device // 250}.{device % 250 + 1}"


def hardware_address(device: int) -> str:
    """Ethernet address of a device's data interface."""
    return f"02:c0:00:00:{device >> 8:02x}:{device & 255:02x}"


def path_of(namespace: str) -> Path:
    """The file that keeps a namespace."""
    return Path("/run/netns") / namespace


@contextmanager
def inside(namespace: str) -> Iterator[Any]:
    """The calling thread in another network namespace, with a netlink socket there."""
    from pyroute2 import IPRoute, netns

    with _opened(Path("/proc/thread-self/ns/net")) as before, _opened(path_of(namespace)) as there:
        netns.setns(there)
        try:
            with IPRoute() as netlink:
                yield netlink
        finally:
            netns.setns(before)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Builder:
    """Builds one network, in namespaces that exist: the fabric, and one for each device."""

    def __init__(self, wiring: Wiring, fabric: str, hosts: list[str]) -> None:
        self._wiring, self._fabric, self._hosts = wiring, fabric, hosts

    def build(self) -> None:
        """All of it."""
        with inside(self._fabric) as fabric:
            _set()
            self._bridges(fabric)
            ports = self._plug(fabric)
            self._forward(fabric, ports)
            self._management(fabric)
        for device, namespace in enumerate(self._hosts):
            with inside(namespace) as host:
                _set()
                self._configure(host, device)

    def _bridges(self, fabric: Any) -> None:
        fabric.link("set", index=fabric.link_lookup(ifname="lo")[0], state="up")
        for vertex in self._wiring.bridges:
            fabric.link("add", ifname=f"v{vertex}", kind="bridge", br_stp_state=0, mtu=MTU_BYTES)
            fabric.link("set", ifname=f"v{vertex}", state="up")

    def _plug(self, fabric: Any) -> dict[tuple[int, int], int]:
        """The cables; and the interface of each bridge's end: (bridge, cable) to its number."""
        ports: dict[tuple[int, int], int] = {}
        for cable, (first, second) in enumerate(self._wiring.cables):
            alone = cable < len(self._hosts)
            if alone:
                own = {"ifname": DATA, "address": hardware_address(cable)}
                self._veth(fabric, f"c{cable}b", own, self._hosts[cable], mtu=MTU_BYTES)
            else:
                self._veth(fabric, f"c{cable}b", {"ifname": f"c{cable}a"}, self._fabric, mtu=MTU_BYTES)
            for port, name in [(second, f"c{cable}b"), *([] if alone else [(first, f"c{cable}a")])]:
                index = fabric.link_lookup(ifname=name)[0]
                master = fabric.link_lookup(ifname=f"v{port.vertex}")[0]
                fabric.link("set", index=index, master=master, state="up")
                fabric.brport("set", index=index, learning=0, unicast_flood=0, mcast_flood=0, bcast_flood=0)
                shape(fabric, index, port)
                ports[port.vertex, cable] = index
        return ports

    @staticmethod
    def _veth(fabric: Any, name: str, peer: dict[str, Any], namespace: str, mtu: int = 1500) -> None:
        with _opened(path_of(namespace)) as there:
            fabric.link("add", ifname=name, kind="veth", mtu=mtu, peer={**peer, "mtu": mtu, "net_ns_fd": there})

    def _forward(self, fabric: Any, ports: dict[tuple[int, int], int]) -> None:
        for bridge, device, cable in self._wiring.forwarding:
            port, goal = ports[bridge, cable], hardware_address(device)
            fabric.fdb("add", ifindex=port, lladdr=goal, state=STATIC, flags=OF_BRIDGE)  # never ages

    def _management(self, fabric: Any) -> None:
        """A bridge of its own, unshaped, that floods like any."""
        fabric.link("add", ifname=MANAGEMENT, kind="bridge", br_stp_state=0)
        bridge = fabric.link_lookup(ifname=MANAGEMENT)[0]
        for device, namespace in enumerate(self._hosts):
            self._veth(fabric, f"m{device}", {"ifname": MANAGEMENT}, namespace)
            fabric.link("set", index=fabric.link_lookup(ifname=f"m{device}")[0], master=bridge, state="up")
        fabric.addr("add", index=bridge, address=address(len(self._hosts), 1), prefixlen=16)
        fabric.link("set", index=bridge, state="up")

    def _configure(self, host: Any, device: int) -> None:
        """A device's addresses, its neighbours (nobody asks who has an address), its end of the cable."""
        data, management, loopback = (host.link_lookup(ifname=name)[0] for name in (DATA, MANAGEMENT, "lo"))
        for index in (loopback, data, management):
            host.link("set", index=index, state="up")
        host.addr("add", index=management, address=address(device, 1), prefixlen=16)
        host.addr("add", index=data, address=address(device, 0), prefixlen=16)
        for other in range(len(self._hosts)):
            if other != device:
                host.neigh("add", ifindex=data, dst=address(other, 0), lladdr=hardware_address(other), state=NEIGHBOUR)
                window = {"initcwnd": WINDOW_FRAMES}
                host.route("add", dst=f"{address(other, 0)}/32", oif=data, scope="link", metrics=window)
        shape(host, data, self._wiring.cables[device][0])


def _set() -> None:
    """What the kernel keeps for each namespace, of the one that this thread is in."""
    for name, value in SETTINGS.items():
        (Path("/proc/sys") / name).write_text(value)


def shape(network: Any, index: int, port: Port) -> None:
    """Token buckets on an interface that sends at a rate; small packets go before large ones.

    Acknowledgements and what announces a message would else wait behind data that goes the other way.
    """
    if port.rate_Bps is None:
        return
    network.link("set", index=index, gso_max_segs=1)  # a packet of the kernel's is one frame
    rate_Bps, root = int(port.rate_Bps), 0x10000
    common = {"ceil": rate_Bps, "burst": BURST_BYTES, "cburst": BURST_BYTES, "quantum": FRAME_BYTES}
    network.tc("add", "htb", index, root, default=0x20)
    network.tc("add-class", "htb", index, root + 1, parent=root, rate=rate_Bps, **common)
    network.tc("add-class", "htb", index, root + 0x10, parent=root + 1, rate=rate_Bps // 10, prio=0, **common)
    network.tc("add-class", "htb", index, root + 0x20, parent=root + 1, rate=9 * rate_Bps // 10, prio=1, **common)
    network.tc("add-filter", "u32", index, parent=root, prio=1, protocol=ETH_P_IP, target=root + 0x10, keys=[SMALL])


def try_out(namespace: str) -> None:
    """Make one of everything that a testbed needs."""
    with inside(namespace) as space:
        space.link("add", ifname="bridge", kind="bridge")
        space.link("add", ifname="one", kind="veth", peer={"ifname": "other"})
        shape(space, space.link_lookup(ifname="one")[0], Port(0, 1e6))


def create(namespace: str) -> None:
    """A new, empty namespace, where ``ip netns`` finds it.

    Raises
    ------
    ExecutionError
        If the kernel refuses.
    """
    path = path_of(namespace)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(exist_ok=False)
    done = subprocess.run(["unshare", f"--net={path}", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        path.unlink()
        raise ExecutionError(f"network namespace {namespace} cannot be made: {done.stderr.strip()}")


def remove(namespace: str) -> None:
    """End what runs in a namespace, and take it away; nothing if it is not there."""
    path = path_of(namespace)
    if not path.exists():
        return
    end(namespace)
    subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ExecutionError(f"network namespace {namespace} cannot be removed: {error.strerror}") from None


def processes(namespace: str) -> list[int]:
    """Processes that are in a namespace."""
    wanted = _identity(path_of(namespace))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if wanted is not None and _identity(entry / "ns/net") == wanted:
            found.append(int(entry.name))
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def end(namespace: str) -> None:
    """Ask what runs in a namespace to end, then make it."""
    for sign, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        running = processes(namespace)
        for process in running:
            try:
                os.kill(process, sign)
            except ProcessLookupError:
                continue
        until = time.monotonic() + patience_s
        while running and time.monotonic() < until:
            time.sleep(0.02)
            running = processes(namespace)
        if not running:
            return
