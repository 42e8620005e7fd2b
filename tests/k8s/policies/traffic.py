"""Who may talk to whom, and whether what must be scraped and reached is."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Manifests, Object, component, pod_labels, pod_spec, title

METADATA = ipaddress.ip_address("169.254.169.254")  # gives out the node's credentials
NAME_SERVERS = {
    "kube-dns": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    # On the node's own network, where no selector finds it.
    "node-local-dns": {"ipBlock": {"cidr": "169.254.20.10/32"}},
}
GATEWAY = {"app.kubernetes.io/component": "gateway"}


def _policies_of(manifests: Manifests, workload: Object) -> list[Object]:
    return [
        p for p in manifests.of("NetworkPolicy")
        if p["spec"]["podSelector"].get("matchLabels", {}).items() <= pod_labels(workload).items()
    ]  # fmt: skip


def _rules(policies: list[Object], way: str) -> Iterator[tuple[Any, Any]]:
    """Ports and peers; an absent list means all of them."""
    for policy in policies:
        for rule in policy["spec"].get(way, []):
            ports = [p["port"] for p in rule["ports"]] if "ports" in rule else None
            yield ports, rule.get("from" if way == "ingress" else "to")


def _lets(rules: list[tuple[Any, Any]], port: str, selector: str, labels: dict[str, str]) -> bool:
    return any(
        port in (ports or [port]) and any(p.get(selector, {}).get("matchLabels") == labels for p in peers or [])
        for ports, peers in rules
    )  # fmt: skip


def servers_let_the_right_ones_in(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        policies = _policies_of(manifests, workload)
        if not policies:
            continue
        rules = list(_rules(policies, "ingress"))
        where = title(workload)
        if not _lets(rules, "ops", "namespaceSelector", {"reward-monitoring": "true"}):
            yield f"{where}: no NetworkPolicy lets monitoring scrape the ops port"
        if not _lets(rules, "http", "namespaceSelector", {"reward-gateway": "true"}):
            yield f"{where}: no NetworkPolicy lets gateways in"
        if _gateways(manifests) and not _lets(rules, "http", "podSelector", GATEWAY):
            yield f"{where}: no NetworkPolicy lets the gateway beside it in"
        if any(ports is None or peers is None for ports, peers in rules):
            yield f"{where}: a NetworkPolicy lets everyone in"
        if _lets(rules, "ops", "namespaceSelector", {"reward-client": "true"}):
            yield f"{where}: the ops port asks for no key; it is not for clients"


def _gateways(manifests: Manifests) -> list[Object]:
    return [w for w in manifests.of("Deployment") if component(w) == "gateway"]


def nothing_goes_out_but_what_is_named(manifests: Manifests) -> Iterator[str]:
    for workload in [*manifests.servers(), *_gateways(manifests)]:
        policies = _policies_of(manifests, workload)
        rules = list(_rules(policies, "egress"))
        if not policies:
            continue
        if not any("Egress" in p["spec"]["policyTypes"] for p in policies):
            yield f"{title(workload)}: no NetworkPolicy limits what goes out"
        if any(ports is None or not peers for ports, peers in rules):
            yield f"{title(workload)}: a NetworkPolicy lets it go anywhere"
        blocks = [p["ipBlock"] for _, peers in rules for p in peers or [] if "ipBlock" in p]
        if any(_reaches_metadata(block) for block in blocks):
            yield f"{title(workload)}: a NetworkPolicy lets it reach {METADATA}"


def names_may_be_asked_for(manifests: Manifests) -> Iterator[str]:
    """By each policy for itself: where it is the only one, what it does not let out stays in."""
    for policy in manifests.of("NetworkPolicy"):
        if "Egress" not in policy["spec"]["policyTypes"] or not policy["spec"]["podSelector"]:
            continue
        asked = [peers for ports, peers in _rules([policy], "egress") if ports == [53, 53]]
        for name, peer in NAME_SERVERS.items():
            if not any(peer in peers for peers in asked):
                yield f"{title(policy)}: must let its pods ask {name} for names"


def _reaches_metadata(block: Object) -> bool:
    nets = [ipaddress.ip_network(n) for n in [block["cidr"], *block.get("except", [])]]
    return METADATA in nets[0] and not any(METADATA in net for net in nets[1:])


def downloads_have_a_way_out(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        policies = _policies_of(manifests, workload)
        ways = [ports for ports, _ in _rules(policies, "egress") if 443 in (ports or [])]
        if policies and "initContainers" in pod_spec(workload) and not ways:
            yield f"{title(workload)}: weights are downloaded, and no NetworkPolicy lets them"


def monitors_find_the_ops_port(manifests: Manifests) -> Iterator[str]:
    for monitor in manifests.of("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        services = [
            s for s in manifests.of("Service")
            if labels.items() <= s["metadata"].get("labels", {}).items()
        ]  # fmt: skip
        if len(services) != len(manifests.servers()):
            yield f"{title(monitor)}: finds {len(services)} Services for {len(manifests.servers())} Deployments"
        for endpoint in monitor["spec"]["endpoints"]:
            if any(
                endpoint["port"] not in {p["name"] for p in s["spec"]["ports"]} for s in services
            ):
                yield f"{title(monitor)}: no port {endpoint['port']}"
            if (endpoint["port"], endpoint["path"]) != ("ops", "/metrics"):
                yield f"{title(monitor)}: metrics are at /metrics of the ops port"


POLICIES = (
    servers_let_the_right_ones_in,
    nothing_goes_out_but_what_is_named,
    names_may_be_asked_for,
    downloads_have_a_way_out,
    monitors_find_the_ops_port,
)
