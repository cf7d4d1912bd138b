"""The mask proof clears every right mask and finds every wrong one."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tasks.algorithms.chat.answers import EVERYTHING, Trained
from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate
from tasks.algorithms.masks.examples import MOST_ROWS, SAMPLES, SampleRows
from tasks.algorithms.masks.figures import MaskFigures
from tasks.algorithms.masks.proof import Proof, prove
from tasks.algorithms.masks.vocabulary import vocabulary_of
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.files import spelling
from tasks.algorithms.tokens.masking import trained_tokens
from tests.algorithms.chatml_batches import Batch, Laid, Turns, assistant, batch, chatml, user
from tests.stages.making import byte_fallback, byte_level

BYTES, FALLBACK = byte_level(), byte_fallback()


def word_pieces() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = ["name a colour blue it is the user assistant 0123456789 <|im_start|> <|im_end|> é 你"] * 2
    specials = ["[UNK]", "<|im_start|>", "<|im_end|>"]
    made.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=specials, show_progress=False))
    return made


WORDS = word_pieces()
TOKENIZERS = {"byte-level": BYTES, "byte fallback": FALLBACK, "word pieces": WORDS}
TWO_TURNS = [user("Name a colour."), assistant("Blue."), user("And one more?"), assistant("It is the 2nd: green.")]
CALL = json.dumps([{"type": "function", "function": {"name": "fees", "arguments": {"card": 3}}}])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_right_masks_are_cleared(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    rows = [
        TWO_TURNS,
        [user("É 你好 👩‍👩‍👧?"), assistant("  naïve \u3000")],
        [user("a"), assistant("a"), user("a"), assistant("a")],
        [user("Why?"), assistant("Because.", reasoning="Let me think about a cause.")],
        [user("The fee?"), assistant("", tool_calls=CALL)],
        [user("The fee?"), assistant("I look it up.", reasoning="They want a fee.", tool_calls=CALL)],
        [user("Say nothing."), assistant("")],
        [user("Two"), assistant("wrong", weight=0.0), user("Again"), assistant("right")],
        [user("no answer")],
    ]
    made = batch(tokenizer, rows)
    proof = replace(made, opening=opening(tokenizer)).prove()
    assert proof.faults == {}
    assert proof.unshown_calls == {}
    assert proof.numbers.tolist() == [1, 2, 1, 1, 2, 1, 1, 1, 1, 2]
    simple = [each.as_py() for each in proof.tails][:3]
    assert simple == [b"<|im_end|>\n"] * 3


def opening(tokenizer: Tokenizer) -> tuple[int, ...]:
    return tuple(tokenizer.get_added_tokens_decoder())


CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, max_size=12) | st.sampled_from(["a", ".", "\n", "assistant\n", " x ", "<think>", "你好"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.none() | TEXT), min_size=1, max_size=3), st.sampled_from(["all", "last"]))
def test_any_conversation_is_cleared(pairs: list[tuple[str, str, str | None]], which: Any) -> None:
    turns = [each for asked, said, thought in pairs for each in (user(asked), assistant(said, reasoning=thought))]
    turns = [{**turn, "reasoning": (turn.get("reasoning") or "").strip()} for turn in turns]
    text, spans = chatml(turns)
    made = batch(BYTES, [turns], texts=[[(text, spans[-1:] if which == "last" else spans)]])
    assert replace(made, choice=Trained(turns=which)).prove().faults == {}


def test_a_turn_of_several_texts_is_trained_in_one_of_them() -> None:
    text, spans = chatml(TWO_TURNS)
    early, early_spans = chatml(TWO_TURNS[:2])
    assert batch(BYTES, [TWO_TURNS], texts=[[(early, early_spans), (text, spans[1:])]]).prove().faults == {}
    twice = batch(BYTES, [TWO_TURNS], texts=[[(early, early_spans), (text, spans)]]).prove().faults
    assert sorted(twice) == [0, 1]
    assert "turn 2 (assistant: 'Blue.') is trained 2 times" in twice[0]
    never = batch(BYTES, [TWO_TURNS], texts=[[(early, early_spans), (text, [])]]).prove().faults
    assert never == {0: "turn 4 (assistant: 'It is the 2nd: green.') is not trained, but should be"}


def shifted(made: Batch) -> Batch:
    return replace(made, trained=np.append(False, made.trained[:-1]))


def shifted_back(made: Batch) -> Batch:
    return replace(made, trained=np.append(made.trained[1:], False))


def all_zero(made: Batch) -> Batch:
    return replace(made, trained=np.zeros_like(made.trained))


def all_one(made: Batch) -> Batch:
    return replace(made, trained=np.ones_like(made.trained))


def a_token_of_another_id(made: Batch) -> Batch:
    place = int(np.flatnonzero(made.trained)[1])
    return made.with_ids(place, int(made.tokens.ids[place]) + 1)


def an_id_outside_of_the_vocabulary(made: Batch) -> Batch:
    return made.with_ids(3, 1_000_000)


def moved(begin: int = 0, end: int = 0) -> Callable[[Batch], Batch]:
    def change(made: Batch) -> Batch:
        ranges = made.rendered.trained
        return made.with_ranges((ranges.begins + begin).tolist(), (ranges.ends + end).tolist())

    return change


def without_a_turn(made: Batch) -> Batch:
    text, spans = chatml(TWO_TURNS)
    return batch(BYTES, [TWO_TURNS], texts=[[(text, spans[:1])]])


def all_turns(made: Batch) -> Batch:
    text, spans = chatml([{**turn, "role": "assistant"} for turn in TWO_TURNS])
    return batch(BYTES, [TWO_TURNS], texts=[[(text, spans)]])


def users_text_taken_for_the_answer(made: Batch) -> Batch:
    text, spans = chatml(TWO_TURNS)
    begin = text.index("And")
    return batch(BYTES, [TWO_TURNS], texts=[[(text, [spans[0], (begin, begin + 25, 3)])]])


def a_turn_that_is_not_there(made: Batch) -> Batch:
    text, spans = chatml(TWO_TURNS)
    return batch(BYTES, [TWO_TURNS], texts=[[(text, [spans[0], (*spans[1][:2], 4)])]])


def a_lost_token(made: Batch) -> Batch:
    keep = np.arange(len(made.tokens.ids)) != 5
    tokens = replace(
        made.tokens,
        ids=made.tokens.ids[keep],
        begins=made.tokens.begins[keep],
        ends=made.tokens.ends[keep],
        offsets=np.array([0, keep.sum()]),
    )
    return replace(made, tokens=tokens, trained=made.trained[keep])


HEADER, END = len("<|im_start|>assistant\n"), len("<|im_end|>\n")
MUTATIONS: list[tuple[Callable[[Batch], Batch], str]] = [
    (shifted, "'Blue', is not trained, but the assistant is to write it"),
    (shifted_back, "is trained, but the assistant is not to write it"),
    (all_zero, "'Blue', is not trained, but the assistant is to write it"),
    (all_one, "token 0 of "),
    (a_token_of_another_id, "spells"),
    (an_id_outside_of_the_vocabulary, "1000000"),
    (moved(-HEADER), "turn 2: the header before its answer is trained: '<|im_start|>assistant"),
    (moved(-HEADER + 12), "turn 2: the header before its answer is trained: 'assistant"),
    (moved(0, -END), "nothing that ends the turn is trained"),
    (moved(1), "turn 2: its answer 'Blue.' is not what its labels cover: 'lue."),
    (moved(0, -END - 1), "'Blue.' is not what its labels cover: 'Blue'"),
    (without_a_turn, "turn 4 (assistant: 'It is the 2nd: green.') is not trained"),
    (all_turns, "turn 1 (user: 'Name a colour.') is trained, but should not be"),
    (users_text_taken_for_the_answer, "turn 4: its answer 'It is the 2nd: green.' is not what its labels cover"),
    (a_turn_that_is_not_there, "turn 5 is trained, but there is none"),
    (a_lost_token, "no token stands for"),
]


@pytest.mark.parametrize(("mutation", "words"), MUTATIONS)
def test_every_kind_of_wrong_mask_is_found(mutation: Callable[[Batch], Batch], words: str) -> None:
    right = batch(BYTES, [TWO_TURNS])
    assert right.prove().faults == {}
    assert words in mutation(right).prove().faults[0]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_flipped_label_or_changed_id_is_found(data: st.DataObject) -> None:
    rows: list[Turns] = [TWO_TURNS, [user("x"), assistant("你 é", reasoning="so")], TWO_TURNS[:2]]
    made = batch(BYTES, rows)
    place = data.draw(st.integers(0, len(made.tokens.ids) - 1))
    text = int(np.searchsorted(made.tokens.offsets, place, side="right")) - 1
    flipped = made.trained.copy()
    flipped[place] = not flipped[place]
    assert list(replace(made, trained=flipped).prove().faults) == [text]
    other = data.draw(st.integers(0, BYTES.get_vocab_size() - 1).filter(lambda each: each != made.tokens.ids[place]))
    assert list(made.with_ids(place, other).prove().faults) == [text]


def test_reasoning_and_calls_are_trained_as_the_recipe_says() -> None:
    thinking = [user("Why?"), assistant("Because.", reasoning="I think of a cause.")]
    text, spans = chatml(thinking)
    bare: Laid = (text, [(text.index("Because"), spans[0][1], 1)])
    made, answers = batch(BYTES, [thinking], texts=[[bare]]), Trained(reasoning=False)
    assert "its reasoning stands in the text but is not trained" in made.prove().faults[0]
    assert replace(made, choice=answers).prove().faults == {}
    assert "which the recipe says not to do" in replace(batch(BYTES, [thinking]), choice=answers).prove().faults[0]


def test_a_template_without_reasoning_or_calls_is_no_wrong_mask_but_a_lost_call_is_named() -> None:
    said = [user("Fee?"), assistant("I look.", reasoning="A fee.", tool_calls=CALL)]
    shown = chatml([user("Fee?"), assistant("I look.")])
    proof = batch(BYTES, [said], texts=[[shown]]).prove()
    assert (proof.faults, proof.unshown_calls) == ({}, {0: "fees"})


def test_tokens_across_the_edges_of_a_range_are_named() -> None:
    text = "### Response:\nBlue."
    made = batch(BYTES, [[assistant("Blue.")]], texts=[[(text + "</s>", [(len(text) - 5, len(text) + 4, 0)])]])
    proof = made.prove()
    assert (proof.faults, proof.straddling.tolist()) == ({}, [False])
    # The end of the header and the beginning of the answer in one token.
    joined = "It is" in BYTES.get_vocab()
    assert not joined
    begin = text.index("Response") + 3
    split = batch(BYTES, [[assistant("ponse:\nBlue.")]], texts=[[(text + "</s>", [(begin, len(text) + 4, 0)])]])
    assert split.prove().straddling.tolist() == [True]


def test_ids_may_spell_composed_characters() -> None:
    composing = Tokenizer.from_str(BYTES.to_str())
    composing.normalizer = normalizers.NFC()
    made = replace(batch(composing, [[user("cafe\u0301"), assistant("e\u0301 te\u0301")]]), spelling=spelling(BYTES))
    assert made.prove().faults == {}
    place = int(np.flatnonzero(made.trained)[0])
    assert "which spells" in made.with_ids(place, 9).prove().faults[0]


def test_figures_count_each_source_and_turn() -> None:
    rows: list[Turns] = [TWO_TURNS, TWO_TURNS[:2], [*TWO_TURNS, *TWO_TURNS, *TWO_TURNS], [user("?")]]
    made, figures = batch(BYTES, rows), MaskFigures()
    figures.add(made.rows.column("source"), made.rendered, made.tokens, made.trained, made.prove())
    table = {(row["source"], row["turn"]): row for row in figures.table().to_pylist()}
    whole, tokens = table["s2", 0], int(np.diff(made.tokens.offsets)[2])
    assert (whole["texts"], whole["turns"], whole["proven_turns"], whole["tokens"]) == (1, 6, 6, tokens)
    assert whole["trained_tokens"] == sum(table["s2", turn]["trained_tokens"] for turn in range(1, 5))
    assert tokens == sum(table["s2", turn]["tokens"] for turn in range(1, 5))
    assert table["s2", 4]["turns"] == 3
    assert (table["s0", 0]["texts"], table["s0", 1]["texts"]) == (2, 1)
    assert whole["trained_share"] == whole["trained_tokens"] / tokens
    assert figures.ends().to_pylist() == [{"end": "<|im_end|>\n", "turns": 9}]


def test_figures_tell_turns_that_are_not_proven() -> None:
    made, figures = moved(-HEADER)(batch(BYTES, [TWO_TURNS])), MaskFigures()
    figures.add(made.rows.column("source"), made.rendered, made.tokens, made.trained, made.prove())
    assert figures.table().column("proven_turns").to_pylist() == [0, 0, 0]


def test_samples_are_the_same_however_the_rows_come_and_hold_every_kind() -> None:
    rows: list[Turns] = [[user(f"Number {n}?"), assistant(f"It is {n}.")] for n in range(60)]
    rows += [TWO_TURNS, [user("Fee?"), assistant("", tool_calls=CALL)]]
    made = batch(BYTES, rows, tools={61: "[]"})
    chosen = sampled(made)
    assert len(chosen) == MOST_ROWS
    assert {row["source"] for row in chosen} == {"s0", "s1", "s2"}
    assert {kind for row in chosen for kind in row["kinds"]} == {"several turns", "tools"}
    assert pa.Table.from_pylist(chosen, SAMPLES).num_rows == MOST_ROWS
    assert sampled(made, size=7) == chosen
    first = chosen[0]["texts"][0]
    assert "".join(token["text"] for token in first) == chatml(rows[0])[0]
    assert [token["text"] for token in first if token["special"]] == ["<|im_start|>", "<|im_end|>"] * 2
    assert "".join(token["text"] for token in first if token["trained"]) == "It is 0.<|im_end|>\n"


def sampled(made: Batch, size: int = 100) -> list[dict[str, Any]]:
    """The samples of a batch that comes in several parts."""
    samples = SampleRows(special=opening(BYTES))
    turns = made.rows.column("messages").to_pylist()
    for begin in range(0, len(turns), size):
        part = batch(BYTES, turns[begin : begin + size])
        rows = made.rows.slice(begin, size)
        samples.add(rows, part.rendered, part.tokens, part.trained)
    return samples.rows()


def read_back(tokenizer: Tokenizer, made: Batch) -> Proof:
    """The proof of a batch, with all that is known of the tokenizer."""
    added = np.array(sorted(tokenizer.get_added_tokens_decoder()), dtype=np.int32)
    known = vocabulary_of(tokenizer, made.spelling)
    columns = made.rows.column("messages"), made.rendered, made.tokens, made.trained
    return prove(*columns, made.spelling, made.choice, added, vocabulary=known)


def unigram() -> Tokenizer:
    letters = [*"abcdefghijklmnopqrstuvwxyzB|_<>?.", "im", "start", "end"]
    pieces = [("<unk>", 0.0), ("▁", -2.0), *((each, -3.0) for each in letters)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<unk>", "<|im_start|>", "<|im_end|>"])
    return made


def without_bytes() -> Tokenizer:
    steps = json.loads(byte_fallback().to_str())
    steps["model"]["byte_fallback"] = False
    return Tokenizer.from_str(json.dumps(steps))


UNKNOWN = {"word pieces": (WORDS, "[UNK]"), "unigram": (unigram(), "<unk>"), "no bytes": (without_bytes(), "<unk>")}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_tokenizer_has_no_token_for_is_not_trained_unless_it_closes_the_turn(name: str) -> None:
    tokenizer, unknown = UNKNOWN[name]
    rows = [
        [user("a"), assistant("it is 汉 name")],
        [user("汉"), assistant("it is")],
        [user("a"), assistant(f"it is {unknown}")],
    ]
    made = batch(tokenizer, rows)
    assert made.spelling is None
    faults = read_back(tokenizer, made).faults
    assert faults == {0: f"the tokenizer has no token for '汉', it would be trained as {unknown}"}
    known = vocabulary_of(tokenizer, None).unknown
    assert known == tokenizer.token_to_id(unknown)
    # All but one have none for the line break behind the end either.
    second = slice(*made.tokens.offsets[1:3])
    assert (known in made.tokens.ids[second][made.trained[second]]) == (name != "word pieces")


@pytest.mark.parametrize("tokenizer", [WORDS, unigram()])
def test_a_line_break_in_an_answer_that_has_no_token_is_named(tokenizer: Tokenizer) -> None:
    faults = read_back(tokenizer, batch(tokenizer, [[user("a"), assistant("it\nis")]])).faults
    lost = "the tokenizer has no token for '\\n', it would be trained as <unk>"
    assert faults == ({} if tokenizer is WORDS else {0: lost})


def normalizing(*steps: Any) -> Tokenizer:
    made = Tokenizer.from_str(BYTES.to_str())
    made.normalizer = normalizers.Sequence(list(steps))
    return made


CHANGING = {
    "another letter": (
        normalizers.Replace("x", "y"),
        "ids spell 'myyis<|im_end|>' where the text says 'myxis<|im_end|>'",
    ),
    "no letter": (normalizers.Replace("x", ""), "ids spell 'myis<|im_end|>' where the text says 'myxis<|im_end|>'"),
    "more": (normalizers.Replace("x", "xx"), "ids spell 'myxxis<|im_end|>' where the text says 'myxis<|im_end|>'"),
}


@pytest.mark.parametrize("name", CHANGING)
def test_tokenizers_that_train_other_words_are_found(name: str) -> None:
    step, words = CHANGING[name]
    tokenizer = normalizing(step)
    faults = read_back(tokenizer, batch(tokenizer, [[user("a"), assistant("my x is")], TWO_TURNS])).faults
    assert list(faults) == [0]
    assert words in faults[0]


@pytest.mark.parametrize(
    "said", ["Café É", "ﬁ ½ … ｆｕｌｌ", "\u1100\u1161\u11a8", "e\u0301 \u212a", "İ ß ǅ Σς", "a\u00a0b"]
)
def test_words_that_a_tokenizer_only_writes_otherwise_are_cleared(said: str) -> None:
    folding = normalizing(normalizers.NFKC(), normalizers.Lowercase())
    for tokenizer in (folding, normalizing(normalizers.NFD(), normalizers.StripAccents())):
        made = batch(tokenizer, [[user(said), assistant(said)]])
        assert made.spelling is None
        assert read_back(tokenizer, made).faults == {}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_id_of_a_tokenizer_that_normalises_is_found(data: st.DataObject) -> None:
    two_turns = [user("Name"), assistant("Blue"), user("it is?"), assistant("it is the colour")]
    made = batch(WORDS, [two_turns, [user("name"), assistant("a colour is blue")]])
    assert read_back(WORDS, made).faults == {}
    place = data.draw(st.sampled_from(np.flatnonzero(made.trained).tolist()))
    text = int(np.searchsorted(made.tokens.offsets, place, side="right")) - 1
    names = {number: token.removeprefix("##").lower() for token, number in WORDS.get_vocab().items()}
    mine = names[int(made.tokens.ids[place])]
    other = data.draw(st.sampled_from([number for number, each in names.items() if each != mine]))
    assert list(read_back(WORDS, made.with_ids(place, other)).faults) == [text]


PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def taking(tokenizer: Tokenizer, *names: str, **sides: bool) -> TextEncoder:
    """A tokenizer with Phi-3's control tokens, some of which take in the white space beside them."""
    every = [f"<|{name}|>" for name in ("end", "user", "assistant")]
    here = [AddedToken(each, special=True, normalized=False, **(sides if each in names else {})) for each in every]
    tokenizer.add_special_tokens(here)
    return TextEncoder(tokenizer, {"eos_token": "<|end|>"}, PHI)


def phi(encoder: TextEncoder, rows: list[Turns]) -> Batch:
    """Rows through the steps before the proof."""
    table = batch(BYTES, rows).rows
    renderer = Renderer(ChatTemplate(PHI, bos=None, eos="<|end|>"), EVERYTHING, special=encoder.special, added=())
    rendered = renderer(table)
    tokens = encoder.tokens(rendered.texts, rendered.plain)
    return Batch(table, rendered, tokens, trained_tokens(tokens, rendered.trained), encoder.spelling)


BLANKS = ["", " ", "\n", " \t\n ", "\u3000", "\u00a0", "\u2028 "]


@pytest.mark.parametrize("made", [byte_fallback, byte_level])
@pytest.mark.parametrize("sides", [{"rstrip": True}, {"lstrip": True}, {"lstrip": True, "rstrip": True}])
def test_control_tokens_may_take_in_the_white_space_beside_them(
    made: Callable[[], Tokenizer], sides: dict[str, bool]
) -> None:
    encoder = taking(made(), "<|end|>", **sides)
    texts = [f"{before}It is{behind}" for before in BLANKS for behind in BLANKS]
    rows: list[Turns] = [[user(each), assistant(each), user("a"), assistant(each)] for each in texts]
    proven = phi(encoder, rows)
    wide = proven.tokens.ends - proven.tokens.begins > len("<|end|>")
    wide &= proven.tokens.ids == encoder.tokenizer.token_to_id("<|end|>")
    assert read_back(encoder.tokenizer, proven).faults == {}
    # The same bytes under another id.
    place = int(np.flatnonzero(wide)[0])
    other = proven.with_ids(place, encoder.tokenizer.token_to_id("<|user|>") or 0)
    (fault,) = read_back(encoder.tokenizer, other).faults.values()
    assert "which spells '<|user|>'" in fault


def test_a_header_is_not_trained_because_it_takes_in_the_white_space_of_an_answer() -> None:
    encoder = taking(byte_level(), "<|assistant|>", rstrip=True)
    made = phi(encoder, [[user("a"), assistant("It is")], [user("a"), assistant("  It is")]])
    header = encoder.tokenizer.token_to_id("<|assistant|>")
    right = replace(made, trained=made.trained & (made.tokens.ids != header))
    assert read_back(encoder.tokenizer, right).faults == {}
    wrong = replace(made, trained=made.trained | (made.tokens.ids == header))
    faults = read_back(encoder.tokenizer, wrong).faults
    assert all("is trained, but the assistant is not to write it" in faults[text] for text in (0, 1))


def qwen_like(content: str, *, lost: bool = False) -> Laid:
    """How a thinking model's template writes an answer whose text holds thoughts."""
    thought, rest = content.split("</think>")[0].split("<think>")[-1], content.split("</think>")
    answer = rest[-1] if lost else "".join(rest[1:])
    said = f"<think>\n{thought.strip()}\n</think>\n\n{answer.strip()}<|im_end|>\n"
    head = "<|im_start|>assistant\n"
    return head + said, [(len(head), len(head + said), 0)]


def test_all_parts_of_an_answer_between_thoughts_are_required() -> None:
    content = "<think>A cause.</think> Lost words. </think> Blue."
    rows: list[Turns] = [[assistant(content)], [assistant("<think>A cause.</think>Blue.")]]
    whole = [[qwen_like(content)], [qwen_like("<think>A cause.</think>Blue.")]]
    assert batch(BYTES, rows, texts=whole).prove().faults == {}
    lost = [[qwen_like(content, lost=True)], whole[1]]
    faults = batch(BYTES, rows, texts=lost).prove().faults
    assert list(faults) == [0]
    assert "its answer '<think>A cause.</think> Lost words. </think> Blue.' is not what its labels cover" in faults[0]
    bare: Laid = ("<|im_start|>assistant\nBlue.<|im_end|>\n", [(22, 38, 0)])
    assert "is not what its labels cover" in batch(BYTES, rows[1:], texts=[[bare]]).prove().faults[0]


@pytest.mark.parametrize("thought", [None, "I think."])
@pytest.mark.parametrize("said", ["Blue", "Yes it is.", "im", "end", "你好", "!", "?!"])
def test_an_answer_that_is_trained_twice_is_found(said: str, thought: str | None) -> None:
    turn = assistant(said, reasoning=thought)
    text, spans = chatml([user("a"), turn])
    once = replace(batch(BYTES, [[user("a"), turn]]), opening=opening(BYTES))
    assert once.prove().faults == {}
    end = text.rindex(said + "<|im_end|>") + len(said)
    for between in ("", " ", "\n\n"):
        again = text[:end] + between + said + text[end:]
        span = (spans[0][0], spans[0][1] + len(between + said), 1)
        made = replace(batch(BYTES, [[user("a"), turn]], texts=[[(again, [span])]]), opening=opening(BYTES))
        assert "its answer is trained twice" in made.prove().faults[0]


@pytest.mark.parametrize("said", ["t", "think", "a", "final", "l", "<think>", "end"])
def test_an_answer_may_look_like_what_the_template_writes_around_it(said: str) -> None:
    head = "<|im_start|>assistant"
    for opening_of in ("<think>\n\n</think>\n\n", "<s>final<s>"):
        text = f"{head}{opening_of}{said}<|im_end|>\n"
        made = batch(BYTES, [[assistant(said)]], texts=[[(text, [(len(head), len(text), 0)])]])
        assert replace(made, opening=opening(BYTES)).prove().faults == {}


def test_a_header_behind_an_answer_is_found() -> None:
    text, spans = chatml([user("a"), assistant("Blue.")])
    for more in ("<|im_start|>user\n", "### Response:\n"):
        span = (spans[0][0], spans[0][1] + len(more), 1)
        made = batch(BYTES, [[user("a"), assistant("Blue.")]], texts=[[(text + more, [span])]])
        assert "behind its answer a header is trained" in made.prove().faults[0]


def test_figures_of_a_text_with_a_fault_are_never_negative() -> None:
    made, figures = all_one(batch(BYTES, [[*TWO_TURNS, *TWO_TURNS]])), MaskFigures()
    first = int(np.flatnonzero(batch(BYTES, [[*TWO_TURNS, *TWO_TURNS]]).trained)[-1]) - 12
    right = batch(BYTES, [[*TWO_TURNS, *TWO_TURNS]])
    flipped = right.trained.copy()
    flipped[first] = not flipped[first]
    for each in (made, replace(right, trained=flipped)):
        figures.add(each.rows.column("source"), each.rendered, each.tokens, each.trained, each.prove())
    assert min(figures.table().column("tokens").to_pylist()) >= 0
