"""Gateways: siblings meet on one replica, requests may take as long as they need, and nothing is sent twice."""

from collections.abc import Iterator

from service.settings import Settings
from tests.k8s.manifests import Manifests, Object, component, containers, seconds, size, title
from tests.k8s.policies import proxies
from tests.k8s.policies.server import settings_of

HEADER = "X-Group-Key"
MARGIN_S = 30.0  # beyond the longest deadline, for upload and answer
SAFE_RETRIES = {"connect-failure", "refused-stream", "reset-before-request"}  # nothing was sent


def longest(manifests: Manifests) -> float:
    """What a gateway must wait for at least."""
    return (
        max((settings_of(manifests, w).timeout_s for w in manifests.servers()), default=600.0)
        + MARGIN_S
    )


def keep_alive(manifests: Manifests) -> float:
    kept = (settings_of(manifests, w).keep_alive_s for w in manifests.servers())
    return min(kept, default=Settings().keep_alive_s)


def envoy_gateway_waits(manifests: Manifests) -> Iterator[str]:
    for route in manifests.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for name in ("request", "backendRequest"):
                yield from _waits(manifests, route, name, rule.get("timeouts", {}).get(name, "15s"))
    for policy in manifests.of("BackendTrafficPolicy"):
        http = policy["spec"].get("timeout", {}).get("http", {})
        yield from _waits(manifests, policy, "requestTimeout", http.get("requestTimeout", "15s"))
        yield from _idles(manifests, policy, http.get("connectionIdleTimeout", "1h"))
    for policy in manifests.of("ClientTrafficPolicy"):
        http = policy["spec"].get("timeout", {}).get("http", {})
        yield from _waits(
            manifests, policy, "streamIdleTimeout", http.get("streamIdleTimeout", "5m")
        )
    if manifests.of("HTTPRoute") and not manifests.of("ClientTrafficPolicy"):
        yield "no ClientTrafficPolicy: Envoy ends a stream that is silent for 5 minutes"


def envoy_gateway_hashes(manifests: Manifests) -> Iterator[str]:
    routes = {r["metadata"]["name"] for r in manifests.of("HTTPRoute")}
    hashed = set()
    for policy in manifests.of("BackendTrafficPolicy"):
        spec = policy["spec"]
        hashing = spec.get("loadBalancer", {}).get("consistentHash", {})
        if hashing.get("header", {}).get("name") != HEADER:
            yield f"{title(policy)}: must hash by {HEADER}"
        limits = spec.get("circuitBreaker", {})
        for name in ("maxConnections", "maxPendingRequests", "maxParallelRequests"):
            if limits.get(name, 1024) < Settings().max_responses:
                yield f"{title(policy)}: {name} is less than a rollout sends at once"
        yield from _retries(
            policy, set(spec.get("retry", {}).get("retryOn", {}).get("triggers", ["503"]))
        )
        hashed |= {t["name"] for t in spec["targetRefs"]}
    yield from (f"HTTPRoute {name}: no BackendTrafficPolicy" for name in routes - hashed)


def routes_lead_somewhere(manifests: Manifests) -> Iterator[str]:
    for route in manifests.of("HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            gateway = manifests.get("Gateway", parent["name"])
            names = {x["name"] for x in gateway["spec"]["listeners"]} if gateway else set()
            if parent.get("sectionName") not in names:
                yield f"{title(route)}: no listener {parent.get('sectionName')} of Gateway {parent['name']}"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield from _backend(manifests, route, backend["name"], backend["port"])


def _backend(manifests: Manifests, route: Object, name: str, port: int) -> Iterator[str]:
    service = manifests.get("Service", name)
    ports = {p["port"]: p["name"] for p in service["spec"]["ports"]} if service else {}
    if ports.get(port) != "http":
        yield f"{title(route)}: {name}:{port} is no http port of a Service"


def gateways_speak_tls(manifests: Manifests) -> Iterator[str]:
    for gateway in manifests.of("Gateway"):
        spec = gateway["spec"]
        for listener in spec.get("listeners", []):
            if listener["protocol"] != "HTTPS" or "certificateRefs" not in listener.get("tls", {}):
                yield f"{title(gateway)}: listener {listener['name']} must end TLS: keys travel in headers"
        for server in spec.get("servers", []):
            if server["port"]["protocol"] != "HTTPS" or "credentialName" not in server.get(
                "tls", {}
            ):
                yield f"{title(gateway)}: port {server['port']['number']} must end TLS: keys travel in headers"


def pods_speak_what_gateways_expect(manifests: Manifests) -> Iterator[str]:
    gateways = [*manifests.of("HTTPRoute", "VirtualService"), *_gateways(manifests)]
    for workload in manifests.servers():
        if gateways and settings_of(manifests, workload).tls_cert_file:
            yield f"{title(workload)}: speaks TLS itself, and {title(gateways[0])} speaks plain HTTP to it"


def istio_waits_and_hashes(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("VirtualService"):
        for route in service["spec"]["http"]:
            yield from _waits(manifests, service, "timeout", route.get("timeout", "15s"))
            yield from _retries(
                service, set(route.get("retries", {}).get("retryOn", "503").split(","))
            )
            for target in route["route"]:
                there = target["destination"]
                yield from _backend(manifests, service, there["host"], there["port"]["number"])
    for rule in manifests.of("DestinationRule"):
        policy = rule["spec"].get("trafficPolicy", {})
        if policy.get("loadBalancer", {}).get("consistentHash", {}).get("httpHeaderName") != HEADER:
            yield f"{title(rule)}: must hash by {HEADER}"
        yield from _idles(
            manifests,
            rule,
            policy.get("connectionPool", {}).get("http", {}).get("idleTimeout", "1h"),
        )
        if "outlierDetection" in policy:
            yield f"{title(rule)}: outlierDetection would send replicas away that are only full"


def proxies_are_configured_well(manifests: Manifests) -> Iterator[str]:
    wait, kept, body = longest(manifests), keep_alive(manifests), Settings().max_body_bytes
    for config in manifests.of("ConfigMap"):
        files = config["data"]
        if text := files.get("haproxy.cfg"):
            faults = proxies.haproxy(text, files.get("renewal.lua", ""), wait)
            yield from (f"haproxy.cfg: {fault}" for fault in faults)
        if text := files.get("nginx.conf"):
            faults = proxies.nginx(text, wait, kept, body, _memory_of_gateways(manifests))
            yield from (f"nginx.conf: {fault}" for fault in faults)


def _gateways(manifests: Manifests) -> list[Object]:
    return [w for w in manifests.of("Deployment") if component(w) == "gateway"]


def _memory_of_gateways(manifests: Manifests) -> float:
    limits = (c["resources"]["limits"] for w in _gateways(manifests) for c in containers(w))
    return min((size(limit["memory"]) for limit in limits), default=0)


def proxies_find_the_pods(manifests: Manifests) -> Iterator[str]:
    """They choose the pod themselves, so the Service they ask must be headless."""
    for gateway in _gateways(manifests):
        service = manifests.get("Service", "reward-server-pods")
        if not service or service["spec"].get("clusterIP") != "None":
            yield f"{title(gateway)}: Service reward-server-pods must be headless"
        grace = gateway["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        if grace < longest(manifests):
            yield f"{title(gateway)}: terminationGracePeriodSeconds {grace} cuts requests that still wait"
        nginx = any("nginx.conf" in c["data"] for c in manifests.of("ConfigMap"))
        if nginx and gateway["spec"].get("replicas") != 1:
            yield f"{title(gateway)}: two NGINX would each number the pods in their own order"


def _waits(manifests: Manifests, thing: Object, name: str, value: str) -> Iterator[str]:
    if 0 < seconds(value) < longest(manifests):
        yield f"{title(thing)}: {name} {value} is shorter than a request may take ({longest(manifests):g} s)"


def _idles(manifests: Manifests, thing: Object, value: str) -> Iterator[str]:
    server = keep_alive(manifests)
    if seconds(value) >= server:
        yield f"{title(thing)}: keeps idle connections for {value}, longer than the server ({server:g} s)"


def _retries(thing: Object, triggers: set[str]) -> Iterator[str]:
    if unsafe := triggers - SAFE_RETRIES:
        yield f"{title(thing)}: retries on {', '.join(sorted(unsafe))}: the client does that, with its deadline"


POLICIES = (
    envoy_gateway_waits,
    envoy_gateway_hashes,
    routes_lead_somewhere,
    gateways_speak_tls,
    pods_speak_what_gateways_expect,
    istio_waits_and_hashes,
    proxies_are_configured_well,
    proxies_find_the_pods,
)
