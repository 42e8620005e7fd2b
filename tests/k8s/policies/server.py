"""The server's own contract: its settings, ports, probes and end."""

from collections.abc import Iterator

from service import sources
from service.errors import StartError
from service.settings import Settings
from tests.k8s.manifests import (
    Manifests,
    Object,
    environment,
    pod_spec,
    server_container,
    title,
)

ANSWER_S = 5  # what the server gives answers beyond its drain
STARTUP_S = 1200  # a 7B from a slow network disk
LIVENESS_S = 20  # shorter, and one slow answer kills a pod


def settings_of(manifests: Manifests, workload: Object) -> Settings:
    """As the server reads them; the defaults where it would not start, which `settings_are_taken` says."""
    try:
        return _read(manifests, workload)
    except StartError:
        return Settings()


def _read(manifests: Manifests, workload: Object) -> Settings:
    variables = environment(manifests, server_container(workload))
    return sources.load({}, {k: v for k, v in variables.items() if k.startswith("BASEREWARD_")})


def settings_are_taken(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        try:
            chosen = _read(manifests, workload)
        except StartError as error:
            yield f"{title(workload)}: {error}"
            continue
        if chosen.host != "0.0.0.0":
            yield f"{title(workload)}: BASEREWARD_HOST must be 0.0.0.0, or no probe reaches it"
        if chosen.device == "auto":
            yield f"{title(workload)}: BASEREWARD_DEVICE must be said, or a lost GPU is a slow CPU"
        if chosen.api_key is not None:
            yield f"{title(workload)}: keys belong into a file of a Secret, not into a variable"


def servers_stay_offline(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        if environment(manifests, server_container(workload)).get("HF_HUB_OFFLINE") != "1":
            yield f"{title(workload)}: HF_HUB_OFFLINE must be 1: serving must not hang on a download"


def ports_are_the_settings(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        ports = {p["name"]: p["containerPort"] for p in server_container(workload)["ports"]}
        variables = environment(manifests, server_container(workload))
        wanted = {"http": "BASEREWARD_PORT", "ops": "BASEREWARD_OPS_PORT"}
        for name, variable in wanted.items():
            if str(ports.get(name)) != variables.get(variable):
                yield f"{title(workload)}: port {name} must be {variable}"


def probes_ask_the_ops_port(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        container = server_container(workload)
        paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
        for name, path in paths.items():
            probe = container.get(name, {}).get("httpGet", {})
            if probe.get("port") not in ("ops", 9000):
                yield f"{title(workload)}: {name} must ask the ops port"
            if probe.get("path") != path:
                yield f"{title(workload)}: {name} must ask {path}"


def probes_are_patient(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        container = server_container(workload)
        if _budget(container.get("startupProbe", {})) < STARTUP_S:
            yield f"{title(workload)}: the startup probe must give {STARTUP_S} s to load"
        if _budget(container.get("livenessProbe", {})) < LIVENESS_S:
            yield f"{title(workload)}: the liveness probe must fail for {LIVENESS_S} s before it kills"


def _budget(probe: Object) -> int:
    return int(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3))


def startup_budget(workload: Object) -> int:
    return _budget(server_container(workload).get("startupProbe", {}))


def grace_outlasts_the_drain(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        hook = server_container(workload).get("lifecycle", {}).get("preStop", {})
        sleep = hook.get("sleep", {}).get("seconds", 0)
        if sleep < 5:
            yield f"{title(workload)}: preStop must sleep for 5 s or more, so that endpoints forget it"
        drain = float(
            environment(manifests, server_container(workload)).get("BASEREWARD_DRAIN_S", 30)
        )
        grace = pod_spec(workload).get("terminationGracePeriodSeconds", 30)
        if grace <= sleep + drain + ANSWER_S:
            yield (
                f"{title(workload)}: terminationGracePeriodSeconds {grace} must exceed"
                f" preStop {sleep} + drain {drain:g} + {ANSWER_S}"
            )


POLICIES = (
    settings_are_taken,
    servers_stay_offline,
    ports_are_the_settings,
    probes_ask_the_ops_port,
    probes_are_patient,
    grace_outlasts_the_drain,
)
