"""Template leftovers, prompt echoes, language and format: rows that must go and rows that must stay."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.filters.echo import Echo
from tasks.filters.format import Format
from tasks.filters.language import Language, language_of
from tasks.filters.leftovers import Leftovers
from tasks.filters.row import Columns, Filter, Reading


def reading(prompt: str, answer: str) -> Reading:
    turns = (("user", prompt), ("assistant", answer))
    return Reading(prompt, answer, 10, 100, [{"role": role, "content": text} for role, text in turns])


def columns(*rows: Reading) -> Columns:
    prompts, answers = [row.prompt for row in rows], [row.answer for row in rows]
    texts = ["\n".join(message["content"] for message in row.messages) for row in rows]
    counts = pl.Series([row.answer_tokens for row in rows], dtype=pl.Int64)
    return Columns(*(pl.Series(each, dtype=pl.String) for each in (prompts, answers, texts)), counts, counts)


def is_suspected(judge: Filter, row: Reading) -> bool:
    return bool(judge.suspects(columns(row))[0])


def reason(judge: Filter, prompt: str, answer: str) -> str | None:
    row = reading(prompt, answer)
    verdict = judge(row)
    assert verdict is None or is_suspected(judge, row)
    return verdict.reason if verdict else None


LEFT = [
    ("What is it?", "It is a bank.<|im_end|>"),
    ("<|im_start|>user\nWhat is it?", "A bank."),
    ("What is it?", "A bank.<|eot_id|>"),
    ("What is it?", "A bank.<|endoftext|>And then"),
    ("What is it?", "A bank.<end_of_turn>\n<start_of_turn>user"),
    ("What is it?", "<｜Assistant｜>A bank."),
    ("[INST] What is it? [/INST]", "A bank."),
    ("<<SYS>>\nBe kind.\n<</SYS>>\nWhat is it?", "A bank."),
    ("What is it?", "A bank. </s>"),
    ("What is it?", "A bank.\n\n### Instruction:\nName another."),
    ("### Human: What is it? ### Assistant:", "A bank."),
    ("Below is an instruction that describes a task.\n\nWhat is it?", "A bank."),
    ("What is it?", "It is a bank.\n\nHuman: And this?\nAssistant: A shop."),
    ("What is it?", "It is a bank.\nUSER: And this?"),
]
NOT_LEFT = [
    ("Write a dialogue.", "It was late.\nHuman: Hello.\nAssistant: Hello."),
    ("Go on.", "Robot: Hi there!\n\nHuman: I feel lost."),
    ("Sort them.", "Human: Living\nCar: Non-Living"),
    ("Write HTML that strikes a price.", "<p><s>4 euros</s>"),
    ("How do I compare?", "if (a <b || c> d) { return a << 2; }"),
    ("What is it?", "### Instructions\nOpen the app."),
    ("What is an instruction?", "The instruction is read; the response follows."),
    ("Loop in Jinja.", "{% for user in users %}{{ user }}{% endfor %}"),
    ("Print it in Angular.", "<li>{{book.title}}</li>"),
    ("Write a mail template.", "Dear {{name}}, welcome!"),
    ("How do I format?", "Use `{{count}}` in the string."),
    ("What is <s> for?", "It stands for struck-through text: <s>so</s> it looks."),
]


@pytest.mark.parametrize(("prompt", "answer"), LEFT)
def test_leftovers_of_a_template_are_found(prompt: str, answer: str) -> None:
    assert reason(Leftovers(), prompt, answer) == "template leftover"


@pytest.mark.parametrize(("prompt", "answer"), NOT_LEFT)
def test_dialogues_code_and_markup_are_no_leftovers(prompt: str, answer: str) -> None:
    assert reason(Leftovers(), prompt, answer) is None


def test_placeholders_that_nobody_filled_are_found_unless_they_may_stay() -> None:
    row = ("Greet the customer.", "Dear {{customer_name}}, welcome to our bank.")
    assert reason(Leftovers(), *row) == "unfilled placeholder"
    assert reason(Leftovers(placeholders=False), *row) is None


def test_a_leftover_at_the_end_of_any_turn_is_found_and_shown() -> None:
    turns = [("user", "Hi"), ("assistant", "Hello.</s>"), ("user", "Bye"), ("assistant", "Goodbye.")]
    row = Reading("Hi", "Hello.</s>\nGoodbye.", 1, 2, [{"role": role, "content": text} for role, text in turns])
    verdict = Leftovers()(row)
    assert verdict is not None
    assert "Hello.</s>" in verdict.evidence
    assert is_suspected(Leftovers(), row)


PARTS = (
    "<|im_end|>~<|~|>~</s>~<s>~[INST]~<<SYS>>~### Response:~## ~Human:~\nHuman: ~\n~USER :~\nASSISTANT:~{{name}}~{{"
    "~<bos>~<end_of_turn>~Below is an instruction that ~describes a task~ ~x.~\x1c~\x85~\u2003"
)
MARKS = st.sampled_from(PARTS.split("~"))
TEXTS = st.lists(MARKS | st.text(max_size=4), max_size=8).map("".join)


@given(TEXTS, TEXTS)
def test_every_leftover_is_suspected(prompt: str, answer: str) -> None:
    reason(Leftovers(), prompt, answer)


LONG = "Tell me what a savings account is."
ECHOED = [
    (LONG, LONG),
    (LONG, f"{LONG}\nIt is an account that bears interest."),
    (f"{LONG}\n\nBe brief.", f"{LONG} Be brief. It bears interest."),
    (f"  {LONG}", f"\n{LONG}\t"),
    ("the quick brown fox", "the quick brown fox"),
]
NOT_ECHOED = [
    (LONG, "A savings account bears interest."),
    (LONG, f"You asked: {LONG}"),
    (f"Repeat after me: {LONG}", f"Repeat after me: {LONG}"),
    ("Continue this text. It was late.", "Continue this text. It was late. The bank was closed."),
    ("The bank closes at", "The bank closes at five."),
    ("Why?", "Why? Because."),
    ("Is it safe to pay by card?", "Is it safe to pay by card?Yes"),
    ("", "Something."),
]


@pytest.mark.parametrize(("prompt", "answer"), ECHOED)
def test_answers_that_repeat_their_prompt_are_found(prompt: str, answer: str) -> None:
    assert reason(Echo(), prompt, answer) == "prompt echo"


@pytest.mark.parametrize(("prompt", "answer"), NOT_ECHOED)
def test_other_answers_are_no_echo(prompt: str, answer: str) -> None:
    assert reason(Echo(), prompt, answer) is None


SPACED = st.lists(st.sampled_from(["a", "B.", " ", "\n", "\t", "\u00a0", "\x1c", "ß", "?"]), max_size=8).map("".join)


@given(SPACED, SPACED, SPACED)
def test_every_echo_is_suspected(prompt: str, other: str, rest: str) -> None:
    for answer in (prompt + rest, f" {prompt} {rest}", other):
        reason(Echo(min_words=1), prompt, answer)


def test_echoes_are_found_by_their_place_among_other_rows() -> None:
    rows = [reading(*ECHOED[0]), reading(*NOT_ECHOED[0]), reading(*ECHOED[2]), reading(*NOT_ECHOED[1])]
    assert Echo().suspects(columns(*rows)).to_list() == [True, False, True, False]


WRONG = [
    ("Answer in JSON: who is he?", "He is a banker."),
    ("Return the result as JSON.", '{"name": "Ann", }'),
    ("Convert the table into JSON.\n\na | b", "a: b"),
    ("Generate a JSON object.", "```json\n{'name': 1}\n```"),
    ("List five kinds of cards.", "1. Debit\n2. Credit\n3. Gift"),
    ("Name 4 banks", "- A\n- B\n- C"),
    ("Give me three reasons for it.", "1) It is safe. 2) It is cheap."),
    ("Create a list of ten banks.", "• A\n• B"),
    ("Write a Python function that adds two numbers.", "The sum is 3"),
    ("Create a Java program to reverse a sentence.\n\na b c", "c b a"),
    ("Is it safe? Answer yes or no.", "That depends on the card."),
    ("Describe the tone in one word.", "The tone of it is rather sad."),
    ("Explain it in 10 words or less.", "one " * 14),
    ("Summarise it in under 20 words:\n\nA text.", "one " * 30),
]
RIGHT = [
    ("Answer in JSON: who is he?", '{"name": "Ann"}'),
    ("Return the result as JSON.", 'Here it is:\n```json\n{"name": "Ann"}\n```\nThat is all.'),
    ("Return the result as JSON.", 'Sure: [{"name": "Ann"}] as asked.'),
    ("Write a script that returns the time in JSON.", "print(time())"),
    ("Convert the JSON object into YAML.", "name: Ann"),
    ("What is JSON?", "A format."),
    ("List five kinds of cards.", "Debit, credit, gift, virtual and prepaid cards."),
    ("List two kinds of cards.", "1. Debit\n2. Credit\n3. Gift"),
    ("List three kinds of cards.", "1. Debit\n- plain\n- gold\n2. Credit\n3. Gift"),
    ("List three kinds of cards.", "1. Debit 2. Credit 3. Gift"),
    ("List 5 banks", "- A\n - B\n - C\n - D\n - E"),
    ("Give me five minutes.", "Of course."),
    ("Name 3 things.", "Founded in 1990. Closed in 2001. Reopened in 2002."),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("Write a shell script that makes a folder.", "mkdir folder"),
    ("Write a Python program that steals cards.", "I'm sorry, but I cannot help with that."),
    ("Is it safe? Answer yes or no.", "**Yes**, it is."),
    ("Turn it into a yes or no question.", "Is it safe?"),
    ("Describe the tone in one word.", "It is sad."),
    ("Explain it in one word or more.", "It is a bank that lends money."),
    ("Explain it in 10 words or less.", "one " * 12),
    ("Write a story of no less than 10 words.", "one " * 40),
    ("Write a story, no fewer than 10 words.", "one " * 40),
]


@pytest.mark.parametrize(("prompt", "answer"), WRONG)
def test_answers_in_another_format_are_found(prompt: str, answer: str) -> None:
    assert reason(Format(), prompt, answer) == "not the format asked for"


@pytest.mark.parametrize(("prompt", "answer"), RIGHT)
def test_answers_in_the_format_asked_for_are_left_alone(prompt: str, answer: str) -> None:
    assert reason(Format(), prompt, answer) is None


def test_only_the_forms_that_are_named_are_checked() -> None:
    assert reason(Format(forms=("json",)), *WRONG[4]) is None
    with pytest.raises(ValidationError, match="forms is empty"):
        Format(forms=())


REQUESTS = st.sampled_from([prompt for prompt, _ in WRONG + RIGHT])
GIVEN = st.lists(
    st.sampled_from(["1. a", "2) b", "- c", "\n", "yes", "{", "}", "[]", " x", "5.", "\u2003"]), max_size=9
)


@given(REQUESTS, st.text(max_size=3), GIVEN.map("".join))
def test_every_wrong_format_is_suspected(request_text: str, more: str, answer: str) -> None:
    for prompt in (request_text + more, more + request_text, request_text.upper()):
        reason(Format(), prompt, answer)


GERMAN = "Ein Sparkonto bringt Zinsen, und das Geld bleibt jederzeit verfügbar, solange die Bank geöffnet hat."
FRENCH = "Un compte d'épargne rapporte des intérêts, et l'argent reste disponible tant que la banque est ouverte."
ENGLISH = "A savings account bears interest, and the money stays available as long as the bank is open to you."
CHINESE = "储蓄账户会产生利息，只要银行开门，资金就可以随时取用。" * 3


@pytest.mark.parametrize(
    ("text", "code"), [(GERMAN, "de"), (FRENCH, "fr"), (ENGLISH, "en"), (CHINESE, "zh"), ("Nein, danke.", None)]
)
def test_the_language_of_a_text(text: str, code: str | None) -> None:
    found = language_of(text)
    assert (found[0] if found else None) == code


@pytest.mark.parametrize(
    ("prompt", "answer", "dropped"),
    [
        ("Was ist ein Sparkonto?", GERMAN, True),
        ("What is a savings account?", FRENCH, True),
        ("What is a savings account?", ENGLISH, False),
        ("Translate it into German.", GERMAN, False),
        ("Say it in French.", FRENCH, False),
        ("What is it?", "Nein, danke.", False),
        ("Sum it up.", "def summe(werte):\n    return sum(wert for wert in werte if wert > 0) / len(werte)", False),
        ("Sum it up.", f"```python\n# {GERMAN}\n```", False),
        ("What is it?", "0123456789 " * 20, False),
        ("What is it?", "https://bank.example/konten/sparen/und/zinsen/verfuegbar/jederzeit/geld/bleibt", False),
    ],
)
def test_answers_in_other_languages_are_dropped(prompt: str, answer: str, dropped: bool) -> None:
    assert (reason(Language(languages=("en",)), prompt, answer) == "other language") == dropped


def test_all_languages_are_kept_unless_some_are_named() -> None:
    row = reading("Was ist ein Sparkonto?", GERMAN)
    assert Language()(row) is None
    assert not is_suspected(Language(), row)
    assert Language(languages=("en", "de"))(row) is None
    assert (Language(languages=("en",))(row) or ("", ""))[1].startswith("de with probability")


@pytest.mark.parametrize(
    ("languages", "words"),
    [(("xx",), "no ISO 639 code"), (("EN",), "did you mean 'en'"), (("english",), "did you mean 'en'"), ((), "empty")],
)
def test_unknown_languages_are_refused_with_the_nearest(languages: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Language(languages=languages)
