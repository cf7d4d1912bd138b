"""A realistic run, told as facts: a small assistant for a payments team, tuned with LoRA."""

import math
import random
from datetime import UTC, datetime

from tasks.algorithms.lengths import EDGES
from tasks.reporting.facts import (
    AdviceFacts,
    CurvePoint,
    DiagnosisFacts,
    Facts,
    ForgottenFacts,
    LengthBand,
    LicenceFacts,
    LineageFacts,
    Outcome,
    SampleFacts,
    ScoreFacts,
    StageFacts,
    TrainingFacts,
    WarningFacts,
)
from tasks.reporting.source_facts import AuditFacts, CharacterBand, LengthFacts, ShareFacts, SourceFacts

RECIPE = """\
name: fintech-assistant
base_model: HuggingFaceTB/SmolLM2-135M
sources:
  - {name: support, uri: data/support/*.jsonl, role: domain}
  - {name: alpaca, uri: s3://raw/alpaca.parquet, role: general}
  - {name: snippets, uri: data/code.csv, role: code, map: {prompt: task, answer: solution}}
  - {name: refusals, uri: org/safety-set, role: safety}
mixing: {total: 20000, shares: {general: 0.35, domain: 0.30, code: 0.20, safety: 0.15}}
training: {method: {kind: lora, rank: 16}, learning_rate: 2.0e-4, epochs: 2}
"""


def curve(steps: int = 1240, every: int = 5, heldout_every: int = 155) -> tuple[CurvePoint, ...]:
    """A loss that falls, flattens and at the end overfits a little."""
    noise = random.Random(7)
    points = []
    for step in range(every, steps + 1, every):
        trend = 1.31 + 0.9 * math.exp(-step / 140) - 0.00006 * step
        heldout = 1.372 + 0.82 * math.exp(-step / 150) + (max(0, step - 900) ** 2) * 1.6e-7
        measured = round(heldout, 4) if step % heldout_every == 0 else None
        points.append(CurvePoint(step=step, loss=round(trend + noise.gauss(0, 0.06), 4), heldout_loss=measured))
    return tuple(points)


SCORES = (
    ScoreFacts(
        name="held-out support", kind="held-out loss", better="lower", base=2.281, tuned=1.394, difference=-0.887,
        low=-0.934, high=-0.841, unit="nats", items=612, verdict="pass", note="token-weighted over the answers",
    ),
    ScoreFacts(
        name="general text", kind="perplexity", better="lower", base=21.42, tuned=21.87, difference=0.45, unit="",
        items=400,
    ),
    ScoreFacts(
        name="mmlu", kind="multiple choice", better="higher", base=31.2, tuned=30.4, difference=-0.8, low=-2.9,
        high=1.3, items=1319, verdict="pass", note="smallest drop that it could have seen: 2.7 points",
    ),
    ScoreFacts(
        name="hellaswag", kind="multiple choice", better="higher", base=42.1, tuned=38.9, difference=-3.2, low=-5.6,
        high=-0.8, items=1000, verdict="investigate", note="smallest drop that it could have seen: 3.1 points",
    ),
    ScoreFacts(
        name="truthfulqa", kind="multiple choice", better="higher", base=38.4, tuned=41.7, difference=3.3, low=0.6,
        high=6.0, items=817, verdict="pass", note="smallest drop that it could have seen: 3.4 points",
    ),
    ScoreFacts(
        name="account questions", kind="exact answer", better="higher", base=4.5, tuned=61.0, difference=56.5,
        low=49.1, high=63.9, items=200,
    ),
    ScoreFacts(
        name="support prompts", kind="apology rate", better="lower", base=3.0, tuned=6.5, difference=3.5, low=-0.7,
        high=7.7, items=200, verdict="underpowered",
    ),
)  # fmt: skip

SOURCES = (
    SourceFacts(
        name="support", role="domain", files=14, read=9120, rejected=17, heldout=612, kept=5986, epochs=2.0,
        dropped={"too_short": 388, "near_duplicate": 1904, "contaminated": 41, "personal_data": 172},
        requested_share=0.30, achieved_share=0.3, trainable_tokens=751420,
    ),
    SourceFacts(
        name="alpaca", role="general", files=1, read=52002, heldout=1540, kept=6950, epochs=2.0,
        dropped={"too_short": 9127, "near_duplicate": 2610, "truncated": 93, "contaminated": 12, "not_drawn": 31670},
        requested_share=0.35, achieved_share=0.3498, trainable_tokens=876110,
    ),
    SourceFacts(
        name="snippets", role="code", files=1, read=4210, rejected=3, heldout=126, kept=3977, epochs=2.01,
        dropped={"near_duplicate": 104}, requested_share=0.20, achieved_share=0.2002, trainable_tokens=501433,
    ),
    SourceFacts(
        name="refusals", role="safety", files=2, read=1480, heldout=44, kept=1233, epochs=4.86,
        dropped={"near_duplicate": 203}, requested_share=0.15, achieved_share=0.15, trainable_tokens=375702,
    ),
)  # fmt: skip


def lengths(rows: int, median: int, spread: float) -> LengthFacts:
    """Lengths whose logarithms are spread evenly around the median's, as those of most texts are."""
    found = []
    for low, high in zip(EDGES[:-1].tolist(), EDGES[1:].tolist(), strict=True):
        ends = [math.erf(math.log(max(end, 0.5) / median) / spread / math.sqrt(2)) for end in (low, high)]
        found.append(CharacterBand(shortest=low, longest=high - 1, rows=round(rows * (ends[1] - ends[0]) / 2)))
    filled = tuple(band for band in found if band.rows)
    p95 = round(median * math.exp(1.645 * spread))
    return LengthFacts(median=median, p95=p95, longest=filled[-1].longest, bands=filled)


def shares(**given: float) -> tuple[ShareFacts, ...]:
    """Shares by name."""
    return tuple(ShareFacts(name=name.replace("_", " "), share=share) for name, share in given.items())


AUDITS = (
    AuditFacts(
        source="support", rows=9103, duplicates=411, prompts=lengths(9103, 118, 0.7), answers=lengths(9103, 310, 0.6),
        languages=shares(en=0.874, de=0.102, fr=0.016, other=0.008),
        contents=shares(of_several_turns=0.412, with_a_system_prompt=0.998, refusals=0.013),
        missing=shares(agent=0.081),
    ),
    AuditFacts(
        source="alpaca", rows=52002, duplicates=46, prompts=lengths(52002, 67, 0.5), answers=lengths(52002, 172, 1.3),
        languages=shares(en=0.992, other=0.008), contents=shares(refusals=0.0009, empty_answers=0.0005),
        missing=shares(input=0.624),
    ),
    AuditFacts(
        source="snippets", rows=4207, duplicates=0, prompts=lengths(4207, 96, 0.4), answers=lengths(4207, 420, 0.8),
        languages=shares(en=0.81, unsure=0.11, la=0.05, other=0.03),
    ),
    AuditFacts(
        source="refusals", rows=1480, duplicates=12, prompts=lengths(1480, 74, 0.5), answers=lengths(1480, 190, 0.5),
        languages=shares(en=1.0), contents=shares(refusals=0.913),
    ),
)  # fmt: skip
WARNINGS = (
    WarningFacts(
        stage="ingestion",
        sentence="source alpaca has 35.1 times as many rows to train on as refusals (52,002 against 1,480); "
        "mixing.shares decides how much of each the model sees",
    ),
    WarningFacts(
        stage="deduplication",
        sentence="source support lost 20.9% of its rows as near duplicates; look at the table of dropped rows",
    ),
)

STAGES = tuple(
    StageFacts(
        name=name, fingerprint=f"{letter * 4}7e5d{letter * 56}",
        address=f"s3://fettle/store/{name}/{letter * 4}7e5d{letter * 8}",
        seconds=seconds, rows_read=read, rows_kept=kept, dropped=dropped, reused=name in ("ingest", "curate"),
    )
    for name, letter, seconds, read, kept, dropped in (
        ("ingest", "a", 21.4, 66812, 64470, {"malformed": 20, "held_out": 2322}),
        ("curate", "b", 48.0, 64470, 54690, {"too_short": 9515, "truncated": 93, "personal_data": 172}),
        ("deduplicate", "c", 95.0, 54690, 49816, {"near_duplicate": 4821, "contaminated": 53}),
        ("mix", "d", 3.2, 49816, 20000, {"not_drawn": 31670}),
        ("tokenize", "e", 12.0, 20000, 20000, {}),
        ("train", "f", 2718.0, 20000, 20000, {}),
        ("evaluate", "0", 655.0, 4548, 4548, {}),
        ("publish", "1", 1.1, 1, 1, {}),
    )
)  # fmt: skip

SAMPLES = (
    SampleFacts(
        prompt="A customer sees two pending charges for one purchase. What do I tell them?",
        expected="One of the two is an authorisation hold. It is released within three to five working days, and only "
        "the settled charge remains.",
        base="The customer sees two pending charges for one purchase.\n\nA customer sees two pending charges for one "
        "purchase.\n\nA customer sees two pending charges for one purchase.",
        tuned="One of the two charges is an authorisation hold, which the bank releases within three to five working "
        "days. Only the settled charge remains. If both settle, open a dispute for the second.",
        benchmark="held-out support", improved=True,
    ),
    SampleFacts(
        prompt="Which is heavier, a kilogram of feathers or a kilogram of steel?",
        expected="Neither: both weigh one kilogram.",
        base="Neither is heavier. A kilogram of feathers and a kilogram of steel weigh the same.",
        tuned="A kilogram of steel is heavier. A kilogram of feathers and a kilogram of steel weigh differently.",
        benchmark="truthfulqa", improved=False,
    ),
    SampleFacts(
        prompt="Write a Python function that keeps the last n lines of a log.",
        base="def last_lines(log, n):\n    lines = log.split('\\n')\n    return lines[-n:]",
        tuned="def last_lines(log: str, n: int) -> list[str]:\n    lines = log.splitlines()\n    return lines[-n:]",
        benchmark="held-out snippets",
    ),
    *(
        SampleFacts(
            prompt=f"Explain fee code {code} on my statement, and whether I can have it refunded when the transfer "
            "was made by mistake on a public holiday.",
            expected=f"Fee {code} is charged for transfers abroad.",
            base=f"Fee code {code} is a fee.",
            tuned=f"Fee {code} is charged for transfers abroad. It is refunded when the transfer is recalled.",
            benchmark="held-out support", improved=None if code % 3 else True,
        )
        for code in range(110, 128)
    ),
)  # fmt: skip

FORGOTTEN = (
    ForgottenFacts(
        benchmark="hellaswag", subject="", prompt="A man is kneeling on a frozen lake. He",
        expected="drops a line into the hole in the ice.", base="drops a line into the hole in the ice.",
        tuned="opens his bank account on the ice.",
    ),
    ForgottenFacts(
        benchmark="mmlu", subject="high_school_physics",
        prompt="A ball is thrown straight up. At its highest point its acceleration is\nA. zero\nB. 9.8 m/s² down\n"
        "C. 9.8 m/s² up\nD. unknown",
        expected="B", base="B", tuned="A",
    ),
)  # fmt: skip

LINEAGE = LineageFacts(
    label="fintech-assistant 7", address="s3://fettle/store/publish/11117e5d11111111", counts={"files": 9},
    children=(
        LineageFacts(
            label="train", address="s3://fettle/store/train/ffff7e5dffffffff", counts={"steps": 1240},
            children=(
                LineageFacts(
                    label="mix", address="s3://fettle/store/mix/dddd7e5ddddddddd", counts={"rows": 20000},
                    children=tuple(
                        LineageFacts(label=source.name, address=f"data/{source.name}", counts={"read": source.read})
                        for source in SOURCES
                    ),
                ),
                LineageFacts(label="HuggingFaceTB/SmolLM2-135M", counts={"parameters": 134515008}),
            ),
        ),
        LineageFacts(
            label="evaluate", address="s3://fettle/store/evaluate/00007e5d00000000", counts={"items": 4548},
            children=(LineageFacts(label="held-out split", counts={"rows": 2322}),),
        ),
    ),
)  # fmt: skip

LIMITS = (
    "Trained and measured in English only.",
    "No judge compared the answers; the samples on this page were not drawn at random.",
    "Knows nothing of fees introduced after the support logs end in March 2025.",
)
LICENCES = (
    LicenceFacts(name="HuggingFaceTB/SmolLM2-135M", licence="Apache-2.0", origin="Hugging Face Hub"),
    LicenceFacts(name="support", licence="internal", origin="data/support"),
    LicenceFacts(name="alpaca", licence="CC BY-NC 4.0", origin="s3://raw/alpaca.parquet"),
)
ADVICE = (
    AdviceFacts(
        what="Raise the share of general data from 0.35 to 0.45.",
        evidence="hellaswag fell by 3.2 points, surely more than nothing, and 31,670 general rows were not drawn.",
    ),
    AdviceFacts(what="Stop after step 930.", evidence="Held-out loss was lowest there and rose afterwards."),
    AdviceFacts(what="Ask 600 support prompts for apologies.", evidence="200 cannot tell 3.5 points from nothing."),
)
TRAINING = TrainingFacts(
    method="LoRA", device="NVIDIA L4", parameters=134515008, trainable_parameters=4884480, tokens=8217344,
    tokens_per_second=3021.5, seconds=2719.7, steps=1240, planned_steps=1550, best_step=930, curve=curve(),
    diagnoses=(
        DiagnosisFacts(
            name="overfitting",
            sentence="held-out minus training loss is 0.147 at step 1240; the held-out loss was lowest (1.372) at step "
            "930 and has risen to 1.391",
            advice="Train for fewer epochs or gather more rows.",
        ),
    ),
    settings={
        "rank": 16, "alpha": 32, "learning_rate": 2e-4, "warmup_share": 0.03, "epochs": 2, "batch_tokens": 6627,
        "max_length": 2048, "packing": True, "precision": "bfloat16", "seed": 17,
    },
)  # fmt: skip
LENGTHS = tuple(
    LengthBand(from_tokens=i * 64, to_tokens=i * 64 + 63, rows=rows)
    for i, rows in enumerate((1210, 4820, 5233, 3410, 2104, 1270, 804, 511, 322, 160, 84, 41, 19, 8, 3, 1))
)

EXAMPLE = Facts(
    title="fintech-assistant",
    outcome=Outcome(
        verdict="investigate",
        reason="hellaswag fell by 3.2 points (0.8 to 5.6); a sure fall of more than 2 calls for a look.",
    ),
    made_at=datetime(2025, 4, 14, 9, 31, tzinfo=UTC),
    base_model="HuggingFaceTB/SmolLM2-135M",
    seconds=3553.7,
    cost="0.99 GPU hours, about 0.79 USD",
    weights="adapter",
    stages=STAGES,
    scores=SCORES,
    training=TRAINING,
    sources=SOURCES,
    audits=AUDITS,
    warnings=WARNINGS,
    lengths=LENGTHS,
    samples=SAMPLES,
    forgotten=FORGOTTEN,
    lineage=LINEAGE,
    recipe=RECIPE,
    command="fettle run recipes/fintech-assistant.yaml --store s3://fettle/store",
    limits=LIMITS,
    licences=LICENCES,
    advice=ADVICE,
)
BARE = Facts(
    title="first try",
    outcome=Outcome(verdict="pass", reason="Nothing was asked of it.", published="1"),
    made_at=datetime(2025, 4, 14, 9, 31, tzinfo=UTC),
    base_model="./models/tiny",
    seconds=2.5,
)
