"""Inputs are known by their bytes and their names, wherever they lie."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import s3fs

from tasks.artifacts.errors import StoreError
from tasks.artifacts.resource import (
    Resource,
    ResourceError,
    open_seekable,
    open_stream,
    read_bytes,
    read_resource,
    require_unchanged,
)
from tests.servers.faults import FaultProxy

FILES = {"a.jsonl": b"1\n", "b.jsonl": b"2\n", "deep/c.jsonl": b"3\n", "notes.txt": b"n"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def remote(bucket: str) -> str:
    files = s3fs.S3FileSystem()
    for name, content in FILES.items():
        files.pipe_file(f"{bucket}/some/data/{name}", content)
    files.pipe_file(f"{bucket}/some/data-other/x.jsonl", b"not ours")
    return f"{bucket}/some/data"


ADDRESSES = {
    "": ["a.jsonl", "b.jsonl", "deep/c.jsonl", "notes.txt"],
    "/": ["a.jsonl", "b.jsonl", "deep/c.jsonl", "notes.txt"],
    "/a.jsonl": ["a.jsonl"],
    "/*.jsonl": ["a.jsonl", "b.jsonl"],
    "/**/*.jsonl": ["a.jsonl", "b.jsonl", "deep/c.jsonl"],
    "/*/c.jsonl": ["deep/c.jsonl"],
}


def test_same_files_are_one_resource_wherever_they_lie(data: Path, remote: str, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "elsewhere" / "copy")
    places = (str(data), str(tmp_path / "elsewhere" / "copy"), f"file://{data}", remote)
    for address, names in ADDRESSES.items():
        found = [read_resource(f"{place}{address}") for place in places]
        assert [sorted(each.files) for each in found] == [names] * 4
        assert len({each.content for each in found}) == 1
        assert [read_bytes(each, names[-1]) for each in found] == [FILES[names[-1]]] * 4


def test_glob_relative_to_the_working_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    assert read_resource("*.jsonl").content == read_resource(f"{data}/*.jsonl").content


def test_changed_byte_new_name_and_other_facts_are_other_content(data: Path) -> None:
    def content() -> str:
        return read_resource(str(data), facts={"role": "code"}).content

    contents = [content()]
    os.utime(data / "a.jsonl", (1, 1))
    assert content() == contents[0]
    (data / "a.jsonl").write_bytes(b"9\n")
    contents.append(content())
    (data / "a.jsonl").rename(data / "z.jsonl")
    contents += [content(), read_resource(str(data), facts={"role": "safety"}).content]
    assert len(set(contents)) == 4


def test_patterns_choose_files_of_a_folder(data: Path, remote: str) -> None:
    for place in (str(data), remote, f"file://{data}"):
        assert sorted(read_resource(place, patterns=["*.txt", "c*"]).files) == ["deep/c.jsonl", "notes.txt"]
    with pytest.raises(ResourceError, match=r"holds no file like \*\.safetensors, \*\.bin"):
        read_resource(str(data), patterns=["*.safetensors", "*.bin"])


def test_hidden_files_and_folders_are_no_data(data: Path, remote: str) -> None:
    before = read_resource(str(data)).content
    (data / ".ipynb_checkpoints").mkdir()
    (data / ".ipynb_checkpoints" / "a.jsonl").write_bytes(b"old")
    (data / ".DS_Store").write_bytes(b"x")
    s3fs.S3FileSystem().pipe_file(f"{remote}/.cache/x", b"x")
    assert read_resource(str(data)).content == before == read_resource(remote).content


def test_part_of_a_resource_is_known_by_that_part(data: Path) -> None:
    before = read_resource(str(data)).only("*.txt")
    (data / "a.jsonl").write_bytes(b"changed")
    after = read_resource(str(data)).only("*.txt")
    assert before.content == after.content
    assert list(after.paths) == ["notes.txt"]


def test_file_that_changes_or_goes_after_it_was_known_is_refused(data: Path, remote: str) -> None:
    for place in (str(data), remote):
        resource = read_resource(place)
        if "://" in place:
            s3fs.S3FileSystem().pipe_file(f"{place}/a.jsonl", b"9\n")
            s3fs.S3FileSystem().rm_file(f"{place}/b.jsonl")
        else:
            (data / "a.jsonl").write_bytes(b"9\n")
            (data / "b.jsonl").unlink()
        with pytest.raises(ResourceError, match=r"a\.jsonl changed while the run was under way; run again"):
            read_bytes(resource, "a.jsonl")
        with pytest.raises((ResourceError, StoreError), match=r"cannot read .*b\.jsonl"):
            read_bytes(resource, "b.jsonl")


OPENINGS = [open_stream, open_seekable]


@pytest.mark.parametrize("opened", OPENINGS)
def test_an_opened_file_gives_its_bytes_wherever_it_lies(opened: Any, data: Path, remote: str) -> None:
    for place in (str(data), remote):
        resource = read_resource(place)
        for name, content in FILES.items():
            with opened(resource, name) as file:
                assert file.read(1) + file.read(1 << 20) + file.read(1) == content


@pytest.mark.parametrize("opened", OPENINGS)
def test_an_opened_file_that_is_another_is_told_on_leaving_however_little_was_read(
    opened: Any, data: Path, remote: str
) -> None:
    for place in (str(data), remote):
        resource = read_resource(place)
        if "://" in place:
            s3fs.S3FileSystem().pipe_file(f"{place}/a.jsonl", b"1\n2\n")
        else:
            (data / "a.jsonl").write_bytes(b"1\n2\n")
        for size in (0, 2, 99):
            with (
                pytest.raises(ResourceError, match=r"a\.jsonl changed while the run was under way; run again"),
                opened(resource, "a.jsonl") as file,
            ):
                file.read(size)


@pytest.mark.parametrize("opened", OPENINGS)
def test_a_fault_in_the_bytes_gives_way_to_a_change_of_the_file_and_is_kept_without(opened: Any, data: Path) -> None:
    resource = read_resource(str(data))

    def fail() -> None:
        with opened(resource, "a.jsonl"):
            raise ValueError("not a number")

    with pytest.raises(ValueError, match="not a number"):
        fail()
    (data / "a.jsonl").write_bytes(b"9\n")
    with pytest.raises(ResourceError, match=r"a\.jsonl changed while the run was under way"):
        fail()


def test_a_file_that_cannot_be_opened_is_named(data: Path) -> None:
    resource = read_resource(str(data))
    (data / "a.jsonl").unlink()
    for opened in OPENINGS:
        with pytest.raises(ResourceError, match=r"cannot read .*a\.jsonl: No such file"), opened(resource, "a.jsonl"):
            pass


def test_files_that_others_read_are_checked_afterwards(data: Path) -> None:
    resource = read_resource(str(data))
    require_unchanged(resource)
    (data / "deep" / "c.jsonl").write_bytes(b"9\n")
    with pytest.raises(ResourceError, match=r"c\.jsonl changed while the run was under way; run again"):
        require_unchanged(resource)
    (data / "deep" / "c.jsonl").unlink()
    with pytest.raises(ResourceError, match=r"cannot read .*c\.jsonl: No such file"):
        require_unchanged(resource)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nowhere.jsonl", r"nothing is at .*nowhere\.jsonl; give a file, a folder, a glob that matches, or s3://"),
        ("data/*.csv", r"nothing is at .*\*\.csv"),
        ("file:///nowhere", r"nothing is at /nowhere"),
        ("https://host/x.jsonl", r"https://host/x\.jsonl cannot be read; give a file"),
        ("s3://", r"s3:// cannot be read; give a file"),
    ],
)
def test_missing_input_is_named(address: str, words: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    with pytest.raises(ResourceError, match=words):
        read_resource(address)


def test_missing_object_bucket_and_server_are_told_apart(remote: str, bucket: str, fault_proxy: FaultProxy) -> None:
    for absent in (f"{remote}/absent.jsonl", f"{remote}/absent/*.jsonl", f"{remote[:-2]}"):
        with pytest.raises(ResourceError, match=r"nothing is at s3://.*; check the bucket and the prefix"):
            read_resource(absent)
    with pytest.raises(ResourceError, match=r"s3://no-such-bucket/x: cannot read .*bucket does not exist"):
        read_resource("s3://no-such-bucket/x")
    resource = read_resource(remote)
    fault_proxy.mode = "drop"
    with pytest.raises(ResourceError, match=rf"cannot read {remote}: .*run again when the store answers"):
        read_resource(remote)
    with pytest.raises(StoreError, match=r"cannot read s3://.*a\.jsonl") as caught:
        read_bytes(resource, "a.jsonl")
    assert caught.value.transient


def test_folder_is_only_for_what_is_on_this_machine(data: Path) -> None:
    assert Resource(uri=f"file://{data}", files={}, paths={}).folder == data
    with pytest.raises(ResourceError, match="not on this machine"):
        _ = Resource(uri="s3://b/model", files={}, paths={}).folder
