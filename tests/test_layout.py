"""Chunks of whole elements: no element is lost, none is in two chunks, and bytes_of is what slices cover."""

import numpy as np
import pytest

from commsim import Selection, chunk, chunks
from commsim.errors import InputError
from commsim.layout import Layout

CASES = [(0, 1), (0, 5), (1, 1), (1, 7), (6, 7), (7, 7), (8, 7), (97, 8), (97, 13), (64, 8)]


def chunk_elements(layout):
    return [range(layout.offsets[c], layout.offsets[c + 1]) for c in range(layout.n_chunks)]


@pytest.mark.parametrize(("n_elements", "n_chunks"), CASES)
def test_the_first_chunks_have_one_more(n_elements, n_chunks):
    layout = Layout(n_elements, n_chunks, 4)
    sizes = [len(part) for part in chunk_elements(layout)]
    assert sizes == [n_elements // n_chunks + (c < n_elements % n_chunks) for c in range(n_chunks)]
    assert [e for part in chunk_elements(layout) for e in part] == list(range(n_elements))
    assert layout.n_bytes == 4 * n_elements


@pytest.mark.parametrize(("n_elements", "n_chunks"), CASES)
def test_bytes_and_slices_of_every_range(n_elements, n_chunks):
    layout = Layout(n_elements, n_chunks, 4)
    parts = chunk_elements(layout)
    for first in range(n_chunks):
        for size in range(1, n_chunks - first + 1):
            starts, lengths = (a.ravel() for a in np.meshgrid(np.arange(size), np.arange(size + 1)))
            wanted = [
                [e for i in range(length) for e in parts[first + (start + i) % size]]
                for start, length in zip(starts, lengths, strict=True)
            ]
            n_bytes = np.broadcast_to(layout.bytes_of(Selection(starts, lengths, first, size)), len(starts))
            assert n_bytes.tolist() == [4 * len(elements) for elements in wanted]
            for start, length, elements in zip(starts.tolist(), lengths.tolist(), wanted, strict=True):
                pieces = layout.slices(Selection(start, length, first, size), 0)
                covered = [e for piece in pieces for e in range(n_elements)[piece]]
                assert covered == elements


def test_a_selection_without_a_window_wraps_at_the_end_of_the_buffer():
    layout = Layout(10, 4, 1)  # 3, 3, 2, 2
    assert layout.bytes_of(chunk(2)) == 2
    assert layout.bytes_of(chunks(3, 2)) == 5
    assert layout.bytes_of(chunks(np.array([0, 3]), 2)).tolist() == [6, 5]


@pytest.mark.parametrize(("n_elements", "n_chunks", "item"), [(-1, 1, 4), (4, 0, 4), (4, -1, 4), (4, 2, 0)])
def test_an_impossible_layout_is_refused(n_elements, n_chunks, item):
    with pytest.raises(InputError, match="no layout has"):
        Layout(n_elements, n_chunks, item)


def test_a_vector_beyond_64_bits_is_refused():
    with pytest.raises(InputError, match="too large"):
        Layout(2**61, 8, 4)
