"""Which of a classifier's weights learn, by method, and the model that comes of them."""

from collections.abc import Iterable
from typing import Any

import torch

from tasks.methods.adapter_files import write_adapter
from tasks.trainer.classifier.config import FirstLayersFrozen, Lora
from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.classifier.models import Loaded, is_of_base


def prepare(loaded: Loaded, job: ClassifierJob) -> Any:
    """The model, in which the weights that learn require gradients and no others do. New weights always learn."""
    model = loaded.model
    if isinstance(job.method, Lora):
        return _with_adapter(loaded, job.method)
    frozen: Iterable[str] = ()
    if isinstance(job.method, FirstLayersFrozen):
        frozen = _first_layers(model, job.method)
    elif job.method.kind == "frozen":
        frozen = [name for name, _ in model.named_parameters() if is_of_base(model, name)]
    staying = set(frozen) - loaded.new
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in staying)
    return model


def export(model: Any, job: ClassifierJob, dtype: torch.dtype) -> Any:
    """The trained model as a plain one; `adapter/` in peft's format is written where there is one."""
    if not isinstance(job.method, Lora):
        return model.to(dtype)
    write_adapter(model, job.output / "adapter")
    # In bfloat16 a small update would vanish beside the weight it is added to.
    return model.to(torch.float32).merge_and_unload().to(dtype)


def _first_layers(model: Any, method: FirstLayersFrozen) -> list[str]:
    """The names of the weights in front of the first layer that learns, in the model's own order of weights."""
    count = model.config.get_text_config().num_hidden_layers
    lists = [
        (name, each)
        for name, each in model.named_modules()
        if isinstance(each, torch.nn.ModuleList) and len(each) == count and is_of_base(model, name)
    ]
    layers = count // 2 if method.layers is None else method.layers
    if not lists or layers >= count:
        told = f"{type(model).__name__} has no list of {count} layers that can be found"
        if lists:
            told = f"method.layers is {layers}, but the model has {count} layers, of which at least one must learn"
        raise ValueError(f"{told}; use method full, lora or frozen")
    names = [name for name, _ in model.named_parameters()]
    begin = next(at for at, name in enumerate(names) if name.startswith(f"{lists[0][0]}.{layers}."))
    return [name for name in names[:begin] if is_of_base(model, name)]


def _with_adapter(loaded: Loaded, method: Lora) -> Any:
    """The model with low-rank matrices beside the base's linear layers, and with a head that learns whole."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers.pytorch_utils import Conv1D

    whole = _modules_of(loaded)
    linear = [
        name
        for name, module in loaded.model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and is_of_base(loaded.model, name)
        and not any(name == each or name.startswith(f"{each}.") for each in whole)
    ]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=method.rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]  # annotated int, but only ever divided
        lora_dropout=method.dropout,
        target_modules=_targets(method, linear),
        modules_to_save=whole,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in loaded.model.modules()),
    )
    prepared = get_peft_model(loaded.model, config)
    for weight in prepared.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return prepared


def _modules_of(loaded: Loaded) -> list[str]:
    """The outermost modules that are new, which peft saves whole."""
    found = set()
    for name in loaded.new:
        path = name.rpartition(".")[0]
        found.add(path if is_of_base(loaded.model, name) else path.split(".")[0])
    return sorted(found)


def _targets(method: Lora, linear: list[str]) -> list[str]:
    if isinstance(method.target_modules, str):
        return linear
    wanted = {each: [name for name in linear if f".{name}".endswith(f".{each}")] for each in method.target_modules}
    if unknown := [each for each, names in wanted.items() if not names]:
        known = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise ValueError(
            f"method.target_modules names {', '.join(unknown)}, but the base has no such linear layer; "
            f"it has {', '.join(known)}"
        )
    return sorted({name for names in wanted.values() for name in names})
