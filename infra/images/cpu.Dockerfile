# Fettle for machines without a GPU: the server's companions, CPU workers, the history page.
# Build at the repository's root: docker build -f infra/images/cpu.Dockerfile -t fettle:cpu .
FROM python:3.11.13-slim-bookworm AS build

WORKDIR /build
RUN python -m venv /opt/fettle
ENV PATH=/opt/fettle/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# First what changes least: torch alone is a layer of its own, and its CPU build a tenth of the other.
COPY constraints.txt ./
RUN pip install --no-compile --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY pyproject.toml README.md LICENSE ./
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-compile -c constraints.txt '.[team,harness]'

FROM python:3.11.13-slim-bookworm

ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.title="Fettle, CPU" org.opencontainers.image.revision=$GIT_COMMIT
# A user of no rights; the number, so that Kubernetes can see that it is not root.
RUN useradd --uid 10001 --home-dir /var/lib/fettle --create-home fettle
COPY --from=build /opt/fettle /opt/fettle
ENV PATH=/opt/fettle/bin:$PATH \
    HOME=/var/lib/fettle \
    FETTLE_HOME=/var/lib/fettle \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1
USER 10001
WORKDIR /var/lib/fettle
CMD ["python", "-m", "flows.working", "fettle-cpu"]
