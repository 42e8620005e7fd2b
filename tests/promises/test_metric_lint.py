"""Exposition hygiene: what Prometheus' own linter asks of names, help and units, and no series that appears late."""

import itertools
import re

import pytest

from service.errors import STATUS_BY_CODE
from service.metrics import OUTCOMES, ROUTES, STATUSES
from service.metrics.families import CHECKS, FAILURES
from tests.promises.exposition import families, serving

FRESH = families()
FAMILIES = families(serving())
ABBREVIATED = re.compile(
    r"_(s|ms|us|ns|sec|secs|msec|min|mins|hr|hrs|kb|mb|gb|kib|mib|gib|pct|percent|num|cnt)(_|$)"
)
PRESET = {
    "basereward_requests_total": {"route": ROUTES, "status": STATUSES},
    "basereward_request_duration_seconds": {"route": ROUTES},
    "basereward_items_total": {"outcome": OUTCOMES},
    "basereward_rejections_total": {"reason": tuple(STATUS_BY_CODE)},
    "basereward_tokens_total": {"kind": ("text", "image")},
    "basereward_failed_steps_total": {"kind": FAILURES},
    "basereward_golden_checks_total": {"outcome": CHECKS},
}
# Their labels say what was loaded; before that there is nothing to say.
INFOS = {"basereward_model_info", "basereward_build_info"}
# Their labels are callers: tenants stand there from the start of a server, runs when they are scored.
CALLERS = {name for name in FAMILIES if "_run_" in name} | {"basereward_gpu_seconds_total"}


@pytest.mark.parametrize("name", FAMILIES)
class TestFamily:
    def test_only_counters_end_in_total(self, name):
        assert name.endswith("_total") == (FAMILIES[name].kind == "counter")

    def test_name_is_plain(self, name):
        assert re.fullmatch(r"basereward_[a-z]+(_[a-z]+)*", name)

    def test_name_abbreviates_no_unit(self, name):
        assert not ABBREVIATED.search(name)

    def test_name_does_not_repeat_its_type(self, name):
        assert not re.search(r"_(counter|gauge|histogram|summary|bucket|count|sum)$", name)

    def test_help_is_a_sentence(self, name):
        assert re.fullmatch(r"[A-Z0-9].+\.", FAMILIES[name].help)

    def test_labels_are_plain(self, name):
        for label in FAMILIES[name].labels:
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", label)

    def test_no_created_series(self, name):
        assert not [s for s in FAMILIES[name].samples if s.endswith("_created")]


def test_labelled_families_are_all_preset_or_infos():
    assert {name for name, f in FAMILIES.items() if f.labels} == set(PRESET) | INFOS | CALLERS


@pytest.mark.parametrize("name", PRESET)
def test_every_combination_exists_before_the_first_request(name):
    labels = PRESET[name]
    wanted = [dict(zip(labels, c, strict=True)) for c in itertools.product(*labels.values())]
    key = str
    assert sorted(FRESH[name].series, key=key) == sorted(wanted, key=key)


@pytest.mark.parametrize("name", sorted(set(FRESH) - set(PRESET) - INFOS - CALLERS))
def test_unlabelled_families_have_a_value_before_the_first_request(name):
    assert FRESH[name].series == [{}]


def test_one_line_a_series():
    """No duplicate series: a scrape with one is refused as a whole."""
    lines = [
        line.rpartition(" ")[0]
        for line in serving().render().decode().splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 100
    assert len(lines) == len(set(lines))


def test_series_stay_few():
    assert sum(len(f.samples) * len(f.series) for f in FAMILIES.values()) < 1000
