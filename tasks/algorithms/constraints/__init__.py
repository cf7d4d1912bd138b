"""Instructions that a program can check: the 25 kinds of IFEval (Zhou et al. 2023, arXiv 2311.07911).

Each checker says whether an answer follows one instruction; its keywords are the instruction's arguments, as the
data set names them. Where the reference implementation and the words of the instruction part, the words count.
"""

from collections.abc import Callable, Mapping
from functools import cache
from inspect import get_annotations
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tasks.algorithms.constraints import form, keywords, language, length, position

CHECKERS: dict[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": language.capital_word_frequency,
    "change_case:english_capital": language.english_capital,
    "change_case:english_lowercase": language.english_lowercase,
    "combination:repeat_prompt": position.repeat_prompt,
    "combination:two_responses": position.two_responses,
    "detectable_content:number_placeholders": form.number_placeholders,
    "detectable_content:postscript": form.postscript,
    "detectable_format:constrained_response": form.constrained_response,
    "detectable_format:json_format": form.json_format,
    "detectable_format:multiple_sections": form.multiple_sections,
    "detectable_format:number_bullet_lists": form.number_bullet_lists,
    "detectable_format:number_highlighted_sections": form.number_highlighted_sections,
    "detectable_format:title": form.title,
    "keywords:existence": keywords.existence,
    "keywords:forbidden_words": keywords.forbidden_words,
    "keywords:frequency": keywords.frequency,
    "keywords:letter_frequency": keywords.letter_frequency,
    "language:response_language": language.response_language,
    "length_constraints:nth_paragraph_first_word": length.nth_paragraph_first_word,
    "length_constraints:number_paragraphs": length.number_paragraphs,
    "length_constraints:number_sentences": length.number_sentences,
    "length_constraints:number_words": length.number_words,
    "punctuation:no_comma": position.no_comma,
    "startend:end_checker": position.end_checker,
    "startend:quotation": position.quotation,
}


class InstructionError(ValueError):
    """An instruction that nobody can check."""


def follows(text: str, instruction_id: str, arguments: Mapping[str, Any]) -> bool:
    """Whether an answer follows an instruction to the letter; an empty answer follows none.

    Raises `InstructionError` for an unknown instruction and for arguments that are missing, unknown or of a wrong type.
    """
    given = checked(instruction_id, arguments)
    return bool(text.strip()) and CHECKERS[instruction_id](text, **given)


def follows_loosely(text: str, instruction_id: str, arguments: Mapping[str, Any]) -> bool:
    """Whether an answer follows an instruction when the first line, the last line or both are left out ("Sure, here
    it is:"), and all asterisks or not: any of eight texts will do.
    """
    lines = text.split("\n")
    shortened = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    readings = dict.fromkeys([*shortened, *(each.replace("*", "") for each in shortened)])
    return any(follows(each, instruction_id, arguments) for each in readings)


def checked(instruction_id: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that an instruction's checker takes; null ones, which tables are padded with, are left out."""
    if instruction_id not in CHECKERS:
        raise InstructionError(f"nobody can check the instruction {instruction_id!r}; use one of {', '.join(CHECKERS)}")
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return dict(_arguments(instruction_id).model_validate(given))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InstructionError(f"instruction {instruction_id} has the arguments {given}; {wrong}") from None


@cache
def _arguments(instruction_id: str) -> type[BaseModel]:
    kinds = get_annotations(CHECKERS[instruction_id])
    wanted: dict[str, Any] = {name: kind for name, kind in kinds.items() if name not in ("text", "return")}
    return create_model(instruction_id, __config__=ConfigDict(extra="forbid", strict=True), **wanted)
