"""The figures of the README are those of the report beside it."""

from benchmarks import results, summary
from tests.promises.markdown import ROOT, page, spans, table

HEADER = ("traffic", "one by one", "padded batches", "LitServe", "vLLM", "this server")
SYSTEMS = ("serial", "padded", "litserve", "vllm", "ours")


def test_every_speed_is_the_reports():
    measured = results.read(ROOT / "benchmarks/results/bench.json")
    rows = table(page("README.md"), *HEADER)
    assert [spans(row[0])[0] for row in rows] == ["A8-1024", "A16-1024", "B", "C"]
    for title, *speeds in rows:
        medians = {row.system: row for row in summary.rows(measured, spans(title)[0])}
        said = dict(zip(SYSTEMS, speeds, strict=True))
        assert {name: speed for name, speed in said.items() if speed} == {
            name: f"{medians[name].rewards_per_s:.3g}" for name in SYSTEMS if name in medians
        }
