import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.config import Config
from tasks.methods import Dora, Elastic, FirstLayersFrozen, Full, LastLayers, Lora, Method, Qlora

METHOD: TypeAdapter[Config] = TypeAdapter(Method)
KINDS: dict[str, type[Config]] = {
    "full": Full,
    "lora": Lora,
    "dora": Dora,
    "qlora": Qlora,
    "last_layers": LastLayers,
    "first_layers_frozen": FirstLayersFrozen,
    "elastic": Elastic,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_chooses_the_method(kind: str) -> None:
    needed = {"layers": 2} if kind == "first_layers_frozen" else {}
    method = METHOD.validate_python({"kind": kind, **needed})
    assert type(method) is KINDS[kind]
    assert method.identity()["kind"] == kind


def test_fields_are_read() -> None:
    lora = METHOD.validate_python({"kind": "lora", "rank": 4, "target_modules": ["q_proj", "v_proj"]})
    assert lora == Lora(rank=4, target_modules=["q_proj", "v_proj"])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kind": "lora", "rank": 0}, "rank"),
        ({"kind": "lora", "dropout": 1.0}, "dropout"),
        ({"kind": "full", "rank": 8}, "rank"),
        ({"kind": "magic"}, "magic"),
        ({"kind": "lora", "target_modules": []}, "target_modules"),
        ({"kind": "dora", "target_modules": [""]}, "target_modules"),
        ({"kind": "dora", "alpha": 0}, "alpha"),
        ({"kind": "qlora", "start_from": ""}, "start_from"),
        ({"kind": "last_layers", "layers": -1}, "layers"),
        ({"kind": "first_layers_frozen"}, "layers"),
        ({"kind": "first_layers_frozen", "layers": 0}, "layers"),
        ({"kind": "elastic", "strength": 0}, "strength"),
        ({"kind": "elastic", "samples": 0}, "samples"),
        ({"kind": "elastic", "roles": []}, "roles"),
        ({"kind": "elastic", "roles": ["other"]}, "roles"),
    ],
)
def test_a_bad_method_is_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        METHOD.validate_python(values)


@pytest.mark.parametrize("method", KINDS.values())
def test_every_field_has_help(method: type[Config]) -> None:
    assert all(field.description for field in method.model_fields.values())


def test_configs_and_launcher_import_neither_torch_nor_prefect() -> None:
    modules = ["tasks.methods", "tasks.trainer.job", "tasks.trainer.events", "tasks.trainer.launch"]
    modules += ["tasks.trainer.train", "tasks.trainer.scoring"]
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'transformers', 'prefect'}} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
