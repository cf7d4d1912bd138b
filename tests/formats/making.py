"""Rows and turns, short to write."""

from typing import Any

from tasks.conversation import Message
from tasks.formats.row import system


def asked(*texts: str, system_text: str = "") -> list[Message]:
    """The texts as turns of the user and the assistant."""
    return system(system_text) + [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]


def chat(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    """A row in OpenAI's format, of roles and contents."""
    return {"messages": [{"role": role, "content": content} for role, content in pairs], **more}


def sharegpt(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    """A row in ShareGPT's format, of speakers and values."""
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in pairs], **more}
