"""Repetitions in a compiled loop are the same steps one by one; so are those that are ended early."""

import numpy as np
import pytest

from collectives import registry
from commsim import Endpoint, System, simulate
from commsim.models.contention_free import Hockney
from commsim.system import BySize
from topologies import leaf_spine, rail_optimised, xgft

CLASSES = Endpoint(
    BySize((0, 4096), (1e-6, 2e-6), (1.0, 0.5)),
    BySize((0, 4096), (1e-6, 3e-6), (0.9, 0.4)),
    0.0,
    BySize((0, 4096), (1e-7, 0.0), (5e9, 1e10)),
)


def systems():
    yield xgft(down=(4, 4), up=(1, 4), bandwidth_Bps=10e9, latency_s=5e-7, overhead_s=1e-6, gamma_s_per_byte=1e-10)
    yield leaf_spine(hosts_per_leaf=5, leaves=3, spines=5, bandwidth_Bps=10e9, latency_s=1e-7)
    yield rail_optimised(
        nodes=4, gpus_per_node=4, bandwidth_Bps=25e9, latency_s=1e-6, node_bandwidth_Bps=3e11, node_latency_s=1e-7
    )
    yield System(
        "classes", leaf_spine(hosts_per_leaf=4, leaves=4, spines=4, bandwidth_Bps=1e9, latency_s=1e-6).topology, CLASSES
    )


@pytest.mark.parametrize("n_bytes", [0, 4, 4 * 17, 4 * 16 * 1000, 4 * 15 * 9999, 4 * 100_003])
@pytest.mark.parametrize("spec", ["allreduce/ring", "allgather/ring", "reduce_scatter/ring", "allreduce/node_split"])
def test_rounds_are_the_steps_one_by_one(spec, n_bytes, monkeypatch):
    algorithm = registry.find(*spec.split("/"))
    for system in systems():
        together = simulate(algorithm, system, n_bytes, model="hockney")
        with monkeypatch.context() as patched:
            patched.setattr(Hockney, "advances_rounds", lambda *_: False)
            apart = simulate(algorithm, system, n_bytes, model="hockney")
        assert np.allclose(together.finish_s, apart.finish_s, rtol=1e-12, atol=0)
        assert np.allclose(together.link_bytes, apart.link_bytes, rtol=1e-12)
        assert np.allclose(together.link_busy_s, apart.link_busy_s, rtol=1e-12)
        assert together.n_messages == apart.n_messages
        assert together.bottleneck == apart.bottleneck


def test_what_repeats_itself_is_extrapolated():
    """A ring over leaves goes at the pace of its longest hop after a few rounds."""
    star = leaf_spine(hosts_per_leaf=8, leaves=16, spines=8, bandwidth_Bps=10e9, latency_s=5e-7)
    ring = registry.find("allreduce", "ring")
    result = simulate(ring, star, "1MiB", model="hockney")
    assert result.engine == "contention-free, repetitions extrapolated"
    assert "extrapolated" not in simulate(ring, star, 4 * 100_003, model="hockney").engine
