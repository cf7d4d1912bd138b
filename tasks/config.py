"""The base of every configuration: frozen, closed, documented field by field."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


def _as_form(schema: dict[str, Any]) -> None:
    """Write a model's schema so that Prefect's form shows its fields in their order, unions as tabs, tags as selects.

    The form sorts by name where no `position` is given, shows `oneOf` as raw JSON and `const` as free text.
    """
    for position, (name, field) in enumerate(schema.get("properties", {}).items()):
        field["position"] = position
        # Without one of its own a field would bear its shape's name, such as TrainingConfig, or none at all.
        field.setdefault("title", name.replace("_", " ").title())
        _as_tabs_and_selects(field)
        if field.get("enum") == [field.get("default")]:
            # A tag tells which of several shapes is meant: it has to be there, and is the best name of their tab.
            schema["title"] = field["default"]
            schema["required"] = [name, *schema.get("required", ())]


def _as_tabs_and_selects(node: dict[str, Any]) -> None:
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
        # Each shape has a tag of one value of its own, so the shapes still exclude one another.
        node.pop("discriminator", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    for part in (
        *node.get("anyOf", ()),
        *node.get("prefixItems", ()),
        node.get("items"),
        node.get("additionalProperties"),
    ):
        if isinstance(part, dict):
            _as_tabs_and_selects(part)


class Config(BaseModel):
    """A frozen model that refuses unknown keys; each field's docstring is its help everywhere."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        json_schema_extra=_as_form,
    )

    def identity(self) -> dict[str, Any]:
        """The part of the configuration that decides the result, as plain JSON values."""
        return self.model_dump(mode="json")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of names like `early_stopping.patience`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
