"""Hub data sets, with a folder in the Hub's place: `datasets` reads both through the same door."""

import json
from pathlib import Path

import pytest

from flows.hub import HubName, hub_dataset, hub_name, is_hub_name, keep_split
from flows.recipe import find_inputs, load_recipe
from tasks.artifacts.resource import ResourceError, read_resource
from tasks.sources import read_rows

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = [{"question": "What is it?", "answer": "é\u2028ü"}, {"question": "Why?", "answer": None}]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    for name, rows in (("train", ROWS), ("test", ROWS[:1])):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- {config_name: plain, data_files: [{split: train, path: train/*}, {split: test, path: test/*}]}\n"
        "- {config_name: small, data_files: [{split: dev, path: test/*}]}\n---\n"
    )
    return folder


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("owner/name", HubName("owner/name")),
        ("owner/na.me@v1.0", HubName("owner/na.me", "v1.0")),
        ("hf://datasets/owner/name", HubName("owner/name")),
        (f"hf://datasets/owner/name@{COMMIT}/en/dev", HubName("owner/name", COMMIT, "en", "dev")),
        ("hf://datasets/owner/name/en", HubName("owner/name", None, "en")),
    ],
)
def test_an_address_says_name_revision_configuration_and_split(uri: str, parts: HubName) -> None:
    assert is_hub_name(uri)
    assert hub_name(uri) == parts


@pytest.mark.parametrize(
    "uri", ["hf://owner/name", "hf://datasets/name", "hf://datasets/a/b/c/d/e", "hf://datasets/a/b@"]
)
def test_a_misspelt_address_is_told_how_to_be_written(uri: str) -> None:
    with pytest.raises(ResourceError, match=r"is no data set; give hf://datasets/owner/name"):
        hub_dataset(uri)


def test_what_lies_here_or_looks_like_files_is_no_hub_name(tmp_path: Path) -> None:
    (tmp_path / "data" / "support").mkdir(parents=True)
    for uri in ("data/support", "data/*.jsonl", "data/x.jsonl", "data/x.csv.gz", "data", "a/b/c", "../a", "s3://a/b"):
        assert not is_hub_name(uri, tmp_path)
    assert is_hub_name("data/suport", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (HubName("x", config="plain"), 2),
        (HubName("x", config="plain", split="test"), 1),
        (HubName("x", config="small"), 1),
    ],
)
def test_the_split_named_or_train_or_the_only_one_is_read(
    dataset: Path, tmp_path: Path, wanted: HubName, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = keep_split(str(dataset), wanted, tmp_path / "kept", "x:")
    resource = read_resource(str(kept))
    assert [row for _, row, _ in read_rows(resource, kept.name)] == ROWS[:count]
    again = keep_split(str(dataset), wanted, tmp_path / "again", "x:")
    assert read_resource(str(again)).content == resource.content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (HubName("x"), "plain"),
        (HubName("x", config="big"), "big"),
        (HubName("x", config="plain", split="dev"), "no split dev; it has train, test"),
    ],
)
def test_a_choice_that_cannot_be_made_is_told(dataset: Path, tmp_path: Path, wanted: HubName, words: str) -> None:
    with pytest.raises(ResourceError, match=words):
        keep_split(str(dataset), wanted, tmp_path / "kept", "x:")
    assert list((tmp_path / "kept").iterdir()) == []


def test_code_in_a_data_set_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ResourceError, match="cannot be loaded as a data set"):
        keep_split(str(folder), HubName("x"), tmp_path / "kept", "x:")
    assert not (tmp_path / "ran").exists()


def test_a_commit_that_was_read_before_needs_no_network_and_others_a_clear_error(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETTLE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "home" / "datasets" / "owner--name" / COMMIT / "plain"
    keep_split(str(dataset), HubName("x", config="plain"), folder, "x:")
    recipe = tmp_path / "recipe.yaml"
    base = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
    recipe.write_text(
        f"{{name: a, base_model: {base}, sources: [{{name: s, uri: 'hf://datasets/owner/name@{COMMIT}/plain'}}]}}"
    )
    (source,) = find_inputs(load_recipe(recipe)).sources
    assert source.uri == f"hf://datasets/owner/name@{COMMIT}/plain"
    assert (list(source.files), source.facts["name"]) == (["train.parquet"], "s")
    for setting in ("owner/name", f"hf://datasets/owner/name@{COMMIT}/small", "data/suport"):
        with pytest.raises(ResourceError, match=rf"{setting}.* the Hub did not tell of it: .*the network"):
            find_inputs(load_recipe(recipe, [f"sources.0.uri={setting}"]))
