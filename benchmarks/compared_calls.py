"""What ``COMMSIM_CHECK=1`` costs a call of 8 bytes: ``mpiexec -n 2 python -m benchmarks.compared_calls``."""

import os
import time

import numpy as np
from mpi4py import MPI

import collectives

CALLS, TURNS = 500, 5


def main():
    world, buffer = MPI.COMM_WORLD, np.zeros(2, np.float32)
    comms, best_s = [world.Dup(), world.Dup()], [np.inf, np.inf]
    for _ in range(TURNS):
        for place, comm in enumerate(comms):
            os.environ["COMMSIM_CHECK"] = str(place)  # read at the first call on a communicator
            collectives.Allreduce(comm, MPI.IN_PLACE, buffer, algorithm="ring")
            comm.Barrier()
            began = time.perf_counter()
            for _ in range(CALLS):
                collectives.Allreduce(comm, MPI.IN_PLACE, buffer, algorithm="ring")
            best_s[place] = min(best_s[place], (time.perf_counter() - began) / CALLS)
    if world.rank == 0:
        plain_s, compared_s = best_s
        print(f"allreduce of 8 B on {world.size} ranks: {1e6 * plain_s:.1f} us, compared {1e6 * compared_s:.1f} us")
        print(f"comparing takes {(compared_s - plain_s) / plain_s:.1f} times as long as the call")


if __name__ == "__main__":
    main()
