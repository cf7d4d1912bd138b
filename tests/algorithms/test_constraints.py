"""IFEval's instructions: for each kind, answers that follow it and answers that do not."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.algorithms.constraints import CHECKERS, InstructionError, follows, follows_loosely
from tasks.algorithms.constraints.counting import count_sentences, count_words, spaced_words

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
PROMPTS = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE)) / "benchmarks/ifeval_input_data.parquet"

WORDS = {"num_words": 5, "relation": "at least"}
FEWER_WORDS = {"num_words": 5, "relation": "less than"}
SENTENCES = {"num_sentences": 3, "relation": "at least"}
FEWER_SENTENCES = {"num_sentences": 3, "relation": "less than"}
NTH = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"}
SECTIONS = {"section_spliter": "SECTION", "num_sections": 2}
CAPITALS = {"capital_frequency": 2, "capital_relation": "at least"}
FEWER_CAPITALS = {"capital_frequency": 2, "capital_relation": "less than"}
LETTERS = {"letter": "o", "let_frequency": 3, "let_relation": "at least"}
FEWER_LETTERS = {"letter": "o", "let_frequency": 3, "let_relation": "less than"}
TIMES = {"keyword": "rain", "frequency": 2, "relation": "at least"}
FEWER_TIMES = {"keyword": "rain", "frequency": 2, "relation": "less than"}

ENGLISH = "the river was high that morning, and nobody in the village remembered when it had last been so calm."
LANGUAGES = {
    "ar": "ذهبت إلى السوق هذا الصباح واشتريت الخبز والفاكهة لعائلتي.",
    "bg": "Тази сутрин отидох на пазара и купих хляб и плодове за семейството си.",
    "bn": "আমি আজ সকালে বাজারে গিয়ে পরিবারের জন্য রুটি ও ফল কিনেছি।",
    "de": "Heute Morgen ging ich auf den Markt und kaufte Brot und Obst für meine Familie.",
    "fa": "امروز صبح به بازار رفتم و برای خانواده‌ام نان و میوه خریدم.",
    "fi": "Menin tänä aamuna torille ja ostin perheelleni leipää ja hedelmiä.",
    "gu": "હું આજે સવારે બજારમાં ગયો અને મારા પરિવાર માટે રોટલી અને ફળ ખરીદ્યાં.",
    "hi": "मैं आज सुबह बाज़ार गया और अपने परिवार के लिए रोटी और फल खरीदे।",
    "it": "Stamattina sono andato al mercato e ho comprato pane e frutta per la mia famiglia.",
    "kn": "ನಾನು ಇಂದು ಬೆಳಿಗ್ಗೆ ಮಾರುಕಟ್ಟೆಗೆ ಹೋಗಿ ನನ್ನ ಕುಟುಂಬಕ್ಕಾಗಿ ಹಣ್ಣುಗಳನ್ನು ಖರೀದಿಸಿದೆ.",
    "ko": "오늘 아침에 시장에 가서 가족을 위해 빵과 과일을 샀습니다.",
    "mr": "मी आज सकाळी बाजारात गेलो आणि माझ्या कुटुंबासाठी भाकरी आणि फळे विकत घेतली.",
    "ne": "म आज बिहान बजार गएँ र मेरो परिवारको लागि रोटी र फलफूल किनें।",
    "pa": "ਮੈਂ ਅੱਜ ਸਵੇਰੇ ਬਾਜ਼ਾਰ ਗਿਆ ਅਤੇ ਆਪਣੇ ਪਰਿਵਾਰ ਲਈ ਰੋਟੀ ਅਤੇ ਫਲ ਖਰੀਦੇ।",
    "pt": "Hoje de manhã fui ao mercado e comprei pão e frutas para a minha família.",
    "ru": "Сегодня утром я пошёл на рынок и купил хлеб и фрукты для своей семьи.",
    "sw": "Leo asubuhi nilienda sokoni na kununua mkate na matunda kwa ajili ya familia yangu.",
    "ta": "நான் இன்று காலை சந்தைக்குச் சென்று என் குடும்பத்திற்காக ரொட்டியும் பழங்களும் வாங்கினேன்.",
    "te": "నేను ఈ ఉదయం మార్కెట్‌కు వెళ్లి నా కుటుంబం కోసం రొట్టె మరియు పండ్లు కొన్నాను.",
    "th": "เช้านี้ฉันไปตลาดและซื้อขนมปังกับผลไม้ให้ครอบครัวของฉัน",
    "ur": "میں آج صبح بازار گیا اور اپنے خاندان کے لیے روٹی اور پھل خریدے۔",
    "vi": "Sáng nay tôi đi chợ và mua bánh mì cùng trái cây cho gia đình tôi.",
}

Case = tuple[dict[str, Any], list[str], list[str]]
CASES: dict[str, list[Case]] = {
    "change_case:capital_word_frequency": [
        (CAPITALS, ["GO there NOW", "I think SO", "a WELL-KNOWN and U.S.A thing", "ÉTÉ and ÜBER", "**NO** and *YES*"],
         ["GO there now", "Go There Now", "WELL-KNOWN thing", "1984 and 2001", "DON'T stay"]),
        (FEWER_CAPITALS, ["Go NOW", "go", "E-MAIL"], ["GO NOW", "I say NO", "YES. YES."]),
    ],
    "change_case:english_capital": [
        ({}, [ENGLISH.upper(), "HELLO THERE. HOW ARE YOU TODAY?", "42 IS THE ANSWER TO EVERYTHING."],
         [ENGLISH, ENGLISH.upper() + " yes", ENGLISH.capitalize(), LANGUAGES["de"].upper(), "42"]),
    ],
    "change_case:english_lowercase": [
        ({}, [ENGLISH, "the cat sat.", "i'm fine, and \"you\" are too."],
         [ENGLISH.capitalize(), ENGLISH + " I", ENGLISH.upper(), LANGUAGES["it"].lower(), "42"]),
    ],
    "combination:repeat_prompt": [
        ({"prompt_to_repeat": "Write a poem."},
         ["Write a poem.\nRoses are red.", "write a POEM. Roses", "  Write a poem.  ", "Write a poem."],
         ["Sure! Write a poem.\nRoses", "Write a poem: Roses", '"Write a poem." Roses', "Write  a poem. Roses"]),
    ],
    "combination:two_responses": [
        ({}, ["One.\n******\nTwo.", "One******Two", "******\nOne.\n******\nTwo.\n******", "a ****** b"],
         ["One.", "One.\n***\nTwo.", "One.\n******\nOne.", "One.******Two.******Three.", "One.******", "a************b",
          "a ****** b ****** a"]),
    ],
    "detectable_content:number_placeholders": [
        ({"num_placeholders": 2}, ["[name], [street no. 5]", "[a][b][c]", "Dear [имя], on [date]"],
         ["[name]", "(name) (date)", "[] [ ] [x]", "[name\n] [date]", "no"]),
    ],
    "detectable_content:postscript": [
        ({"postscript_marker": "P.S."}, ["Bye.\n\nP.S. Write soon.", "Bye.\np.s. ok", "Bye.\nP. S. ok", "**P.S.** ok"],
         ["Bye.", "Bye.\nPS: ok", "Bye.\nP.S ok", "it helps. ok", "the steps. ok"]),
        ({"postscript_marker": "P.P.S"}, ["Bye.\nP.P.S Write.", "Bye.\nP.P.S. Write.", "p. p. s. so"],
         ["Bye.\nP.S. Write.", "Bye.\nPPS Write.", "Bye."]),
    ],
    "detectable_format:constrained_response": [
        ({}, ["My answer is yes.", "Hm. My answer is no.", "\nMy answer is maybe.\n"],
         ["Yes.", "my answer is yes.", "My answer is yes", "My answer is: yes.", "My answer is perhaps."]),
    ],
    "detectable_format:json_format": [
        ({}, ['{"a": 1}', ' [1, 2]\n', '```json\n{"a": "ü"}\n```', ' ```\n{}\n```\n', '```JSON {"a": null}```'],
         ["{'a': 1}", '{"a": 1,}', 'Here: {"a": 1}', '{"a": 1} Done.', '```json\n{"a": 1}\n``` Done.', "```json\n```",
          "[" * 100_000]),
    ],
    "detectable_format:multiple_sections": [
        (SECTIONS, ["SECTION 1\na\nSECTION 2\nb", "SECTION1 a SECTION2 b", "**SECTION 1:**\n**SECTION 2:**\nSECTION 3"],
         ["SECTION 1\na", "Section 1\nSection 2", "SECTION A\nSECTION B", "SECTION  1\nSECTION  2", "SECTIONS\n1\n2"]),
        ({"section_spliter": "C++ ", "num_sections": 1}, ["C++ 1", "C++1"], ["CCC 1"]),
    ],
    "detectable_format:number_bullet_lists": [
        ({"num_bullets": 2},
         ["* a\n* b", "- a\n- b", "Here:\n\n  * a\n\t- b\n\nBye.", "* a\n* b\n---", "* a *b*\n- -5"],
         ["* a", "* a\n* b\n* c", "1. a\n2. b", "*a* is\n*b* is", "**a**\n**b**", "* \n* ", "- - -\n---", "+ a\n+ b"]),
    ],
    "detectable_format:number_highlighted_sections": [
        ({"num_highlights": 2}, ["*a* and *b*", "**a** and **b**", "*a* **b** *c*", "*a b.*\n*c*"],
         ["*a*", "**a**", "*a", "a * b", "** ** and * *", "*a\nb* c", "_a_ and _b_", "2 * 3"]),
    ],
    "detectable_format:title": [
        ({}, ["<<Joy>>\nText", "Text <<poem of joy>>", "<< über uns >>", "<<<Joy>>>"],
         ["<Joy>", "<< >>", "<<>>", "<<Joy\nand more>>", "**Joy**", "«Joy»"]),
    ],
    "keywords:existence": [
        ({"keywords": ["cat", "Zoë"]}, ["The CAT saw Zoë.", "zoë's category", "zoë\ncat"],
         ["The cat saw Zoe.", "Zoë.", "c-a-t Zoë", "nothing"]),
        ({"keywords": ["C++ (new)"]}, ["in c++ (NEW)"], ["in C (new)", "in ccc new"]),
    ],
    "keywords:forbidden_words": [
        ({"forbidden_words": ["run", "C++"]}, ["They ran.", "prune the runner", "in C"],
         ["Run!", "a run-down", "(RUN)", "in C++", '"run"']),
        ({"forbidden_words": ["était"]}, ["etait", "étaient"], ["Il ÉTAIT là"]),
    ],
    "keywords:frequency": [
        (TIMES, ["rain, RAIN", "rain rain rain", "raining trains"], ["rain", "snow", "ra in r-ain"]),
        (FEWER_TIMES, ["rain", "snow"], ["rain and rain", "Rain. rain. RAIN."]),
        ({"keyword": " a.b ", "frequency": 1, "relation": "at least"}, ["a.b"], ["axb"]),
    ],
    "keywords:letter_frequency": [
        (LETTERS, ["ooo", "O, o, o", "foo for"], ["oo", "0 0 0", "none"]),
        (FEWER_LETTERS, ["oo", "x"], ["OOO", "good food"]),
        ({"letter": "#", "let_frequency": 2, "let_relation": "at least"}, ["# and #", "##"], ["#", "aaa"]),
    ],
    "language:response_language": [
        ({"language": code}, [text], [ENGLISH] + [LANGUAGES[other] for other in ("fi", "ta", "ko") if other != code])
        for code, text in LANGUAGES.items()
    ],
    "length_constraints:nth_paragraph_first_word": [
        (NTH, ["One.\n\nElm trees.", "One.\n\nelm, or oak.", 'One.\n\n"Elm" it is.', "1.\n\n\n\nElm.", "1.\n\n“ELM”",
               "One\ntwo.\n\nElm's.\n\n", "\n\nOne.\n\nElm: it is."],
         ["One.\n\nElms.", "One.\nElm.", "Elm.\n\nOne.", "One.\n\nThe elm.", "One.\n\nElm.\n\nTwo.", "Elm.",
          "1.\n\n*Elm*", "One.\n\nElm-like"]),
    ],
    "length_constraints:number_paragraphs": [
        ({"num_paragraphs": 2}, ["a\n***\nb", "a *** b", "***\na\n***\nb\n***", "a\n\nb\n***\nc\n"],
         ["a", "a\n\nb", "a\n***\nb\n***\nc", "a\n***\n***\nb", "a\n---\nb", "a\n***\n"]),
    ],
    "length_constraints:number_sentences": [
        (SENTENCES, ["One. Two! Three?", "One. Two. Three", 'He said "No." She left. He cried.', "一。二！三？",
                     "It cost 3.5 m. Really. Yes...", "यह एक है। दो। तीन।", "One.\n\nTwo.\n\nThree. Four."],
         ["One. Two.", "One\nTwo\nThree", "Dr. A. Miller met Mrs. Jones.", "1. One.\n2. Two.", "It is 1.2.3.4. Ok",
          "Wait... what... now", "See Fig. 3, p. 5. Thanks", "He, e.g. at 5 p.m. or so, eats pears, etc. daily."]),
        (FEWER_SENTENCES, ["One. Two.", "One", "Mr. X, from the U.S. army, left."], ["One. Two. Three.", "A? B? C?"]),
    ],
    "length_constraints:number_words": [
        (WORDS, ["one two three four five", "a b c d e f", "don't do it now", "1 2 3 4 5", "один два три четыре пять"],
         ["one two three four", "one, two - three; four!", "हिन्दी में बोलो तुम"]),
        (FEWER_WORDS, ["one two three four", "... one", "हिन्दी में बोलो तुम"], ["a b c d e", "well-known it is so"]),
    ],
    "punctuation:no_comma": [
        ({}, ["No such thing; none.", "a. b", "it's"], ["a, b", "1,000", "你好，世界", "نعم، لا"]),
    ],
    "startend:end_checker": [
        ({"end_phrase": "Any other questions?"},
         ["Ok. Any other questions?", "A.\nany OTHER questions?", '"A. Any other questions?"', "any other questions?"],
         ["Any other questions? No.", "Ok. Any other questions", "Ok. Any more questions?", "Any other questions?*"]),
    ],
    "startend:quotation": [
        ({}, ['"All of it."', ' "a\n\nb" \n', "“All of it.”", '"a" and "b"'],
         ['"All', 'All"', '"', "'All of it.'", 'He said "no".', '"All of it.".', "```\n\"a\"\n```", '“a"']),
    ],
}  # fmt: skip


def test_all_kinds_have_cases() -> None:
    assert set(CASES) == set(CHECKERS)
    assert len(CHECKERS) == 25


@pytest.mark.parametrize("kind", CASES)
def test_answers_that_follow_and_answers_that_do_not(kind: str) -> None:
    for arguments, satisfying, violating in CASES[kind]:
        assert [text for text in satisfying if not follows(text, kind, arguments)] == [], arguments
        assert [text for text in violating if follows(text, kind, arguments)] == [], arguments
        assert not follows("", kind, arguments)
        assert not follows_loosely(" \n ", kind, arguments)


@pytest.mark.parametrize("kind", CASES)
def test_what_follows_strictly_follows_loosely(kind: str) -> None:
    for arguments, satisfying, _ in CASES[kind]:
        assert all(follows_loosely(text, kind, arguments) for text in satisfying)


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("detectable_format:json_format", {}, 'Here it is:\n{"a": 1}'),
        ("detectable_format:json_format", {}, '{"a": 1}\nAnything else?'),
        ("detectable_format:json_format", {}, 'Sure:\n{"a": 1}\nAnything else?'),
        ("startend:quotation", {}, '**"All of it."**'),
        ("startend:quotation", {}, 'Sure:\n*"All of it."*\nBye'),
        ("length_constraints:nth_paragraph_first_word", NTH, "One.\n\n**Elm** trees."),
        ("change_case:english_lowercase", {}, f"Sure!\n{ENGLISH}"),
    ],
)
def test_first_lines_last_lines_and_asterisks_are_forgiven_loosely(
    kind: str, arguments: dict[str, Any], text: str
) -> None:
    assert not follows(text, kind, arguments)
    assert follows_loosely(text, kind, arguments)


def test_loosely_is_not_anything_goes() -> None:
    middle = '{"a": 1}'
    assert not follows_loosely(f"One.\nTwo.\n{middle}", "detectable_format:json_format", {})
    assert not follows_loosely("a, b\nc, d\ne, f", "punctuation:no_comma", {})


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("keywords:exists", {}, "nobody can check the instruction 'keywords:exists'; use one of .*keywords:existence"),
        ("keywords:existence", {}, "keywords: Field required"),
        ("keywords:existence", {"keywords": []}, "keywords: List should have at least 1 item"),
        ("keywords:existence", {"keywords": ["a"], "relation": "at least"}, "relation: Extra inputs"),
        ("keywords:existence", {"keywords": None}, "keywords: Field required"),
        ("length_constraints:number_words", {"num_words": "5", "relation": "at least"}, "num_words: .*valid integer"),
        ("length_constraints:number_words", {"num_words": 5, "relation": "at most"}, "relation: Input should be"),
        ("language:response_language", {"language": "zh-xx"}, "'zh-xx' is no language that can be told"),
        ("keywords:letter_frequency", LETTERS | {"letter": "oo"}, "letter: String should have at most 1"),
    ],
)
def test_an_instruction_that_nobody_can_check_is_an_error(kind: str, arguments: dict[str, Any], says: str) -> None:
    for text in ("Some text.", ""):
        with pytest.raises(InstructionError, match=says):
            follows(text, kind, arguments)


def test_arguments_that_tables_pad_with_nulls() -> None:
    padded = {"num_words": 2, "relation": "at least", "keywords": None, "letter": None}
    assert follows("two words", "length_constraints:number_words", padded)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("...", 0),
        ("Hi", 1),
        ("Hi. There.", 2),
        ("Hi.There.", 1),
        ("Bye?! Yes!!!", 2),
        ("Mr. Smith went. He left", 2),
        ("J. R. R. Tolkien wrote it.", 1),
        ("It is I. You knew.", 2),
        ("I live in the U.S. It is big.", 2),
        ("The U.S. President left.", 1),
        ("Wait... what? Yes!", 2),
        ("Wait... What? Yes!", 3),
        ("Apples, pears, etc. Then home.", 2),
        ("By Smith et al. in May.", 1),
        ("In Smith v. Jones, No. 7.", 1),
        ("I saw the sun. I saw art. I sat.", 3),
        ("No. 5 is alive. No. It is not.", 3),
        ("(a) One.\n(b) Two.", 2),
        ("1. One\n2. Two", 1),
        ("**Bold.** Next one.", 2),
        ("Use `x`. See https://a.b/c.d?e for more.", 2),
        ("我走。你走！", 2),
        ("I like 2.5. You like 3.", 2),
    ],
)
def test_sentences(text: str, sentences: int) -> None:
    assert count_sentences(text) == sentences


def test_a_long_text_without_blanks_is_counted_at_once() -> None:
    assert count_sentences("x" * 200_000 + "." * 20_000 + "x") == 1


def test_words() -> None:
    assert count_words("Don't stop, well-known 3.5 snake_case") == 8
    assert count_words("हिन्दी ก็ดี") == 2
    assert spaced_words("Don't stop: well-known, U.S.A. (3.5)") == ["Don't", "stop", "well-known", "U.S.A", "3.5"]


@pytest.mark.skipif(not PROMPTS.exists(), reason=f"no real data: {PROMPTS} is absent")
def test_the_541_prompts_can_all_be_checked() -> None:
    rows = pq.read_table(PROMPTS).to_pylist()
    assert len(rows) == 541
    seen: dict[str, set[bool]] = {}
    texts = [f"{ENGLISH.capitalize()} Is there more?", '"ONE. TWO. THREE. FOUR. FIVE. SIX."']
    for row in rows:
        for kind, arguments in zip(row["instruction_id_list"], json.loads(row["kwargs"]), strict=True):
            for text in texts:
                strict = follows(text, kind, arguments)
                assert strict <= follows_loosely(text, kind, arguments)
                seen.setdefault(kind, set()).add(strict)
    assert set(seen) == set(CHECKERS)
