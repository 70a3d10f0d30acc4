"""Ratios taken in one run: `make bench`. Nothing here is asserted."""
