"""The tokens of rendered conversations: the tokenizer's own, and no control token where a message only spells one."""

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tasks import conversation
from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, ChatTemplate, Trained
from tasks.algorithms.tokens.arrays import Flags, Ranges, Tokens
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.masking import trained_tokens
from tasks.algorithms.tokens.plain_tokens import are_equal, plain_tokens, texts_of
from tests.algorithms.encoders import FRAGMENTS, KNOWN, NAMES, TEXTS, real_tokenizers, sentence_piece
from tests.stages.making import CHATML, MISTRAL, byte_level

CONTROLS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "[SEP]", "<think>"]


def unigram() -> Tokenizer:
    """As T5 has it; its vocabulary holds the control tokens, and prefers them to anything else."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=["<unk>", *CONTROLS], unk_token="<unk>", show_progress=False,
        initial_alphabet=list("<>|/[]"),
    )  # fmt: skip
    made.train_from_iterator(["the capital of the world, <s>don't</s> you say? [im_start]think SEP end"] * 5, trainer)
    return made


def metaspace(prepend: str) -> Tokenizer:
    """Llama's, as transformers builds it."""
    made = sentence_piece()
    made.normalizer = normalizers.Sequence([])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    return made


def stripping() -> Tokenizer:
    """Control tokens that take white space beside them, as Phi-3 has them, and others with conditions."""
    made = byte_level()
    made.add_special_tokens([AddedToken("<think>", rstrip=True, special=True), AddedToken("[SEP]", lstrip=True)])
    made.add_tokens([AddedToken("of", single_word=True), AddedToken("the world", normalized=True)])
    return made


MADE = {
    **{name: encoder.tokenizer for name, encoder in KNOWN.items()},
    "unigram": unigram(),
    "metaspace first": metaspace("first"),
    "metaspace always": metaspace("always"),
    "stripping": stripping(),
}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextEncoder]:
    """All of them, with control tokens of chats."""
    made = {name: Tokenizer.from_str(tokenizer.to_str()) for name, tokenizer in MADE.items()}
    with contextlib.suppress(pytest.skip.Exception):
        made |= real_tokenizers(tmp_path_factory.mktemp("tokenizers"))
    for tokenizer in made.values():
        tokenizer.add_special_tokens([each for each in CONTROLS if each not in _added(tokenizer)])
    return {name: TextEncoder(tokenizer, {}, None) for name, tokenizer in made.items()}


def encoder_of(encoders: dict[str, TextEncoder], name: str) -> TextEncoder:
    if name not in encoders:
        pytest.skip(f"the real tokenizer {name} is absent")
    return encoders[name]


def _added(tokenizer: Tokenizer) -> dict[str, int]:
    return {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}


def ranges(of: Sequence[Sequence[tuple[int, int]]]) -> Ranges:
    flat = np.array([each for row in of for each in row], dtype=np.int64).reshape(-1, 2)
    return Ranges(np.cumsum([0, *map(len, of)], dtype=np.int64), flat[:, 0].copy(), flat[:, 1].copy())


def tokens_of(encoder: TextEncoder, texts: list[str], plain: Sequence[Sequence[tuple[int, int]]] = ()) -> Tokens:
    return encoder.tokens(pa.array(texts, pa.large_string()), ranges(plain or [[]] * len(texts)))


ALL = (*MADE, *NAMES)
MIXED = st.lists(TEXTS | st.sampled_from(CONTROLS) | st.sampled_from([" ", "\n", "of", "the world"]), max_size=8)


@pytest.mark.parametrize("name", ALL)
def test_tokens_are_those_of_the_tokenizer(name: str, encoders: dict[str, TextEncoder]) -> None:
    encoder = encoder_of(encoders, name)

    @settings(max_examples=30)
    @given(st.lists(MIXED.map("".join), max_size=12))
    def same(texts: list[str]) -> None:
        wanted = plain_tokens(encoder.tokenizer, texts)
        assert are_equal(tokens_of(encoder, texts), wanted)
        assert are_equal(tokens_of(encoder, texts), wanted)
        assert encoder.count(texts).tolist() == np.diff(wanted.offsets).tolist()

    same()
    assert not encoder.notes


@pytest.mark.parametrize("name", ALL)
def test_ranges_are_the_characters_of_the_library_in_bytes(name: str, encoders: dict[str, TextEncoder]) -> None:
    encoder = encoder_of(encoders, name)
    texts = ["naïve 東京 😀<|im_end|>\n ok", "", "</s> é", "abc"]
    made = tokens_of(encoder, texts)
    for text, first, last in zip(texts, made.offsets, made.offsets[1:], strict=False):
        own = encoder.tokenizer.encode(text, add_special_tokens=False)
        assert made.ids[first:last].tolist() == own.ids
        bytes_of = [(len(text[:b].encode()), len(text[:e].encode())) for b, e in own.offsets]
        assert list(zip(made.begins[first:last].tolist(), made.ends[first:last].tolist(), strict=True)) == bytes_of


PARTS = st.lists(
    st.tuples(st.sampled_from(CONTROLS), st.booleans())
    | st.tuples(st.sampled_from([*FRAGMENTS, "assistant\n", "[INST]", "<|im_", "start|>", "s>", "<"]), st.none()),
    max_size=10,
)


@pytest.mark.parametrize("name", ALL)
def test_control_tokens_stand_where_they_are_meant_and_nowhere_else(
    name: str, encoders: dict[str, TextEncoder]
) -> None:
    encoder = encoder_of(encoders, name)
    added = _added(encoder.tokenizer)

    @settings(max_examples=30)
    @given(st.lists(PARTS, min_size=1, max_size=4))
    def kept(rows: list[list[tuple[str, bool | None]]]) -> None:
        texts = ["".join(part for part, _ in row) for row in rows]
        plain = [[span for span, is_meant in placed(row) if not is_meant] for row in rows]
        # Other spellings that come about between parts are the renderer's to find.
        made = tokens_of(encoder, texts, plain)
        for place, row in enumerate(rows):
            of_text = slice(made.offsets[place], made.offsets[place + 1])
            data = texts[place].encode()
            for number, begin, end in zip(made.ids[of_text], made.begins[of_text], made.ends[of_text], strict=True):
                content = encoder.tokenizer.id_to_token(int(number))
                if content in CONTROLS and content in added:
                    assert content == data[begin:end].decode().strip()
                    assert not any(b < end and begin < e for b, e in plain[place])
            for (begin, end), is_meant in placed(row):
                inside = (made.begins[of_text] < end) & (made.ends[of_text] > begin)
                if is_meant and not touched(data, begin):
                    assert added[data[begin:end].decode()] in made.ids[of_text][inside]

    kept()


def touched(data: bytes, begin: int) -> bool:
    """Whether a control token's characters belong to one that begins before it."""
    return any(data.find(each.encode(), max(begin - len(each) + 1, 0), begin + len(each) - 1) >= 0 for each in CONTROLS)


def placed(row: Sequence[tuple[str, bool | None]]) -> list[tuple[tuple[int, int], bool]]:
    """The byte ranges of control tokens, and whether they are meant."""
    found, place = [], 0
    for part, is_meant in row:
        length = len(part.encode())
        if is_meant is not None:
            found.append(((place, place + length), is_meant))
        place += length
    return found


TEMPLATES = {
    "chatml": CHATML,
    "plain": PLAIN_TEMPLATE,
    "mistral": MISTRAL,
    "llama 2": (
        "{% if messages[0]['role'] == 'system' %}{% set asked = messages[1:] %}"
        "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
        "{% else %}{% set asked = messages %}{% set system = '' %}{% endif %}{% for message in asked %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') "
        "+ message['content'].strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
}
CONTENTS = MIXED.map("".join) | st.lists(
    st.sampled_from(
        ["<|im_start|>assistant\n", "</s>", "[INST]", "<|im_", "im_end|>", "|>", "<", "s>", "[/INST]", "ok"]
    ),
    max_size=4,
).map("".join)
CONVERSATIONS = st.lists(CONTENTS, min_size=2, max_size=4).map(
    lambda texts: [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", ALL)
def test_trained_tokens_spell_the_answers_and_their_ends(
    name: str, template: str, encoders: dict[str, TextEncoder]
) -> None:
    encoder = encoder_of(encoders, name)
    chat = ChatTemplate(TEMPLATES[template], bos="<s>", eos="</s>")
    renderer = Renderer(chat, Trained(), special=encoder.special, added=encoder.added)

    @settings(max_examples=20)
    @given(st.lists(CONVERSATIONS, min_size=1, max_size=4))
    def right(rows: list[list[dict[str, str]]]) -> None:
        rendered = renderer(batch(rows))
        harmless = renderer(batch([[each | {"content": "x"} for each in row] for row in rows]))
        made = encoder.tokens(rendered.texts, rendered.plain)
        trained = trained_tokens(made, rendered.trained)
        wanted = encoder.tokens(harmless.texts, harmless.plain)
        assert rendered.rows.tolist() == list(range(len(rows)))
        for place, row in enumerate(rows):
            text = rendered.texts[place].as_py().encode()
            read = Reading(encoder, text, texts_of(made, np.array([place])))
            assert read.controls() == Reading(encoder, b"", texts_of(wanted, np.array([place]))).controls()
            assert read.is_covered()
            assert read.spells(0, len(text), np.ones(len(read.ids), dtype=np.bool_))
            first, last = rendered.trained.offsets[place : place + 2]
            spans = list(zip(rendered.trained.begins[first:last], rendered.trained.ends[first:last], strict=True))
            answers = [turn(template, each["content"]) for each in row if each["role"] == "assistant"]
            assert [text[begin:end].decode() for begin, end in spans] == answers
            inside = [read.sharing(begin, end) for begin, end in spans]
            assert np.array_equal(trained[made.offsets[place] : made.offsets[place + 1]], np.logical_or.reduce(inside))
            for answer, (begin, end), tokens in zip(answers, spans, inside, strict=True):
                # A token that reaches over an edge is trained whole.
                reached = min(begin, read.begins[tokens].min()), max(end, read.ends[tokens].max())
                assert read.spells(*reached, tokens)
                is_unknown = read.is_unknown(int(tokens.argmax()))
                assert reached == (begin, end) or is_unknown or can_join(template, answer)

    right()


def batch(rows: list[list[dict[str, str]]]) -> pa.RecordBatch:
    schema = pa.schema([conversation.CONVERSATIONS.field("messages"), conversation.CONVERSATIONS.field("tools")])
    return pa.table({"messages": rows, "tools": [None] * len(rows)}, schema=schema).to_batches()[0]


def turn(template: str, content: str) -> str:
    """What the model must write as an assistant's turn: its text and its end."""
    if template == "chatml":
        return f"{content}<|im_end|>\n"
    if template == "llama 2":
        return f" {content.strip()} </s>"
    return f"{content}</s>"


def can_join(template: str, answer: str) -> bool:
    """Whether a token may hold both the end of the header and the beginning of an answer.

    White space joins the line break of a header. `[/INST]`, where it is no control token, is but a bracket: `]x` and
    `](` are tokens of the patterns of Llama 3, Qwen and GPT-2. Besides, Unigram makes one token of all unknown
    characters in a row, a line break among them. Nothing joins behind an answer: a control token ends it.
    """
    return template == "mistral" or (template != "llama 2" and answer[0].isspace())


class Reading:
    """The tokens of one text, read back."""

    def __init__(self, encoder: TextEncoder, text: bytes, tokens: Tokens) -> None:
        self.encoder, self.text = encoder, text
        self.ids, self.begins, self.ends = tokens.ids, tokens.begins, tokens.ends
        self.normalizer, self.added = encoder.tokenizer.normalizer, _added(encoder.tokenizer)
        self.kinds = f"{self.normalizer}{encoder.tokenizer.pre_tokenizer}"
        self.is_word_piece = isinstance(encoder.tokenizer.model, models.WordPiece)

    def controls(self) -> list[int]:
        """The control tokens; that for unknown text also stands for text."""
        control = {self.added[each] for each in self.encoder.special if each not in ("<unk>", "[UNK]")}
        return [number for number in self.ids.tolist() if number in control]

    def sharing(self, begin: int, end: int) -> Flags:
        """The tokens that share a byte with a range."""
        shared = np.minimum(self.ends, end) > np.maximum(self.begins, begin)
        assert shared.any()
        return shared

    def is_covered(self) -> bool:
        """Whether tokens take every byte in order, but for what normalisation takes away or composes."""
        taken = np.zeros(len(self.text), dtype=np.bool_)
        for begin, end in zip(self.begins, self.ends, strict=True):
            taken[begin:end] = True
        free = bytes(np.frombuffer(self.text, np.uint8)[~taken]).decode()
        in_order = bool((np.diff(self.begins) >= 0).all() and (np.diff(self.ends) >= 0).all())
        if self.is_word_piece:
            return in_order and all(not self.normalizer.normalize_str(each).strip() for each in free)
        return in_order and (not free or self.normal(self.text.decode()) != self.text.decode())

    def spells(self, begin: int, end: int, chosen: Flags) -> bool:
        """Whether tokens spell a range of the text: to the letter, or as the tokenizer normalises it.

        A SentencePiece tokenizer puts one space of its own where a text, or what follows an added token, begins.
        """
        spelled = b"".join(self.spelled(token) for token in np.flatnonzero(chosen).tolist()).decode()
        if self.is_word_piece:
            return spelled == "".join(self.normal(self.text[begin:end].decode()).split())
        before = np.append(True, np.isin(self.ids[:-1], list(self.added.values())))
        openings = [begin, *(place for place in self.begins[before & chosen].tolist() if place > begin), end]
        may_open = " ?" if "▁" in self.kinds else ""
        parts = [self.normal(self.text[b:e].decode()) for b, e in pairwise(openings)]
        return re.fullmatch("".join(may_open + re.escape(part) for part in parts), spelled) is not None

    def is_unknown(self, token: int) -> bool:
        """Whether it stands for text that the vocabulary does not hold."""
        return self.encoder.tokenizer.id_to_token(int(self.ids[token])) in ("<unk>", "[UNK]")

    def spelled(self, token: int) -> bytes:
        """What a token stands for; one for unknown text says nothing of that."""
        if self.encoder.spelling is not None:
            data, offsets = self.encoder.spelling
            return data[offsets[self.ids[token]] : offsets[self.ids[token] + 1]].tobytes()
        if self.is_unknown(token):
            text = self.normal(self.text[self.begins[token] : self.ends[token]].decode())
            return (text.strip() if self.is_word_piece else text).encode()
        written = self.encoder.tokenizer.id_to_token(int(self.ids[token])) or ""
        return (written[2:] if self.is_word_piece and written[:2] == "##" else written.replace("▁", " ")).encode()

    def normal(self, text: str) -> str:
        """What a tokenizer makes of a text; SentencePiece cannot tell `▁` from a space."""
        if self.is_word_piece:
            return str(self.normalizer.normalize_str(text))
        if "NFC" in self.kinds:
            return unicodedata.normalize("NFC", text)
        return text.replace("▁", " ") if "▁" in self.kinds else text
