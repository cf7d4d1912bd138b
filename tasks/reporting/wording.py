"""Numbers, times and shares in words, the same on the page, in the card and in tables."""

MINUS = "\N{MINUS SIGN}"
_DECIMALS = {"%": 1, "nats": 3, "": 2}


def number(value: float) -> str:
    """1234567 -> 1,234,567; 0.25 -> 0.25; 0.00002 -> 2e-5."""
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.3g}".replace("e-0", "e-")
    text = f"{value:,.4f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value(item: object) -> str:
    """Any setting: yes and no, a number, a text, or a dash for nothing."""
    if item is None:
        return "–"
    if isinstance(item, bool):
        return "yes" if item else "no"
    return number(item) if isinstance(item, int | float) else str(item)


def score(amount: float, unit: str) -> str:
    """A score in its unit: 61.3%, 1.842, 12.30."""
    return f"{amount:,.{_DECIMALS[unit]}f}{unit if unit == '%' else ''}".replace("-", MINUS)


def change(amount: float, unit: str) -> str:
    """A signed difference, in points where the score is a percentage: +2.1, −0.034; never −0.0."""
    text = f"{amount:+,.{_DECIMALS[unit]}f}"
    zero = not any(digit in text for digit in "123456789")
    return text[1:] if zero else text.replace("-", MINUS)


def interval(low: float | None, high: float | None, unit: str) -> str:
    """The interval of a difference: +0.4 to +3.8; empty where none is known."""
    return "" if low is None or high is None else f"{change(low, unit)} to {change(high, unit)}"


def p_value(chance: float) -> str:
    """0.034, 0.61; below 0.001 its size does not matter."""
    return "<0.001" if chance < 0.001 else f"{chance:.3f}"


def signed(amount: float) -> str:
    """0.62, −0.10: two decimals with a true minus."""
    return f"{amount:.2f}".replace("-", MINUS)


def percentage(share: float) -> str:
    """A ratio 0–1 in percent. What is not nothing never reads 0%, what is not all never 100%."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share * 100:.1f}%"


def duration(seconds: float) -> str:
    """0.4 s, 48 s, 3 min 20 s, 1 h 12 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60:,} h"


def words(identifier: str) -> str:
    """near_duplicate -> near duplicate."""
    return identifier.replace("_", " ")


def sentence(text: str) -> str:
    """the loss rose -> The loss rose."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?", "…")) else ".")


def rows(count: int) -> str:
    """1 row, 2,000 rows."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
