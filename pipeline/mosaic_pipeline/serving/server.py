"""The process that serves: its socket, its log and its end."""

import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI

from mosaic_pipeline.errors import PipelineError

STOPPING = 10  # seconds that answers in work have, once the end is asked for


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that has the address, before anything long is done. Raises PipelineError if it is not to be had.

    Port 0 is any that is free.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        opened = socket.socket(family, kind)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
        except OSError:
            opened.close()
            raise
        return opened
    except (OSError, OverflowError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise PipelineError(f"port {port} of {host}: {said}; say another --port or --host") from None


def serve(app: FastAPI, opened: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM, which then ends the process as it ends every other command."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("mosaic.serve").setLevel(logging.INFO)
    # Not uvicorn's own line for each request, which has whatever was asked for in it.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=STOPPING, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[opened])
