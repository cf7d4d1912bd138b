# Fettle for machines with NVIDIA GPUs; torch brings the CUDA libraries, the host its driver and container toolkit.
# Build at the repository's root: docker build -f infra/images/gpu.Dockerfile -t fettle:gpu .
FROM python:3.11.13-slim-bookworm AS build

WORKDIR /build
RUN python -m venv /opt/fettle
ENV PATH=/opt/fettle/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# First what changes least: torch with CUDA is gigabytes, and a layer of its own.
COPY constraints.txt ./
RUN pip install --no-compile torch==2.13.0
COPY pyproject.toml README.md LICENSE ./
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-compile -c constraints.txt '.[team,harness,qlora]'

FROM python:3.11.13-slim-bookworm

ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.title="Fettle, GPU" org.opencontainers.image.revision=$GIT_COMMIT
# A user of no rights; the number, so that Kubernetes can see that it is not root.
RUN useradd --uid 10001 --home-dir /var/lib/fettle --create-home fettle
COPY --from=build /opt/fettle /opt/fettle
ENV PATH=/opt/fettle/bin:$PATH \
    HOME=/var/lib/fettle \
    FETTLE_HOME=/var/lib/fettle \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /var/lib/fettle
CMD ["python", "-m", "flows.working", "fettle-gpu"]
