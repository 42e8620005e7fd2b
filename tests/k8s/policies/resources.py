"""What pods ask for and may write to: whole GPUs, memory that is theirs, bounded folders."""

from collections.abc import Iterator

from tests.k8s.manifests import (
    WORKLOADS,
    Manifests,
    Object,
    containers,
    environment,
    is_within,
    pod_spec,
    server_container,
    size,
    title,
)

GPU = "nvidia.com/gpu"
CACHES = (
    "HF_HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH",
)  # fmt: skip


def requests_and_limits_fit(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        for container in containers(workload):
            where = f"{title(workload)}: {container['name']}"
            given = container.get("resources", {})
            yield from _fits(where, given.get("requests", {}), given.get("limits", {}))


def _fits(where: str, requests: Object, limits: Object) -> Iterator[str]:
    if "cpu" not in requests or "cpu" in limits:
        yield f"{where}: must request CPU and have no limit of it (throttling)"
    for name in ("memory", "ephemeral-storage"):
        if name not in requests or requests.get(name) != limits.get(name):
            yield f"{where}: {name} must be requested, with the same limit"


def gpus_are_whole(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        given = server_container(workload).get("resources", {})
        asked, limit = (given.get(k, {}).get(GPU) for k in ("requests", "limits"))
        device = environment(manifests, server_container(workload)).get("BASEREWARD_DEVICE")
        if device == "cpu":
            if asked or limit:
                yield f"{title(workload)}: serves on the CPU and takes a GPU all the same"
        elif str(asked) != "1" or str(limit) != "1":
            yield f"{title(workload)}: one process takes one whole GPU, as request and as limit"
        elif GPU not in {t.get("key") for t in pod_spec(workload).get("tolerations", [])}:
            yield f"{title(workload)}: must tolerate the taint {GPU}"


def folders_are_bounded(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        spec = pod_spec(workload)
        folders = {v["name"]: v["emptyDir"] for v in spec.get("volumes", []) if "emptyDir" in v}
        for name, folder in folders.items():
            if "sizeLimit" not in folder:
                yield f"{title(workload)}: emptyDir {name} must have a sizeLimit"
        yield from _fit_the_pod(workload, [f for f in folders.values() if "sizeLimit" in f])


def _fit_the_pod(workload: Object, folders: list[Object]) -> Iterator[str]:
    """The kubelet evicts a pod whose folders outgrow its limits, however much the folders may hold."""
    limits = pod_spec(workload)["containers"][0].get("resources", {}).get("limits", {})
    for medium, name in (("Memory", "memory"), ("", "ephemeral-storage")):
        held = sum(size(f["sizeLimit"]) for f in folders if f.get("medium", "") == medium)
        if held > size(limits.get(name, 0)):
            yield f"{title(workload)}: its folders may hold more than its limit of {name}"


def servers_can_write(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        container = server_container(workload)
        volumes = {v["name"]: v for v in pod_spec(workload).get("volumes", [])}
        mounts = {m["mountPath"]: volumes.get(m["name"], {}) for m in container["volumeMounts"]}
        if "emptyDir" not in mounts.get("/tmp", {}):
            yield f"{title(workload)}: /tmp must be an emptyDir"
        if mounts.get("/dev/shm", {}).get("emptyDir", {}).get("medium") != "Memory":
            yield f"{title(workload)}: /dev/shm must be an emptyDir in memory"
        variables = environment(manifests, container)
        for name in CACHES:
            if not is_within(variables.get(name, "/"), "/tmp"):
                yield f"{title(workload)}: {name} must lie under /tmp"


def weights_are_read_only(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        container = server_container(workload)
        checkpoint = environment(manifests, container).get("BASEREWARD_CHECKPOINT")
        mounts = [
            m for m in container["volumeMounts"] if is_within(checkpoint or "/", m["mountPath"])
        ]
        if checkpoint and not (mounts and mounts[0].get("readOnly")):
            yield f"{title(workload)}: {checkpoint} must lie in a volume mounted read-only"


POLICIES = (
    requests_and_limits_fit,
    gpus_are_whole,
    folders_are_bounded,
    servers_can_write,
    weights_are_read_only,
)
