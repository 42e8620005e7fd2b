"""An overlay with another namespace is all in it, but for the one text that docs/kubernetes.md tells to rewrite."""

import re

import pytest

from tests.k8s import rendering
from tests.k8s.manifests import strings
from tests.k8s.policies.references import PAGE

FORMER = re.compile(r'^reward$|namespace="reward"|\breward\.svc\b')


@pytest.fixture
def moved(repository):
    """All that is rendered, with the namespace team-b."""
    for path in repository.rglob("kustomization.yaml"):
        text = path.read_text()
        path.write_text(re.sub(r"(?m)^namespace: reward$", "namespace: team-b", text))
    return [
        rendering.render(repository / f.relative_to(rendering.ROOT))
        for f in rendering.folders().values()
    ]


def test_another_namespace(moved):
    left = {m.name for m in moved for text in strings(m.objects) if FORMER.search(text)}
    assert left == {"nginx"}
    assert "`k8s/components/routing-nginx/nginx.conf`, which you rewrite" in PAGE.read_text("utf-8")


def test_the_former_one_would_be_found():
    there = {
        m.name for m in rendering.everything() for text in strings(m.objects) if FORMER.search(text)
    }
    assert there == set(rendering.folders())
