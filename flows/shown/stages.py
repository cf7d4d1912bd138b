"""Shows what a run's stages gave, as soon as they have: losses, the gate's verdict, and where everything lies."""

from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.recording import Recorder
from flows.shown.links import report_link
from flows.shown.pictures import address_of, benchmark_picture, loss_picture
from flows.shown.scores import score_rows
from tasks.artifacts.manifest import Artifact, Identity
from tasks.artifacts.store import Store
from tasks.caching import Stage, for_people, logger
from tasks.gate_record import read_gates
from tasks.reporting.gathered import score_facts
from tasks.reporting.tables import escape_markdown, markdown_table
from tasks.reporting.training_facts import CurvePoint


class Shown:
    """Watches a run's stages and writes pages for Prefect's UI."""

    def __init__(self, store: Store, record: Recorder) -> None:
        self.store, self.record = store, record

    def began(self, stage: Stage[Any], identity: Identity) -> None:
        """Nothing: a stage is shown when it ends."""

    def moved(self, stage: Stage[Any], done: int, total: int | None, unit: str) -> None:
        """Nothing."""

    def ended(self, stage: Stage[Any], artifact: Artifact, *, cached: bool, seconds: float) -> None:  # noqa: ARG002
        """Show what the stage gave."""
        show = {"train": self._losses, "evaluate": self._verdict, "publish": self._places}.get(stage.verb)
        if show is not None:
            with for_people():
                show(artifact)

    def _losses(self, trained: Artifact) -> None:
        rows = self.store.rows(trained, "metrics", ["step", "loss", "heldout_loss"])
        curve = [CurvePoint.model_validate(row) for row in rows if row["loss"] is not None]
        if curve:
            _show_picture(loss_picture(curve), "loss", "Loss in nats a token by optimiser step")

    def _verdict(self, evaluated: Artifact) -> None:
        gates = read_gates(self.store, evaluated.address)
        logger().info("the gate says %s: %s", gates.verdict, gates.reason)
        scores = score_facts(self.store.rows(evaluated, "scores"))
        judged = score_rows(score for score in scores if score.verdict is not None)
        create_markdown_artifact(
            f"## {gates.verdict}\n\n{escape_markdown(gates.reason)}\n\n{markdown_table(judged)}",
            key="verdict",
            description=f"**{gates.verdict}**: {escape_markdown(gates.reason)}",
        )
        create_table_artifact(score_rows(scores), key="gate", description="Every measure, before and after training")
        _show_picture(benchmark_picture(scores), "benchmarks", "What training changed, with its interval")

    def _places(self, publication: Artifact) -> None:
        run, store = self.record.run, self.store
        made = [
            {"stage": each.verb, "artifact": f"{store.uri}/{each.address}", "cached": each.cached}
            for each in run.stages
        ]
        create_markdown_artifact(
            f"{report_link(store, run.id, publication.address)}\n\n{markdown_table(made)}",
            key="report",
            description="The report, and where everything lies",
        )


def _show_picture(svg: str, key: str, description: str) -> None:
    # Within Markdown, as the page of an image artifact also writes its whole address, which is the picture itself.
    create_markdown_artifact(f"![{description}]({address_of(svg)})", key=key, description=description)
