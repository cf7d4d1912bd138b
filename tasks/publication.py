"""Publish: report and card for every run, whatever the verdict, because a refusal needs reading most.

`register` makes a numbered version of what passed; `tasks.promotion` tells what that takes.
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.artifacts.lineage import ancestors
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt, Store
from tasks.caching import RETRY_RULE, stage
from tasks.gate_record import GATES
from tasks.gathering import About, gather
from tasks.promotion import PublicationConfig, Published, publish_passed
from tasks.reporting.card import card
from tasks.reporting.facts import published
from tasks.reporting.page import render


@stage("publication", version=3)
def publish(out: Attempt, about: About, trained: Artifact, evaluated: Artifact, judged: Artifact | None = None) -> None:
    """Write the report page and the model card from the artifacts that led here."""
    facts = published(gather(out.store, about, trained, evaluated, judged))
    out.write_file("report.html", render(facts).encode())
    out.write_file("masks.html", _mask_page(out.store, evaluated))
    out.write_file("README.md", card(facts).encode())
    out.write_file(GATES, out.store.read_file(evaluated, GATES))
    out.counts = Counts(read=len(facts.scores), kept=len(facts.scores))
    out.facts["verdict"] = facts.outcome.verdict


# A store holds connections, of which no cache key can be made.
@task(name="register", task_run_name="register {name}", cache_policy=NO_CACHE, **RETRY_RULE)
def register(
    store: Store,
    config: PublicationConfig,
    name: str,
    publication: Artifact,
    evaluated: Artifact,
    trained: Artifact,
) -> Published:
    """Make the next version of the model, and bring it where the recipe wants it. Raises `GateRefusedError`."""
    return publish_passed(store, config, name, publication, evaluated, trained)


def _mask_page(store: Store, evaluated: Artifact) -> bytes:
    manifests = ancestors(store, evaluated.address).values()
    return store.read_file(next(m.artifact for m in manifests if m.identity.stage == "tokenization"), "masks.html")
