"""docs/operations.md: what it names exists, and its figures are those of the manifests, the rules and the server."""

import importlib.util
import re

import pytest
import yaml

from monitoring.walkthrough import correctness, serving
from service.api.auth import TenantEntry
from service.errors import STATUS_BY_CODE
from service.lifecycle import ANSWER_S
from service.settings import Settings
from service.sources import ENV_PREFIX
from tests.monitoring import expressions
from tests.monitoring.page import live_page
from tests.monitoring.rules import FOREIGN, alerts, recorded
from tests.promises.markdown import ROOT, fences, page, spans, table
from tests.promises.source import files

PAGE = page("docs/operations.md")
ALERTS = table(PAGE, "alert", "severity", "means", "first action")
SOURCE = "\n".join(path.read_text("utf-8") for path in files("service"))
MANIFESTS = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "k8s").rglob("*.*ml")))
# Snake-case words of others: the log's, a request's, the checkpoint's description, metrics' outcomes.
WORDS = {"lost_responses", "weight_bytes", "expect_fingerprint", "reward_tolerance"}


def queries():
    """A block may hold several, with an empty line between them; a comment stands above."""
    return [query for block in fences(PAGE, "promql") for query in block.split("\n\n")]


def shell_lines():
    indented = re.findall(r"^   ```bash\n(.*?)^   ```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line.strip() for b in (*fences(PAGE, "bash"), *indented) for line in b.splitlines()]


def deployment():
    return yaml.safe_load((ROOT / "k8s/base/deployment.yaml").read_text("utf-8"))["spec"]


def pod():
    return deployment()["template"]["spec"]


def autoscaler():
    path = ROOT / "k8s/components/autoscaling-hpa/autoscaler.yaml"
    return yaml.safe_load(path.read_text("utf-8"))["spec"]


def test_every_alert_stands_in_the_table():
    assert [re.findall(r"\[(\w+)\]", row[0])[0] for row in ALERTS] != []
    assert {re.findall(r"\[(\w+)\]", row[0])[0] for row in ALERTS} == {a["alert"] for a in alerts()}
    assert len(ALERTS) == len(alerts())


@pytest.mark.parametrize("row", ALERTS, ids=lambda row: row[0])
def test_alert_links_to_its_section_and_says_its_severity(row):
    name, target = re.fullmatch(r"\[(\w+)\]\((.+)\)", row[0]).groups()
    (rule,) = [alert for alert in alerts() if alert["alert"] == name]
    assert target == f"alerts.md#{name.lower()}"
    assert f"\n### {name}\n" in page("docs/alerts.md")
    assert rule["annotations"]["runbook_url"] == f"docs/{target}"
    assert row[1] == rule["labels"]["severity"]


@pytest.mark.parametrize("query", queries())
def test_query_asks_for_what_exists(query):
    tree = expressions.parse(query)
    assert expressions.names(tree) <= {*live_page(), *recorded(), *FOREIGN}
    assert not expressions.unknown_labels(tree, live_page())


def test_metrics_in_the_text_exist():
    known = {*live_page(), *recorded()}
    assert set(re.findall(r"(?:[a-z_]+:)?basereward_[a-z_]+(?::\w+)?", PAGE)) <= known


def test_variables_are_settings():
    named = {name.lower() for name in re.findall(rf"{ENV_PREFIX}([A-Z_]+[A-Z])", PAGE)}
    assert named <= {*Settings.model_fields, "api_key"}


def test_snake_case_words_are_settings_codes_or_known():
    known = {*Settings.model_fields, *STATUS_BY_CODE, *TenantEntry.model_fields, *WORDS}
    words = {span for span in spans(PAGE) if re.fullmatch(r"[a-z]+(_[a-z]+)+", span)}
    assert words - known - set(live_page()) == set()


def test_files_exist():
    named = re.findall(r"(?<![\w/])((?:k8s|docs|monitoring|benchmarks|docker)/[\w./-]*\w)", PAGE)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_modules_that_are_run_exist():
    named = set(re.findall(r"python -m ([\w.]+)", PAGE))
    assert named
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


def test_flags_of_the_sizing_exist():
    source = (ROOT / "benchmarks/sizing.py").read_text("utf-8")
    lines = [line for line in shell_lines() if "benchmarks.sizing" in line]
    flags = {flag for line in lines for flag in re.findall(r"--[\w-]+", line)}
    assert flags
    assert [flag for flag in flags if f'"{flag}"' not in source] == []


def test_log_lines_and_readiness_texts_are_written():
    said = set(re.findall(r'"message": "([^"\']+)"', PAGE))
    said |= {s for s in spans(PAGE) if s.startswith(("the ", "what stood", "basereward: error"))}
    sources = SOURCE + (ROOT / "service/__main__.py").read_text("utf-8")
    assert len(said) > 4
    assert [text for text in said if text.rstrip(" …:").split(": ")[0] not in sources] == []


def test_what_kubectl_names_stands_in_the_manifests():
    names = set(re.findall(r"(?:deployment/|secret(?: generic)? )([a-z-]+)", PAGE))
    assert names == {"reward-server", "reward-server-green", "reward-api-keys"}
    for name in names:
        assert f": {name.removesuffix('-green')}" in MANIFESTS
    assert {"nameSuffix: -green", "nameSuffix: -blue"} <= set(MANIFESTS.splitlines())


def test_probes_are_the_manifests():
    rows = {row[0]: row[1] for row in table(PAGE, "probe", "asks", "red when", "what happens then")}
    (container,) = pod()["containers"]
    for name, asks in rows.items():
        probe = container[f"{name}Probe"]
        times, period = probe["failureThreshold"], probe["periodSeconds"]
        assert asks == f"`{probe['httpGet']['path']}`, {times} times every {period} s"
    startup = container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 20 * 60


def test_the_drain_fits_into_the_grace():
    rows = [row[:2] for row in table(PAGE, "", "seconds", "set by")]
    pre, drain, answers, together, killed = (int(seconds) for _, seconds in rows)
    (container,) = pod()["containers"]
    assert pre == container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain == Settings().drain_s
    assert answers == ANSWER_S
    assert together == pre + drain + answers
    assert together < killed == pod()["terminationGracePeriodSeconds"]


def test_autoscaling_is_the_manifests():
    target = autoscaler()["metrics"][0]["pods"]["target"]["averageValue"]
    down = autoscaler()["behavior"]["scaleDown"]
    assert f"| target | {target} s of backlog" in PAGE
    assert f"after {down['stabilizationWindowSeconds'] // 60} minutes" in PAGE
    assert f"least | {autoscaler()['minReplicas']};" in PAGE


def test_rollouts_are_waited_for_as_long_as_they_may_take():
    minutes = deployment()["progressDeadlineSeconds"] // 60
    assert set(re.findall(r"--timeout=(\w+)", PAGE)) == {f"{minutes}m"}


def test_defaults_named_are_the_defaults():
    chosen = Settings()
    for name, value in re.findall(r"`([a-z_]+)` \(([\d,.]+)(?: s)?\)", PAGE):
        assert getattr(chosen, name) == float(value.replace(",", "")), name


def test_every_alert_is_walked_through():
    walked = [*serving.CASES, *correctness.CASES]
    seen = {alert for case in walked for alert in (*case.alerts, *case.lasting)}
    assert seen | {"GpuXid", "MetricsAbsent"} == {alert["alert"] for alert in alerts()}
    assert f"all {len(alerts())} alerts" in page("docs/alerts.md")
