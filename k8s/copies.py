"""Copies the rules and the dashboard of `monitoring/` into the monitoring component: `python -m k8s.copies`.

kustomize reads no file above its own folder, and the operator wants the rules wrapped in a PrometheusRule.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = ROOT / "monitoring" / "rules"
DASHBOARD = ROOT / "monitoring" / "dashboards" / "basereward.json"
COMPONENT = ROOT / "k8s" / "components" / "monitoring"

HEAD = """\
# Made by `python -m k8s.copies` from monitoring/rules; change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: reward-server
spec:
  groups:
"""


def copies() -> dict[Path, str]:
    """Each copy and what it must hold."""
    return {
        COMPONENT / "prometheus-rule.yaml": prometheus_rule(
            [path.read_text("utf-8") for path in sorted(RULES.glob("*.yaml"))]
        ),
        COMPONENT / DASHBOARD.name: DASHBOARD.read_text("utf-8"),
    }


def prometheus_rule(files: list[str]) -> str:
    """The groups of rule files as they stand, comments too, in one PrometheusRule."""
    return HEAD + "".join(_indented(text) for text in files)


def _indented(text: str) -> str:
    head, separator, groups = text.partition("\ngroups:\n")
    if not separator:
        head, groups = "", text.removeprefix("groups:\n")
    lines = [f"    {line}" for line in head.splitlines()]
    lines += [f"  {line}" if line else "" for line in groups.splitlines()]
    return "\n".join(lines) + "\n"


def main() -> int:
    for path, text in copies().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
