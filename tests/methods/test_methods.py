import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.methods import Full, Lora, Method

METHOD: TypeAdapter[Full | Lora] = TypeAdapter(Method)


def test_the_kind_chooses_the_method() -> None:
    assert METHOD.validate_python({"kind": "full"}) == Full()
    lora = METHOD.validate_python({"kind": "lora", "rank": 4, "target_modules": ["q_proj", "v_proj"]})
    assert lora == Lora(rank=4, target_modules=["q_proj", "v_proj"])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kind": "lora", "rank": 0}, "rank"),
        ({"kind": "lora", "dropout": 1.0}, "dropout"),
        ({"kind": "full", "rank": 8}, "rank"),
        ({"kind": "magic"}, "magic"),
    ],
)
def test_a_bad_method_is_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        METHOD.validate_python(values)


@pytest.mark.parametrize("method", [Full, Lora])
def test_every_field_has_help(method: type[Full | Lora]) -> None:
    assert all(field.description for field in method.model_fields.values())


def test_configs_and_launcher_import_neither_torch_nor_prefect() -> None:
    modules = ["tasks.methods", "tasks.trainer.job", "tasks.trainer.events", "tasks.trainer.launch"]
    modules += ["tasks.trainer.train", "tasks.trainer.scoring"]
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'transformers', 'prefect'}} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
