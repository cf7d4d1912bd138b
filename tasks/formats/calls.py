"""Tool calls and tool schemas in their several spellings, as the one that chat templates read."""

from typing import Any

from tasks.formats.json_text import compact, parse
from tasks.formats.row import Row, RowError, first_set, quoted

BROKEN_CALL = "broken tool call"
BROKEN_TOOLS = "broken tools"

Call = dict[str, Any]


def read_calls(value: Any) -> list[Call]:
    """The calls of a turn: one or a list of them, as objects or as JSON text."""
    if isinstance(value, str):
        value = parse(value, "a tool call", BROKEN_CALL)
    return [_call(each) for each in (value if isinstance(value, list) else [value])]


def write_calls(calls: list[Call]) -> str | None:
    """The calls as JSON text, or none where there are none."""
    return compact(calls, "the tool calls", BROKEN_CALL) if calls else None


def read_tools(row: Row) -> str | None:
    """The tool schemas in the `tools` or `functions` of a row: a list, or JSON text, or a list of JSON texts."""
    value = first_set(row, "tools", "functions")
    if isinstance(value, str):
        value = parse(value, "the tools' text", BROKEN_TOOLS) if value.strip() else None
    if not value:
        return None
    schemas = [_schema(each) for each in (value if isinstance(value, list) else [value])]
    return compact(schemas, "the tools", BROKEN_TOOLS)


def _call(value: Any) -> Call:
    """A call as {"id"?, "type", "function": {"name", "arguments"}}; also given without the envelope."""
    if isinstance(value, str):
        value = parse(value, "a tool call", BROKEN_CALL)
    if not isinstance(value, dict):
        raise RowError(BROKEN_CALL, f"a call is {type(value).__name__}, not an object")
    if (kind := value.get("type") or "function") != "function":
        raise RowError(BROKEN_CALL, f"a call is of type {quoted(kind)}, not of a function")
    called = value["function"] if isinstance(value.get("function"), dict) else value
    name = called.get("name")
    if not isinstance(name, str) or not name.strip():
        raise RowError(BROKEN_CALL, f"a call names no function, its name is {quoted(name)}")
    function = {"name": name, "arguments": _arguments(name, called.get("arguments"))}
    identity = value.get("id")
    if not isinstance(identity, str | None):
        raise RowError(BROKEN_CALL, f"the id of a call is {type(identity).__name__}, not text")
    return ({"id": identity} if identity else {}) | {"type": "function", "function": function}


def _arguments(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        value = parse(value, f"the arguments of {name}", BROKEN_CALL)
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise RowError(BROKEN_CALL, f"the arguments of {name} are {type(value).__name__}, not an object")
    return value


def _schema(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = parse(value, "a tool", BROKEN_TOOLS)
    schema = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise RowError(BROKEN_TOOLS, f"a tool is {type(value).__name__} without a name")
    return {"type": "function", "function": schema}
