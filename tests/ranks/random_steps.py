"""Random algorithms, the same on every rank: whatever a step may hold, so that plans meet what nobody thought of."""

import numpy as np

from commsim import SCRATCH, algorithm, chunks, direct, exchange, fan_in, fan_out, lanes, listed

N_CHUNKS, N_SCRATCH = 6, 2


def random_algorithm(seed):
    """An "allreduce" of a few random steps (it is none, and never verified); the same selections at both ends."""

    @algorithm("allreduce", chunks=N_CHUNKS, scratch=N_SCRATCH)
    def wild(rank, n_ranks):
        random = np.random.default_rng([seed, n_ranks])
        for copy in range(N_SCRATCH):
            send, receive = chunks(0, N_CHUNKS), chunks(0, N_CHUNKS, buffer=SCRATCH + copy)
            yield [exchange(rank, rank, send=send, receive=receive)]
        for _ in range(4):
            if random.integers(4):
                yield list(some_exchanges(random, rank, n_ranks, np.arange(N_CHUNKS)))
            else:  # lanes, each on its own chunks
                parts = np.array_split(random.permutation(N_CHUNKS), random.integers(2, 4))
                seeds = random.integers(0, 2**31, len(parts))
                yield lanes(
                    *(lane(int(s), rank, n_ranks, part) for s, part in zip(seeds, parts, strict=True)),
                    stagger=int(random.integers(0, 3)),
                )

    return wild


def lane(seed, rank, n_ranks, allowed):
    random = np.random.default_rng(seed)
    for _ in range(random.integers(0, 4)):
        yield list(some_exchanges(random, rank, n_ranks, allowed))


def some_exchanges(random, rank, n_ranks, allowed):
    """One to four exchanges that write no chunk twice, unless both reduce."""
    whole = len(allowed) == N_CHUNKS
    reduce = bool(random.integers(2))
    free = [(chunk, buffer) for chunk in allowed for buffer in (0, SCRATCH, SCRATCH + 1)]  # not written yet
    for _ in range(random.integers(1, 5)):
        places = [free[i] for i in random.permutation(len(free))]
        buffer = places[0][1] if places else 0
        taken = [chunk for chunk, where in places if where == buffer][: random.integers(0, 4)]
        if not reduce:
            free = [place for place in free if place not in [(chunk, buffer) for chunk in taken]]
        taken = np.array(taken, dtype=int)
        source = int(random.choice([0, SCRATCH, SCRATCH + 1]))
        kind = random.integers(6)
        if kind == 0 and whole and not reduce:
            start, length = int(random.integers(N_CHUNKS)), int(random.integers(N_CHUNKS + 1))
            where = set((start + np.arange(length)) % N_CHUNKS)
            if not all((chunk, buffer) in free for chunk in where):
                continue
            free = [place for place in free if not (place[1] == buffer and place[0] in where)]
            send, receive = chunks(start, length, buffer=source), chunks(start, length, buffer=buffer)
        else:
            send, receive = listed(taken, buffer=source), listed(taken, buffer=buffer)
        root = int(random.integers(n_ranks))
        if kind == 1 and reduce:
            yield fan_in(rank, n_ranks, root, send=send, receive=receive, reduce=True)
        elif kind == 2 and not reduce:
            yield fan_out(rank, n_ranks, root, send=send, receive=receive)
        elif kind == 3 and reduce:
            yield all_to_all(rank, n_ranks, send, receive)
        else:
            yield permuted(random, rank, n_ranks, send, receive, reduce)


def permuted(random, rank, n_ranks, send, receive, reduce):
    """A random partial permutation; ranks may send to themselves."""
    to = random.permutation(n_ranks)
    source = np.argsort(to)
    idle = random.integers(0, 4, n_ranks) == 0
    to, source = np.where(idle, -1, to), np.where(idle[source], -1, source)
    first = random.integers(0, 2, n_ranks).astype(bool)
    return exchange(to[rank], source[rank], send=send, receive=receive, reduce=reduce, received_first=first[rank])


def all_to_all(rank, n_ranks, send, receive):
    return direct(rank, n_ranks, send=lambda me, peer: send, receive=lambda me, peer: receive, reduce=True)
