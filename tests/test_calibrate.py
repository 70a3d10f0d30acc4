"""The fit: figures that were put in come out again, whatever the classes."""

import numpy as np
import pytest

from commsim import simulate
from experiments import calibrate
from experiments.calibrate import BOTH_WAYS, ONE_WAY, PAIR, REDUCTION, SIZES, fit, save, size_classes
from topologies import find

FACTS = {"n_ranks": 2, "oversubscribed": False}


def line(a, b, sizes=SIZES):
    return [(n, a + b * n) for n in sizes]


def test_one_line_is_one_class():
    [(first, fixed, slope)] = size_classes(line(2e-6, 1e-10))
    assert first == 0
    assert (fixed, slope) == pytest.approx((2e-6, 1e-10), rel=1e-6)


def test_a_jump_between_two_lines_is_found():
    points = [(n, 1e-6 + 2e-10 * n if n < 8192 else 9e-6 + 1e-10 * n) for n in SIZES]
    classes = size_classes(points)
    assert [first for first, _, _ in classes] == [0, 8192]
    assert classes[0][1:] == pytest.approx((1e-6, 2e-10), rel=1e-4)
    assert classes[1][1:] == pytest.approx((9e-6, 1e-10), rel=1e-4)


def test_noise_below_one_percent_makes_no_class():
    rng = np.random.default_rng(7)
    points = [(n, t * rng.uniform(0.995, 1.005)) for n, t in line(3e-6, 1e-10)]
    assert len(size_classes(points)) == 1


def test_intercept_and_slope_stay_possible():
    for points in (line(-1e-7, 1e-9, SIZES[10:]), [(n, 5e-6 - n * 1e-15) for n in SIZES]):
        for _, fixed, slope in size_classes(points, least_s=1e-7):
            assert fixed >= 1e-7
            assert slope > 0


@pytest.fixture
def calibration():
    """L = 1 µs, o = 0.5 µs, 10 GB/s one way, 5 GB/s both ways and 1 µs more; reductions 2 µs + 8 GB/s."""
    points = {ONE_WAY: line(2e-6, 1e-10), BOTH_WAYS: line(3e-6, 2e-10), REDUCTION: line(2e-6, 1.25e-10)}
    return fit(points, 0.5e-6, FACTS)


def test_what_two_ranks_keep_is_fitted_and_written(calibration, tmp_path):
    """A pairwise exchange at exactly half the rate of a ring's two directions over different peers."""
    points = {**calibration.points, PAIR: line(3e-6, 4e-10)}
    found = fit(points, 0.5e-6, {**FACTS, "n_ranks": 4})
    assert found.endpoint.pair_efficiency == pytest.approx(0.5, rel=1e-6)
    assert max(abs(error) for error in found.residuals()[PAIR]) < 1e-6
    save(found, tmp_path / "host.toml")
    system = find(str(tmp_path / "host.toml"))
    assert simulate(calibrate.swap, system, 2**21).time_s == pytest.approx(3e-6 + 4e-10 * 2**20, rel=1e-6)
    assert simulate(calibrate.shift, system, 2**21).time_s == pytest.approx(3e-6 + 2e-10 * 2**20, rel=1e-6)
    for faster in (line(3e-6, 1e-10), line(1e-6, 2e-10)):
        assert fit({**points, PAIR: faster}, 0.5e-6, FACTS).endpoint.pair_efficiency == 1.0
    assert calibration.endpoint.pair_efficiency == 1.0


def test_fit_splits_latency_overhead_and_bandwidth(calibration):
    assert calibration.latency_s == pytest.approx(1e-6, rel=1e-3)
    assert calibration.bandwidth_Bps == pytest.approx(1e10, rel=1e-6)
    endpoint = calibration.endpoint
    assert endpoint.message.overhead_s == pytest.approx((0.5e-6,), rel=1e-3)
    assert endpoint.both_ways.overhead_s == pytest.approx((1e-6,), rel=1e-3)
    assert endpoint.both_ways.rate == pytest.approx((0.5,), rel=1e-6)
    assert endpoint.reduction.rate == pytest.approx((8e9,), rel=1e-6)
    assert max(abs(error) for errors in calibration.residuals().values() for error in errors) < 1e-6


def test_the_file_predicts_what_was_measured(calibration, tmp_path):
    """Written, read, simulated: a message one way and one both ways take what they took."""
    path = tmp_path / "host.toml"
    save(calibration, path)
    system = find(str(path))
    assert simulate(calibrate.ping_pong, system, 2**21).time_s / 2 == pytest.approx(2e-6 + 1e-10 * 2**20, rel=1e-6)
    assert simulate(calibrate.shift, system, 2**21).time_s == pytest.approx(3e-6 + 2e-10 * 2**20, rel=1e-6)
    assert calibrate.fitted_points(system, REDUCTION, [2**20])[0][1] == pytest.approx(2e-6 + 1.25e-10 * 2**20, rel=1e-6)
    assert calibrate.drift(system, system).p90 == 0
    assert len(system.notes["calibration"]) == 3 * len(SIZES)
