"""OpenStack Swift with its S3 API in one process: account, container, object and proxy server on one event loop.

Run by the Python of the store's own environment, never imported by the tests:

    python swift_node.py HOME DATA PORT PARENT KEY SECRET REGION

Port 0 takes a free one. Prints the proxy's port once requests are served, then serves until it is killed or the
process PARENT is gone; in that case it also removes DATA.
"""

# The packages live only in that environment, so the project's type checker cannot see them.
# mypy: disable-error-code="import-not-found,import-untyped"

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import eventlet
from eventlet.semaphore import Semaphore
from swift.common import utils

utils.monkey_patch()  # before any module that opens sockets

from eventlet import wsgi  # noqa: E402
from swift.account.server import AccountController  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.swob import Request  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402
from swift.container.server import ContainerController  # noqa: E402
from swift.obj.server import ObjectController  # noqa: E402

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOPBACK = "127.0.0.1"
DEVICE = "device"
MAX_CLIENTS = 512
PARENT_CHECK_SECONDS = 0.5
# A slow machine must not lose a listing entry: by default an object server gives the container server one second.
PATIENCE = {"conn_timeout": "30", "node_timeout": "60", "container_update_timeout": "60"}

PROXY = """
[DEFAULT]
swift_dir = {home}
log_level = WARNING
log_custom_handlers = swift_node.log_to_stderr
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = {conn_timeout}
node_timeout = {node_timeout}
# There is only one device: an error must not make the proxy avoid it.
error_suppression_limit = 1000000
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
"""


class OneCreator:
    """Makes `If-None-Match: *` atomic for a key, as S3 promises.

    Swift looks whether the object exists, then reads the body, then writes: two creators at once can both pass the
    look. Here the second waits until the first is answered, and so finds the object. The 412 answer names the failed
    condition, as S3 does and as clients need to tell this refusal from others; Swift leaves the name out.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        # A key's lock lives as long as a request holds a reference to it, so none has to be counted or swept.
        self.locks: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if request.method not in ("PUT", "POST") or request.headers.get("If-None-Match") != "*":
            return self.application(environ, start_response)
        lock = self.locks.setdefault(request.path_info, Semaphore(1))
        with lock:
            response = request.get_response(self.application)
            body = response.body
        if response.status_int == 412 and b"<Condition>" not in body:
            response.body = body.replace(b"</Code>", b"</Code><Condition>If-None-Match</Condition>", 1)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer


def log_to_stderr(conf: Any, name: Any, console: Any, route: Any, fmt: Any, logger: logging.Logger, _: Any) -> None:
    """Swift's hook for log handlers: without it every message goes to syslog."""
    if not any(type(handler) is logging.StreamHandler for handler in logger.handlers):
        logger.addHandler(logging.StreamHandler(sys.stderr))


def build_ring(home: Path, name: str, port: int) -> None:
    """Writes the map of where `name` is stored: one copy, on the only device."""
    builder = RingBuilder(4, 1, 0)
    address = {"ip": LOOPBACK, "port": port, "replication_ip": LOOPBACK, "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": DEVICE, "weight": 1.0, "meta": "", **address})
    builder.rebalance()
    builder.get_ring().save(str(home / f"{name}.ring.gz"))


def start_storage(home: Path, data: Path) -> None:
    (data / DEVICE).mkdir(parents=True, exist_ok=True)
    conf = {
        "swift_dir": str(home),
        "devices": str(data),
        "mount_check": "false",
        "disable_fallocate": "true",
        "log_level": "WARNING",
        "log_custom_handlers": "swift_node.log_to_stderr",
        "recon_cache_path": str(home),
        **PATIENCE,
    }
    servers = {"account": AccountController, "container": ContainerController, "object": ObjectController}
    # The rings must know every port before the first server reads them.
    sockets = {name: eventlet.listen((LOOPBACK, 0)) for name in servers}
    for name, socket in sockets.items():
        build_ring(home, name, socket.getsockname()[1])
    for name, server in servers.items():
        eventlet.spawn(serve, sockets[name], server({**conf, "log_name": f"{name}-server"}))


def load_proxy(home: Path, key: str, secret: str, region: str) -> Application:
    text = PROXY.format(home=home, user=key.replace(":", "_"), secret=secret, region=region, **PATIENCE)
    path = home / "proxy-server.conf"
    path.write_text(text)
    return OneCreator(loadapp(str(path)))


def serve(socket: Any, application: Application) -> None:
    wsgi.server(
        socket,
        application,
        log_output=False,
        debug=False,
        protocol=SwiftHttpProtocol,
        custom_pool=eventlet.GreenPool(MAX_CLIENTS),
        capitalize_response_headers=False,  # S3 clients look for "ETag"
    )


def end_with_parent(parent: int, data: Path) -> None:
    """Polls rather than asks the kernel for a signal: that signal would also come when the parent's thread ends."""
    while os.getppid() == parent:
        eventlet.sleep(PARENT_CHECK_SECONDS)
    shutil.rmtree(data, ignore_errors=True)
    os._exit(0)


def main(home: Path, data: Path, port: int, parent: int, key: str, secret: str, region: str) -> None:
    eventlet.spawn(end_with_parent, parent, data)
    tempfile.tempdir = str(home)
    (home / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = tests\nswift_hash_path_suffix = tests\n")
    utils.set_swift_dir(str(home))
    start_storage(home, data)
    proxy = load_proxy(home, key, secret, region)
    socket = eventlet.listen((LOOPBACK, port), reuse_port=False)
    print(socket.getsockname()[1], flush=True)
    serve(socket, proxy)


if __name__ == "__main__":
    home_argument, data_argument, port_argument, parent_argument, *account = sys.argv[1:]
    main(Path(home_argument), Path(data_argument), int(port_argument), int(parent_argument), *account)
