"""A team's services on this machine, and a store that one run has filled."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from tests.flows.conftest import corpus as corpus
from tests.infra.teamwork import HardDay, Teamwork
from tests.servers.objectstore import ObjectStore
from tests.servers.services import Team, postgres_programs


@pytest.fixture(scope="session")
def team(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """PostgreSQL, Redis, Prefect's server and its services, and a worker, set up as the service `deploy` does."""
    if postgres_programs() is None:
        pytest.skip("there is no PostgreSQL on this machine (Debian: apt install postgresql)")
    bucket = object_store.bucket("team")
    with Team(tmp_path_factory.mktemp("team"), object_store, f"{bucket}/store") as team:
        team.deploy("--gpu-slots", "20")
        yield team


@pytest.fixture(scope="session")
def work(team: Team, corpus: Path) -> Teamwork:
    """What people of the team do."""
    return Teamwork(team, corpus)


@pytest.fixture(scope="session")
def hard_day(work: Teamwork, tmp_path_factory: pytest.TempPathFactory) -> HardDay:
    """One run on S3: its process is killed while it trains; after a retry the database is, too."""
    uri = work.team.client["FETTLE_STORE"]
    run = work.run(uri)
    work.flow().kill()
    after_the_kill = work.wait_for_end(run)
    work.retry(run)
    work.trainer()
    work.team.postgres.kill(with_children=True)
    work.team.postgres.start()
    after_the_outage = work.wait_for_end(run)
    if after_the_outage != "COMPLETED":
        work.retry(run)
        work.wait_for_end(run, "COMPLETED")
    return HardDay(run, after_the_kill, after_the_outage, local_copy(work.team, tmp_path_factory.mktemp("finished")))


@pytest.fixture(scope="session")
def finished(hard_day: HardDay) -> Path:
    """A store whose run went to its end; copy it before changing it."""
    return hard_day.store


def local_copy(team: Team, folder: Path) -> Path:
    """The team's store as a folder."""
    told = team.store.environment
    files = s3fs.S3FileSystem(
        key=told["AWS_ACCESS_KEY_ID"],
        secret=told["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=told["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
    )
    files.get(team.client["FETTLE_STORE"].removeprefix("s3://"), str(folder / "store"), recursive=True)
    return folder / "store"


@pytest.fixture
def untrained(finished: Path, tmp_path: Path) -> Path:
    """A store whose data are ready, and nothing after them."""
    folder = tmp_path / "store"
    shutil.copytree(finished, folder)
    for stage in ("training", "measurement", "evaluation", "publication", "models", "runs"):
        shutil.rmtree(folder / stage, ignore_errors=True)
    return folder
