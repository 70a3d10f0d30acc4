"""Network models: how long messages take. Each names its paper and its weakness."""

from commsim.models.contention_free import Hockney, LogGP, Model

MODELS: dict[str, Model] = {"hockney": Hockney(), "loggp": LogGP()}
