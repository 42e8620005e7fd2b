"""What schemas cannot see, as plain functions of the rendered manifests: each yields a line for each fault it finds."""

from collections.abc import Callable, Iterator

from tests.k8s.manifests import Manifests
from tests.k8s.policies import (
    colours,
    pods,
    references,
    resources,
    rollouts,
    routing,
    scaling,
    server,
    traffic,
)

Policy = Callable[[Manifests], Iterator[str]]

POLICIES: tuple[Policy, ...] = (
    *pods.POLICIES,
    *resources.POLICIES,
    *server.POLICIES,
    *references.POLICIES,
    *rollouts.POLICIES,
    *scaling.POLICIES,
    *traffic.POLICIES,
    *routing.POLICIES,
    *colours.POLICIES,
)


def findings(manifests: Manifests) -> list[str]:
    return [line for policy in POLICIES for line in policy(manifests)]
