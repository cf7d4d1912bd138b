"""Ids and labels beside those of TRL's own preparation, for every template that the installed TRL ships."""

import re
from collections.abc import Iterator, Sequence

import jinja2
import pytest

from tasks.algorithms.chat.rendering import ChatTemplate, RefusedConversation, TemplateError, Text
from tasks.algorithms.chat.template_check import check_template
from tasks.conversation import Message
from tasks.formats.row import Conversation
from tests.algorithms.trl_preparation import (
    SMALL,
    Prepared,
    names,
    offsets,
    prepared,
    real,
    source,
    template,
    theirs,
)

HEADER = "the tags hold what the generation prompt supplies, which a model never writes"
HISTORY = "the template rewrites history, so that the text lacks what a model has to write in an earlier turn"
CALLS = "the template leaves tool calls out, so that an empty answer would be learnt"
WORDS = "the template leaves out the words of a turn that calls tools"
BYTES = "a tag ends in a character of several tokens, of which TRL's mask has the first only"

THINKING = {HEADER, HISTORY}
DIFFERENCES = {
    "cohere2_training": {CALLS},
    "cohere_training": {CALLS},
    "deepseek_r1_distill_training": {HEADER, CALLS},
    "deepseekv3_training": {HEADER},
    "diffusion_gemma_training": {HISTORY, BYTES},
    "gemma3_training": {CALLS},
    "gemma_training": {CALLS},
    "glm4moe_training": {HISTORY},
    "gptoss_training": {HEADER, HISTORY},
    "lfm2_training": {CALLS},
    "llama3_training": {CALLS},
    "muse_glimmer_training": {HEADER, WORDS},
    "nemotron_3_5_lightning_training": THINKING,
    "nemotron_3_nano_training": THINKING,
    "nemotron_3_super_training": THINKING,
    "nemotron_3_ultra_training": THINKING,
    "phi3_5_training": {CALLS},
    "phi3_training": {CALLS},
    "qwen2_5_training": {HEADER},
    "qwen2_5_vl_training": {CALLS},
    "qwen3_5_nothink_training": {HEADER},
    "qwen3_5_think_training": {HEADER},
    "qwen3_6_training": {HEADER},
    "qwen3_8_training": {HEADER},
}
"""Templates that are not named give the same ids and labels for every conversation."""

PARTS = {"idefics3", "idefics3_training", "llava_next", "llava_next_training", "smolvlm", "smolvlm_training"}
"""Templates for pictures, which read typed parts and find nothing in a text."""
TRAINING = [name for name in names("*_training.jinja") if name not in PARTS]
TWINS = [name.removesuffix("_training") for name in TRAINING]
FAILURES = (jinja2.TemplateError, TypeError)
REAL = dict(real())


@pytest.mark.parametrize("name", TRAINING)
def test_training_templates(name: str) -> None:
    ours, named = template(name), DIFFERENCES.get(name, set())
    assert set().union(*(differences(ours, each) for each in SMALL.values())) == named
    assert set().union(*(differences(ours, each) for each in REAL.values())) <= named


def differences(ours: ChatTemplate, conversation: Conversation) -> set[str]:
    """How our preparation differs from theirs; each difference is checked to be what it is called."""
    messages, tools = conversation.messages, conversation.tools
    try:
        wanted = theirs(ours.source, messages, tools)
    except FAILURES:
        with pytest.raises(RefusedConversation):
            ours.trained(messages, tools)
        return set()
    try:
        texts = ours.trained(messages, tools)
    except RefusedConversation as refused:
        return {what_is_left_out(str(refused), ours.source, wanted, conversation)}
    assert sorted(turns(texts)) == [index for index, each in enumerate(messages) if each["role"] == "assistant"]
    seen = set()
    for made in texts:
        # A text is the conversation, or the conversation as it stood right after one of its turns.
        last = max(turn for *_, turn in made.spans) + 1
        whole = made.text == wanted.text
        reference = wanted if whole else theirs(ours.source, messages[:last], tools)
        got = prepared(made)
        assert (got.text, got.ids) == (reference.text, reference.ids)
        if not whole:
            assert not any(wanted.text.startswith(made.text[:end]) for _, end, _ in made.spans)
            seen.add(HISTORY)
        seen |= set(label_differences(ours, made, got, reference, conversation))
    return seen


def turns(texts: Sequence[Text]) -> list[int]:
    """The turns that each of the texts trains."""
    return [turn for made in texts for turn in sorted({turn for *_, turn in made.spans})]


def what_is_left_out(refused: str, template: str, wanted: Prepared, conversation: Conversation) -> str:
    """What the template does not write; so the text without it is the same."""
    absent = {"does not write its call of": "tool_calls", "does not show its content": "content"}
    (field,) = (field for words, field in absent.items() if words in refused)
    less: list[Message] = [dict(message) for message in conversation.messages]  # type: ignore[misc]
    for message in less:
        if message.get("tool_calls"):
            message[field] = "" if field == "content" else None  # type: ignore[literal-required]
    assert theirs(template, less, conversation.tools) == wanted
    return {"tool_calls": CALLS, "content": WORDS}[field]


def label_differences(
    ours: ChatTemplate, made: Text, got: Prepared, reference: Prepared, conversation: Conversation
) -> Iterator[str]:
    places = offsets(made.text)
    for place, (mine, their) in enumerate(zip(got.trained, reference.trained, strict=True)):
        if mine and not their:
            assert places[place] == places[place - 1], "another token of the same character"
            assert got.trained[place - 1]
            yield BYTES
    kept = {turn for *_, turn in made.spans}
    elsewhere = {index for index, each in enumerate(conversation.messages) if each["role"] == "assistant"} - kept
    for run in runs([their and not mine for mine, their in zip(got.trained, reference.trained, strict=True)]):
        begin, end = places[run.start][0], places[run.stop - 1][1]
        turn = next((turn for first, _, turn in made.spans if first == end), None)
        if turn is None:
            # An answer that is trained in another text, in which it stands as the model has to write it.
            assert elsewhere, made.text[begin:end]
            continue
        asked = conversation.messages[:turn]
        prompt, plain = (ours.render(asked, conversation.tools, generation_prompt=given) for given in (True, False))
        supplied = prompt[:end] == made.text[:end] and begin >= len(plain)
        assert supplied or prompt.endswith(made.text[begin:end])
        yield HEADER


def runs(flags: Sequence[bool]) -> Iterator[range]:
    """Where the flagged stand together."""
    start = None
    for place, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = place
        elif not flag and start is not None:
            yield range(start, place)
            start = None


TWIN_DIFFERENCES = {
    "deepseekv3": "it joins the arguments of calls to text, which only arguments that are text can bear",
    "diffusion_gemma": "a turn of calls ends in <|tool_response>, which stops the model and stands outside the tags, "
    "and the header behind a tool's result is no generation prompt, so a model must write it",
}


@pytest.mark.parametrize("name", TWINS)
def test_templates_without_tags_train_what_their_tagged_twins_train(name: str) -> None:
    plain, tagged = template(name), template(f"{name}_training")
    assert not plain.tagged
    assert tagged.tagged
    both = [(each, outcome(plain, each), outcome(tagged, each)) for each in (*SMALL.values(), *REAL.values())]
    different = [pair for pair in both if answers(pair[1]) != answers(pair[2])]
    assert bool(different) is (name in TWIN_DIFFERENCES)
    for conversation, mine, twin in different:
        assert any(message.get("tool_calls") for message in conversation.messages)
        if isinstance(mine, str):
            assert 'can only concatenate str (not "dict")' in mine
            continue
        for turn, said in answers(mine).items():
            assert said.removeprefix("<|turn>model\n").removesuffix("<|tool_response>") == answers(twin)[turn]
    for conversation, mine, twin in both:
        for text in () if isinstance(mine, str) else mine:
            assert_asked_for(plain, text, conversation)
        if answers(mine) == answers(twin) and texts_of(mine) == texts_of(twin):
            assert mine == twin


def outcome(ours: ChatTemplate, conversation: Conversation) -> list[Text] | str:
    try:
        return ours.trained(conversation.messages, conversation.tools)
    except RefusedConversation as refused:
        return re.sub(r" \(line \d+\)$", "", str(refused))


def texts_of(given: list[Text] | str) -> list[str]:
    return [given] if isinstance(given, str) else [each.text for each in given]


def answers(given: list[Text] | str) -> dict[int, str]:
    """What is trained of each turn, wherever."""
    found: dict[int, str] = {}
    if isinstance(given, str):
        return {-1: given}
    for text in given:
        for begin, end, turn in text.spans:
            found[turn] = found.get(turn, "") + text.text[begin:end]
    return found


def assert_asked_for(ours: ChatTemplate, text: Text, conversation: Conversation) -> None:
    """A template writes before an answer what it writes when a model is asked for it, as far as it keeps to that."""
    for begin, _, turn in text.spans:
        asked = ours.render(conversation.messages[:turn], conversation.tools, generation_prompt=True)
        # Harmony drops the thoughts of all calls once the final answer is there; the same prompt stands before it.
        final = text.text[:begin].endswith("<|start|>assistant") and asked.endswith("<|start|>assistant")
        closed = asked.removesuffix("<｜tool▁outputs▁end｜>")
        assert asked.startswith(text.text[:begin]) or final or text.text.startswith(closed)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_templates_for_pictures_are_refused(name: str) -> None:
    with pytest.raises(TemplateError, match=r"ignores assistant turns|has no attribute 'text'"):
        check_template(template(name))


@pytest.mark.parametrize("name", [name for name in names("*.jinja") if name not in PARTS])
def test_all_others_pass_the_check(name: str) -> None:
    found = check_template(template(name))
    ends = any("with no token of its own" in warning for warning in found)
    assert ends is (name == "glm4moe")


def test_glm_stops_with_the_header_of_the_next_turn() -> None:
    (made,) = template("glm4moe").trained(SMALL["single"].messages)
    assert made.text.endswith("can I help?<|user|>")
    assert "{{ '<|user|>' }}" not in source("glm4moe")
