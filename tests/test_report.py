"""The figures lose no point and repeat to the byte; the report is one file that loads nothing and escapes all text."""

import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from commsim import Result
from commsim.errors import InputError
from commsim.units import gigabytes_per_second
from experiments import figures
from experiments.comparison import Comparison
from experiments.report import LONG_TABLE_ROWS, Section, Table, write_report

LATENCY_S, S_PER_BYTE = 1e-6, 1e-10


def row(n_bytes: int, error: float = 0.05, algorithm: str = "ring") -> Comparison:
    measured_s = LATENCY_S + n_bytes * S_PER_BYTE
    return Comparison("allreduce", algorithm, 2, n_bytes, measured_s * (1 + error), measured_s)


def rounded(points: Iterable[tuple[float, float]]) -> set[tuple[float, float]]:
    return {(float(x), round(float(y), 14)) for x, y in points}


def drawn(axes: Axes, *markers: str) -> set[tuple[float, float]]:
    """Every point with a marker (of some kind, or of any but the dash of a lone prediction) inside the panel."""
    (left, right), (low, high) = axes.get_xlim(), sorted(axes.get_ylim())
    found: set[tuple[float, float]] = set()
    for line in axes.lines:
        marker = line.get_marker()
        if marker in markers or (not markers and marker not in (None, "None", "", "_")):
            found |= rounded(zip(line.get_xdata(), line.get_ydata(), strict=True))
    return {(x, y) for x, y in found if left <= x <= right and low <= y <= high}


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def colour_of(figure: Figure, label: str) -> object:
    """Colour of a series in the figure's legend, wherever that stands."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    handles = {
        text.get_text(): handle
        for legend in legends
        for handle, text in zip(legend.legend_handles, legend.texts, strict=True)
    }
    return handles[label].get_color()


# ------------------------------------------------------------------------------------------------------ figures


def test_every_row_is_drawn_twice_and_outliers_become_named_arrows() -> None:
    errors = [0.05, -0.3, 0.59, 0.61, 2.4, -0.9, -0.7]
    rows = [row(8 << i, error) for i, error in enumerate(errors)]
    figure = figures.predicted_and_measured(rows, "t")
    upper, lower = figure.axes
    limit = figures.ERROR_LIMIT
    assert drawn(upper) == rounded((r.n_bytes, r.measured_s) for r in rows)
    assert drawn(lower) == rounded((r.n_bytes, min(max(r.error, -limit), limit)) for r in rows)
    assert "+240 %" in texts(figure)
    assert "−90 %" in texts(figure)
    assert "−70 %" not in texts(figure)
    assert {error for _, error in drawn(lower, "^")} == {limit}
    assert {error for _, error in drawn(lower, "v")} == {-limit}


def test_errors_of_several_algorithms_at_one_size_are_all_drawn() -> None:
    rows = [row(64, error, name) for name, error in (("ring", 1.0), ("chain", 3.0), ("binomial", 0.0))]
    lower = figures.predicted_and_measured(rows, "t").axes[1]
    arrows = [line for line in lower.lines if list(line.get_ydata()) == [figures.ERROR_LIMIT]]
    places = {tuple(line.get_transform().transform((64, 0))) for line in arrows}
    assert len(arrows) == len(places) == 2


@pytest.mark.parametrize("n_bytes", [0, 1, 9724160])
def test_one_row_is_enough(n_bytes: int) -> None:
    sweep, gradients = figures.predicted_and_measured([row(n_bytes)], "t"), figures.buckets([row(n_bytes)])
    for figure in (sweep, gradients):
        figure.draw_without_rendering()
    upper, lower = sweep.axes
    assert drawn(lower) == {(n_bytes, 0.05)}
    assert drawn(upper, "_") == rounded([(n_bytes, row(n_bytes).predicted_s)])  # a line of one point would not show
    assert sum(bool(label.get_text()) for label in upper.get_yticklabels()) >= 2


def test_predictions_are_lines_through_every_predicted_time() -> None:
    rows = [row(n_bytes) for n_bytes in (512, 8, 64)]
    upper = figures.predicted_and_measured(rows, "t").axes[0]
    lines = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in upper.lines]
    assert sorted((r.n_bytes, r.predicted_s) for r in rows) in lines


def test_the_librarys_own_times_are_drawn_beside() -> None:
    figure = figures.predicted_and_measured([row(8)], "t", library_s={8: 3e-6, 1024: 4e-6})
    assert {(8, 3e-6), (1024, 4e-6)} <= drawn(figure.axes[0])


def test_an_algorithm_keeps_its_colour_among_figures_of_one_order() -> None:
    order = ("recursive_doubling", "ring")
    sweep = figures.predicted_and_measured([row(8)], "t", order=order)
    gradients = figures.buckets([row(8)], order=order)
    published = figures.against_published(
        [(8, 1e-6)], {"ring": [(8, 2e-6)]}, published_label="x", collective="allreduce", n_ranks=16, order=order
    )
    colours = {
        *(colour_of(sweep, "ring"), colour_of(gradients, "ring")),
        colour_of(published, "ring, predicted"),
    }
    assert len(colours) == 1
    assert colours != {colour_of(figures.buckets([row(8)]), "ring")}


def test_buckets_show_each_pair_its_error_and_the_library() -> None:
    rows = [row(n_bytes, 0.25, name) for n_bytes in (8196000, 31502336) for name in ("ring", "rabenseifner")]
    figure = figures.buckets(rows, library_s={8196000: 7e-4, 31502336: 9e-3})
    (axes,) = figure.axes
    assert sorted(bar.get_width() for bar in axes.patches) == sorted(r.measured_s for r in rows)
    assert sorted(time_s for time_s, _ in drawn(axes)) == sorted(r.predicted_s for r in rows)
    assert texts(figure).count("+25 %") == len(rows)
    assert {7e-4, 9e-3} == {float(path.vertices[0, 0]) for lines in axes.collections for path in lines.get_paths()}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bucket 1\n8.196 MB", "bucket 2\n31.5 MB"]
    assert axes.get_xlim()[1] >= 9e-3


def test_a_bucket_that_only_the_library_ran_is_drawn() -> None:
    (axes,) = figures.buckets([row(8)], library_s={16: 1e-3}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bucket 1\n8 B", "bucket 2\n16 B"]
    assert len(axes.collections) == 1


def test_published_bandwidths_are_those_of_a_result() -> None:
    sizes_s = [(8, 2.5e-5), (2**30, 4.47e-3)]
    figure = figures.against_published(sizes_s, {}, published_label="x", collective="allreduce", n_ranks=16)
    results = [Result("allreduce", "x", 16, n_bytes, time_s) for n_bytes, time_s in sizes_s]
    upper, lower = figure.axes
    assert dict(drawn(upper)) == pytest.approx({r.n_bytes: gigabytes_per_second(r.busbw_Bps) for r in results})
    assert drawn(lower) == set(sizes_s)


def test_calibration_draws_residuals_where_there_is_a_fit() -> None:
    measured = {"one way": [(0, 1e-6), (1024, 2e-6), (4096, 9e-6)], "reduction": [(64, 1e-6)]}
    figure = figures.calibration(measured, {"one way": [(0, 1e-6), (2048, 3e-6)]}, "t")
    figure.draw_without_rendering()
    upper, lower = figure.axes
    assert drawn(upper) == {point for points in measured.values() for point in points}
    assert drawn(lower) == {(0, 0.0), (1024, 0.0)}
    assert lower.get_xticklabels()[0].get_text() == "0 B"


def test_the_same_input_gives_the_same_bytes_whatever_the_users_style(tmp_path: Path) -> None:
    first = figures.save(figures.buckets([row(8)]), tmp_path / "a", "f")
    with matplotlib.rc_context({"font.size": 20.0, "axes.labelpad": 30.0, "svg.hashsalt": "other"}):
        second = figures.save(figures.buckets([row(8)]), tmp_path / "b", "f")
    assert [path.name for path in first] == ["f.png", "f.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


# ------------------------------------------------------------------------------------------------------- report


@pytest.fixture(scope="module")
def svg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return figures.save(figures.buckets([row(8)]), tmp_path_factory.mktemp("figures"), "buckets")[1]


def table(n_rows: int) -> Table:
    rows = tuple((f"ring:segments={i}", f"{i} KiB", f"+{i}.5 %", "nic0 <busy>") for i in range(n_rows))
    return Table(("algorithm", "size", "error", "bottleneck"), rows, emphasis=frozenset({1}))


@pytest.fixture(scope="module")
def page(svg: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    sections = [
        Section("First & <second>", ("One </p> of text.",), ((svg, "A caption."), (svg, "Another <caption>."))),
        Section("Tables", (), (), ((table(3), "A short table."), (table(LONG_TABLE_ROWS + 1), "A long one."))),
    ]
    write_report(path, sections, title="A & B", lead="<script>alert(1)</script>", facts={"Host": "<em>x</em>"})
    again = path.with_name("again.html")
    write_report(again, sections, title="A & B", lead="<script>alert(1)</script>", facts={"Host": "<em>x</em>"})
    assert again.read_bytes() == path.read_bytes()
    return path.read_text(encoding="utf-8")


def test_the_page_loads_nothing(page: str) -> None:
    plain = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|file:|@import|<script|<link|<iframe|\bsrc=", plain)
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', plain))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", plain))


def test_the_figures_ids_do_not_clash_and_are_all_found(page: str, svg: Path) -> None:
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]*)', page)
    assert set(targets) <= set(ids)
    assert len(targets) > 2 * len(re.findall(r"href=|url\(", svg.read_text())) > 20
    assert page.count("<svg") == page.count('role="img"') == 2
    assert "<metadata" not in page
    assert not re.search(r"<style[^>]*>\s*\*", page)  # a figure's style is its own, not the page's


def test_all_text_is_there_and_escaped(page: str) -> None:
    for text in ("A &amp; B", "First &amp; &lt;second&gt;", "One &lt;/p&gt; of text.", "&lt;script&gt;alert(1)"):
        assert text in page
    for text in (
        "<dt>Host</dt><dd>&lt;em&gt;x",
        "A caption.",
        "Another &lt;caption&gt;.",
        "A short table.",
        "A long one.",
    ):
        assert text in page
    for row in table(LONG_TABLE_ROWS + 1).rows:
        assert all(cell.replace("<", "&lt;").replace(">", "&gt;") in page for cell in row)


def test_tables_align_numbers_stress_rows_and_fold_when_long(page: str) -> None:
    assert '<th scope="col" class="left">algorithm</th><th scope="col" class="right">size</th>' in page
    assert '<td class="right">+2.5 %</td><td class="left">nic0 &lt;busy&gt;</td>' in page
    assert page.count('<tr class="stressed"><td class="left">ring:segments=1<') == 2
    assert page.count("<details>") == 1
    assert page.index("A short table.") < page.index("<details>") < page.index("A long one.")
    assert f"({LONG_TABLE_ROWS + 1} rows)" in page


def test_alignment_is_read_from_the_cells_unless_given() -> None:
    rows = (("1.2 µs", "−3 %", "2D torus", "–"), ("12 GB/s", "+0.1", "3", ""))
    assert Table(("a", "b", "c", "d"), rows).alignments == ("right", "right", "left", "left")
    assert Table(("a", "b", "c", "d"), rows, align="lcrr").alignments == ("left", "center", "right", "right")


def test_a_table_that_does_not_fit_itself_is_refused() -> None:
    with pytest.raises(InputError, match="row 1 of the table has 1 cells"):
        Table(("a", "b"), (("1", "2"), ("3",)))
    for align in ("l", "lx"):
        with pytest.raises(InputError, match="one of l, c, r"):
            Table(("a", "b"), (), align=align)
    with pytest.raises(InputError, match="names rows"):
        Table(("a",), (("1",),), emphasis=frozenset({1}))


def test_a_file_without_svg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("plain")
    with pytest.raises(InputError, match="not an SVG file"):
        write_report(tmp_path / "r.html", [Section("s", figures=((path, "c"),))], title="t", lead="l", facts={})
