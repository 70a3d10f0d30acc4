"""The fit: figures that were put in come out again, whatever the classes; places, patterns and the written system."""

from pathlib import Path

import numpy as np
import pytest

from commsim.errors import InputError, RefusedError
from commsim.simulate import unbound_s
from commsim.system import BySize, Endpoint
from experiments import calibrate
from experiments.calibrate import BOTH_WAYS, ONE_WAY, PAIR, Measured, Place, Way, fit, save
from experiments.calibrate.fit import ALL, message_s, row_s
from experiments.calibrate.lines import bootstrap, intervals, size_classes
from experiments.calibrate.measure import Ends, sizes_up_to
from experiments.calibrate.patterns import CROWD, CROWD_PAIR, REDUCTION, ROW, ROW_BOTH, ROWS, Pattern, patterns_of
from experiments.calibrate.places import classes_of, place_here, side_by_side, tiers_of, triangle
from experiments.calibrate.structure import ways_in, with_shares
from experiments.crowding import crowded_machines
from topologies import find

SIZES = sizes_up_to(32 * 2**20)
ENDS = Ends(0.5e-6, 0.5e-6, 0)
TWO_RANKS = {"n_ranks": 2, "oversubscribed": False}


def line(a, b, sizes=SIZES):
    return [(n, a + b * n) for n in sizes]


def repeated(points):
    return {n: np.full(5, seconds) for n, seconds in points}


def simulated_s(pattern, system, n_bytes):
    """Of messages of `n_bytes`."""
    return unbound_s(pattern.program, system, pattern.n_chunks * n_bytes)


def one_by_one(*steps):
    return Pattern(ONE_WAY, "socket", steps)


# --- lines


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


def test_lines_that_bend_down_meet_between_two_sizes():
    """Reductions reach the cache's speed late: the second line begins where they cross, and time never falls."""
    points = [(n, 1e-6 + 4e-10 * n if n < 2**16 else 18e-6 + 1e-10 * n) for n in SIZES]
    classes = size_classes(points)
    assert [first for first, _, _ in classes] == [0, pytest.approx(17e-6 / 3e-10, rel=0.01)]
    assert [line[1:] for line in classes] == [
        pytest.approx((1e-6, 4e-10), rel=0.01),
        pytest.approx((18e-6, 1e-10), rel=0.01),
    ]


def test_noise_below_one_percent_makes_no_class():
    rng = np.random.default_rng(7)
    points = [(n, t * rng.uniform(0.995, 1.005)) for n, t in line(3e-6, 1e-10)]
    assert len(size_classes(points)) == 1


def test_intercept_and_slope_stay_possible():
    for points in (line(-1e-7, 1e-9, SIZES[10:]), [(n, 5e-6 - n * 1e-15) for n in SIZES]):
        for _, fixed, slope in size_classes(points, least_s=1e-7):
            assert fixed >= 1e-7
            assert slope > 0


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_one_size_far_off_moves_nothing(factor):
    points = [(n, t * (factor if n == 2**14 else 1)) for n, t in line(2e-6, 1e-10)]
    [(_, fixed, slope)] = size_classes(points)
    assert (fixed, slope) == pytest.approx((2e-6, 1e-10), rel=0.01)


def test_intervals_hold_what_was_put_in_and_are_the_same_again():
    rng = np.random.default_rng(3)
    samples = [t * rng.lognormal(0, 0.1, 40) for _, t in line(2e-6, 1e-10)]
    lines = size_classes([(n, float(np.median(own))) for n, own in zip(SIZES, samples, strict=True)])
    draws = bootstrap(samples, 100, 0)
    [((low, high), (slow, fast))] = intervals(lines, SIZES, draws)
    assert low < 2e-6 < high < 2.3e-6
    assert slow < 1e-10 < fast
    assert (bootstrap(samples, 100, 0) == draws).all()


# --- two ranks


def measured_on_two(points, ends=ENDS):
    seconds = {("socket", what, 1): repeated(own) for what, own in points.items() if what != REDUCTION}
    return Measured(seconds, repeated(points[REDUCTION]), {"socket": ends})


POINTS = {ONE_WAY: line(2e-6, 1e-10), BOTH_WAYS: line(3e-6, 2e-10), REDUCTION: line(2e-6, 1.25e-10)}


@pytest.fixture
def calibration():
    """L = 1 µs, o = 0.5 µs, 10 GB/s one way, 5 GB/s both ways and 1 µs more; reductions 2 µs + 8 GB/s."""
    return fit(measured_on_two(POINTS), None, TWO_RANKS)


def written(calibration, path, tiers=None, structure=None):
    tiers = tiers_of([Place("a", "a", 0, (0, 1))] * 2) if tiers is None else tiers
    save(calibration, path, tiers, structure)
    return find(str(path))


def test_fit_splits_latency_overhead_and_bandwidth(calibration):
    way = calibration.ways["socket"]
    assert (way.latency_s, way.bandwidth_Bps) == pytest.approx((1e-6, 1e10), rel=1e-3)
    endpoint = calibration.endpoint
    assert endpoint.message.overhead_s == pytest.approx((0.5e-6,), rel=1e-3)
    assert endpoint.both_ways.overhead_s == pytest.approx((1e-6,), rel=1e-3)
    assert endpoint.both_ways.rate == pytest.approx((0.5,), rel=1e-6)
    assert endpoint.reduction.rate == pytest.approx((8e9,), rel=1e-6)
    assert max(abs(row["residual"]) for row in calibration.rows()) < 1e-4
    assert calibration.held_out.p90 < 1e-6


def test_the_file_predicts_what_was_measured(calibration, tmp_path):
    """Written, read, simulated: a message one way and one both ways take what they took."""
    system = written(calibration, tmp_path / "host.toml")
    there, both = one_by_one({0: 1}, {1: 0}), one_by_one({0: 1, 1: 0})
    assert simulated_s(there, system, 2**20) / 2 == pytest.approx(2e-6 + 1e-10 * 2**20, rel=1e-6)
    assert simulated_s(both, system, 2**20) == pytest.approx(3e-6 + 2e-10 * 2**20, rel=1e-6)
    assert system.endpoint.reduction.time_s(2**20) == pytest.approx(2e-6 + 1.25e-10 * 2**20, rel=1e-6)
    assert calibrate.drift(system, system).p90 == 0
    assert len(system.notes["calibration"]) == 3 * len(SIZES)
    [band] = [row for row in system.notes["intervals"] if row["what"] == ONE_WAY]
    assert band["fixed_95"] == pytest.approx([2e-6, 2e-6], rel=1e-3)
    measured, fitted = calibrate.noted(system.notes["calibration"])
    assert set(measured) == set(fitted) == {ONE_WAY, BOTH_WAYS, REDUCTION}


def test_what_is_eager_is_written(tmp_path):
    ends = Ends(0.5e-6, 0.5e-6, 4096)
    endpoint = written(fit(measured_on_two(POINTS, ends), None, TWO_RANKS), tmp_path / "host.toml").endpoint
    assert (endpoint.eager_limit_bytes, endpoint.message_rate_per_s) == (4096, 0)


def in_a_row(spacing_s, first_s=2e-6):
    """Seconds a message of 64 in a row, the first of which takes `first_s` alone; with some noise."""
    return {8: (first_s + 63 * spacing_s) / 64 * np.linspace(0.9, 1.1, 41)}


@pytest.mark.parametrize(("one_way_s", "both_ways_s"), [(5e-7, 5e-7), (4e-7, 1e-6)])
def test_a_message_rate_is_what_rows_take_beyond_their_first_message(one_way_s, both_ways_s, tmp_path):
    """Overheads are not counted again; rows that disagree meet half way, by their logarithms."""
    measured = measured_on_two(POINTS)
    measured.seconds["socket", ROW, 1] = in_a_row(one_way_s)
    measured.seconds["socket", ROW_BOTH, 1] = in_a_row(both_ways_s, 3e-6)
    calibration = fit(measured, None, TWO_RANKS)
    rate = 1 / np.sqrt(one_way_s * both_ways_s)
    assert calibration.endpoint.message_rate_per_s == pytest.approx(rate, rel=1e-3)
    [band] = [band for band in calibration.bands if band["what"] == "message rate"]
    assert band["per_s_95"][0] < band["per_s"] < band["per_s_95"][1]
    assert "message rate of a port: " in calibrate.summary(calibration)
    system = written(calibration, tmp_path / "host.toml")
    assert system.endpoint.message_rate_per_s == calibration.endpoint.message_rate_per_s
    for pattern in patterns_of({"socket": np.zeros(2, dtype=int)}, 2):
        if pattern.what in ROWS:
            found = simulated_s(pattern, system, 8) / len(pattern.steps)
            assert found == pytest.approx(calibration.fitted_s(pattern.key, 8), rel=1e-3)


def test_what_a_row_does_not_take_longer_than_its_first_message_has_no_rate():
    measured = measured_on_two(POINTS)
    measured.seconds["socket", ROW, 1] = in_a_row(0.0, 1.9e-6)
    calibration = fit(measured, None, TWO_RANKS)
    assert calibration.endpoint.message_rate_per_s == 0
    assert "message rate of a port: not bounded" in calibrate.summary(calibration)


def test_held_out_sizes_judge_the_fit():
    """A size class between two sizes of the fit is seen by the sizes between alone."""
    bent = [(n, t * (1.5 if n == 2**14 else 1)) for n, t in POINTS[ONE_WAY]]
    kept = fit(measured_on_two({**POINTS, ONE_WAY: bent}), None, TWO_RANKS).held_out
    assert (kept.n_rows, kept.median) == (33, pytest.approx(0, abs=1e-6))


# --- places and patterns


def ranks_on(*hosts):
    """Four cores and two sockets a host, a rank bound to each core named."""
    return [Place(host, host, core // 2, (core,)) for host, core in hosts]


FOUR_EACH = ranks_on(*((host, core) for host in "ab" for core in range(4)))


def test_classes_of_made_up_hosts():
    tiers = tiers_of(FOUR_EACH)
    classes = classes_of(tiers, 8)
    assert list(classes) == ["socket", "node", "across"]
    assert classes["socket"] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert (len(classes["node"]), len(classes["across"])) == (8, 16)
    assert triangle(classes["socket"]) is None
    assert side_by_side(classes["across"], tiers["node"]) == [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert side_by_side(classes["node"], tiers["socket"]) == [(0, 2), (1, 3)]
    assert list(classes_of(tiers_of(ranks_on(("a", 0), ("b", 0), ("c", 0))), 3)) == ["across"]


def test_unbound_ranks_have_no_socket():
    places = [Place("a", "a", None, (0, 1, 2, 3))] * 3
    classes = classes_of(tiers_of(places), 3)
    assert list(classes) == ["node"]
    assert triangle(classes["node"]) == (0, 1, 2)


def test_a_place_is_read_from_the_kernel(tmp_path):
    here = place_here("a", tmp_path)
    assert (here.host, here.socket, len(here.cores) > 0) == ("a", None, True)
    for core in here.cores:
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text("1\n")
    assert place_here("a", tmp_path).socket == 1


def test_more_ranks_than_cores_are_refused_with_the_reason():
    crowd = [Place(host, "one kernel", 0, (0, 1)) for host in ("x", "x", "y")]
    assert crowded_machines([(place.machine, place.cores) for place in FOUR_EACH]) == []
    with pytest.raises(RefusedError, match=r"3 ranks on 2 cores: .* --allow-oversubscribed"):
        calibrate.require_ranks(crowd, None, allow_oversubscribed=False)
    calibrate.require_ranks(crowd, None, allow_oversubscribed=True)
    with pytest.raises(InputError, match="at least 2 ranks"):
        calibrate.require_ranks(crowd[:1], None, allow_oversubscribed=True)
    star = find("star:hosts=2,bandwidth=1GB/s,latency=1us")
    with pytest.raises(RefusedError, match="2 devices, too few for 8 ranks"):
        calibrate.require_ranks(FOUR_EACH, star, allow_oversubscribed=False)


# --- several classes

WAYS = {
    "socket": Way(0.4e-6, 16e9, 40e9),
    "node": Way(0.4e-6, 16e9, 40e9),
    "across": Way(2e-6, 10e9, 12e9),
}
COSTS = {
    "socket": Endpoint(BySize(rate=(1.0,)), BySize(rate=(0.8,))),
    "node": Endpoint(BySize(overhead_s=(0.2e-6,), rate=(0.5,)), BySize(overhead_s=(0.2e-6,), rate=(0.5,))),
    "across": Endpoint(BySize(overhead_s=(0.3e-6,)), BySize(overhead_s=(0.3e-6,), rate=(0.9,)), pair_efficiency=0.5),
}
SPACING_S = 2e-7


def measured_of(tiers, n_ranks, ways=WAYS, costs=COSTS):
    """What the patterns would have taken on a machine of these figures."""
    seconds, ends = {}, {}
    for pattern in patterns_of(tiers, n_ranks):
        name, crowd = pattern.link_class, pattern.what in (CROWD, CROWD_PAIR)
        way, endpoint = ways[name], costs[name]
        if pattern.what in ROWS:
            seconds[pattern.key] = repeated([(8, row_s(endpoint, way, pattern.what, SPACING_S))])
            continue
        seconds[pattern.key] = repeated(
            (n, message_s(endpoint, way, pattern.what, n, pattern.n_pairs)) for n in (SIZES[10::2] if crowd else SIZES)
        )
        o = endpoint.message.overhead_s[0]
        ends[name] = Ends(o, o, 0)
    return Measured(seconds, repeated(line(1e-6, 1e-10)), ends)


@pytest.fixture(scope="module")
def three_nodes():
    tiers = tiers_of(ranks_on(*((host, core) for host in "abc" for core in range(4))))
    return tiers, fit(measured_of(tiers, 12), None, {"n_ranks": 12, "oversubscribed": False}, 4)


def test_several_classes_are_fitted_at_once(three_nodes):
    _, calibration = three_nodes
    assert list(calibration.ways) == list(WAYS)
    assert calibration.ways["across"].shared_Bps == pytest.approx(12e9, rel=0.01)
    assert calibration.ways["across"].bandwidth_Bps == pytest.approx(12e9, rel=0.01)
    assert calibration.ways["across"].latency_s == pytest.approx(2e-6, rel=0.01)
    assert calibration.endpoint.pair_efficiency == pytest.approx(0.5, rel=0.01)
    assert calibration.endpoint.inside["node"].message.rate == pytest.approx((0.5,), rel=0.01)
    assert list(calibration.endpoint.inside) == ["socket", "node"]


def test_the_file_of_a_cluster_predicts_all_its_patterns(three_nodes, tmp_path):
    """Written, read, simulated, whatever the class: one pair and, through the NIC that they share, four."""
    tiers, calibration = three_nodes
    system = written(calibration, tmp_path / "cluster.toml", tiers)
    assert system.ranks_per_node(12) == 4
    for pattern in patterns_of(tiers, 12):
        if pattern.n_pairs > 1 and pattern.link_class != "across":
            continue  # the sockets share one memory: what several pairs of one class get is not what all get
        costs, way = COSTS[pattern.link_class], WAYS[pattern.link_class]
        for n_bytes in (8,) if pattern.what in ROWS else (2**12, 2**20):
            wanted = (
                row_s(costs, way, pattern.what, SPACING_S)
                if pattern.what in ROWS
                else message_s(costs, way, pattern.what, n_bytes, pattern.n_pairs)
            )
            found = simulated_s(pattern, system, n_bytes) / len(pattern.steps)
            assert found == pytest.approx(wanted, rel=0.02), pattern


def test_ranks_may_sit_on_nodes_in_any_order(tmp_path):
    tiers = tiers_of(ranks_on(("a", 0), ("b", 0), ("a", 1), ("b", 1)))
    calibration = fit(measured_of(tiers, 4), None, {"n_ranks": 4, "oversubscribed": False}, 2)
    system = written(calibration, tmp_path / "cluster.toml", tiers)
    assert system.topology.tiers["node"][:4].tolist() == [0, 1, 0, 1]
    one = one_by_one({0: 1})
    assert simulated_s(one, system, 2**20) == pytest.approx(2.6e-6 + 2**20 / 1e10, rel=0.01)


# --- a structure that is given

TREE = """
[class.port]
bandwidth = "1GB/s"
latency = "1us"
[class.uplink]
bandwidth = "1.5GB/s"
latency = "1us"
[[device]]
name = "leaf[0-1].host[0-3]"
leaf = "leaf{0}"
[[switch]]
name = "leaf[0-1]"
[[link]]
from = "leaf[0-1].host[0-3]"
to = "leaf{0}"
class = "port"
[[link]]
from = "leaf0"
to = "leaf1"
class = "uplink"
"""


def test_a_given_structure_stays_and_the_rest_is_fitted(tmp_path):
    """Links, routes and rates from the file; what several pairs get of the uplink together is measured."""
    path = tmp_path / "tree.toml"
    path.write_text(TREE)
    structure = find(str(path))
    tiers = {"leaf": structure.topology.tiers["leaf"][:8]}
    ways = ways_in(structure, tiers, 8)
    assert ways == {"leaf": Way(2e-6, 1e9), "across": Way(3e-6, 1e9, 1.5e9)}
    costs = {name: Endpoint(BySize(overhead_s=(5e-6,), rate=(0.9,))) for name in ways}
    real = {**ways, "across": Way(3e-6, 1e9, 1.2e9)}
    measured = measured_of(tiers, 8, real, costs)
    (tmp_path / "out").mkdir()
    calibration = with_shares(fit(measured, ways, {"n_ranks": 8, "oversubscribed": True}), structure, tiers)
    system = written(calibration, tmp_path / "out" / "fitted.toml", tiers, (str(path), structure))
    text = Path(system.name).read_text()
    assert 'extends = "../tree.toml"' in text
    up = structure.topology.classes["uplink"]
    assert system.topology.links.bandwidth_Bps[up] == pytest.approx(1.2e9, rel=0.01)
    assert system.topology.links.bandwidth_Bps[structure.topology.classes["port"]] == pytest.approx(1e9)
    for pattern in (one for one in patterns_of(tiers, 8) if one.what not in ROWS):
        way, n_bytes = real[pattern.link_class], 2**20
        wanted = message_s(costs["leaf"], way, pattern.what, n_bytes, pattern.n_pairs)
        found = simulated_s(pattern, system, n_bytes) / len(pattern.steps)
        assert found == pytest.approx(wanted, rel=0.02), pattern
    assert {key[0] for key in measured.seconds} | {ALL} == {row["class"] for row in system.notes["calibration"]}


def test_the_burst_of_a_bucket_costs_nothing(tmp_path):
    path = tmp_path / "tree.toml"
    path.write_text(TREE + '[endpoint]\nburst = "18kB"\n')
    structure = find(str(path))
    tiers = {"leaf": structure.topology.tiers["leaf"][:8]}
    ways = ways_in(structure, tiers, 8)
    costs = {name: Endpoint(BySize(overhead_s=(5e-6,), rate=(0.9,))) for name in ways}
    found = fit(measured_of(tiers, 8, ways, costs), ways, {"n_ranks": 8, "oversubscribed": True})
    calibration = with_shares(found, structure, tiers)
    assert calibration.endpoint.message.rate == pytest.approx((0.9,), rel=1e-3)
    assert calibration.endpoint.message.overhead_s == pytest.approx((5e-6,), rel=1e-3)
    system = written(calibration, tmp_path / "fitted.toml", tiers, (str(path), structure))
    for n_bytes in (2**12, 2**15, 2**20):
        wanted = 3e-6 + 2 * 5e-6 + max(n_bytes - 18000, 0) / 0.9e9
        assert simulated_s(one_by_one({0: 4}), system, n_bytes) == pytest.approx(wanted, rel=1e-3)


def test_a_pair_keeps_a_share_of_a_ring(tmp_path):
    """A pairwise exchange at exactly half the rate of a ring's two directions over different peers."""
    places = [Place("a", "a", 0, (0, 1, 2))] * 3
    tiers = tiers_of(places)
    costs = {"socket": Endpoint(BySize(overhead_s=(0.5e-6,)), BySize(overhead_s=(0.5e-6,)), pair_efficiency=0.5)}
    measured = measured_of(tiers, 3, {"socket": Way(1e-6, 1e10)}, costs)
    assert ("socket", PAIR, 1) in measured.seconds
    calibration = fit(measured, None, {"n_ranks": 3, "oversubscribed": False})
    assert calibration.endpoint.pair_efficiency == pytest.approx(0.5, rel=1e-3)
    system = written(calibration, tmp_path / "host.toml", tiers)
    swap, ring = one_by_one({0: 1, 1: 0}), one_by_one({0: 1, 1: 2, 2: 0})
    assert simulated_s(swap, system, 2**20) == pytest.approx(2e-6 + 2e-10 * 2**20, rel=1e-3)
    assert simulated_s(ring, system, 2**20) == pytest.approx(2e-6 + 1e-10 * 2**20, rel=1e-3)
