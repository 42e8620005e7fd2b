"""Runs to one picture: reward and true accuracy on the held-out pictures; matplotlib is asked for only here."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_REWARD, _RIGHT = "#9aa0a6", "#188038"
_STYLES = ("-", "--", ":", "-.")
_SIZE_INCHES = (6.4, 3.6)


def draw(runs: Sequence[dict[str, Any]], path: Path) -> bool:
    """Write the PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.subplots()
    right = left.twinx()
    for run, style in zip(runs, _STYLES * len(runs), strict=False):
        steps = [entry["step"] for entry in run["history"]]
        rewards = [entry["held_out_reward"] for entry in run["history"]]
        right.plot(steps, rewards, style, color=_REWARD, linewidth=1)
        left.plot(steps, _accuracy(run), style, color=_RIGHT, label=f"seed {_seed(run)}")
    left.set(xlabel="step", ylim=(0, 100))
    left.set_ylabel("true accuracy, judged by rule, %", color=_RIGHT)
    right.set_ylabel("mean reward, as served", color="#5f6368")
    left.legend(loc="lower right", fontsize=8)
    left.set_title("held-out pictures, greedy answers", fontsize=9)
    figure.savefig(path, dpi=120)
    return True


def _accuracy(run: dict[str, Any]) -> list[float]:
    marks = [entry["right"]["all"] for entry in run["history"]]
    return [100 * right / asked for right, asked in marks]


def _seed(run: dict[str, Any]) -> int:
    return int(run["settings"]["seed"])
