"""Nothing stands in the README that does not work."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tasks.filters import CurationConfig
from tasks.filters.row import Reading
from tests.demo.conftest import Finished, Place
from tests.demo.readme import README, REPOSITORY, TREE, tree

pytestmark = pytest.mark.xdist_group("demo")  # one worker, as the costly fixtures are made once a worker

TEXT = README.read_text()
WORDS = "Please tell me whether the fee of the card is paid once a year or once a month."


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


COMMANDS = [line for block in blocks("console") for line in block.splitlines()]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("fettle")])
def test_every_command_works_after_the_demo(command: str, cold: Finished, place: Place) -> None:
    assert cold.code == 0
    answer = place.run(*shlex.split(command)[1:])
    assert answer.code == 0, answer.err
    assert answer.out.strip()


def test_every_make_target_exists_and_ci_runs_the_two_commands() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert {line.split()[1] for line in COMMANDS if line.startswith("make")} == {"demo", "test"}
    assert set(re.findall(r"`make ([a-z]+)`", TEXT)) <= targets
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert "make demo" in ci
    assert "make test" in ci


def test_the_recipe_is_the_demos() -> None:
    (shown,) = map(yaml.safe_load, blocks("yaml"))
    preset = yaml.safe_load((REPOSITORY / "deployments" / "presets" / "demo.yaml").read_text())
    for document in (shown, preset):
        document["training"].pop("evaluations", None)
        document["evaluation"].pop("max_new_tokens", None)
    assert shown == preset


def test_the_tree_is_fresh() -> None:
    found = TREE.search(TEXT)
    assert found is not None
    assert found[0] == tree(), "files or their first lines changed; run `make fresh`"


def test_the_filter_of_ones_own_is_a_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    (tmp_path / "house_rules.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (named,) = re.findall(r"`curation: (\{.*?\})`", TEXT)
    config = CurationConfig.model_validate(yaml.safe_load(named))
    assert config.judge(Reading("Hello, who is there?", "Hello, how are you? " + WORDS, 5, 30)) is None
    verdict = config.judge(Reading("Hello, who is there?", "HELLO, HOW ARE YOU? " + WORDS.upper(), 5, 30))
    assert verdict is not None
    assert verdict.reason == "shouting"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (Path(README).parent / target).exists(), target
