"""prometheus-adapter's values give the metric that the autoscaler asks for, and each way to get them wrong is found."""

import copy

import pytest

from tests.k8s import rendering
from tests.k8s.policies.scaling import adapter_faults

VALUES = rendering.COMPONENTS / "autoscaling-hpa" / "prometheus-adapter-values.yaml"
WRONG = {
    "no rule for it": lambda r: r["name"].update({"as": "backlog"}),
    "other series": lambda r: r.update(seriesQuery='basereward_queue_depth{pod!=""}'),
    "summed over the namespace": lambda r: r["resources"]["overrides"].pop("pod"),
    "no PromQL": lambda r: r.update(metricsQuery="max by (<<.GroupBy>>) (<<.Series>>"),
}


def hpa():
    return rendering.rendered("download").one("HorizontalPodAutoscaler", "reward-server")


def test_values_fit():
    assert list(adapter_faults(rendering.yaml_file(VALUES), hpa())) == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_do_not(name):
    values = copy.deepcopy(rendering.yaml_file(VALUES))
    WRONG[name](values["rules"]["custom"][0])
    assert list(adapter_faults(values, hpa()))
