"""Pictures of steps: what they show is what the schedule does, and all of it lies inside the picture."""

import numpy as np
import pytest

from collectives.registry import find
from commsim import COMMUTATIVE, algorithm, chunk, exchange, lanes
from commsim.errors import InputError
from experiments.figures.steps import steps
from experiments.figures.steps_walk import Walk


@algorithm("allreduce", chunks=lambda n_ranks: 2 * n_ranks, constraints=(COMMUTATIVE,))
def two_rings(rank, n_ranks):
    """Two rings in opposite directions; the second begins a step later."""

    def ring(way, first):
        for step in range(2 * (n_ranks - 1)):
            send, receive = (rank - way * step) % n_ranks, (rank - way * (step + 1)) % n_ranks
            peers = (rank + way) % n_ranks, (rank - way) % n_ranks
            moved = {"send": chunk(first + send), "receive": chunk(first + receive)}
            yield [exchange(*peers, **moved, reduce=step < n_ranks - 1)]

    yield lanes(ring(1, 0), ring(-1, n_ranks), stagger=1)


def test_lanes_are_side_by_side():
    walk = Walk.of(two_rings, 4, 0)
    assert [panel.lanes for panel in walk.panels] == [[0], *[[0, 1]] * 5, [1]]
    assert (walk.panels[-1].shades == 1).all()
    assert (walk.panels[-2].shades < 1).any()
    texts = {text.get_text() for text in steps(two_rings, 4).legends[0].get_texts()}
    assert {"lane 0", "lane 1", "copy", "reduce"} <= texts


@pytest.mark.parametrize("name", ["bruck", "node_aggregated:ranks_per_node=4"])
def test_scratch_is_shown(name):
    walk = Walk.of(find("alltoall", name).resolved(8), 8, 0)
    assert list(walk.buffers) == ["scratch", "output"]
    first, last = walk.panels[0].shades, walk.panels[-1].shades
    assert (first[:, walk.buffers["scratch"]] > 0).any()
    assert not first[:, walk.buffers["output"]].any()
    assert (last[:, walk.buffers["output"]] == 1).all()


def test_a_gather_ends_at_its_root():
    walk = Walk.of(find("gather", "binomial").resolved(8), 8, 3)
    done = walk.panels[-1].shades == 1
    assert done[3].all()
    assert done.sum() == 8


@pytest.mark.parametrize("n_ranks", [1, 8, 16])
@pytest.mark.parametrize(
    ("collective", "name"),
    [("allreduce", "ring"), ("alltoall", "bruck"), ("allreduce", "hierarchical"), ("barrier", "dissemination")],
)
def test_everything_lies_inside_a_picture_that_fits_a_page(collective, name, n_ranks):
    figure = steps(find(collective, name), n_ranks, groups=4)
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert width <= 10.1
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
    panels = figure.axes[1].images
    ends = np.array([image.get_extent()[:2] for image in panels])
    assert (ends[1:, 0] > ends[:-1, 1]).all()


def test_of_many_steps_the_first_and_the_last_are_drawn_or_those_that_are_asked_for():
    def numbers(**options):
        return [label.get_text() for label in steps(find("allreduce", "ring"), 16, **options).axes[1].get_xticklabels()]

    shown = numbers()
    assert shown[:2] == ["start", "0"]
    assert "…" in shown
    assert shown[-1] == "29"
    assert numbers(window=(13, 16)) == ["13", "14", "15", "16"]
    with pytest.raises(InputError, match="no step from 30 to 40: the algorithm has 30"):
        numbers(window=(30, 40))
