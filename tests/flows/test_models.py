"""`fettle models`, as a person meets it."""

import json
from pathlib import Path

import pytest

from tasks.artifacts import aliases, registry
from tasks.artifacts.store import Store
from tests.flows.conftest import Answer, in_this_process
from tests.stages.candidates import SCORE, candidate

PERSON = {"alias": "production", "approval": "person"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three versions: one that passed, one that waits for a person, one that should never have come there."""
    monkeypatch.setenv("FETTLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    made = Store(str(tmp_path / "store"))
    made.probe()
    registry.register(made, "assistant", *candidate(made, name="a"), "pass", {})
    registry.register(made, "assistant", *candidate(made, name="b"), "pass", PERSON)
    registry.register(made, "assistant", *candidate(made, "fail", name="c"), "pass", {})
    return made


def models(store: Store, *arguments: str) -> Answer:
    return in_this_process(("models", *arguments, "--store", store.uri))


def test_versions_are_listed_with_what_points_to_them_and_how_they_stand(store: Store) -> None:
    assert models(store, "promote", "assistant", "1").code == 0
    listed = models(store, "list", "assistant", "--json").json
    assert [(row["version"], row["aliases"], row["waiting"]) for row in listed] == [
        (1, ["production"], False),
        (2, [], True),
        (3, [], False),
    ]
    kept = ("name", "base", "tuned", "difference", "unit", "verdict")
    assert listed[0]["scores"] == [{name: SCORE[name] for name in kept}]
    shown = models(store).out
    assert "production" in shown
    assert "waiting" in shown
    assert "mmlu +1.5" in shown
    assert models(store, "list", "nothing").out == f"no published model in {store.uri}\n"


def test_the_list_comes_where_an_evaluation_is_gone(store: Store) -> None:
    store.files.delete(registry.version(store, "assistant", 1).evaluation)
    assert [row["scores"] == [] for row in models(store, "list", "--json").json] == [True, False, False]


def test_a_person_approves_promotes_and_rolls_back(store: Store) -> None:
    first = models(store, "promote", "assistant", "1", "--why", "it is all there is", "--json").json
    assert (first["version"], first["before"], first["by"], first["why"]) == (1, None, "ada", "it is all there is")
    told = models(store, "approve", "assistant", "2", "--by", "Eve", "--note", "read 20 answers")
    assert told.code == 0, told.err
    assert "approved by Eve" in told.out
    # It was made before anything was in production, so the person has to say that it shall take that one's place.
    assert "production points to version 1, which version 2 was not compared with" in told.out
    assert models(store, "promote", "assistant", "2", "--by", "Eve").code == 0
    back = models(store, "rollback", "assistant")
    assert (back.code, back.out.splitlines()[0]) == (0, "production of assistant points to version 1, before: 2")
    assert models(store, "promote", "assistant", "2", "--alias", "canary", "--by", "Eve").code == 0
    assert aliases.aliases(store, "assistant") == {"production": 1, "canary": 2}
    listed = models(store, "list", "--json").json
    assert (listed[1]["approval"]["by"], listed[1]["approval"]["note"]) == ("Eve", "read 20 answers")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("promote", "assistant", "2"), 3, "refused: version 2 of assistant waits for a person's approval"),
        (("promote", "assistant", "3"), 3, "refused: not published, the gate says fail. because"),
        (("approve", "assistant", "3", "--by", "Eve"), 3, "refused: not published, the gate says fail. because"),
        (("promote", "assistant", "9"), 1, "assistant has no version 9; `fettle models list` shows what there is"),
        (("promote", "assistant", "x"), 2, "x is no version"),
        (("promote", "assistant", "1", "--alias", "../x"), 1, "'../x' cannot name a model or alias"),
        (("rollback", "assistant"), 1, "production of assistant points to nothing; there is nothing to go back to"),
        (("approve", "assistant", "2"), 2, "the following arguments are required: --by"),
        (("approve", "assistant", "2", "--by", " "), 2, "give a name"),
        (("promote", "assistant"), 2, "the following arguments are required: VERSION"),
    ],
)
def test_what_is_refused_is_told_and_moves_nothing(
    store: Store, arguments: tuple[str, ...], code: int, words: str
) -> None:
    answer = models(store, *arguments)
    assert (answer.code, words in answer.err) == (code, True), answer.err
    assert "Traceback" not in answer.err
    assert aliases.aliases(store, "assistant") == {}


def test_options_are_heard_on_either_side_of_the_verb(store: Store) -> None:
    before = in_this_process(("models", "--store", store.uri, "--json", "list"))
    assert len(json.loads(before.out)) == 3
    assert before == models(store, "--json")
