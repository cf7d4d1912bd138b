"""A user's own filter: found by name, judged by its code, and clear about what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.artifacts.fingerprint import digest
from tasks.filters.row import Reading, Verdict
from tasks.filters.user import FilterError, User

RUDE = '''
from rude_words import WORDS


def rude(row, words=WORDS):
    """A function with a setting."""
    for word in words:
        if word in row.answer:
            return "rude", word


class Polite:
    def __init__(self, word="please"):
        self.word = word

    def __call__(self, row):
        return None if self.word in row.answer else "impolite"


class Uncallable:
    pass


def wrong(row):
    return {"text": 3, "no": False, "three": ("a", "b", "c"), "blank": " ", "pair": ("a", 1)}[row.prompt]


def broken(row):
    return 1 / len(row.answer)


number = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "manners_kit").mkdir()
    (tmp_path / "manners_kit" / "__init__.py").write_text("")
    (tmp_path / "manners_kit" / "checks.py").write_text(RUDE.replace("rude_words", "manners_kit.rude_words"))
    (tmp_path / "manners_kit" / "rude_words.py").write_text('WORDS = ["darn"]\n')
    (tmp_path / "manners_alone.py").write_text(RUDE)
    (tmp_path / "rude_words.py").write_text('WORDS = ["darn"]\n')
    (tmp_path / "manners_kit" / "other.py").write_text("unrelated = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [each for each in sys.modules if each.startswith(("manners_", "rude_words"))]:
        del sys.modules[name]


def reading(answer: str, prompt: str = "Hi") -> Reading:
    return Reading(prompt, answer, 1, 1)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("module", ["manners_kit.checks", "manners_alone"])
@pytest.mark.parametrize("mark", [":", "."])
def test_functions_and_classes_judge_rows_with_their_settings(module: str, mark: str) -> None:
    rude = User(name=f"{module}{mark}rude")
    assert rude(reading("a darn thing")) == Verdict("rude", "darn")
    assert rude(reading("a thing")) is None
    assert User(name=f"{module}{mark}rude", settings={"words": ["thing"]})(reading("a thing")) == ("rude", "thing")
    polite = User(name=f"{module}{mark}Polite", settings={"word": "thanks"})
    assert polite(reading("please")) == Verdict("impolite", "")
    assert polite(reading("thanks")) is None


def test_the_identity_changes_with_the_code_and_what_it_imports(folder: Path) -> None:
    mine = User(name="manners_kit.checks:rude")
    seen = [digest(mine.identity())]
    assert digest(User(name="manners_kit.checks:rude").identity()) == seen[0]
    (folder / "manners_kit" / "other.py").write_text("unrelated = 1000\n")
    assert digest(mine.identity()) == seen[0]

    (folder / "manners_kit" / "rude_words.py").write_text('WORDS = ["darn", "heck"]\n')
    seen.append(digest(mine.identity()))
    assert mine(reading("what the heck")) == Verdict("rude", "heck")

    (folder / "manners_kit" / "checks.py").write_text("def rude(row):\n    return 'always'\n")
    seen.append(digest(mine.identity()))
    assert mine(reading("a kind word")) == Verdict("always", "")
    seen.append(digest(User(name="manners_kit.checks:rude", settings={"a": 1}).identity()))
    assert len(set(seen)) == 4


def test_a_disabled_filter_is_not_looked_for() -> None:
    assert "code" not in User(name="nowhere:Nothing", enabled=False).identity()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("manners_missing:rude", {}, r"no module 'manners_missing'; looked in .* start from the folder that holds it"),
        ("manners_kit.missing:rude", {}, r"no module 'manners_kit.missing'"),
        ("manners_kit.checks:rood", {}, r"'rood' is no function or class of .*checks.py; it has .*'Polite'.*'rude'"),
        ("manners_kit.checks:number", {}, r"'number' is no function or class"),
        ("manners_kit.checks:Uncallable", {}, r"give them a __call__"),
        ("manners_kit.checks:rude", {"wards": []}, r"does not take its settings .*'wards'.*it takes \(row, words="),
        ("manners_kit.checks:Polite", {"ward": ""}, r"does not take its settings .*'ward'"),
        ("manners_kit.checks:broken", {}, r"failed on the row that begins 'Hi': ZeroDivisionError"),
    ],
)
def test_faults_name_the_filter_and_say_what_to_do(name: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(FilterError, match=f"'{name}'.*{words}"):
        User(name=name, settings=settings)(reading(""))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("text", "gave 3 of type int"),
        ("no", "gave False of type bool"),
        ("three", "type tuple"),
        ("blank", "type str"),
        ("pair", r"gave \('a', 1\) of type tuple on the row that begins 'pair'; return None to keep"),
    ],
)
def test_an_answer_that_is_no_verdict_is_refused(prompt: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        User(name="manners_kit.checks:wrong")(reading("", prompt))


def test_modules_that_fail_when_imported_are_told_from_missing_ones(folder: Path) -> None:
    (folder / "manners_kit" / "needy.py").write_text("import manners_nowhere_installed\n")
    with pytest.raises(FilterError, match="imports 'manners_nowhere_installed', which is not installed"):
        User(name="manners_kit.needy:x").identity()
    (folder / "manners_kit" / "failing.py").write_text("1 / 0\n")
    with pytest.raises(FilterError, match="fails when imported: ZeroDivisionError"):
        User(name="manners_kit.failing:x").identity()


@pytest.mark.parametrize("name", ["Polite", "my filters:Polite", "a:b:c", "a..b", ":x", "a.py:"])
def test_names_that_name_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="names no function or class in a module"):
        User(name=name)
