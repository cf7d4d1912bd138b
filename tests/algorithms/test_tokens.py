"""The tokens of rendered conversations: exactly the tokenizer's, and no control token where a message only spells one."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tasks import conversation
from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, ChatTemplate, Trained
from tasks.algorithms.tokens.arrays import Places, Ranges, Tokens
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.masking import trained_tokens
from tasks.algorithms.tokens.plain_tokens import are_equal, plain_tokens
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
    try:
        made |= real_tokenizers(tmp_path_factory.mktemp("tokenizers"))
    except pytest.skip.Exception:
        pass
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
def test_trained_tokens_are_the_answers(name: str, template: str, encoders: dict[str, TextEncoder]) -> None:
    encoder = encoder_of(encoders, name)
    chat = ChatTemplate(TEMPLATES[template], bos="<s>", eos="</s>")
    renderer = Renderer(chat, Trained(), special=encoder.special, added=encoder.added)
    added = {encoder.tokenizer.token_to_id(each) for each in encoder.special if each not in ("<unk>", "[UNK]")}

    @settings(max_examples=20)
    @given(st.lists(CONVERSATIONS, min_size=1, max_size=4))
    def right(rows: list[list[dict[str, str]]]) -> None:
        rendered = renderer(batch(rows))
        harmless = renderer(batch([[each | {"content": "x"} for each in row] for row in rows]))
        made = encoder.tokens(rendered.texts, rendered.plain)
        wanted = encoder.tokens(harmless.texts, harmless.plain)
        trained = trained_tokens(made, rendered.trained)
        assert rendered.rows.tolist() == list(range(len(rows)))
        for place, text in enumerate(rendered.texts.to_pylist()):
            of_text = slice(made.offsets[place], made.offsets[place + 1])
            others = wanted.ids[wanted.offsets[place] : wanted.offsets[place + 1]]
            assert [n for n in made.ids[of_text] if n in added] == [n for n in others if n in added]
            data, begins, ends = text.encode(), made.begins[of_text], made.ends[of_text]
            assert_covered(encoder, data, begins, ends)
            first, last = rendered.trained.offsets[place : place + 2]
            spans = zip(
                rendered.trained.begins[first:last].tolist(), rendered.trained.ends[first:last].tolist(), strict=True
            )
            answers = [each["content"] for each in rows[place] if each["role"] == "assistant"]
            left = trained[of_text].copy()
            for (begin, end), answer in zip(spans, answers, strict=True):
                inside = (begins < end) & (ends > begin)
                assert left[inside].all()
                left[inside] = False
                shown = data[begins[inside].min() : ends[inside].max()]
                assert answer.strip() in shown.decode()
                assert same_text(encoder, made.ids[of_text][inside].tolist(), shown.decode())
            assert not left.any()

    right()


def batch(rows: list[list[dict[str, str]]]) -> pa.Table:
    schema = pa.schema([conversation.CONVERSATIONS.field("messages"), conversation.CONVERSATIONS.field("tools")])
    return pa.table({"messages": rows, "tools": [None] * len(rows)}, schema=schema).to_batches()[0]


def assert_covered(encoder: TextEncoder, data: bytes, begins: Places, ends: Places) -> None:
    """The tokens take every byte, but for what the tokenizer's own normalisation takes away: white space, marks."""
    taken = np.zeros(len(data) + 1, dtype=np.int64)
    np.add.at(taken, begins, 1)
    np.add.at(taken, ends, -1)
    free = bytes(np.frombuffer(data, np.uint8)[taken[:-1].cumsum() == 0])
    if encoder.spelling is not None:
        assert free == b""
    assert all(each.isspace() or unicodedata.category(each)[0] in "CMZ" for each in free.decode())


def same_text(encoder: TextEncoder, ids: list[int], text: str) -> bool:
    """Whether ids spell a text: to the letter, or as the tokenizer normalises it."""
    if encoder.spelling is not None:
        data, offsets = encoder.spelling
        spelled = b"".join(data[offsets[each] : offsets[each + 1]].tobytes() for each in ids).decode()
        if "ByteLevel" in str(encoder.tokenizer.pre_tokenizer):
            return spelled == text
        # SentencePiece writes spaces as ▁, and one more in front of a text, and of what follows a control token.
        return letters(spelled.replace("▁", " ")) == letters(text.replace("▁", " "))
    if "ByteLevel" in str(encoder.tokenizer.pre_tokenizer):
        return unicodedata.normalize("NFC", text) == encoder.tokenizer.decode(ids, skip_special_tokens=False)
    tokens = [encoder.tokenizer.id_to_token(each) for each in ids]
    return "[UNK]" in tokens or "<unk>" in tokens or letters("".join(tokens)) == letters(normalized(encoder, text))


def normalized(encoder: TextEncoder, text: str) -> str:
    made: str = encoder.tokenizer.normalizer.normalize_str(text) if encoder.tokenizer.normalizer else text
    return made


def letters(text: str) -> str:
    return re.sub(r"[\s▁]|##", "", text)
