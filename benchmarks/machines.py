"""How near 1 GiB comes to its bound on every machine, as it was built or with 4,096 ranks; and how long that takes."""

import sys
import time

import topologies
from commsim import CommsimError
from experiments.systems import best

N_RANKS = 4096
GIB = 2**30
WHOLE = 32
ROW = "{:<18} {:>6} {:>6}  {:>8} {:>8} {:>5}  {:<7} {:>9} {:>7}  {}"
HEAD = ("machine", "ranks", "of", "time ms", "bound ms", "ratio", "engine", "messages", "took s", "algorithm")


def nodes_of(machine):
    """For 4,096 ranks or all that there are; a multiple of 32, so that they can be walked level by level."""
    nodes = min(machine.most_nodes, -(-N_RANKS // machine.devices_per_node))
    return nodes - nodes % WHOLE if nodes > WHOLE else nodes


def row(name):
    machine = topologies.MACHINES[name]
    begin = time.perf_counter()
    system = machine(nodes_of(machine))
    whole = machine.most_nodes * machine.devices_per_node
    try:
        found = best(system, GIB)
    except CommsimError as error:
        return f"{name:<18} {system.n_devices:>6} {whole:>6}  {error}"
    ms, ratio = (f"{1e3 * time_s:.2f}" for time_s in (found.time_s, found.bound_s)), found.time_s / found.bound_s
    taken_s = time.perf_counter() - begin
    counted = f"{ratio:.2f}", found.engine, found.n_messages, f"{taken_s:.1f}"
    return ROW.format(name, system.n_devices, whole, *ms, *counted, found.spec)


def main(*names):
    begin = time.perf_counter()
    print(ROW.format(*HEAD))
    for name in names or topologies.MACHINES:
        print(row(name), flush=True)
    print(f"in {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
