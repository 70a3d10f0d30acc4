"""The key ``in_network`` of the generators: what the switches of a fabric do beside passing messages on."""

from __future__ import annotations

from collections.abc import Mapping

from commsim.errors import unknown_name
from commsim.system import IN_NETWORK

WORDS = IN_NETWORK


def everywhere(in_network: str) -> Mapping[str, frozenset[str]]:
    """``System.in_network`` of a fabric all of whose switches do what the word says.

    Raises
    ------
    UnknownNameError
        For another word than "none", "reduce", "multicast" and "both".
    """
    if in_network not in WORDS:
        raise unknown_name("in_network", in_network, WORDS)
    return {"all": WORDS[in_network]} if WORDS[in_network] else {}
