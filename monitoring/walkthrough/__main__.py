"""`python -m monitoring.walkthrough [ALERT …]`: follows docs/alerts.md on real servers, and prints what helped."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from monitoring.drill.processes import DrillFailed
from monitoring.drill.scaling import FACTOR
from monitoring.walkthrough import correctness, serving
from monitoring.walkthrough.case import Case
from monitoring.walkthrough.page import Look, looks
from monitoring.walkthrough.pod import Pod, ports
from monitoring.walkthrough.watch import Watch, watching
from monitoring.walkthrough.xid import exporter

AT_ONCE = 5
WITHIN_S = 300.0
CASES = [*serving.CASES, *correctness.CASES]


@dataclass(slots=True)
class Walked:
    """What became of a case; seconds since its cause, and since its action."""

    case: Case
    cause: str = ""
    action: str = ""
    fired_s: dict[str, float] = field(default_factory=dict)
    ended_s: dict[str, float] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    failed: str = ""

    def lines(self) -> Iterator[str]:
        for alert in (*self.case.alerts, *self.case.lasting):
            of = [look for look in self.looks if look.alert == alert]
            seen = f"{sum(bool(look.seen) for look in of)}/{len(of)}"
            fired, ended = _s(self.fired_s.get(alert)), _s(self.ended_s.get(alert))
            yield f"| {alert} | {self.cause} | {fired} | {seen} | {self.action} | {ended} |"


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


def walk(case: Case, pods: list[Pod], watch: Watch) -> Walked:
    walked = Walked(case)
    course = case.course(pods)
    try:
        begin = time.monotonic()
        walked.cause = next(course)
        _until(walked.fired_s, (*case.alerts, *case.lasting), begin, watch, pods[0], fires=True)
        for alert in (*case.alerts, *case.lasting):
            walked.looks += looks(alert, watch, pods[0])
        begin = time.monotonic()
        walked.action = next(course)
        _until(walked.ended_s, case.alerts, begin, watch, pods[0], fires=False)
        next(course, None)
    except (DrillFailed, AssertionError, OSError) as failed:
        walked.failed = f"{case.name}: {failed!r}"
    finally:
        for pod in pods:
            if pod.process is not None:
                pod.kill()
    say(f"{case.name}: {walked.failed or 'done'}")
    return walked


def _until(
    times: dict[str, float],
    alerts: Sequence[str],
    begin: float,
    watch: Watch,
    pod: Pod,
    *,
    fires: bool,
) -> None:
    def settled() -> bool:
        for alert in alerts:
            if alert not in times and watch.fires(alert, pod.namespace) == fires:
                times[alert] = time.monotonic() - begin
        return len(times) == len(alerts)

    pod.until(settled, f"{'firing' if fires else 'over'}: {', '.join(alerts)}", WITHIN_S)


def absent(pod: Pod, watch: Watch) -> Walked:
    """MetricsAbsent, once nothing else runs."""

    def course(pods: list[Pod]) -> Iterator[str]:
        yield "no server runs"
        pods[0].start()
        yield "the deployment is scaled up again"

    return walk(Case(course, ("MetricsAbsent",)), [pod], watch)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def walked_all(folder: Path, cases: Sequence[Case], whole: bool) -> list[Walked]:
    free = iter(ports(2 + 2 * sum(case.pods for case in cases)))
    prometheus, xid = next(free), next(free)
    pods = {
        case.name: [
            Pod(case.name, f"reward-server-{n}", next(free), next(free), folder)
            for n in range(case.pods)
        ]
        for case in cases
    }
    everywhere = [pod for some in pods.values() for pod in some]
    with exporter(xid) as card, watching(folder, prometheus, everywhere, xid) as watch:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda case: walk(case, pods[case.name], watch), cases))
        if whole:
            found.append(walk(card, [Pod("xid", "reward-server-0", 0, 0, folder)], watch))
            found.append(absent(everywhere[0], watch))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("alerts", nargs="*", help="only these")
    parser.add_argument("--looks", action="store_true", help="print what every look showed")
    chosen = parser.parse_args()
    cases = [c for c in CASES if not chosen.alerts or set(c.alerts) & set(chosen.alerts)]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        found = walked_all(Path(folder), cases, whole=not chosen.alerts)
    say("| alert | cause | fired after | looks that showed something | done | over after |")
    say("|---|---|---|---|---|---|")
    for walked in found:
        for line in walked.lines():
            say(line)
    blind = [look for walked in found for look in walked.looks if chosen.looks or not look.seen]
    for look in blind:
        say(str(look))
    failures = [walked.failed for walked in found if walked.failed]
    for failure in failures:
        say(failure)
    say(f"durations of the rules: 1/{FACTOR}; {time.monotonic() - begin:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
