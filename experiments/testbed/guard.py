"""Beside a command, ``python -m experiments.testbed.guard OWNER BEGAN`` waits; it clears away what a killed one built.

Whoever started it holds the other end of its input: that closes however the command ends, SIGKILL included.
"""

import sys

ALL_IS_WELL = b"\n"


def main() -> None:
    """Read until the command has said that all is well, or is no more."""
    if sys.stdin.buffer.read(1) == ALL_IS_WELL:
        return
    from experiments.testbed import state  # only then: beside what is measured this waits, and takes no time

    with state.alone():
        state.clear_of((int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
