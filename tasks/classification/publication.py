"""Publish: report and card of a classifier for every run, whatever the verdict: a refusal needs reading most."""

import csv
import io
import json

from tasks.artifacts.lineage import ancestors
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.classification.gathering import MIXING, gather
from tasks.gate_record import GATES
from tasks.gathering import About
from tasks.ratings import neutralised
from tasks.reporting.classifier_card import card
from tasks.reporting.classifier_facts import published_classifier
from tasks.reporting.classifier_page import render

CALIBRATION = "calibration.json"
SUSPECTS = "suspects.csv"
"""Training rows whose label looks wrong; stays in the store, and never goes out with the model."""


@stage("classifier-publication", version=1)
def publish(out: Attempt, about: About, trained: Artifact, evaluated: Artifact) -> None:
    """Write the report page and the model card from the artifacts that led here."""
    facts = gather(out.store, about, trained, evaluated)
    # The page goes out with the model: training rows are named by their place, their texts lie beside it.
    unquoted = tuple(
        each.model_copy(update={"text": f"{each.source} {each.place}: its text is in {SUSPECTS}", "text_pair": ""})
        for each in facts.suspects
    )
    out.write_file("report.html", render(facts.model_copy(update={"suspects": unquoted})).encode())
    out.write_file(SUSPECTS, _suspects(out, evaluated))
    out.write_file("README.md", card(published_classifier(facts)).encode())
    out.write_file(GATES, out.store.read_file(evaluated, GATES))
    if facts.calibration is not None:
        told = {"temperature": facts.calibration.temperature, "labels": list(facts.labels)}
        out.write_file(CALIBRATION, json.dumps(told, indent=1, ensure_ascii=False).encode())
    out.counts = Counts(read=len(facts.scores), kept=len(facts.scores))
    out.facts["verdict"] = facts.outcome.verdict


def _suspects(out: Attempt, evaluated: Artifact) -> bytes:
    manifests = ancestors(out.store, evaluated.address).values()
    mixed = next(each.artifact for each in manifests if each.identity.stage == MIXING)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("source", "file", "line", "given", "suggested", "confidence", "text", "text_pair"))
    for row in out.store.rows(mixed, "suspects"):
        told = [row["source"], row["file"], ", ".join(row["given"]), ", ".join(row["suggested"])]
        source, file, given, suggested = map(neutralised, told)
        texts = (neutralised(row["text"]), neutralised(row["text_pair"]))
        writer.writerow((source, file, row["line"], given, suggested, f"{row['confidence']:.4f}", *texts))
    return text.getvalue().encode()
