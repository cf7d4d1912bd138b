"""The files of `infra/`, as far as they can be judged without a container engine or a cluster."""

import json
import re
import subprocess
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from prefect.utilities.templating import apply_values, find_placeholders

from flows.working import RUN_GRACE_SECONDS
from tasks.training import GRACE_SECONDS
from tests.servers.services import COMPOSE, REPOSITORY, compose, substituted

INFRA = REPOSITORY / "infra"
DOCKERFILES = sorted((INFRA / "images").glob("*.Dockerfile"))
POOLS = ("fettle-cpu", "fettle-gpu")
EXAMPLE = (INFRA / ".env.example").read_text()
OURS = re.compile(r"fettle:(cpu|gpu)")
PINNED = re.compile(r"[\w./-]+:v?\d+(\.\d+)+(-[\w.-]+)?|minio/minio:RELEASE\.\S+")
USER_OF_THE_IMAGES = "10001"
FEW_RIGHTS = {"nobody", "postgres", "redis", "472", "10001:10001"}


def program(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_linter_finds_nothing_in_a_dockerfile(path: Path) -> None:
    answer = subprocess.run([program("hadolint"), path], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfile_makes_a_small_image_of_what_is_there(path: Path) -> None:
    """Pinned bases, everything built in a stage of its own, run by a user without rights, all copied files there."""
    lines = path.read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert len(bases) == 2
    assert all(PINNED.fullmatch(base) for base in bases)
    assert [line for line in lines if line.startswith("USER")] == [f"USER {USER_OF_THE_IMAGES}"]
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    sent = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in [name for names in copied for name in names]:
        assert (REPOSITORY / name).exists()
        assert name in sent


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfile_installs_the_versions_that_are_tested(path: Path) -> None:
    (torch,) = re.findall(r"torch==([\w.]+)", path.read_text())
    assert torch in (REPOSITORY / "constraints.txt").read_text().split("torch==")[1].splitlines()[0]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", path.read_text())
    assert set(extras.split(",")) <= project()["optional-dependencies"].keys()


def test_compose_file_fits_the_published_schema() -> None:
    """Of the Compose Specification, as it comes with the checker."""
    answer = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_compose_file_says_which_secrets_it_wants_and_knows_none() -> None:
    text = COMPOSE.read_text()
    offered = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if "=" in line and not line.startswith("#"))
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    assert wanted
    assert wanted <= offered.keys()
    assert {name for name, value in offered.items() if value} == {"COMPOSE_PROFILES"}
    assert offered.keys() - {"COMPOSE_PROFILES"} <= set(re.findall(r"\$\{(\w+)", text))
    # With them, and with nothing else, every value can be filled in.
    values = dict.fromkeys(wanted, "given")
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            filled = substituted(value, values)
            if re.search(r"PASSWORD|SECRET|TOKEN|AUTH|WEBHOOK", name):
                assert filled in ("given", "") or filled.startswith("GF_")
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        substituted(services()["postgres"]["environment"]["POSTGRES_PASSWORD"], {})


def test_each_service_is_pinned_and_without_rights() -> None:
    for name, service in services().items():
        assert OURS.fullmatch(service["image"]) or PINNED.fullmatch(service["image"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        if name == "store-folder":  # makes root's new volume the store's, cut off from everything else
            assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
        else:
            assert "cap_add" not in service, name
            # Our own images have a user of their own.
            assert OURS.fullmatch(service["image"]) or service["user"] in FEW_RIGHTS, name
            assert not OURS.fullmatch(service["image"]) or "user" not in service, name
    assert sum("build" in service for service in services().values()) == len(DOCKERFILES)


def test_only_this_machine_reaches_the_ports() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)
    reached = {name for name, service in services().items() if "ports" in service}
    assert reached == {"server", "board", "prometheus", "grafana"}


def test_each_service_waits_for_what_it_needs_and_mounts_what_is_there() -> None:
    for name, service in services().items():
        needed = service.get("depends_on", [])
        assert set(needed) <= services().keys(), name
        for other in needed if isinstance(needed, dict) else []:
            if needed[other]["condition"] == "service_healthy":
                assert "healthcheck" in services()[other], other
            else:
                assert services()[other]["restart"] == "no", other
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (INFRA / source).exists() if source.startswith(".") else source in compose()["volumes"], mount
    mounted = {m.split(":")[0] for service in services().values() for m in service.get("volumes", [])}
    assert compose()["volumes"].keys() <= mounted
    profiles = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    assert profiles == {"worker-gpu": ["gpu"], "worker-no-gpu": ["no-gpu"]}
    assert re.search(r"^COMPOSE_PROFILES=no-gpu$", EXAMPLE, re.MULTILINE)


def test_worker_that_is_stopped_has_time_for_a_trainers_last_step() -> None:
    workers = [service for name, service in services().items() if name.startswith("worker-")]
    assert len(workers) == 3
    for worker in workers:
        run_grace = float(worker["environment"]["FETTLE_RUN_GRACE_SECONDS"])
        assert GRACE_SECONDS < run_grace < float(worker["stop_grace_period"].removesuffix("s"))
    assert RUN_GRACE_SECONDS < GRACE_SECONDS  # without that variable it would not have it


def test_grafana_finds_prometheus_and_prometheus_the_board() -> None:
    (source,) = yaml.safe_load((INFRA / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    environment = services()["grafana"]["environment"]
    assert substituted(source["url"], environment) == "http://prometheus:9090"
    (job,) = yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["board:4201"]}]
    assert services()["board"]["command"][-4:] == ["--host", "0.0.0.0", "--port", "4201"]


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / "kubernetes" / "base.yaml").read_text()))


def template(pool: str) -> dict[str, Any]:
    return json.loads((INFRA / "kubernetes" / f"{pool}.json").read_text())  # type: ignore[no-any-return]


def job(pool: str) -> dict[str, Any]:
    """The job that a run of the pool becomes, with the template's defaults."""
    written = template(pool)
    variables = written["variables"]["properties"]
    values = {name: each["default"] for name, each in variables.items() if "default" in each}
    filled = apply_values(written["job_configuration"], values | {"name": "a-run"}, remove_notset=True)
    manifest: dict[str, Any] = filled["job_manifest"]
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container |= {"env": [{"name": "PREFECT_FLOW_RUN_ID", "value": "1"}], "args": ["prefect", "flow-run", "execute"]}
    return manifest


def pods() -> dict[str, dict[str, Any]]:
    found = {pool: job(pool)["spec"]["template"]["spec"] for pool in POOLS}
    found |= {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in manifests()
        if "replicas" in each.get("spec", {})
    }
    return found


def test_manifests_fit_kubernetes() -> None:
    """Strictly: a misspelt field is refused. The pod's two fields that only Prefect's worker reads are taken out."""
    for manifest in manifests():
        kubernetes_validate.validate(manifest, "1.31", strict=True)
    for pool in POOLS:
        manifest = job(pool)
        pod = manifest["spec"]["template"]["spec"]
        assert (pod.pop("parallelism"), pod.pop("completions"), pod["restartPolicy"]) == (1, 1, "Never")
        kubernetes_validate.validate(manifest, "1.31", strict=True)
        pod["restartPolicies"] = "Never"
        with pytest.raises(kubernetes_validate.ValidationError, match="restartPolicies"):
            kubernetes_validate.validate(manifest, "1.31", strict=True)


def test_pods_have_no_rights_and_take_secrets_by_reference() -> None:
    assert len(pods()) == 3
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert str(pod["securityContext"]["runAsUser"]) == USER_OF_THE_IMAGES, name
        assert pod["automountServiceAccountToken"] is False, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {"secretRef": {"name": "fettle-store"}} in container["envFrom"], name
        assert {"limits", "requests"} <= container["resources"].keys(), name
        # A root that cannot be written to: home and temporary files are on volumes.
        assert {"/var/lib/fettle", "/tmp"} <= {each["mountPath"] for each in container["volumeMounts"]}, name
    assert not [each for each in manifests() if each["kind"] == "Secret"]
    (settings,) = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    assert not [name for name in settings if re.search("KEY|SECRET|TOKEN|PASSWORD", name)]


@pytest.mark.parametrize("pool", POOLS)
def test_pools_are_made_for_machines_that_come_and_go(pool: str) -> None:
    pod = job(pool)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS
    assert any("spot" in each["key"] for each in pod["tolerations"])
    # Prefect itself starts an evicted run again; Kubernetes must not do so as well.
    assert job(pool)["spec"]["backoffLimit"] == 0
    limits = pod["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == (1 if pool == "fettle-gpu" else None)
    assert ("nvidia.com/gpu.present" in pod["nodeSelector"]) == (pool == "fettle-gpu")


@pytest.mark.parametrize("pool", POOLS)
def test_every_variable_of_a_template_is_used_and_told(pool: str) -> None:
    written = template(pool)
    variables = written["variables"]["properties"]
    assert {each.name for each in find_placeholders(written["job_configuration"])} == variables.keys()
    assert all(each["description"] and each["title"] for each in variables.values())


def test_helm_values_name_secrets_and_hold_none() -> None:
    for name in ("prefect-server", "prefect-worker"):
        text = (INFRA / "kubernetes" / f"{name}.yaml").read_text()
        assert yaml.safe_load(text)
        assert not re.search(r"(?i)(password|authString|apiKey):\s*[\"']?\w", text)
        assert "existingSecret: fettle-auth" in text
    tags = re.findall(
        r"prefectTag: (\S+)-python3", "".join(p.read_text() for p in (INFRA / "kubernetes").glob("*.yaml"))
    )
    assert tags
    (bound,) = [each for each in map(Requirement, project()["dependencies"]) if each.name == "prefect"]
    assert all(tag in bound.specifier and tag == metadata.version("prefect") for tag in tags)


def test_readme_names_every_file_that_people_use() -> None:
    text = (INFRA / "README.md").read_text()
    for path in INFRA.rglob("*"):
        if path.is_file() and "grafana" not in path.parts and path.name != "README.md":
            assert path.name in text, path
