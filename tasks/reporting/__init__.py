"""Facts to a page, a card, tables."""
