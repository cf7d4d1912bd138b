"""Texts of four topics that a count of words tells apart."""

import numpy as np

from tests.algorithms.classification.matrices import Indicator, one_hot

TOPICS = ("card lost", "loan rate", "open account", "close account")


def texts(rows: int, topics: int = 4) -> tuple[list[str], Indicator]:
    """Texts that hold the words of their topic among others."""
    random = np.random.default_rng(rows)
    filler = ["please", "the", "my", "for", "today", "about", "a", "question", "hello", "bank"]
    places = np.arange(rows) % topics
    written = [" ".join([*random.choice(filler, 5), TOPICS[place], *random.choice(filler, 3)]) for place in places]
    return written, one_hot(places, topics)
