"""What to buy: time and money to train on several machines, and what a change would be worth."""

from __future__ import annotations

from experiments.planning.options import Option, Question, on_front, options
from experiments.planning.prices import Prices, read_prices
from experiments.planning.sensitivity import Change, changes

__all__ = ["Change", "Option", "Prices", "Question", "changes", "on_front", "options", "read_prices"]
