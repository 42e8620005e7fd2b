"""Gateways."""

from tests.k8s.planted import Mistake, of, text, variable, without

RULE = "spec.rules.0"
ROUTE = ("HTTPRoute", "reward-server")
BACKEND = ("BackendTrafficPolicy", "reward-server")

MISTAKES = [
    Mistake(
        "Envoy's 15 s", "production", of(*ROUTE, f"{RULE}.timeouts", None), "request 15s is shorter"
    ),
    Mistake(
        "short upstream",
        "production",
        of(*BACKEND, "spec.timeout.http.requestTimeout", "180s"),
        "requestTimeout 180s is shorter",
    ),
    Mistake(
        "silent stream",
        "production",
        of("ClientTrafficPolicy", "reward-gateway", "spec.timeout", None),
        "streamIdleTimeout 5m is shorter",
    ),
    Mistake(
        "longer deadline",
        "production",
        variable("BASEREWARD_TIMEOUT_S", "900"),
        "660s is shorter than a request may take",
    ),
    Mistake(
        "stale connections",
        "production",
        variable("BASEREWARD_KEEP_ALIVE_S", "5"),
        "longer than the server",
    ),
    Mistake(
        "round robin",
        "production",
        of(*BACKEND, "spec.loadBalancer", None),
        "must hash by X-Group-Key",
    ),
    Mistake(
        "Envoy's 1,024",
        "production",
        of(*BACKEND, "spec.circuitBreaker", None),
        "less than a rollout sends at once",
    ),
    Mistake("retries on 503", "production", of(*BACKEND, "spec.retry", None), "retries on 503"),
    Mistake("no policy", "production", without(*BACKEND), "no BackendTrafficPolicy"),
    Mistake(
        "route to nobody",
        "production",
        of(*ROUTE, f"{RULE}.backendRefs.0.name", "rewards"),
        "no http port of a Service",
    ),
    Mistake(
        "route to metrics",
        "production",
        of(*ROUTE, f"{RULE}.backendRefs.0.port", 9000),
        "no http port of a Service",
    ),
    Mistake(
        "plain HTTP",
        "production",
        of("Gateway", "reward-gateway", "spec.listeners.0.protocol", "HTTP"),
        "must end TLS",
    ),
    Mistake(
        "TLS twice",
        "haproxy",
        lambda m: [
            variable(f"BASEREWARD_TLS_{n}_FILE", f"/run/tls.{n}")(m) for n in ("CERT", "KEY")
        ],
        "speaks plain HTTP to it",
    ),
    Mistake(
        "Istio's timeout",
        "istio",
        of("VirtualService", "reward-server", "spec.http.0.timeout", "120s"),
        "timeout 120s is shorter",
    ),
    Mistake(
        "Istio's retries",
        "istio",
        of("VirtualService", "reward-server", "spec.http.0.retries", None),
        "retries on 503",
    ),
    Mistake(
        "Istio's balance",
        "istio",
        of("DestinationRule", "reward-server", "spec.trafficPolicy.loadBalancer", None),
        "must hash by X-Group-Key",
    ),
    Mistake(
        "HAProxy's timeout",
        "haproxy",
        text("haproxy.cfg", "timeout server 660s", "timeout server 170s"),
        "timeout server 170s is shorter",
    ),
    Mistake(
        "HAProxy unbounded",
        "haproxy",
        text("haproxy.cfg", "  hash-balance-factor 150\n", ""),
        "must bound the load",
    ),
    Mistake(
        "HAProxy's rings",
        "haproxy",
        text("haproxy.cfg", "hash-key addr-port ", ""),
        "must have one ring",
    ),
    Mistake(
        "HAProxy's retries",
        "haproxy",
        text("haproxy.cfg", "retry-on conn-failure", "retry-on 503"),
        "retries more than what was never sent",
    ),
    Mistake(
        "HAProxy's old certificate",
        "haproxy",
        text("haproxy.cfg", "tls/gateway.pem", "tls/other.pem"),
        "must serve a renewed certificate",
    ),
    Mistake(
        "HAProxy's other door",
        "haproxy",
        text("haproxy.cfg", "127.0.0.1:8405", "127.0.0.1:8406"),
        "must serve a renewed certificate",
    ),
    Mistake(
        "gateway cut short",
        "haproxy",
        of("Deployment", "reward-gateway", "spec.template.spec.terminationGracePeriodSeconds", 30),
        "cuts requests that still wait",
    ),
    Mistake(
        "NGINX's timeout",
        "nginx",
        text("nginx.conf", "proxy_read_timeout 660s", "proxy_read_timeout 60s"),
        "proxy_read_timeout 60s is shorter",
    ),
    Mistake(
        "NGINX's body",
        "nginx",
        text("nginx.conf", "client_max_body_size 257m", "client_max_body_size 100m"),
        "less than the server takes",
    ),
    Mistake(
        "NGINX's old certificate",
        "nginx",
        text("nginx.conf", "ssl_certificate_key $at_each_handshake/", "ssl_certificate_key /"),
        "must serve a renewed certificate",
    ),
    Mistake(
        "NGINX on a large node",
        "nginx",
        text("nginx.conf", "worker_processes 4", "worker_processes auto"),
        "may outgrow the memory limit",
    ),
    Mistake(
        "NGINX's connections",
        "nginx",
        text("nginx.conf", "worker_connections 8192", "worker_connections 16384"),
        "may outgrow the memory limit",
    ),
    Mistake(
        "NGINX's turns",
        "nginx",
        text("nginx.conf", "hash $hashed;", "hash $hashed consistent;"),
        "takes turns",
    ),
    Mistake("keyless to one", "nginx", text("nginx.conf", "$request_id;", '"";'), "must spread"),
    Mistake(
        "two NGINX",
        "nginx",
        of("Deployment", "reward-gateway", "spec.replicas", 2),
        "their own order",
    ),
    Mistake(
        "ClusterIP for NGINX",
        "nginx",
        of("Service", "reward-server-pods", "spec.clusterIP", None),
        "must be headless",
    ),
]
