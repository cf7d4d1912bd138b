"""Facts in which every text that a person or a model could have written is an attack."""

from typing import Any

from tasks.reporting.facts import Facts

ATTACK = (
    "<script>document.title='owned'</script></style></title></textarea>-->"
    "<img src=x onerror=\"document.title='owned'\">"
    " | `tick` ``` {{ 7 * 7 }} {% raw %} [link](https://evil.example) javascript:alert(1) \u202eright to left\u202c "
    "\x00 café 中文 שלום 👩\u200d👩\u200d👧 & &amp; ' \" \\"
)
SHOWN = ATTACK.replace("\x00", "␀")
"""What a reader must see."""
_CLOSED = {"verdict", "better", "unit", "weights", "made_at", "against", "group", "drift"}


def hostile(facts: Facts, text: str = ATTACK) -> Facts:
    """The same facts with the text in every free text field, keys of mappings included."""
    return Facts.model_validate(_replaced(facts.model_dump(), text))


def _replaced(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    if isinstance(value, list | tuple):
        return [_replaced(item, text) for item in value]
    if not isinstance(value, dict):
        return value
    known = set(value) & _FIELDS
    return {
        key if known else f"{text} {number}": item if key in _CLOSED else _replaced(item, text)
        for number, (key, item) in enumerate(value.items())
    }


def _field_names(schema: dict[str, Any]) -> set[str]:
    models = [schema, *schema["$defs"].values()]
    return {name for model in models for name in model.get("properties", {})}


_FIELDS = _field_names(Facts.model_json_schema())
