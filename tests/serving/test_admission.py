"""The ASGI layer alone, around a small application that reads all it is sent."""

import json
from collections.abc import AsyncIterator

import anyio
import pytest

from fcclip.serving.admission import DRAINED, FORM_BYTES, RETRY_SECONDS, Admission, App, Message, Receive, Send

CHUNK = 100_000


async def reads_all(scope: Message, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope.get("root_path", "").encode()})


class Client:
    """A request to `path`; `replies` is what was answered, `taken` how many chunks were received."""

    def __init__(self, path: str = "/predict", method: str = "POST", length: int | None = None) -> None:
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        self.scope: Message = {"type": "http", "path": path, "method": method, "headers": headers}
        self.replies: list[Message] = []
        self.taken = 0

    async def ask(self, app: App, chunks: AsyncIterator[bytes]) -> None:
        async def receive() -> Message:
            async for chunk in chunks:
                self.taken += 1
                return {"type": "http.request", "body": chunk, "more_body": True}
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            self.replies.append(message)

        await app(self.scope, receive, send)

    @property
    def status(self) -> int:
        assert [message["type"] for message in self.replies] == ["http.response.start", "http.response.body"]
        return self.replies[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.replies[0]["headers"])

    @property
    def error(self) -> str:
        return json.loads(self.replies[1]["body"])["error"]


async def many(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(CHUNK)


async def nothing_ever() -> AsyncIterator[bytes]:
    yield b"some"
    await anyio.sleep_forever()


def test_who_finds_a_full_queue_is_told_when_to_come_again() -> None:
    async def run() -> None:
        released = anyio.Event()

        async def waits(scope: Message, receive: Receive, send: Send) -> None:
            await released.wait()
            await reads_all(scope, receive, send)

        app = Admission(waits, 10, most_inside=2, seconds=60)
        inside = [Client(), Client()]
        turned_away, looks, later = Client(), Client("/health", "GET"), Client()
        async with anyio.create_task_group() as tasks:
            for client in (*inside, looks):
                tasks.start_soon(client.ask, app, many(0))
            await anyio.wait_all_tasks_blocked()
            await turned_away.ask(app, many(0))
            released.set()
        await later.ask(app, many(0))
        assert [client.status for client in (*inside, looks, later)] == [200] * 4
        assert turned_away.status == 503
        assert turned_away.headers[b"retry-after"] == str(RETRY_SECONDS).encode()
        assert "too many people" in turned_away.error

    anyio.run(run)


def test_a_place_is_given_back_when_the_application_fails() -> None:
    async def fails(scope: Message, receive: Receive, send: Send) -> None:
        raise RuntimeError("inside")

    async def run() -> None:
        app = Admission(fails, 10, most_inside=1, seconds=60)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="inside"):
                await Client().ask(app, many(0))

    anyio.run(run)


def test_who_sends_too_slowly_is_told_so() -> None:
    client = Client()
    anyio.run(client.ask, Admission(reads_all, 10, 1, seconds=0.05), nothing_ever())
    assert client.status == 408
    assert client.error == "the request took longer than 0.05 seconds to arrive"


def test_an_upload_is_cut_while_it_streams() -> None:
    client = Client()
    most = 1_000_000
    anyio.run(client.ask, Admission(reads_all, most, 1, seconds=60), many(1_000))
    assert client.status == 413
    assert "at most 1 MB" in client.error
    assert (most + FORM_BYTES) // CHUNK < client.taken <= DRAINED * most // CHUNK


def test_an_upload_that_is_told_to_be_too_long_is_not_received() -> None:
    client = Client(length=2_000_001)
    anyio.run(client.ask, Admission(reads_all, 1_000_000, 1, seconds=60), many(30))
    assert (client.status, client.taken) == (413, 0)


def test_what_is_within_the_bounds_passes_with_the_policy_and_the_path_of_the_proxy() -> None:
    client = Client()
    anyio.run(client.ask, Admission(reads_all, 1_000_000, 1, 60, root_path="/segment"), many(10))
    assert (client.status, client.taken) == (200, 10)
    assert b"default-src 'self'" in client.headers[b"content-security-policy"]
    assert client.replies[1]["body"] == b"/segment"
