"""lm-evaluation-harness's task object: loaded from a folder, refused where one question is not one request, asked."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from jinja2.sandbox import SandboxedEnvironment

from tasks.artifacts.resource import Resource, read_bytes
from tasks.benchmarks.item import BenchmarkError

_READERS = ("json", "parquet", "csv", "text")
_GREEDY = ("exact_match", "acc_mutual_info")
"""Metrics of multiple choice that need more than the likelihood of each choice."""


class Asking(NamedTuple):
    """What one document asks of a model."""

    prompt: str
    continuations: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    max_new_tokens: int | None = None

    @classmethod
    def of(cls, requests: Sequence[Any], name: str) -> Self:
        """The requests of one document as one; `BenchmarkError` where they have several prompts or sample."""
        prompts = {request.args[0] for request in requests}
        if len(prompts) != 1:
            raise BenchmarkError(
                f"{name}: its requests have {len(prompts)} prompts; a task with one prompt and several choices can be "
                "asked, one that puts the choices into the prompt cannot"
            )
        (prompt,) = prompts
        if requests[0].request_type == "loglikelihood":
            return cls(prompt, tuple(request.args[1] for request in requests))
        settings = requests[0].args[1]
        if settings.get("do_sample") or settings.get("temperature"):
            raise BenchmarkError(f"{name}: generation_kwargs ask for sampling; set do_sample: false, temperature: 0")
        until = settings.get("until") or []
        return cls(prompt, (), tuple([until] if isinstance(until, str) else until), settings.get("max_gen_toks"))


def load_task(benchmark: Resource) -> Any:
    """The task of a folder; code that it names is run only where the recipe trusts it, the network is not asked.

    It is read from a copy of the benchmark's files, so that nothing else can be a part of it. Its templates are
    rendered in a sandbox in any case.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise BenchmarkError(
            f"benchmarks of kind harness need lm-evaluation-harness ({error}); pip install 'fettle[harness]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="fettle-harness-") as temporary:
        folder = Path(temporary).resolve() / "task"
        for name in benchmark.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(read_bytes(benchmark, name))
        _require_harmless(benchmark, folder)
        _render_in_a_sandbox()
        manager = TaskManager(include_path=folder, include_defaults=False)
        entries = {name: entry for name, entry in manager.task_index.items() if entry.kind.name == "TASK"}
        name = _chosen(benchmark, entries)
        settings = {**(entries[name].cfg.get("dataset_kwargs") or {}), "cache_dir": temporary, "keep_in_memory": True}
        settings["data_files"] = _data(benchmark, entries[name], folder)
        try:
            with _no_bars():
                # Only a group's tasks take other settings than their file's.
                loaded = manager.load({"group": "fettle", "task": [{"task": name, "dataset_kwargs": settings}]})
        except Exception as error:
            raise BenchmarkError(f"{benchmark.uri}: task {name} cannot be loaded: {error}") from error
    return loaded["tasks"][name]


_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Settings(_Reader):  # type: ignore[misc]  # libyaml's reader where there is one, as lm-eval has it
    """Reads a task's file as lm-eval does, but for the code that it names."""

    names_code = False

    def code(self, _node: yaml.Node) -> None:
        self.names_code = True


_Settings.add_constructor("!function", _Settings.code)


def _require_harmless(benchmark: Resource, folder: Path) -> None:
    """Raise `BenchmarkError` for a task of files that are no part of the benchmark, or of code that nobody trusted.

    Tags have several spellings and includes any name, so that the files are read, not searched.
    """
    waiting = [name for name in benchmark.files if name.endswith((".yaml", ".yml"))]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        settings, names_code = _read_settings(benchmark, folder, name)
        if not benchmark.facts["trust_remote_code"]:
            _require_trusted(benchmark, name, settings, names_code)
        if isinstance(settings, dict) and "include" in settings:
            given = settings["include"]
            waiting += [
                _included(benchmark, folder, name, each) for each in (given if isinstance(given, list) else [given])
            ]


def _read_settings(benchmark: Resource, folder: Path, name: str) -> tuple[Any, bool]:
    try:
        reader = _Settings((folder / name).read_bytes())
        try:
            return reader.get_single_data(), reader.names_code
        finally:
            reader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise BenchmarkError(f"{benchmark.uri}: {name} cannot be read as YAML: {told[:200]}") from error


def _require_trusted(benchmark: Resource, name: str, settings: Any, names_code: bool) -> None:
    if names_code:
        raise BenchmarkError(
            f"{benchmark.uri}: {name} names code by !function, which would run on this machine; look at it, then set "
            "trust_remote_code: true"
        )
    if unknown := sorted(_foreign_metrics(settings)):
        raise BenchmarkError(
            f"{benchmark.uri}: {name} has the metric {unknown[0]}, which is none of lm-eval's own and would be loaded "
            "as code; name one of its own, or look at it, then set trust_remote_code: true"
        )


def _foreign_metrics(settings: Any) -> set[str]:
    """Metrics, at any depth, that lm-eval would look for in the `evaluate` library, on the Hub or in a folder."""
    from lm_eval.api import metrics, registry

    _ = metrics  # by being imported it registers those that there are
    found: set[str] = set()
    waiting, seen = [settings], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or not isinstance(each, dict | list):
            continue  # YAML's aliases may lead in a circle
        seen.add(id(each))
        waiting += each.values() if isinstance(each, dict) else each
        if isinstance(each, dict) and isinstance(each.get("metric"), str):
            foreign = bool(each.get("hf_evaluate")) or each["metric"] not in registry.metric_registry
            found |= {each["metric"]} if foreign else set()
    return found


def _included(benchmark: Resource, folder: Path, name: str, given: Any) -> str:
    """The file of the benchmark that another one includes."""
    path = ((folder / name).parent / str(given)).resolve()
    if not (path.is_relative_to(folder) and path.is_file()):
        raise BenchmarkError(
            f"{benchmark.uri}: {name} includes {given}, which is none of the benchmark's files; give the folder that "
            "holds both as uri"
        )
    return path.relative_to(folder).as_posix()


def _render_in_a_sandbox() -> None:
    """Let lm-eval render templates without reaching Python through them."""
    from lm_eval import utils

    plain = utils.env
    if not isinstance(plain, SandboxedEnvironment):
        utils.env = SandboxedEnvironment(undefined=plain.undefined, keep_trailing_newline=plain.keep_trailing_newline)
        utils.env.filters |= plain.filters


def _chosen(benchmark: Resource, entries: Mapping[str, Any]) -> str:
    name: str | None = benchmark.facts["task"]
    if name is None and len(entries) == 1:
        return next(iter(entries))
    if name is None or name not in entries:
        known = ", ".join(sorted(entries)) or "no task (does one include a file that lies elsewhere?)"
        raise BenchmarkError(f"{benchmark.uri}: task is {name or 'not set'}; its YAML files hold {known}")
    return name


@contextmanager
def _no_bars() -> Iterator[None]:
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _data(benchmark: Resource, entry: Any, folder: Path) -> Any:
    """The places of a task's `data_files`, which must be files of the benchmark, named from the YAML file."""
    yaml = entry.yaml_path.relative_to(folder)
    given, reader = (entry.cfg.get("dataset_kwargs") or {}).get("data_files"), entry.cfg.get("dataset_path")
    if reader not in _READERS or not given:
        raise BenchmarkError(
            f"{benchmark.uri}: the data of {yaml} are not files beside it (dataset_path is {reader!r}); put them into "
            f"its folder and give dataset_path: {' or '.join(_READERS)}, dataset_kwargs: data_files: …"
        )

    def placed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {split: placed(each) for split, each in value.items()}
        if isinstance(value, list):
            return [placed(each) for each in value]
        path = (entry.yaml_path.parent / value).resolve()
        if not (path.is_relative_to(folder) and path.is_file()):
            raise BenchmarkError(
                f"{benchmark.uri}: {yaml} names the data file {value}, which is none of the benchmark's files; give "
                "the folder that holds both as uri"
            )
        return str(path)

    return placed(given)


def require_askable(task: Any) -> None:
    """Raise `BenchmarkError` for a task whose documents are not one choice or one answer each."""
    name, kind = task.config.task, task.OUTPUT_TYPE
    if kind not in ("multiple_choice", "generate_until"):
        raise BenchmarkError(
            f"task {name}: output_type is {kind}; multiple_choice and generate_until can be asked. For the loss on "
            "texts give a benchmark of kind text"
        )
    if task.config.repeats != 1:
        raise BenchmarkError(f"task {name}: repeats is {task.config.repeats}; answers are greedy, set it to 1")
    if task.config.doc_to_image or task.config.doc_to_audio:
        raise BenchmarkError(f"task {name} shows pictures or sound; only text can be asked")


def scored(task: Any, number: int, answers: Sequence[Any], metric: str | None) -> float:
    """A metric of a document in 0 to 1: `metric` or `metric,filter`, the first that is better when higher if not set.

    `answers` are (log-likelihood, greedy) pairs of the choices, or one text.
    """
    from lm_eval.api.instance import Instance

    doc, kind = task.task_docs[number], "loglikelihood" if task.OUTPUT_TYPE == "multiple_choice" else "generate_until"
    requests = [Instance(kind, doc, (), place, resps=[answer]) for place, answer in enumerate(answers)]
    filters = {each.name: each for each in task._filters}
    wanted, _, chosen = (metric or "").partition(",")
    better = [each for each, higher in task.higher_is_better().items() if higher]
    if chosen and chosen not in filters:
        raise BenchmarkError(f"task {task.config.task} has no filter {chosen}; it has {', '.join(filters)}")
    if (wanted and wanted not in better) or not better:
        raise BenchmarkError(
            f"task {task.config.task}: metric {wanted or 'not set'}; better when higher: {', '.join(better) or 'none'}"
        )
    name = chosen or next(iter(filters))
    filters[name].apply(requests)
    counted = task.process_results(doc, [request.filtered_resps[name] for request in requests])
    return _value(task, counted, wanted or better[0])


def _value(task: Any, counted: Mapping[str, Any], metric: str) -> float:
    value = counted.get(metric)
    if task.OUTPUT_TYPE == "multiple_choice" and metric in _GREEDY:
        why = "needs more than the likelihood of each choice"
    elif not isinstance(value, int | float) or not 0 <= value <= 1:
        why = f"gives {value!r} for a document"
    else:
        return float(value)
    raise BenchmarkError(f"task {task.config.task}: metric {metric} {why}; choose one that is a share from 0 to 1")
