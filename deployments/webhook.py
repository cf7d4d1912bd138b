"""The webhook that failures are told to: its address lies in a block of Prefect's, encrypted, and nowhere else."""

import os
from contextlib import suppress
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

from deployments.changes import Action, Change

VARIABLE = "FETTLE_WEBHOOK_URL"
BLOCK = "fettle-webhook"


class WebhookError(Exception):
    """The webhook cannot be set up."""


def apply(wanted: bool | None) -> list[Change]:
    """Keep the address of the environment in the block, or remove the block; None leaves it as it is.

    Raises `WebhookError` where a webhook is wanted and the environment holds no address.
    """
    if wanted is None:
        return []
    return _keep() if wanted else _remove()


def block_id(client: SyncPrefectClient) -> UUID | None:
    """The block's id, or None where there is none."""
    try:
        return client.read_block_document_by_name(BLOCK, Webhook.get_block_type_slug()).id
    except ObjectNotFound:
        return None


def _keep() -> list[Change]:
    address = os.environ.get(VARIABLE, "").strip()
    if not address.startswith(("https://", "http://")):
        raise WebhookError(f"a webhook is wanted, and {VARIABLE} holds no http(s) address; set it to the webhook's")
    before = _there()
    if before is not None and before.url.get_secret_value() == address:
        return [_change("unchanged")]
    headers = SecretDict({"Content-Type": "application/json"})
    Webhook(url=SecretStr(address), headers=headers).save(BLOCK, overwrite=True)
    return [_change("created" if before is None else "updated")]


def _remove() -> list[Change]:
    if _there() is None:
        return []
    with suppress(ValueError):  # removed by another call a moment ago
        Webhook.delete(BLOCK)
    return [_change("removed")]


def _there() -> Webhook | None:
    try:
        there = Webhook.load(BLOCK)
    except ValueError:
        return None
    return there if isinstance(there, Webhook) else None  # outside of an event loop it always is


def _change(action: Action) -> Change:
    return Change(what="webhook", name=BLOCK, action=action)
