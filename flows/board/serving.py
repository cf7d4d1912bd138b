"""Serving the board until somebody ends it."""

import logging
import os
import socket
from contextlib import suppress

import uvicorn

from flows.board.service import Board, is_loopback, service
from flows.server import CLIENT_WORDS, ServerError
from tasks.artifacts.store import Store

logger = logging.getLogger("fettle.board")


def serve(store_uri: str, host: str, port: int) -> int:
    """Answer on an address until SIGINT or SIGTERM; gives the exit code. Port 0 takes a free one.

    Raises `ServerError` where the address cannot be had.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s")
    logger.setLevel(logging.INFO)
    words = os.environ.get(CLIENT_WORDS)
    board = Board(Store(store_uri))
    with listening(host, port) as listener:
        logger.info("run history on http://%s:%d/history, of %s", host, listener.getsockname()[1], board.store.uri)
        if not words and not is_loopback(host):
            logger.warning("whoever reaches %s reads every report; set %s to user:password", host, CLIENT_WORDS)
        config = uvicorn.Config(
            service(board, host, words), log_level="warning", server_header=False, timeout_graceful_shutdown=3
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections; raises `ServerError` where it cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ServerError(f"cannot listen on {host}, port {port}: {error.strerror}; give another --port") from None
