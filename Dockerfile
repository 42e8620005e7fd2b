# The reward server on a slim Python: torch, the other dependencies and the server are a layer each.
# How to build and run it: docs/image.md. No heredocs, which older builders cannot read.

# Releases pin it by digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:…
ARG BASE=python:3.11-slim-bookworm

# Every stage below makes its files with the interpreter that will run them. pip stays in a venv of its own.
FROM ${BASE} AS python
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/basereward
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP="/opt/pip/bin/pip --python /opt/basereward/bin/python install --no-compile --no-deps" \
    LOCKED="--require-hashes --only-binary :all:" \
    COMPILE="/opt/basereward/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x /torch/testing/_internal/"

# Gigabytes that change with torch alone. A CPU build of torch is on an index of its own.
FROM python AS torch
ARG CUDA=cu130
ARG TORCH_INDEX=
RUN --mount=type=bind,source=docker/locks,target=/locks \
    --mount=type=cache,target=/root/.cache/pip \
    ${PIP} ${LOCKED} ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} -r "/locks/torch-${CUDA}.txt" \
    && ${COMPILE} /opt/basereward

FROM python AS dependencies
RUN --mount=type=bind,source=docker/locks,target=/locks \
    --mount=type=cache,target=/root/.cache/pip \
    ${PIP} ${LOCKED} --prefix /layer -r /locks/app.txt \
    && ${COMPILE} -s /layer -p /opt/basereward /layer

FROM python AS app
RUN --mount=type=bind,source=docker/locks,target=/locks \
    --mount=type=cache,target=/root/.cache/pip \
    /opt/pip/bin/pip install --no-deps ${LOCKED} -r /locks/build.txt
WORKDIR /source
COPY pyproject.toml README.md ./
COPY service service
COPY docker/healthcheck.py /layer/
RUN /opt/pip/bin/pip wheel --no-deps --no-build-isolation -w /wheels . \
    && ${PIP} --no-index --prefix /layer /wheels/*.whl \
    && ${COMPILE} -s /layer -p /opt/basereward /layer

FROM ${BASE}
# Nothing of the base is needed that installs, compiles or raises rights; /tmp is the one place to write.
RUN echo "basereward:x:10001:10001::/tmp:/usr/sbin/nologin" >> /etc/passwd \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && chmod 755 /var/tmp /run/lock \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
COPY --from=torch /opt/basereward /opt/basereward
COPY --from=dependencies /layer /opt/basereward
COPY --from=app /layer /opt/basereward

# Caches would be written beside the home folder, which a read-only root does not let them.
ENV PATH=/opt/basereward/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    CUDA_CACHE_PATH=/tmp/cache/cuda \
    HF_HOME=/tmp/cache/huggingface \
    HF_HUB_OFFLINE=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/inductor \
    TRITON_CACHE_DIR=/tmp/cache/triton \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    BASEREWARD_HOST=0.0.0.0 \
    BASEREWARD_OPS_PORT=9000
WORKDIR /tmp
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
USER 10001:10001
# /readyz, not /livez: nothing restarts a container by its health, but others wait for it (`service_healthy`), and
# ready is what they wait for. It fails with /livez too. The start period is what a large checkpoint may load.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20m --retries=3 \
    CMD ["/opt/basereward/bin/python", "-I", "/opt/basereward/healthcheck.py"]
ENTRYPOINT ["/opt/basereward/bin/basereward"]
CMD ["serve"]

# Last, so that a new commit makes no layer anew.
ARG SOURCE=
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="basereward" \
    org.opencontainers.image.description="HTTP reward server: one scalar per (picture, prompt, response)" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
