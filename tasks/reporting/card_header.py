"""The head of a model card: the metadata that the Hub reads, shows and searches by."""

import re
from collections.abc import Sequence

import yaml

from tasks.reporting.facts import Facts, LicenceFacts
from tasks.reporting.score_facts import ScoreFacts

# The Hub refuses a card whose base_model is a folder rather than a name.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB_DATASET = re.compile(r"hf://datasets/(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:[@/].*)?")
_NOT_IN_A_TAG = re.compile(r"[^a-z0-9.]+")
_METRICS = {"nats": "loss", "": "value", "%": "accuracy"}

# Identifiers that the Hub knows; any other licence is told by its name.
# fmt: off
_LICENCES = frozenset({
    "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bigcode-openrail-m", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "gemma", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "llama2", "llama3",
    "llama3.1", "llama3.2", "llama3.3", "llama4", "mit", "mpl-2.0", "odc-by", "odbl", "openrail", "unlicense",
})
# fmt: on
_UNKNOWN = frozenset({"", "unknown"})


def header(facts: Facts) -> str:
    """The metadata as YAML."""
    method = tag(facts.training.method) if facts.training else ""
    data: dict[str, object] = {
        "library_name": "transformers" if facts.weights == "model" else "peft",
        "pipeline_tag": "text-generation",
        "tags": [tag for tag in ("fettle", "sft", "fine-tuned", method) if tag],
    }
    if HUB_NAME.fullmatch(facts.base_model):
        relation = "finetune" if facts.weights == "model" else "adapter"
        data |= {"base_model": facts.base_model, "base_model_relation": relation}
    data |= stated_terms(facts.base_model, facts.licences)
    results = [_result(each) for each in facts.scores if each.against == "base" and each.group in ("benchmark", "loss")]
    if results:
        data["model-index"] = [{"name": facts.title or "model", "results": results}]
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def terms_differ(licences: Sequence[LicenceFacts]) -> bool:
    """Whether more than one licence is known among a model's base and its sources."""
    return len({tag(each.licence) for each in licences} - _UNKNOWN) > 1


def stated_terms(base_model: str, licences: Sequence[LicenceFacts]) -> dict[str, object]:
    """The base model's licence, or only that a source came under another one; and the Hub's data sets."""
    datasets = [found["name"] for each in licences if (found := _HUB_DATASET.fullmatch(each.origin))]
    return _licence(base_model, licences) | ({"datasets": list(dict.fromkeys(datasets))} if datasets else {})


def _licence(base_model: str, licences: Sequence[LicenceFacts]) -> dict[str, object]:
    name = tag(next((each.licence for each in licences if each.name == base_model), ""))
    if name in _UNKNOWN:
        return {}
    if terms_differ(licences):
        return {"license": "other", "license_name": "several-see-below"}
    return {"license": name} if name in _LICENCES else {"license": "other", "license_name": name}


def _result(score: ScoreFacts) -> dict[str, object]:
    metric: dict[str, object] = {
        "type": _METRICS[score.unit],
        "value": round(score.tuned, 4),
        "name": f"{score.kind}, {score.unit}" if score.unit else score.kind,
    }
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": score.name, "type": tag(score.name) or "benchmark"},
        "metrics": [metric],
    }


def tag(text: str) -> str:
    """Apache License 2.0 → apache-license-2.0: small letters, digits, dots and hyphens."""
    return _NOT_IN_A_TAG.sub("-", text.lower()).strip("-")
