# syntax=docker/dockerfile:1
# docker build --tag stepup-sidecar .
#
# BASE is an argument so that a registry of your own, or a digest, can stand in its place:
#   --build-arg BASE=python:3.12-slim@sha256:...
# It is the same for each architecture that BASE and the pinned wheels are there for:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag ... --push .
ARG BASE=python:3.12-slim

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Two environments: what builds the wheel never reaches the final image.
COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt \
    && python -m venv --without-pip /opt/sidecar \
    && /opt/build/bin/pip --python /opt/sidecar/bin/python install --no-compile \
        --only-binary :all: --require-hashes --requirement requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY sidecar sidecar
COPY deploy/gateways deploy/gateways
COPY examples/starter examples/starter
# Bytecode is checked by hash, never by time: it stays valid in layers that lose file times, and
# the read-only root needs none written.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist ./clients/python . \
    && /opt/build/bin/pip --python /opt/sidecar/bin/python install --no-compile --no-deps \
        --no-index /dist/*.whl \
    && /opt/sidecar/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/sidecar/lib

# What the final image holds: the environment, its interpreter and the libraries that these load. The
# bill of materials (CycloneDX) is of just that.
COPY deploy/image deploy/image
RUN /opt/sidecar/bin/python deploy/image/root.py /image > /libraries \
    && install -d /image/usr/share/sbom \
    && xargs /opt/sidecar/bin/python deploy/image/sbom.py \
        /image/usr/share/sbom/stepup-sidecar.cdx.json < /libraries

# No shell and no package manager. The directories that the daemon writes to are mounts; those of the
# image stand in where none is given.
FROM scratch
LABEL org.opencontainers.image.title="stepup-sidecar" \
      org.opencontainers.image.description="Re-scores live sessions as signals arrive and has the next sensitive call challenged for step-up" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /image /
ENV PATH=/opt/sidecar/bin:/usr/local/bin:/usr/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    SIDECAR_CONFIG=/etc/sidecar/sidecar.yaml
USER 65532:65532
WORKDIR /var/lib/sidecar
# 9090: metrics and health. The data listener and the socket stay within the pod.
EXPOSE 9090
STOPSIGNAL SIGTERM
# Health is asked for by the pod's probes: /startupz, /livez and /readyz on 9090.
ENTRYPOINT ["sidecar"]
CMD ["run", "--config", "/etc/sidecar/sidecar.yaml"]
