"""The server itself: an address, an application, and an end within seconds."""

from __future__ import annotations

import ipaddress
import os
import socket

import uvicorn
from fastapi import FastAPI

from fcclip.files.places import reason_of

END_SECONDS = 5  # for answers that are under way when the server is told to end


def bind(host: str, port: int) -> socket.socket:
    """An address that nobody else has; it is not listened at yet.

    Args:
        host: "127.0.0.1" for this machine alone, "0.0.0.0" or "::" for everybody.
        port: 0 for any that is free.

    Raises:
        ValueError: it is taken, or not one of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends at once, rather than 40 ms later with what comes next, only where the protocol is said.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers have one address
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()
    except (OSError, OverflowError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise ValueError(f"cannot serve at {host}, port {port} ({reason}); choose another --port or --host") from None
    return found


def address(bound: socket.socket) -> str:
    """Where a browser on this machine finds it, as "http://127.0.0.1:7860"."""
    host, port = bound.getsockname()[:2]
    ip = ipaddress.ip_address(host)
    if ip.is_unspecified:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ip.version == 6 else f"http://{host}:{port}"


def run(app: FastAPI, bound: socket.socket, trusted_proxies: str) -> None:
    """Serve until Ctrl-C or SIGTERM, which is then raised as KeyboardInterrupt.

    Args:
        app: what is served.
        bound: where, from `bind`.
        trusted_proxies: addresses, separated by commas, whose X-Forwarded headers are believed; "*" for all.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # who asked is nobody's business
        proxy_headers=True,
        forwarded_allow_ips=trusted_proxies,
        server_header=False,
        timeout_graceful_shutdown=END_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[bound])
