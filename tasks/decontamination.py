"""What the model is measured by, and which training rows give it away: benchmarks' questions and held-out prompts."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.canaries import plant
from tasks.algorithms.compared_texts import Messages, compared_texts
from tasks.algorithms.containment import NGRAM, QuestionIndex
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.benchmarks import questions
from tasks.conversation import words
from tasks.filters.row import Verdict

BENCHMARK, HELDOUT = "benchmark overlap", "held-out overlap"
"""Why a row goes that gives one of them away."""
ROWS_AT_A_TIME = 1 << 14


class Guards(NamedTuple):
    """What no training row may hold."""

    benchmarks: QuestionIndex
    heldout: QuestionIndex
    """Whole prompts: those of a source are alike by nature, and "What is the fee in Rome?" is not the one in Paris."""

    @classmethod
    def of(cls, out: Attempt, curated: Artifact, benchmarks: Sequence[Resource]) -> "Guards":
        """The indexes of both, each tried with canaries."""
        asked = [each for benchmark in benchmarks for each in questions(benchmark)]
        prompts = sorted(_heldout_prompts(out, curated))
        made = cls(QuestionIndex(asked), QuestionIndex(prompts, whole=True))
        planted = plant(made.benchmarks, asked)
        out.facts["canaries"] = planted + plant(made.heldout, prompts)
        for canaries in planted:
            if 2 * canaries["distinctive"] < canaries["questions"]:
                out.warn(
                    f"of {canaries['questions']:,} questions drawn of {canaries['benchmark']} only "
                    f"{canaries['distinctive']:,} have words of their own to be found by; the others are found as "
                    "whole prompts alone, so look for its leaks yourself"
                )
        return made

    def verdicts(self, messages: Messages, training: npt.NDArray[np.bool_]) -> dict[int, Verdict]:
        """The training rows with a turn that asks what it should not, by their place in the batch."""
        row_of = messages.rows()
        mine = training[row_of]
        found: dict[int, Verdict] = {}
        # An answer that lists a benchmark's questions gives it away; a held-out prompt is what users ask.
        for reason, index, said in ((BENCHMARK, self.benchmarks, mine), (HELDOUT, self.heldout, mine & messages.user)):
            turns = np.flatnonzero(said)
            texts = messages.fields.field("content").take(pa.array(turns))
            for place, match in index.find(texts):
                evidence = f"{match.question}: {match.containment:.0%} of its words, the longest run “{match.span}”"
                found.setdefault(int(row_of[turns[place]]), Verdict(reason, evidence))
        return found


def _heldout_prompts(out: Attempt, curated: Artifact) -> Iterator[tuple[str, str]]:
    for table in out.store.tables(curated, "conversations", columns=["id", "split", "messages"]):
        heldout = table.filter(pc.equal(table["split"], "heldout")).combine_chunks()
        for batch in heldout.to_batches(ROWS_AT_A_TIME):
            prompts = compared_texts(Messages.of(batch["messages"]), "prompt")
            for id_, prompt in zip(batch["id"].to_pylist(), prompts.to_pylist(), strict=True):
                # What is equal lies on one side already.
                if len(words(prompt)) >= NGRAM:
                    yield f"held-out {id_}", prompt
