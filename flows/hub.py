"""Data sets on the Hub: one split, kept as Parquet, known by its content like any other file."""

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flows.server import home
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.sources import ENDINGS

SCHEME = "hf://datasets/"

_NAME = r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w.-]+))?"
_SHORT = re.compile(_NAME)
_LONG = re.compile(rf"{SCHEME}{_NAME}(?:/(?P<config>[^/]+)(?:/(?P<split>[^/]+))?)?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubName(NamedTuple):
    """What an address on the Hub says."""

    name: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None


def is_hub_name(uri: str, folder: Path = Path()) -> bool:
    """Whether a source's address means the Hub: `hf://…`, or `owner/name` where the folder holds no such path."""
    if uri.startswith("hf://"):
        return True
    return _SHORT.fullmatch(uri) is not None and not uri.lower().endswith(ENDINGS) and not (folder / uri).exists()


def hub_name(uri: str) -> HubName:
    """The parts of `owner/name@revision` or `hf://datasets/owner/name@revision/config/split`."""
    found = (_LONG if uri.startswith("hf://") else _SHORT).fullmatch(uri)
    if found is None:
        raise ResourceError(f"{uri} is no data set; give {SCHEME}owner/name, or …/name@revision/config/split")
    return HubName(**found.groupdict())


def hub_dataset(uri: str, facts: Mapping[str, Any] | None = None, splits: Sequence[str] = ()) -> Resource:
    """A data set on the Hub: the split that the address names, else those asked for, else `train` or the only one.

    What was read is kept below Fettle's home by commit. An address with a commit as its revision needs no network
    when it is read again.
    """
    named = hub_name(uri)
    wanted = [named] if named.split or not splits else [named._replace(split=split) for split in splits]
    place = f"{uri} is no file or folder here, and" if "://" not in uri else f"{uri}:"
    if not _COMMIT.fullmatch(named.revision or "") or not all(_kept(each).is_file() for each in wanted):
        commit = _commit(named, place)
        wanted = [each._replace(revision=commit) for each in wanted]
    files = [_kept(each) for each in wanted]
    kept = [
        file if file.is_file() else keep_split(each.name, each, file.parent, place)
        for each, file in zip(wanted, files, strict=True)
    ]
    found = [read_resource(str(file), facts=dict(facts or {})) for file in kept]
    files_found = {name: digest for each in found for name, digest in each.files.items()}
    paths = {name: path for each in found for name, path in each.paths.items()}
    return found[0].model_copy(update={"uri": uri, "files": files_found, "paths": paths})


def _kept(wanted: HubName) -> Path:
    folder = home() / "datasets" / wanted.name.replace("/", "--") / (wanted.revision or "")
    return folder / (wanted.config or "default") / f"{wanted.split or 'train'}.parquet"


def _commit(wanted: HubName, place: str) -> str:
    from huggingface_hub import HfApi

    try:
        with _quiet():
            return str(HfApi().dataset_info(wanted.name, revision=wanted.revision, timeout=30).sha)
    except Exception as error:
        raise ResourceError(
            f"{place} the Hub did not tell of it: {_words(error)}. Check the name and the network; "
            f"a commit that was read before needs none ({wanted.name}@commit)"
        ) from error


def keep_split(path: str, wanted: HubName, folder: Path, place: str) -> Path:
    """Load a data set from the Hub or a folder, and write one split as Parquet; the file appears whole or not at all.

    Code that lies in a data set is never run.
    """
    import datasets

    folder.mkdir(parents=True, exist_ok=True)
    revision = {"revision": wanted.revision} if wanted.revision else {}
    with _quiet(), tempfile.TemporaryDirectory(dir=folder) as cache:
        try:
            splits = datasets.get_dataset_split_names(path, wanted.config, **revision)
            split = _split(splits, wanted, place)
            loaded = datasets.load_dataset(path, wanted.config, split=split, cache_dir=cache, **revision)
            written = Path(cache) / "written.parquet"
            loaded.to_parquet(str(written))
            os.replace(written, folder / f"{split}.parquet")
        except ResourceError:
            raise
        except Exception as error:
            raise ResourceError(
                f"{place} it cannot be loaded as a data set: {_words(error)}. Name its configuration and split "
                f"({SCHEME}owner/name/config/split), or download its files and give their folder"
            ) from error
    return folder / f"{split}.parquet"


def _split(splits: list[str], wanted: HubName, place: str) -> str:
    split = wanted.split or ("train" if "train" in splits or len(splits) != 1 else splits[0])
    if split not in splits:
        raise ResourceError(f"{place} the data set has no split {split}; it has {', '.join(splits)}")
    return split


def _words(error: BaseException) -> str:
    cause = error.__cause__ or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text.rstrip(".")[:400]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and notes of `datasets`: a stage's own progress is shown."""
    import datasets
    import huggingface_hub

    bars = not datasets.are_progress_bars_disabled()
    loggers = (datasets.logging, huggingface_hub.logging)
    verbosity = [each.get_verbosity() for each in loggers]
    datasets.disable_progress_bars()
    for each in loggers:
        each.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, before in zip(loggers, verbosity, strict=True):
            each.set_verbosity(before)
        if bars:
            datasets.enable_progress_bars()
