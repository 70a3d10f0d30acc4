"""Finite fields as tables: of a prime number of elements, or of a power of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.selection import Ints


@dataclass(frozen=True, eq=False)
class Field:
    """GF(q). The element ``a0 + a1 x + a2 x² …`` is the number ``a0 + a1 p + a2 p² …``; of a prime q just a0.

    Attributes
    ----------
    powers : array (q - 1,)
        Of a primitive element: all elements but 0.
    plus, minus, times : array (q, q)
    """

    powers: Ints
    plus: Ints
    minus: Ints
    times: Ints

    @staticmethod
    def of(q: int) -> Field | None:
        """The field of q elements; None if there is none."""
        p, k = prime_power(q) or (0, 0)
        if not p:
            return None
        place = p ** np.arange(k)
        digits = np.arange(q)[:, None] // place % p
        plus, minus = ((digits[:, None] + sign * digits) % p @ place for sign in (1, -1))
        powers = next(found for rest in range(1, q) if len(found := _powers(digits, digits[rest], place, p)) == q - 1)
        log = np.zeros(q, dtype=np.int64)
        log[powers] = np.arange(q - 1)
        times = powers[(log[:, None] + log) % (q - 1)]
        times[0] = times[:, 0] = 0
        return Field(powers, plus, minus, times)

    @property
    def inverse(self) -> Ints:
        """Of every element; of 0 it is 0."""
        found: Ints = np.argmax(self.times == 1, axis=1)
        return found


def prime_power(q: int) -> tuple[int, int] | None:
    """The prime and the power of q, which is one of the other; None if it is no prime power."""
    p = next((n for n in range(2, int(q**0.5) + 1) if q % n == 0), q)
    k = 0
    while q > 1 and q % p == 0:
        q, k = q // p, k + 1
    return (p, k) if q == 1 and k else None


def _powers(digits: Ints, rest: Ints, place: Ints, p: int) -> Ints:
    """1, x, x² … until they repeat, where ``x^k`` is `rest`, digits (k,)."""
    powers = [1]
    while True:
        one = digits[powers[-1]]
        shifted = np.concatenate([[0], one[:-1]])
        power = int((shifted + one[-1] * rest) % p @ place)
        if power in (0, 1) or len(powers) > len(digits):
            return np.array(powers)
        powers.append(power)
