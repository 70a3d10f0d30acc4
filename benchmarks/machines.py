"""How near 1 GiB comes to its bound on every machine, as it was built or with 4,096 ranks; and how long that takes."""

import sys
import time

import topologies
from commsim import CommsimError
from experiments.systems import best

N_RANKS = 4096
GIB = 2**30
WHOLE = 32


def measured(name):
    machine = topologies.MACHINES[name]
    nodes = min(machine.most_nodes, -(-N_RANKS // machine.devices_per_node))
    nodes -= nodes % WHOLE if nodes > WHOLE else 0  # so that they can be walked in two levels
    begin = time.perf_counter()
    system = machine(nodes)
    built_s = time.perf_counter() - begin
    whole = machine.most_nodes * machine.devices_per_node
    head = f"{name:<18} {system.n_devices:>5} of {whole} ranks"
    try:
        result = best(system, GIB)
    except CommsimError as error:
        return f"{head}: {error}"
    taken_s = time.perf_counter() - begin
    ratio = result.time_s / result.bound_s
    return (
        f"{head}: {ratio:.2f} x its bound, {result.algorithm}; built in {built_s:.2f} s, simulated in {taken_s:.1f} s"
    )


def main(*names):
    for name in names or topologies.MACHINES:
        print(measured(name), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
