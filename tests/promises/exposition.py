"""A fresh server's metrics, taken apart: families by name, with type, help, labels and sample names."""

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from service.core import ModelInfo, RewardSigns
from service.metrics import Metrics

_OF_HISTOGRAMS = {"le"}


@dataclass
class Family:
    name: str  # as dashboards write it: counters with _total
    kind: str
    help: str
    labels: dict[str, set[str]] = field(default_factory=dict)
    series: list[dict[str, str]] = field(default_factory=list)
    samples: set[str] = field(default_factory=set)


def families(metrics: Metrics | None = None) -> dict[str, Family]:
    """The service's own families; those of the client library's collectors are left out."""
    text = (metrics or Metrics()).render().decode()
    found = {}
    for parsed in text_string_to_metric_families(text):
        if not parsed.name.startswith("basereward_"):
            continue
        name = parsed.name + ("_total" if parsed.type == "counter" else "")
        family = found[name] = Family(name, parsed.type, parsed.documentation)
        for sample in parsed.samples:
            family.samples.add(sample.name)
            own = {k: v for k, v in sample.labels.items() if k not in _OF_HISTOGRAMS}
            if own not in family.series:
                family.series.append(own)
            for label, value in own.items():
                family.labels.setdefault(label, set()).add(value)
    return found


def serving() -> Metrics:
    """With a model loaded and a run scored, so that every family has its series."""
    metrics = Metrics()
    metrics.built_with("1", "2", "3")
    info = ModelInfo("m", "sha256:0", "fp32/fast/x/y", 0.0, "pointwise", 8, "before_text", True)
    metrics.model_loaded(info, 1.0)
    metrics.expect_tenants(["default"])
    metrics.grouped("default", "run", 1, RewardSigns(1.0, 0.0, 0.0))
    return metrics
