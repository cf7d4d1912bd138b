"""How varied a mixture is: the kinds of task that its prompts set, how evenly they are spread, how long rows are.

The kind of a task is read off the first words of the prompt by the rules below, the first that holds. They know
English only: a prompt in another language counts by its code, figures or marks, else as "other".
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.balance import bar

_CHARACTERS_READ = 400
"""Of a prompt; what it asks stands at its beginning."""
_LEVELS = (0.1, 0.5, 0.9)
_POLITE = (
    r"^(?:\W|\b(?:please|kindly|hi|hello|hey|ok|okay|so|now|then|also|first"
    r"|(?:given|in|for|with|using|from|based on|as an?) [^,.:\n]{1,60}, ?"
    r"|(?:can|could|would|will) (?:you|u)|i (?:want|need|would like|'d like) (?:you )?to|help me(?: to)?"
    r"|your task is to|your job is to|let's|try to|you (?:are asked|need|have|should|must) to)\b)+"
)
_LANGUAGE = (
    r"(?:python|javascript|typescript|java|kotlin|c\+\+|c#|sql|mysql|html|css|bash|regex|regular expression|php|ruby"
    r"|golang|rust|swift|matlab|jquery|django|react|node\.?js)(?:\W|$)"
)
_ARTEFACT = r"(?:function|program|script|code|class|method|query|algorithm|loop|api|module|library|snippet)s?"

RULES: dict[str, str] = {
    "chat": r"^\W*(?:hi|hello|hey|thanks|thank you|good (?:morning|evening|afternoon)|how are you)\b.{0,30}$",
    "code": rf"```|\b{_LANGUAGE}|^(?:write|create|make|build|implement|generate|construct|design|develop|code|debug|"
    rf"refactor|optimi[sz]e|fix|modify|edit|rewrite|complete)\b.{{0,60}}\b{_ARTEFACT}\b",
    "maths": r"^(?:calculate|compute|solve|integrate|differentiate|factori[sz]e|multiply|divide|subtract|"
    r"find the (?:sum|product|area|volume|perimeter|derivative|integral|mean|median|value|slope|square root|"
    r"average|probability|roots?|greatest common|least common))\b|\d\s*[+*/×÷^=]\s*\(?\d|"
    r"\bwhat is the (?:sum|product|area|volume|perimeter|derivative|integral|median|slope|square root|probability)\b",
    "translation": r"^translate\b|\btranslat\w+\b.{0,40}\b(?:to|into|from) (?:english|french|spanish|german|italian|"
    r"chinese|japanese|russian|portuguese|arabic|hindi|latin|dutch|korean)\b",
    "summary": r"^(?:summari[sz]e|sum up|shorten|condense|tl;?dr|abridge|recap)\b|\bsummar(?:y|ies|i[sz]e)\b",
    "classification": r"^(?:classify|categori[sz]e|label|detect|determine (?:if|whether)|decide (?:if|whether)|"
    r"identify (?:if|whether)|tell (?:me )?(?:if|whether)|predict|rate|rank|sort|group|assign|judge|verify)\b|"
    r"\b(?:sentiment|which category|true or false|fact or opinion)\b|\b(?:choose|select|pick) (?:the|one|from|your)\b",
    "extraction": r"^(?:extract|find|identify|pull out|highlight|locate|underline|spot|search|retrieve|count|select)\b",
    "rewriting": r"^(?:rewrite|rephrase|paraphrase|edit|correct|fix|improve|convert|transform|change|replace|reword|"
    r"restructure|re-?arrange|reorder|modify|reformat|format|revise|proofread|remove|turn|make (?:this|the|it)|adapt|"
    r"punctuate|capitali[sz]e|combine|join|split|simplify|expand|update|reverse|delete|insert|adjust|substitute)\b",
    "listing": r"^(?:list|name|enumerate|brainstorm|suggest|recommend|propose|offer|think of|come up with (?:a list|\d|"
    r"two|three|four|five|six|ten)|(?:give|provide|generate|create|make|write|compile|tell)\b.{0,12}\b(?:list|\d+|two|"
    r"three|four|five|six|seven|eight|nine|ten|some|several|examples?|ideas?|tips?|ways?)\b)",
    "role play": r"^(?:act as|pretend|imagine|play the role|role-?play|you are (?:a|an|the)|suppose you)\b",
    "generation": r"^(?:write|create|generate|compose|make|design|draft|develop|come up|craft|produce|invent|construct|"
    r"build|plan|tell (?:me )?(?:a|an|the)|prepare|formulate|devise|form|add|complete|finish|continue|fill|use|put|"
    r"describe a (?:day|time|scene|character|place)|sketch|narrate|synthesi[sz]e|organi[sz]e|schedule)\b",
    "explanation": r"^(?:explain|describe|define|discuss|compare|contrast|analy[sz]e|elaborate|illustrate|clarify|"
    r"justify|argue|interpret|evaluate|assess|examine|explore|differentiate|distinguish|state|outline|show|teach|"
    r"give (?:me )?(?:a|an|the)|provide (?:a|an|the)|tell me|critique|review|research|reflect)\b",
    "closed question": r"^(?:who|whose|whom|when|where|which|how (?:many|much|old|long|far|tall|big|often|fast|large|"
    r"high|deep)|what(?:'s| is| was| are| were)? (?:the )?(?:name|names|year|date|day|time|capital|number|colou?r|age|"
    r"population|size|height|currency|language|type|kind|distance|temperature|country|city|word|best|most|largest|"
    r"smallest|first|last|main|highest|only)|is|are|was|were|am|do|does|did|can|could|should|would|will|has|have|had|"
    r"may|might|must|isn't|aren't|doesn't|don't|didn't)\b",
    "open question": r"^(?:what|why|how|in what|to what|what's|for what)\b|\?\s*$",
}
"""A regular expression for each kind of task, over the prompt in lower case without polite words before it."""
OTHER = "other"
TASK_TYPES = (*RULES, OTHER)


def first_prompts(messages: pa.Array) -> pa.Array:
    """How the first message of the user begins, for each list of messages; empty where there is none."""
    said = messages.flatten()
    of_user = pc.equal(said.field("role"), "user")
    rows, first = np.unique(pc.list_parent_indices(messages).filter(of_user).to_numpy(), return_index=True)
    begins = pc.utf8_slice_codeunits(said.field("content").filter(of_user).take(pa.array(first)), 0, _CHARACTERS_READ)
    places = np.full(len(messages), -1)
    places[rows] = np.arange(len(rows))
    return pc.fill_null(begins.take(pa.array(places, mask=places < 0)), "")


def task_types(prompts: pa.Array) -> npt.NDArray[np.uint8]:
    """The kind of task that each prompt sets, as its place in `TASK_TYPES`."""
    text = pl.Series("prompt", prompts, dtype=pl.String).str.to_lowercase().str.replace_all("’", "'").str.strip_chars()
    plain, bare = pl.col("plain"), pl.col("bare")
    kinds = pl.lit(len(RULES), pl.UInt8)
    for number, (name, rule) in reversed(list(enumerate(RULES.items()))):
        holds = (plain if name == "chat" else bare).str.contains(f"(?s){rule}")
        kinds = pl.when(holds).then(pl.lit(number, pl.UInt8)).otherwise(kinds)
    frame = pl.DataFrame({"plain": text, "bare": text.str.replace(_POLITE, "")})
    return frame.select(kinds.alias("kind"))["kind"].to_numpy()


def entropy_bits(counts: Sequence[int]) -> float:
    """Shannon entropy of counts in bits: 0 where all are of one kind, log2(n) where n kinds are equally many."""
    total = sum(counts)
    return math.fsum(-count / total * math.log2(count / total) for count in counts if count) if total else 0.0


def task_table(shown: pl.DataFrame) -> list[dict[str, Any]]:
    """The kinds of task in a mixture, the commonest first, as often as they are shown; `kind` holds their places."""
    counts = _shown_of_kind(shown)
    order = sorted((kind for kind in range(len(TASK_TYPES)) if counts[kind]), key=lambda kind: -counts[kind])
    whole = max(1, sum(counts))
    return [
        {"task": TASK_TYPES[kind], "shown": counts[kind], "share": round(counts[kind] / whole, 4)}
        | {"picture": bar(counts[kind] / whole)}
        for kind in order
    ]


def diversity_table(shown: pl.DataFrame) -> list[dict[str, Any]]:
    """Kinds of task, their entropy, and the spread of lengths: of the whole mixture, then of each source."""
    by_source = shown.partition_by("source", as_dict=True)
    named = [("all", shown), *((str(name), rows) for (name,), rows in sorted(by_source.items()))]
    return [{"source": name, **_figures(rows)} for name, rows in named if len(rows)]


def _figures(shown: pl.DataFrame) -> dict[str, Any]:
    counts = _shown_of_kind(shown)
    bits = entropy_bits(counts)
    copies = shown["copies"].cast(pl.Int64).to_numpy()
    lengths = {
        f"{name}_p{round(100 * level)}": length
        for name in ("prompt_tokens", "answer_tokens")
        for level, length in zip(
            _LEVELS, weighted_quantiles(shown[name].cast(pl.Int64).to_numpy(), copies, _LEVELS), strict=True
        )
    }
    return {
        "task_types": sum(count > 0 for count in counts),
        "commonest": TASK_TYPES[int(np.argmax(counts))],
        "entropy_bits": round(bits, 3),
        "evenness": round(bits / math.log2(len(TASK_TYPES)), 3),
        **lengths,
    }


def _shown_of_kind(shown: pl.DataFrame) -> list[int]:
    counts = np.bincount(shown["kind"].to_numpy(), shown["copies"].to_numpy(), len(TASK_TYPES))
    return [round(count) for count in counts.tolist()]


def weighted_quantiles(
    values: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], levels: Sequence[float]
) -> list[int]:
    """The smallest value with at least each level of the weight at or below it; zeros where nothing has weight."""
    if not weights.sum():
        return [0 for _ in levels]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = [int(np.searchsorted(reached, level * reached[-1])) for level in levels]
    return [int(values[order[min(place, len(order) - 1)]]) for place in places]
