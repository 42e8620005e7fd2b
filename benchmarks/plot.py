"""Results to one picture: rewards a second of every system on every case; matplotlib is asked for only here."""

from importlib.util import find_spec
from pathlib import Path

from benchmarks import summary
from benchmarks.results import Results

_COLOURS = {
    "serial": "#9aa0a6",
    "padded": "#c58af9",
    "litserve": "#fcad70",
    "vllm": "#78d9ec",
    "ours": "#188038",
    "offline": "#a8dab5",
}
_BAR_INCHES, _FRAME_INCHES, _HEIGHT_INCHES = 0.38, 0.6, 3.2


def draw(results: Results, path: Path) -> bool:
    """Write the PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cases = [case for case in results.cases if results.systems(case)]
    widths = [_FRAME_INCHES + _BAR_INCHES * len(results.systems(case)) for case in cases]
    figure = Figure(figsize=(sum(widths), _HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(cases), squeeze=False, width_ratios=widths)[0]
    for axes, case in zip(panels, cases, strict=True):
        _panel(axes, results, case)
    commit, date = results.facts.get("commit", ""), results.facts.get("date", "")
    figure.suptitle(f"rewards per second, {results.plan}, commit {commit}, {date}", fontsize=9)
    figure.savefig(path, dpi=120)
    return True


def _panel(axes: object, results: Results, case: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    rows = summary.rows(results, case)
    names, speeds = [row.system for row in rows], [row.rewards_per_s for row in rows]
    below = [row.rewards_per_s - row.slowest for row in rows]
    above = [row.fastest - row.rewards_per_s for row in rows]
    colours = [_COLOURS.get(name, "#5f6368") for name in names]
    bars = axes.bar(names, speeds, color=colours, yerr=[below, above], capsize=2)
    axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
    axes.margins(y=0.1)
    axes.set_title(case, fontsize=9)
    axes.tick_params(axis="x", rotation=60, labelsize=7)
    axes.tick_params(axis="y", labelsize=7)
