"""Network models: how long messages take. Each names its paper and its weakness."""

from commsim.models.contention_free import Hockney, LogGP, Model
from commsim.models.fluid import Fluid

MODELS: dict[str, Model | Fluid] = {"fluid": Fluid(), "hockney": Hockney(), "loggp": LogGP()}
