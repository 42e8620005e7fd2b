"""Results to a Markdown table; the numbers come from `summary`, the plot from `plot`."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks import plot, summary
from benchmarks.results import Latency, Results
from benchmarks.summary import Row

_COLUMNS = (
    "system",
    "rewards/s (min to max)",
    "rewards a burst",
    "makespan s",
    "tail s",
    "tokens computed / naive",
    "padding",
    "GFLOP/s necessary",
    "of ceiling",
    "CPU ms a reward",
    "peak MiB",
    "max abs Δreward",
)
_LATENCY_COLUMNS = ("system", "load", "calls/s", "calls", "p50 s", "p95 s", "p99 s", "tail s")


def write(results: Results, folder: Path) -> None:
    """`NAME.md` and, where matplotlib is installed, `NAME.png`."""
    drawn = plot.draw(results, folder / f"{results.plan}.png")
    text = markdown(results, picture=f"{results.plan}.png" if drawn else None)
    (folder / f"{results.plan}.md").write_text(text, "utf-8")


def markdown(results: Results, picture: str | None = None) -> str:
    lines = [f"# Benchmark `{results.plan}`", "", *_facts(results), ""]
    if picture:
        lines += [f"![rewards per second]({picture})", ""]
    for case, title in results.cases.items():
        if results.systems(case):
            lines += [f"## {case}: {title}", "", *_case(results, case), ""]
    if results.latencies:
        lines += ["## Latency under random arrivals", "", *_latencies(results), ""]
    lines += ["What each system and column is: [benchmarks/README.md](../README.md).", ""]
    return "\n".join(lines)


def _facts(results: Results) -> Iterator[str]:
    yield " · ".join(f"{name} {value}" for name, value in results.facts.items())
    yield ""
    yield (
        f"Matmul ceiling measured here: {results.ceiling_flops_per_s / 1e9:,.0f} GFLOP/s. "
        f"{results.repetitions} repetitions, interleaved, in {results.elapsed_s / 60:.1f} min; "
        "medians, and min to max. Every repetition has texts and pictures of its own."
    )
    yield ""
    yield " ".join(results.how)
    for system, why in results.unavailable.items():
        yield ""
        yield f"**{system}** did not run to the end: {why}"


def _case(results: Results, case: str) -> Iterator[str]:
    yield from _table(_COLUMNS, [_cells(row) for row in summary.rows(results, case)])
    yield ""
    name = summary.subject(results, case)
    yield f"- Sharing allows x{summary.sharing_ratio(results, case, name):.2f} less work than naive."
    for one in summary.comparisons(results, case):
        share = (
            ""
            if one.base in ("offline", "vllm")
            else f", {one.of_ratio:.0%} of what sharing allows"
        )
        yield f"- {name} is x{one.speedup:.2f} of {one.base}{share}."
    whole = results.whole.get(case)
    if whole and results.of(whole, name):
        reached = summary.relative(results, (case, name), (whole, name))
        yield f"- {name} reaches {reached:.0%} of the rewards/s of the same groups sent whole ({whole})."


def _cells(row: Row) -> list[str]:
    return [
        row.system,
        f"{row.rewards_per_s:.3g} ({row.slowest:.3g} to {row.fastest:.3g})",
        str(row.rewards),
        f"{row.makespan_s:.3g}",
        f"{row.tail_s:.3g}",
        f"{row.computed:.3f}",
        f"{row.padding:.1%}",
        f"{row.necessary_flops_per_s / 1e9:,.1f}",
        f"{row.of_ceiling:.0%}",
        f"{row.cpu_ms:,.3g}",
        f"{row.peak_bytes / 2**20:,.0f}" if row.peak_bytes else "",
        f"{row.difference:.1e}",
    ]


def _latencies(results: Results) -> Iterator[str]:
    for case in dict.fromkeys(one.case for one in results.latencies):
        yield f"### {case}"
        yield ""
        lines = [_latency_cells(one) for one in results.latencies if one.case == case]
        yield from _table(_LATENCY_COLUMNS, lines)
        yield ""


def _latency_cells(one: Latency) -> list[str]:
    values = [f"{summary.percentile(one.latencies_s, share):.3g}" for share in (0.5, 0.95, 0.99)]
    count = str(len(one.latencies_s))
    return [
        one.system,
        f"{one.load:.0%}",
        f"{one.calls_per_s:.3g}",
        count,
        *values,
        f"{one.tail_s:.3g}",
    ]


def _table(columns: tuple[str, ...], lines: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for cells in lines:
        yield "| " + " | ".join(cells) + " |"
