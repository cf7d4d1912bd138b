"""Stands for a fork of the warm process: has its pipes, passes SIGTERM on, ends as it does; it imports little."""

import json
import os
import signal
import socket
import struct
import sys

STATUS = struct.Struct("ii")


def main(path: str, module: str, job: str) -> None:
    """Order a fork and wait for its end."""
    order = {"module": module, "job": job, "environment": dict(os.environ), "folder": os.getcwd()}
    message = json.dumps(order).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [struct.pack("i", len(message))], [0, 1, 2])
        server.sendall(message)
        pid, _ = STATUS.unpack(server.recv(STATUS.size))
        signal.signal(signal.SIGTERM, lambda number, _frame: os.kill(pid, number))
        for own in (0, 1, 2):
            os.close(own)  # or the end of the fork's output would not be seen
        _, status = STATUS.unpack(server.recv(STATUS.size))
    if os.WIFSIGNALED(status):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
