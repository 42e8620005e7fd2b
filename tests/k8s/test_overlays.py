"""Every overlay and component renders, fits the schemas and keeps the policies."""

import pytest

from tests.k8s import policies, rendering, schemas

FOLDERS = sorted(rendering.folders())


@pytest.mark.parametrize("name", FOLDERS)
def test_schemas_fit(name):
    assert list(schemas.findings(rendering.rendered(name))) == []


@pytest.mark.parametrize("name", FOLDERS)
def test_policies_are_kept(name):
    assert policies.findings(rendering.rendered(name)) == []


def test_every_component_is_in_something_that_is_rendered():
    there = {path.name for path in rendering.COMPONENTS.iterdir()}
    assert rendering.components_used() == there


def test_every_policy_is_listed():
    listed = [policy.__name__ for policy in policies.POLICIES]
    assert len(set(listed)) == len(listed) == 51
