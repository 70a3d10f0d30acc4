"""Network models: how long messages take. Each names its paper and its weakness."""

from commsim.models.contention_free import Hockney, LogGP, Model
from commsim.models.fluid import Fluid
from commsim.system import Endpoint
from commsim.units import parser_for

MODELS: dict[str, Model | Fluid] = {"fluid": Fluid(), "hockney": Hockney(), "loggp": LogGP()}


def described(model: str, endpoint: Endpoint) -> str:
    """A model in words, with the figures of an endpoint that it leaves out: a calibrated system has all."""
    kind = MODELS[model]
    words = [parser_for(name)[0] for name in kind.has_no if getattr(endpoint, name)]
    left_out = f"; it has no place for the system's {', '.join(words)}, and leaves that out" if words else ""
    return f"{model}: {kind.description}{left_out}"
