"""`python -m monitoring.drill`: hurts a real server, and holds Prometheus and Alertmanager to saying so."""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from monitoring.drill.checks import Check, check_of_page, checks_of_files
from monitoring.drill.load import load
from monitoring.drill.processes import DrillFailed, Process, free_ports
from monitoring.drill.scaling import FACTOR
from monitoring.drill.stack import Ports, Watched, stack, write_configuration
from monitoring.drill.webhook import Inbox, receiving
from monitoring.tools import ToolMissing

SETTINGS = ("drain_s=2", "max_batch_responses=8", "hang_timeout_s=20")  # seen within the drill
QUIET_S = 5.0  # of good work before the first fault, with no alert
WITHIN_S = 60.0  # an alert, or its end
COLUMNS = ("fault", "pending", "firing", "told firing", "mended", "told resolved")


@dataclass(slots=True)
class Course:
    """What happened around one alert: moments on the monotonic clock."""

    alert: str
    what: str
    fault: float
    pending: float | None = None
    firing: float | None = None
    told_firing: float | None = None
    mended: float | None = None
    told_resolved: float | None = None

    def moments(self) -> list[float | None]:
        return [
            *(self.fault, self.pending, self.firing),
            *(self.told_firing, self.mended, self.told_resolved),
        ]


class Drill:
    """One server, hurt in several ways, one after the other."""

    def __init__(self, folder: Path, ports: Ports, watched: Watched, inbox: Inbox) -> None:
        self._folder, self._ports, self._watched, self._inbox = folder, ports, watched, inbox
        self.courses: list[Course] = []
        self.server = self._start()

    def run(self) -> None:
        with load(f"http://127.0.0.1:{self._ports.server}"):
            self._be_quiet()
            self._tell("nan", "the model gives a NaN", "NonFiniteReward")
            self._tell("held", "a step never ends", "QueueStalled", "NoPodReady")
            self._tell("broken", "every step fails", "FailedSteps")
            self._hurt(self.server.kill, self._restart, "the process is killed", "TargetDown")
            for course in self.courses:
                self._follow_end(course)

    def page(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self._ports.ops}/metrics", trust_env=False).text

    def others(self) -> set[str]:
        """Alerts that fired beside those that had to."""
        return {told.alert for told in self._inbox.told} - {c.alert for c in self.courses}

    def _start(self) -> Process:
        ports = f"port={self._ports.server}", f"ops_port={self._ports.ops}"
        command = [sys.executable, "-m", "monitoring.faulty.server", *ports, *SETTINGS]
        return Process("server", command, self._folder)

    def _restart(self) -> None:
        self.server = self._start()

    def _be_quiet(self) -> None:
        def at_work() -> bool:
            return (self._watched.value("sum(namespace:basereward_rewards:rate5m)") or 0) > 0

        self.server.until(at_work, "rewards are given", WITHIN_S)
        time.sleep(QUIET_S)
        self._watched.look()
        if self._watched.seen:
            raise DrillFailed(f"alerts before any fault: {self._watched.seen}")

    def _tell(self, word: str, what: str, *alerts: str) -> None:
        self._hurt(lambda: self.server.say(word), lambda: self.server.say("well"), what, *alerts)

    def _hurt(
        self, hurt: Callable[[], None], mend: Callable[[], None], what: str, *alerts: str
    ) -> None:
        """Until every one of the alerts was told; then mend."""
        say(f"{what} …")
        courses = [Course(alert, what, time.monotonic()) for alert in alerts]
        self.courses += courses
        hurt()
        for course in courses:
            self._wait(partial(self._follow, course), f"{course.alert} is told to the webhook")
        mend()
        for course in courses:
            course.mended = time.monotonic()

    def _follow(self, course: Course) -> bool:
        course.pending = self._watched.first(course.alert, "pending", course.fault)
        course.firing = self._watched.first(course.alert, "firing", course.fault)
        course.told_firing = self._inbox.first(course.alert, "firing", course.fault)
        return course.firing is not None and course.told_firing is not None

    def _follow_end(self, course: Course) -> None:
        def resolved() -> bool:
            course.told_resolved = self._inbox.first(course.alert, "resolved", course.fault)
            return course.told_resolved is not None

        self._wait(resolved, f"the end of {course.alert} is told to the webhook")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WITHIN_S
        while not condition():
            if time.monotonic() > end:
                raise DrillFailed(f"not within {WITHIN_S:g} s: {what}")
            self._watched.look()
            time.sleep(0.1)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(courses: list[Course], begin: float) -> str:
    lines = [f"{'alert':<16} {'what was done':<24}" + "".join(f"{c:>15}" for c in COLUMNS)]
    for course in courses:
        times = ["-" if at is None else f"{at - begin:.1f} s" for at in course.moments()]
        lines.append(f"{course.alert:<16} {course.what:<24}" + "".join(f"{t:>15}" for t in times))
    return "\n".join(lines)


def complaints(checks: list[Check]) -> list[str]:
    found = []
    for check in checks:
        complaint = check.complaint()
        say(f"{check.name}: {'ok' if complaint is None else 'FAILED'}")
        if complaint is not None:
            found.append(complaint)
    return found


def drill(folder: Path, inbox: Inbox, begin: float) -> list[str]:
    """What is wrong; nothing, if all went as it should."""
    server, ops, prometheus, alertmanager = free_ports(4)
    ports = Ports(server, ops, prometheus, alertmanager, inbox.port)
    write_configuration(folder, ports)
    checks = checks_of_files(folder)
    wrong: list[str] = []
    with stack(folder, ports) as watched:
        run = Drill(folder, ports, watched, inbox)
        try:
            run.run()
            checks.append(check_of_page(run.page()))
        except DrillFailed as failed:
            wrong.append(str(failed))
        finally:
            run.server.end()
    say(table(run.courses, begin))
    say(f"durations of the rules: 1/{FACTOR} of the shipped ones")
    say(f"fired beside them: {', '.join(sorted(run.others())) or 'nothing'}")
    wrong += [t.description for t in inbox.told if "<error" in t.description]
    return wrong + complaints(checks)


def main() -> int:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alert-drill-") as folder, receiving() as inbox:
        try:
            wrong = drill(Path(folder), inbox, begin)
        except (DrillFailed, ToolMissing) as failed:
            wrong = [str(failed)]
    for one in wrong:
        say(one)
    say(f"{'failed' if wrong else 'passed'} after {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
