"""The address of the server."""

import asyncio
import socket
from contextlib import closing

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")

from fcclip.serving.server import address, bind


def test_an_address_is_nobody_elses() -> None:
    with closing(bind("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        assert address(bound) == f"http://127.0.0.1:{port}"
        with pytest.raises(ValueError, match=f"cannot serve at 127.0.0.1, port {port} .*choose another --port"):
            bind("127.0.0.1", port)


def test_answers_are_sent_at_once() -> None:
    """Not with what comes next, for which they would wait until the other side has said that it got the part before."""

    async def ask() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with closing(bind("127.0.0.1", 0)) as bound:
            async with await asyncio.start_server(look, sock=bound):
                _, writer = await asyncio.open_connection(*bound.getsockname()[:2])
                nodelay = await found
                writer.close()
        return nodelay

    assert asyncio.run(ask())
