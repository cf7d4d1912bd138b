"""Promote: a version that passed is registered, approved where the recipe says so, pointed to, and pushed.

Nothing is taken on trust: before a version is registered and before an alias moves, the gate's record, what it compared
and the bytes of the weights are read again. Whatever is missing, other, stale or not passed is refused.
"""

from typing import Literal

from pydantic import Field, ValidationError

from tasks.artifacts import aliases, approvals, registry
from tasks.artifacts.aliases import Move, MovedMeanwhileError
from tasks.artifacts.approvals import Decision
from tasks.artifacts.errors import StoreError
from tasks.artifacts.manifest import Artifact, Parent
from tasks.artifacts.registry import Version
from tasks.artifacts.store import Store
from tasks.config import Config
from tasks.gate_record import GateRefusedError, require_own_report, require_passed, require_same_files
from tasks.pushing import MlflowTarget, PushError, push_to_hub, push_to_mlflow


class PublicationConfig(Config):
    """What becomes of a model that the gate lets through."""

    alias: str | None = Field("production", pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name that points to the new version; none when null."""
    accept_investigate: bool = False
    """Whether a model is published whose drop is sure but below the failing mark."""
    approval: Literal["person"] | None = None
    """Whose word the alias waits for: a person's, who gives it by `fettle models approve`; nobody's when null."""
    approval_days: float = Field(14, gt=0, le=365)
    """How long a run waits for that word in Prefect's UI; the command can give it at any time."""
    push_to_hub: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """Repository on the Hub that gets a copy, as owner/name; the token is read from HF_TOKEN."""
    hub_private: bool = True
    """Whether that repository is made a private one; one that is there already stays as it is."""
    mlflow: MlflowTarget | None = None
    """Model in MLflow's registry that gets a copy."""


class Published(Config):
    """How a version stands: where it lies, what points to it, and what people should know."""

    model: str
    version: int
    folder: str
    verdict: str
    aliases: tuple[str, ...]
    """What points to it now."""
    waiting: bool
    """Whether it still needs a person's approval."""
    remarks: tuple[str, ...] = ()


class UnapprovedError(GateRefusedError):
    """The version needs a person's approval, which nobody has given."""


def publish_passed(
    store: Store, config: PublicationConfig, name: str, publication: Artifact, evaluated: Artifact, trained: Artifact
) -> Published:
    """Make the next version of the model, and bring it where the recipe wants it. Raises `GateRefusedError`."""
    lenient = config.accept_investigate
    gates = require_passed(store, evaluated.address, trained.content, accept_investigate=lenient)
    require_own_report(store, publication.address, evaluated.address, trained.address)
    terms = config.model_dump(mode="json")
    version = registry.register(store, name, publication, evaluated, trained, gates.verdict, terms)
    return _bring(store, version, config, by="fettle run", why=gates.reason)


def promote(store: Store, model: str, number: int, alias: str, *, by: str, why: str) -> Move:
    """Let an alias point to a version that passed and, where asked for, was approved.

    Raises `GateRefusedError` for any other version, `MovedMeanwhileError` where somebody was faster.
    """
    seen = aliases.history(store, model, alias)
    version = registry.version(store, model, number)
    _require_promotable(store, version)
    if seen and seen[-1].version == number:
        return seen[-1]
    return aliases.move(store, model, alias, number, seen, kind="promotion", by=by, why=why)


def rollback(store: Store, model: str, alias: str, *, by: str, why: str) -> Move:
    """Let an alias point again to the version before; again and again, back to its first one."""
    seen = aliases.history(store, model, alias)
    number = aliases.version_before(seen)
    if number is None:
        told = f"points to version {seen[-1].version} and had none before" if seen else "points to nothing"
        raise StoreError(f"store {store.uri}: {alias} of {model} {told}; there is nothing to go back to")
    _require_promotable(store, registry.version(store, model, number))
    return aliases.move(store, model, alias, number, seen, kind="rollback", by=by, why=why)


def approve(store: Store, model: str, number: int, *, by: str, note: str) -> tuple[Decision, Published]:
    """Record a person's approval of a version that passed, and bring it where its recipe wanted it."""
    version = registry.version(store, model, number)
    terms = _terms(version)
    _require_passed(store, version)
    with registry.local_version(store, version):
        given = approvals.approve(store, version, by=by, note=note)
    return given, _bring(store, version, terms, by=by, why=note or "approved")


def incumbent(store: Store, model: str, alias: str | None, trained: Artifact) -> Artifact | None:
    """The trained model that a new one would take the place of; of one that had its place, the one that it met then.

    So the same recipe gives the same verdict again, although its own model is in production by now; and a model whose
    place another one took first meets that one when it is run again. A plan, which does not know the new model yet,
    names none.
    """
    if not trained.address:
        return None
    own = {each.version: each for each in registry.versions(store, model) if each.weights == trained.content}
    seen = aliases.history(store, model, alias) if alias else []
    brought = [own[move.version] for move in seen if move.version in own]
    if seen and not brought:
        return store.find(registry.version(store, model, seen[-1].version).training)
    published = [*reversed(brought), *own.values()]
    rival = _rival_of(store, published[0]) if published else None
    return store.find(rival.address) if rival and rival.address else None


def _rival_of(store: Store, version: Version) -> Parent | None:
    """The model in production that a version was compared with."""
    judged = store.find_manifest(version.evaluation)
    measured = judged and next((each for each in judged.identity.parents if each.name == "production"), None)
    manifest = store.find_manifest(measured.address) if measured and measured.address else None
    parents = manifest.identity.parents if manifest else ()
    return next((parent for parent in parents if parent.name == "model"), None)


def reject(store: Store, model: str, number: int, *, by: str, note: str) -> Decision:
    """Record that a person does not want a version under its alias; who approves it later overrules that.

    Raises `GateRefusedError` where the recipe asked for nobody's word or somebody has approved it.
    """
    version = registry.version(store, model, number)
    if not needs_approval(store, version):
        given = approvals.approval(store, version)
        stands = f"was approved by {given.by}" if given else "waits for nobody's word"
        raise GateRefusedError(
            f"version {number} of {model} {stands}, so there is nothing to reject; `fettle models rollback {model}` "
            "takes it out of use"
        )
    return approvals.reject(store, version, by=by, note=note)


def needs_approval(store: Store, version: Version) -> bool:
    """Whether a version may get its alias only after a person's approval, which nobody has given."""
    return _terms(version).approval is not None and approvals.approval(store, version) is None


def is_waiting(store: Store, version: Version) -> bool:
    """Whether a version waits for a person who says yes or no."""
    return needs_approval(store, version) and approvals.rejection(store, version) is None


def _terms(version: Version) -> PublicationConfig:
    """What the recipe asked of a version's publication."""
    try:
        return PublicationConfig.model_validate(version.terms)
    except ValidationError as error:
        first = error.errors()[0]
        raise GateRefusedError(
            f"version {version.version} of {version.model} was published under terms that cannot be read at "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}; run its recipe again for a new version"
        ) from None


def _require_promotable(store: Store, version: Version) -> None:
    _require_passed(store, version)
    if needs_approval(store, version):
        raise UnapprovedError(_please_approve(store, version))
    with registry.local_version(store, version):
        return


def _require_passed(store: Store, version: Version) -> None:
    require_same_files(store, version)
    expected = registry.published_files(store, version.training, version.publication)
    others = [
        name
        for name in sorted({*expected, *version.files})
        if name not in expected or name not in version.files or expected[name].sha256 != version.files[name].sha256
    ]
    if others:
        raise GateRefusedError(
            f"the record of version {version.version} of {version.model} names another {others[0]} than "
            f"{version.training} and {version.publication} hold; it was edited. Restore it, or run again for a new "
            "version"
        )
    lenient = _terms(version).accept_investigate
    require_passed(store, version.evaluation, version.weights, accept_investigate=lenient)


def _please_approve(store: Store, version: Version) -> str:
    said_no = approvals.rejection(store, version)
    if said_no is not None:
        note = f": {said_no.note}" if said_no.note else ""
        return (
            f"version {version.version} of {version.model} was rejected by {said_no.by}{note}; "
            f"`fettle models approve {version.model} {version.version} --by NAME` overrules that"
        )
    return (
        f"version {version.version} of {version.model} waits for a person's approval; "
        f"look at it, then `fettle models approve {version.model} {version.version} --by NAME`"
    )


def _bring(store: Store, version: Version, config: PublicationConfig, *, by: str, why: str) -> Published:
    """Move the alias and push, unless an approval is missing that the recipe asks for, now or when it was published."""
    waiting = needs_approval(store, version)
    waiting = waiting or (config.approval is not None and approvals.approval(store, version) is None)
    remarks = [_please_approve(store, version)] if waiting else _move(store, version, config.alias, by, why)
    # Neither is a version pushed that waits, nor one that somebody moved on from: a repository holds one at a time.
    if not remarks:
        remarks = _push(store, version, config)
    pointing = [name for name, number in aliases.aliases(store, version.model).items() if number == version.version]
    return Published(
        model=version.model,
        version=version.version,
        folder=version.folder,
        verdict=version.verdict,
        aliases=tuple(pointing),
        waiting=waiting,
        remarks=tuple(remarks),
    )


def _move(store: Store, version: Version, alias: str | None, by: str, why: str) -> list[str]:
    """Let the alias come to a version, once, in the place of nothing else than what it was compared with."""
    if alias is None:
        return []
    checked = False
    while True:
        seen = aliases.history(store, version.model, alias)
        if seen and seen[-1].version == version.version:
            return []
        hindrance = _hindrance(store, version, seen) if seen else None
        if hindrance is not None:
            return [hindrance]
        if not checked:
            _require_promotable(store, version)
            checked = True
        try:
            aliases.move(store, version.model, alias, version.version, seen, kind="promotion", by=by, why=why)
        except MovedMeanwhileError:
            continue
        return []


def _hindrance(store: Store, version: Version, seen: list[Move]) -> str | None:
    """Why an alias does not come to a version by itself, though a person may promote it; none where it does."""
    standing = seen[-1]
    points = f"{standing.alias} points to version {standing.version}"
    promote = f"`fettle models promote {version.model} {version.version} --alias {standing.alias}` moves it"
    weights = {each.version: each.weights for each in registry.versions(store, version.model)}
    if version.weights in [weights.get(move.version) for move in seen]:
        # The same model, evaluated anew, takes nobody's place. But never again after somebody moved on.
        if weights.get(standing.version) == version.weights and version.version > max(move.version for move in seen):
            return None
        return f"{points}, as {standing.by} wished; {promote}"
    rival = _rival_of(store, version)
    if weights.get(standing.version) != (rival and rival.content):
        return (
            f"{points}, which version {version.version} was not compared with; run its recipe again to compare them; "
            f"without that, {promote}"
        )
    return None


def _push(store: Store, version: Version, config: PublicationConfig) -> list[str]:
    remarks: list[str] = []
    if config.push_to_hub is None and config.mlflow is None:
        return remarks
    _require_passed(store, version)
    try:
        if config.push_to_hub is not None:
            pushed = push_to_hub(store, version, config.push_to_hub, private=config.hub_private)
            remarks.append(f"pushed to {pushed.url}")
    except PushError as error:
        remarks.append(str(error))
    try:
        if config.mlflow is not None:
            pushed = push_to_mlflow(store, version, config.mlflow)
            remarks.append(f"registered as {pushed.url} in MLflow at {config.mlflow.tracking_uri}")
    except PushError as error:
        remarks.append(str(error))
    return remarks
