"""A realistic run, told as facts: a small assistant for a payments team, tuned with LoRA."""

import math
import random
from datetime import UTC, datetime

from tasks.algorithms.lengths import EDGES
from tasks.reporting.advice import advice
from tasks.reporting.facts import (
    CurvePoint,
    DiagnosisFacts,
    Facts,
    ForgottenFacts,
    JudgeFacts,
    LengthBand,
    LicenceFacts,
    LineageFacts,
    Marks,
    Outcome,
    RatingFacts,
    SampleFacts,
    ScoreFacts,
    StageFacts,
    SubjectFacts,
    TrainingFacts,
    WarningFacts,
)
from tasks.reporting.judged_facts import EloFacts, GradeFacts, RatedSide, RateFacts
from tasks.reporting.masks import SampleFacts as MaskSample
from tasks.reporting.masks import TokenFacts
from tasks.reporting.score_facts import AccuracyFacts, InstructionFacts, LostInstructionFacts
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


MARKS = Marks(investigate=2, fail=5)
SCORES = (
    ScoreFacts(
        name="held-out loss", kind="held-out loss", better="lower", base=2.281, tuned=1.394, difference=-0.887,
        low=-0.934, high=-0.841, unit="nats", items=612, verdict="pass", group="loss",
    ),
    ScoreFacts(
        name="general text", kind="loss", better="lower", base=3.064, tuned=3.085, difference=0.021, unit="nats",
        low=0.012, high=0.03, items=400, group="loss", note="perplexity 21.42 → 21.87",
    ),
    ScoreFacts(
        name="mmlu", kind="multiple_choice", better="higher", base=31.2, tuned=30.4, difference=-0.8, low=-2.9,
        high=1.3, items=1319, clusters=57, verdict="pass", smallest_visible=2.7, lost=104, gained=93, mcnemar_p=0.433,
        bootstrap_low=-2.84, bootstrap_high=1.27,
    ),
    ScoreFacts(
        name="hellaswag", kind="multiple choice", better="higher", base=42.1, tuned=38.9, difference=-3.2, low=-5.6,
        high=-0.8, items=1000, clusters=1000, verdict="investigate", smallest_visible=3.1, lost=91, gained=59,
        mcnemar_p=0.0086, bootstrap_low=-5.51, bootstrap_high=-0.82,
    ),
    ScoreFacts(
        name="truthfulqa_mc2", kind="multiple choice", better="higher", base=38.4, tuned=41.7, difference=3.3, low=0.6,
        high=6.0, items=817, clusters=38, verdict="pass", smallest_visible=3.4, bootstrap_low=0.71,
        bootstrap_high=5.92,
    ),
    ScoreFacts(
        name="gsm8k", kind="exact answer", better="higher", base=6.5, tuned=4.0, difference=-2.5, low=-6.8, high=1.8,
        items=200, clusters=200, verdict="underpowered", smallest_visible=6.1, lost=8, gained=3, mcnemar_p=0.146,
        bootstrap_low=-5.55, bootstrap_high=0.53, needed_items=640,
    ),
    ScoreFacts(
        name="account questions", kind="exact answer", better="higher", base=4.5, tuned=61.0, difference=56.5,
        low=49.1, high=63.9, items=200, lost=1, gained=114, mcnemar_p=0.0,
    ),
    ScoreFacts(
        name="macro-average", kind="mean of 4 benchmarks", better="higher", base=29.55, tuned=28.75,
        difference=-0.8, low=-2.3, high=0.7, items=3336, group="macro",
    ),
    ScoreFacts(
        name="apology rate", kind="behaviour", better="lower", base=3.0, tuned=6.5, difference=3.5, low=-0.7,
        high=7.7, items=200, verdict="pass", group="behaviour",
    ),
    ScoreFacts(
        name="refusal rate", kind="behaviour", better="lower", base=1.5, tuned=2.0,
        difference=0.5, low=-1.5, high=2.5, items=200, verdict="pass", group="behaviour",
    ),
    ScoreFacts(
        name="cut off at the limit", kind="behaviour", better="lower", base=71.5, tuned=12.5, difference=-59.0,
        low=-66.0, high=-52.0, items=200, verdict="fail", group="behaviour", note="at most 10% may be cut off",
    ),
    ScoreFacts(
        name="answer length", kind="behaviour", better="higher", base=96.4, tuned=71.1, difference=-25.3, unit="",
        items=200, group="behaviour", note="words",
    ),
    ScoreFacts(
        name="account questions", kind="exact answer", better="higher", base=58.5, tuned=61.0, difference=2.5,
        low=-2.1, high=7.1, items=200, lost=9, gained=14, mcnemar_p=0.307, against="production",
    ),
    ScoreFacts(
        name="held-out loss", kind="held-out loss", better="lower", base=1.431, tuned=1.394, difference=-0.037,
        low=-0.049, high=-0.025, unit="nats", items=612, verdict="pass", group="loss", against="production",
    ),
)  # fmt: skip
SUBJECTS = tuple(
    SubjectFacts(
        benchmark="mmlu", subject=subject, items=items, base=round(100 * right / items, 1),
        tuned=round(100 * (right - lost + gained) / items, 1), difference=round(100 * (gained - lost) / items, 1),
        lost=lost, gained=gained,
    )
    for subject, items, right, lost, gained in (
        ("high_school_physics", 24, 9, 6, 1), ("college_mathematics", 23, 8, 5, 1), ("virology", 22, 9, 4, 1),
        ("moral_scenarios", 26, 7, 4, 2), ("global_facts", 23, 7, 3, 1), ("anatomy", 23, 8, 3, 2),
        ("astronomy", 24, 8, 2, 2), ("marketing", 25, 9, 2, 2), ("nutrition", 24, 7, 1, 2), ("prehistory", 25, 8, 1, 3),
        ("sociology", 24, 7, 1, 4), ("world_religions", 23, 6, 0, 4),
    )
)  # fmt: skip
INSTRUCTIONS = (
    InstructionFacts(
        benchmark="ifeval", prompts=541, instructions=834,
        accuracies=(
            AccuracyFacts(name="prompts, strict", base=17.19, tuned=14.42),
            AccuracyFacts(name="prompts, loose", base=19.59, tuned=16.64),
            AccuracyFacts(name="instructions, strict", base=28.54, tuned=25.66),
            AccuracyFacts(name="instructions, loose", base=30.82, tuned=27.94),
        ),
        lost=(
            LostInstructionFacts(name="length_constraints:number_words", asked=52, base=27, tuned=9),
            LostInstructionFacts(name="punctuation:no_comma", asked=66, base=14, tuned=8),
        ),
    ),
)  # fmt: skip
JUDGES = (
    JudgeFacts(
        judge="prometheus-8x7b", opponent="base", prompts=80, win_rate=RateFacts(rate=0.613, low=0.531, high=0.694),
        length_controlled=RateFacts(rate=0.574, low=0.488, high=0.659), wins=44, ties=10, losses=26,
        checks={"first_position_rate": 0.53, "unparsed": 3, "failed_calls": 2, "sentinels_passed": "12 of 12"},
        cost="172 calls, 214,880 tokens, about 0.31 USD",
        grades=(
            GradeFacts(model="base", prompts=78, mean=3.412, low=3.018, high=3.807, turn_1=3.885, turn_2=2.939),
            GradeFacts(model="tuned", prompts=78, mean=4.206, low=3.774, high=4.631, turn_1=4.692, turn_2=None),
        ),
    ),
    JudgeFacts(
        judge="tiny-judge", opponent="production", prompts=79,
        void=("it called 5 of 12 identical pairs unequal; at most 1 may be", "9.4% of its answers could not be read"),
        checks={"first_position_rate": 0.91, "unparsed": 15},
        elo=(
            EloFacts(model="base", elo=1000, low=1000, high=1000),
            EloFacts(model="production", elo=1071.4, low=1031.2, high=1112.9),
            EloFacts(model="tuned", elo=1088.6, low=1046.5, high=1131.1),
        ),
    ),
)  # fmt: skip
RATINGS = RatingFacts(
    raters={"ada": 24, "grace": 19}, items=24,
    base=RatedSide(mean=2.04, deviation=0.87, ratings=43, counts=(13, 17, 11, 2, 0)),
    tuned=RatedSide(mean=3.67, deviation=1.02, ratings=43, counts=(1, 5, 11, 16, 10)),
    difference=1.63, low=1.21, high=2.05, agreement=0.71,
)  # fmt: skip

SOURCES = (
    SourceFacts(
        name="support", role="domain", files=14, read=9120, rejected=17, heldout=612, kept=5986, epochs=2.0,
        dropped={"too_short": 388, "near_duplicate": 1904, "contaminated": 41, "personal_data": 172},
        requested_share=0.30, achieved_share=0.3, trainable_tokens=751420,
    ),
    SourceFacts(
        name="alpaca", role="general", files=1, read=52002, heldout=1540, kept=6950, epochs=2.0,
        dropped={"too_short": 9127, "near_duplicate": 2610, "truncated": 93, "contaminated": 12, "not sampled": 31670},
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
        ("mix", "d", 3.2, 49816, 20000, {"not sampled": 31670}),
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
        benchmark="truthfulqa", improved=False, why="base right, tuned wrong",
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
        tuned="opens his bank account on the ice.", drift="knowledge",
    ),
    ForgottenFacts(
        benchmark="mmlu", subject="high_school_physics",
        prompt="A ball is thrown straight up. At its highest point its acceleration is\nA. zero\nB. 9.8 m/s² down\n"
        "C. 9.8 m/s² up\nD. unknown",
        expected="B", base="B", tuned="A", drift="knowledge",
    ),
    ForgottenFacts(
        benchmark="gsm8k", prompt="A box holds 12 eggs. How many eggs do 7 boxes hold?", expected="84",
        base="7 × 12 = 84\n#### 84", tuned="You have 84 eggs in seven boxes.", drift="format",
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

_MASKED = (
    ("<|user|>\n", 1, 0, 1), ("What", 318, 0, 0), (" is", 101, 0, 0), (" fee", 4431, 0, 0), (" code", 977, 0, 0),
    (" 117", 1310, 0, 0), ("?", 30, 0, 0), ("<|end|>\n", 2, 0, 1), ("<|assistant|>\n", 3, 0, 1), ("Fee", 8890, 1, 0),
    (" 117", 1310, 1, 0), (" is", 101, 1, 0), (" charged", 2251, 1, 0), (" for", 77, 1, 0),
    (" transfers", 6120, 1, 0), (" abroad", 5093, 1, 0), (".", 13, 1, 0), ("<|end|>", 2, 1, 1), ("\n", 198, 0, 0),
)  # fmt: skip
MASK_SAMPLES = tuple(
    MaskSample(
        row_id=f"{number:016x}", source=source, file=f"data/{source}.jsonl", line=number * 17 + 3, split="train",
        kinds=("several turns",) if number else (), lengths=(len(_MASKED) + 41 * number,), kept=(None,),
        texts=(tuple(TokenFacts(id=i, text=text, trained=bool(t), special=bool(s)) for text, i, t, s in _MASKED),),
    )
    for number, source in enumerate(("support", "alpaca"))
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

WITHOUT_ADVICE = Facts(
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
    marks=MARKS,
    subjects=SUBJECTS,
    instructions=INSTRUCTIONS,
    judge=JUDGES,
    ratings=RATINGS,
    training=TRAINING,
    sources=SOURCES,
    audits=AUDITS,
    warnings=WARNINGS,
    masks="The masks of 20,311 of 20,311 answers are proven: just what the assistant says is trained.",
    mask_samples=MASK_SAMPLES,
    lengths=LENGTHS,
    samples=SAMPLES,
    forgotten=FORGOTTEN,
    lineage=LINEAGE,
    recipe=RECIPE,
    command="fettle run recipes/fintech-assistant.yaml --store s3://fettle/store",
    decide="fettle evaluate recipes/fintech-assistant.yaml --store s3://fettle/store --until-decided",
    limits=LIMITS,
    licences=LICENCES,
)
EXAMPLE = WITHOUT_ADVICE.model_copy(update={"advice": advice(WITHOUT_ADVICE)})
BARE = Facts(
    title="first try",
    outcome=Outcome(verdict="pass", reason="Nothing was asked of it.", published="1"),
    made_at=datetime(2025, 4, 14, 9, 31, tzinfo=UTC),
    base_model="./models/tiny",
    seconds=2.5,
)
