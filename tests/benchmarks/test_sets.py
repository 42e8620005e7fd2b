"""The sets end to end, tiny: what a long run would only find out at its end."""

import json

import pytest

from benchmarks import in_process, report, summary
from benchmarks.plan import PLANS
from benchmarks.results import Record, Results, read, write


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    """The gpu set's own code, on the CPU."""
    return in_process.run(PLANS["gpu-check"], "cpu", tmp_path_factory.mktemp("cache"))


def test_the_gpu_set_runs_on_a_cpu_and_all_rewards_are_those_of_the_reference(results):
    assert results.repetitions == 2
    for case in results.cases:
        rows = summary.rows(results, case)
        assert {row.system for row in rows} == {"serial", "padded", "offline"}
        assert max(row.difference for row in rows) < 1e-4


def test_results_survive_their_file(results, tmp_path):
    write(results, tmp_path / "x.json")
    assert read(tmp_path / "x.json") == results


def test_the_report_names_every_system_case_and_fact(results, tmp_path):
    report.write(results, tmp_path)
    text = (tmp_path / f"{results.plan}.md").read_text()
    for word in (*results.cases, *results.facts.values(), "serial", "padded", "offline"):
        assert word in text


def test_a_burst_of_ours_computes_fewer_tokens_than_naive_and_stock_does_not(results):
    by_system = {row.system: row for row in summary.rows(results, "A2-16")}
    assert by_system["serial"].computed >= 1.0
    assert by_system["offline"].computed < 0.7


def record(system: str, repetition: int, seconds: float, **more) -> Record:
    values = {"rewards": 10, "tokens": 100, "computed_tokens": 50, "padding_tokens": 5}
    values |= {"naive_flops": 600.0, "necessary_flops": 200.0, "difference": 0.0}
    values |= {"cpu_s": 1.0, "peak_bytes": 2**20, "client_cpu_s": 0.0, "tail_s": seconds}
    return Record(
        case="X", system=system, repetition=repetition, makespan_s=seconds, **values | more
    )


@pytest.fixture
def made() -> Results:
    """Ours takes 1, 2 and 4 s, serial twice as long each time: the machine slowed down."""
    seconds = (1.0, 2.0, 4.0)
    return Results(
        plan="made",
        facts={"commit": "abc"},
        ceiling_flops_per_s=1000.0,
        cases={"X": "a case"},
        whole={},
        repetitions=3,
        unavailable={"vllm": "not installed: `how`"},
        records=[record("ours", n, s) for n, s in enumerate(seconds)]
        + [record("serial", n, 2 * s) for n, s in enumerate(seconds)],
    )


def test_rates_are_medians_with_their_spread(made):
    serial, row = summary.rows(made, "X")  # in the order of the reports
    assert (serial.system, row.system) == ("serial", "ours")
    assert (row.rewards_per_s, row.slowest, row.fastest) == (5.0, 2.5, 10.0)
    assert row.computed == 0.5
    assert row.padding == 0.1
    assert row.of_ceiling == pytest.approx(0.1)
    assert row.cpu_ms == 100.0


def test_speed_is_compared_within_a_repetition(made):
    (one,) = summary.comparisons(made, "X")
    assert one.base == "serial"
    assert one.speedup == 2.0
    assert one.of_ratio == pytest.approx(2.0 / 3.0)


def test_what_could_not_run_is_said_in_the_report(made):
    assert "**vllm** did not run to the end: not installed: `how`" in report.markdown(made)


def test_percentiles_are_nearest_ranks():
    values = [float(n) for n in range(1, 101)]
    assert [summary.percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert summary.percentile([3.0], 0.99) == 3.0


@pytest.mark.parametrize("name", list(PLANS))
def test_every_set_names_its_cases_once_and_can_be_written_down(name):
    plan = PLANS[name]
    names = [case.name for case in plan.cases]
    assert len(set(names)) == len(names)
    assert all(case.whole in names for case in plan.cases if case.whole)
    assert json.dumps(names)
