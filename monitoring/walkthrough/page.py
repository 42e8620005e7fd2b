"""docs/alerts.md as somebody follows it: the queries and the lines for the log of an alert's section, tried."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.walkthrough.pod import Pod
from monitoring.walkthrough.watch import Watch

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
_SECTION = re.compile(r"^### (\w+)$\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_QUERY = re.compile(r"```promql\n(.*?)\n```", re.DOTALL)
_SHELL = re.compile(r"```bash\n(.*?)\n```", re.DOTALL)
_LOG = re.compile(r"kubectl -n \$NS logs (?P<options>[^|]*)\|(?P<rest>.*)")
_OPS = re.compile(r"curl -s (?:-m 5 )?localhost:9000(?P<path>/\w+)")


@dataclass(frozen=True, slots=True)
class Look:
    """One thing the page says to look at, and what was seen."""

    alert: str
    what: str
    seen: str  # empty: nothing

    def __str__(self) -> str:
        return f"{self.alert}: {self.what}\n    {self.seen or '(nothing)'}"


def looks(alert: str, watch: Watch, pod: Pod) -> list[Look]:
    section = dict(_SECTION.findall(PAGE.read_text("utf-8")))[alert]
    queries = [Look(alert, q, _asked(watch, q)) for q in _QUERY.findall(section)]
    lines = [line for block in _SHELL.findall(section) for line in block.splitlines()]
    return [*queries, *(look for line in lines for look in _tried(alert, line, pod))]


def _asked(watch: Watch, query: str) -> str:
    series = watch.series(query)
    labels = {k: v for k, v in series[0]["metric"].items() if k != "__name__"} if series else {}
    first = f"{series[0]['value'][1]} {labels}" if series else ""
    return f"{len(series)} series, {first}" if series else ""


def _tried(alert: str, line: str, pod: Pod) -> list[Look]:
    if found := _LOG.search(line):
        logs = pod.logs[:-1] if "--previous" in found["options"] else pod.logs[-1:]
        return [Look(alert, line, _shell(f"cat {_words(logs[-1:])} |{found['rest']}"))]
    if found := _OPS.search(line):
        return [Look(alert, line, pod.probe(found["path"]).partition("\n")[0])]
    return []


def _words(paths: Sequence[Path]) -> str:
    return " ".join(map(str, paths)) or "/dev/null"


def _shell(command: str) -> str:
    ran = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", command], capture_output=True, text=True, timeout=30
    )
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[-1][:200] if lines else ""
