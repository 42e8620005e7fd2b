"""Each planted mistake is found, by the message that names it. That nothing is found unplanted: test_overlays.py."""

import re

import pytest

from tests.k8s import policies, rendering, schemas
from tests.k8s.mistakes import POLICY_MISTAKES, SCHEMA_MISTAKES


def planted(mistake):
    manifests = rendering.rendered(mistake.where).copy()
    mistake.make(manifests)
    return manifests


@pytest.mark.parametrize("mistake", POLICY_MISTAKES, ids=lambda m: m.name)
def test_policies_find(mistake):
    found = policies.findings(planted(mistake))
    assert any(re.search(mistake.said, line) for line in found), found


@pytest.mark.parametrize("mistake", SCHEMA_MISTAKES, ids=lambda m: m.name)
def test_schemas_find(mistake):
    found = list(schemas.findings(planted(mistake)))
    assert any(re.search(mistake.said, line) for line in found), found


def test_every_policy_has_found_a_mistake():
    idle = set(policies.POLICIES)
    for mistake in POLICY_MISTAKES:
        manifests = planted(mistake)
        idle -= {policy for policy in idle if list(policy(manifests))}
    assert {policy.__name__ for policy in idle} == set()
