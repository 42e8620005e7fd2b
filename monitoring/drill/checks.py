"""What Prometheus' and Alertmanager's own tools say of the shipped files and of the live page."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from monitoring.tools import tool

MONITORING = Path(__file__).parents[1]
ROUTING = MONITORING.parent / "docker" / "alertmanager" / "alertmanager.yaml"


@dataclass(frozen=True, slots=True)
class Check:
    """A command of a tool, under way."""

    name: str
    process: subprocess.Popen[str]

    def complaint(self) -> str | None:
        """What it did not like; waits for it."""
        output, _ = self.process.communicate()
        return output if self.process.returncode else None


def checks_of_files(folder: Path) -> list[Check]:
    """Args:
    folder: of the drill's own configuration.
    """
    rules = [str(file) for file in sorted((MONITORING / "rules").glob("*.yaml"))]
    tests = [str(file) for file in sorted((MONITORING / "tests").glob("*.yaml"))]
    found = [
        _check("promtool check rules", "promtool", "check", "rules", *rules),
        _check("promtool test rules", "promtool", "test", "rules", *tests),
        _check("promtool check config", "promtool", "check", "config", f"{folder}/prometheus.yaml"),
        _check("amtool check-config", "amtool", "check-config", f"{folder}/alertmanager.yaml"),
    ]
    if ROUTING.exists():
        found.append(
            _check(f"amtool check-config {ROUTING.name}", "amtool", "check-config", str(ROUTING))
        )
    return found


def check_of_page(page: str) -> Check:
    check = _check("promtool check metrics", "promtool", "check", "metrics")
    assert check.process.stdin is not None
    check.process.stdin.write(page)
    check.process.stdin.close()
    check.process.stdin = None  # communicate() must not write to it
    return check


def _check(name: str, program: str, *arguments: str) -> Check:
    process = subprocess.Popen(  # noqa: S603
        [tool(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Check(name, process)
