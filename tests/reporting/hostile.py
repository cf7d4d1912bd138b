"""Facts in which every text that a person or a model could have written is an attack."""

from typing import Any, TypeVar

from tasks.config import Config

_Facts = TypeVar("_Facts", bound=Config)

ATTACK = (
    "<script>document.title='owned'</script></style></title></textarea>-->"
    "<img src=x onerror=\"document.title='owned'\">"
    " | `tick` ``` {{ 7 * 7 }} {% raw %} [link](https://evil.example) javascript:alert(1) \u202eright to left\u202c "
    "\x00 café 中文 שלום 👩\u200d👩\u200d👧 & &amp; ' \" \\"
)
SHOWN = ATTACK.replace("\x00", "␀")
"""What a reader must see."""
_CLOSED = {"verdict", "better", "unit", "weights", "made_at", "against", "group", "drift"}


def hostile(facts: _Facts, text: str = ATTACK) -> _Facts:
    """The same facts with the text in every free text field, keys of mappings included."""
    fields = _field_names(type(facts).model_json_schema())
    return type(facts).model_validate(_replaced(facts.model_dump(), text, fields))


def _replaced(value: Any, text: str, fields: set[str]) -> Any:
    if isinstance(value, str):
        return text
    if isinstance(value, list | tuple):
        return [_replaced(item, text, fields) for item in value]
    if not isinstance(value, dict):
        return value
    known = set(value) & fields
    return {
        key if known else f"{text} {number}": item if key in _CLOSED else _replaced(item, text, fields)
        for number, (key, item) in enumerate(value.items())
    }


def _field_names(schema: dict[str, Any]) -> set[str]:
    models = [schema, *schema["$defs"].values()]
    return {name for model in models for name in model.get("properties", {})}
