"""Whatever a cell holds, Markdown shows it as it is."""

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.reporting.tables import code_block, escape_markdown, markdown_table, paragraph
from tests.reporting.hostile import ATTACK
from tests.reporting.markup import Page

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]))
ANY = st.text(alphabet="\\`*_[]()|~$#+-.=:!<>&;1a \n'\"")


def shown(markdown: str) -> str:
    """The text that a reader sees, after a check that nothing became a picture, a link or HTML."""
    page = Page(MARKDOWN.render(markdown))
    assert page.tags <= {"p", "table", "thead", "tbody", "tr", "th", "td", "h1"}, page.tags
    return page.text.strip()


@given(TEXT | ANY)
@example(ATTACK.replace("\x00", ""))
@example("\\|")
@example("1. one")
def test_a_paragraph_shows_its_text(text: str) -> None:
    assert shown(paragraph(text)) == " ".join(text.split())


@given(TEXT | ANY)
@example("ends in C #")
def test_a_heading_shows_its_text(text: str) -> None:
    assert shown(f"# {escape_markdown(text)}") == " ".join(text.split())


@given(TEXT | ANY)
@example(ATTACK.replace("\x00", ""))
def test_a_cell_shows_its_text_and_stays_one_cell(text: str) -> None:
    page = Page(MARKDOWN.render(markdown_table([{"a": "first", "b": text, "c": "last"}])))
    assert [line for line in page.text.split("\n") if line][:3] == ["a", "b", "c"]
    assert " ".join(page.text.split()) == " ".join(f"a b c first {text} last".split())


def test_addresses_become_no_links() -> None:
    assert escape_markdown("see https://a.example and www.b.example") == r"see https:\//a.example and www\.b.example"
    assert escape_markdown("s3://bucket/key") == "s3://bucket/key"


def test_numbers_are_set_right_with_separators() -> None:
    rows = [{"name": "support", "rows": 12345, "share": 0.3}, {"name": "all | code", "rows": 7, "share": None}]
    assert markdown_table(rows).splitlines() == [
        "| name | rows | share |",
        "| :-- | --: | --: |",
        "| support | 12,345 | 0.3 |",
        "| all &#124; code | 7 |  |",
    ]


def test_a_column_that_only_some_rows_have_is_kept() -> None:
    assert markdown_table([{"a": True}, {"b": 2}]).splitlines()[0] == "| a | b |"


def test_no_rows_are_said_in_words() -> None:
    assert markdown_table([]) == "*No rows.*"


@given(ANY)
def test_a_code_block_holds_any_fence(text: str) -> None:
    tokens = MARKDOWN.parse(code_block(text, "yaml"))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content.rstrip() == text.rstrip()
