"""Asking the Hugging Face hub for files, without minutes of retries and pages of log where there is no network."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse
from urllib.request import getproxies

from huggingface_hub import constants


@contextmanager
def patient_only_with_network() -> Iterator[None]:
    """Serve what is in the local cache, and fail at once on what is not, where the hub's name cannot be looked up.

    huggingface_hub would retry for most of a minute, also for files that it has. The log of the libraries inside is
    held back: they report each try, and the caller raises one error in the end.
    """
    was_offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = was_offline or not _hub_has_address()
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        constants.HF_HUB_OFFLINE = was_offline


def _hub_has_address() -> bool:
    """Whether the hub can be looked up here; behind a proxy, it is the proxy that does."""
    if getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
