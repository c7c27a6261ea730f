"""The search for leaks finds what it should: otherwise a journey that finds none would say nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from tests.web.leaks import files_under, leaked, readings, words_in_a_row
from tests.web.wire import recording

from hce.foundation.codec.dagcbor import encode

SECRET = bytes.fromhex("00112233445566778899aabbccddeefff0e1d2c3b4a5968778695a4b3c2d1e0f")
NOISE = os.urandom(4_096)
WAYS = {
    "as it is": SECRET,
    "hex": SECRET.hex().encode(),
    "HEX": SECRET.hex().upper().encode(),
    "hex after a digit": b"a" + SECRET.hex().encode(),
    "base64": base64.b64encode(SECRET),
    "base64, one byte later": base64.b64encode(b"x" + SECRET),
    "base64, two bytes later": base64.b64encode(b"xy" + SECRET + b"z"),
    "base64url": base64.urlsafe_b64encode(SECRET).rstrip(b"="),
    "DAG-CBOR": encode(["seed", {"a": [1, SECRET]}]),
    "numbers": json.dumps(list(SECRET)).encode(),
    "percent signs": quote(SECRET).encode(),
    "base64 in a URL": quote(base64.b64encode(SECRET)).encode(),
    "base64 of hex": base64.b64encode(SECRET.hex().encode()),
    "backwards": SECRET[::-1],
}
TEXT = "高血压与糖尿病"


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_found_however_it_is_spelled(way: str) -> None:
    heap = NOISE + b'{"a":"' + WAYS[way] + b'"}' + NOISE
    assert leaked({"it": SECRET, "another": os.urandom(32)}, [b"", heap]) == {"it"}


@pytest.mark.parametrize("heap", [TEXT.encode(), json.dumps(TEXT).encode(), quote(TEXT).encode(), TEXT.encode("utf-16-le")])
def test_a_text_is_found_however_it_is_spelled(heap: bytes) -> None:
    assert leaked({"it": TEXT.encode()}, [b"x" + heap + b"x"]) == {"it"}


def test_noise_is_no_leak_and_a_short_secret_no_secret() -> None:
    assert leaked({str(place): os.urandom(16) for place in range(50)}, [os.urandom(100_000)]) == set()
    with pytest.raises(AssertionError):
        leaked({"short": b"abc"}, [b""])
    assert readings(b"plain") == [b"plain"]


def test_three_words_are_enough(tmp_path: Path) -> None:
    words = "legal winner thank year wave sausage"
    for written in ("winner thank year", '["winner","thank","year"]', "winner%20thank%20year"):
        assert leaked(words_in_a_row(words), [written.encode()])
    assert not leaked(words_in_a_row(words), [b"winner takes year, thank you"])
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"wave")
    assert files_under(tmp_path) == {"deep/file": b"wave"}


async def test_the_wire_sees_every_byte_and_opens_no_tunnel() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /a?b=c HTTP/1.1")
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, recording() as wire, httpx.AsyncClient(proxy=wire.url, trust_env=False) as http:
        said = await http.post(f"http://127.0.0.1:{port}/a?b=c", content=b"body", headers={"x-secret": "in a header"})
        assert said.text == "ok"
        with pytest.raises(httpx.ProxyError):
            await http.get("https://elsewhere.example/")
    assert (wire.hosts, wire.tunnels) == ({f"127.0.0.1:{port}"}, {"elsewhere.example:443"})
    assert leaked({"header": b"in a header", "address": b"/a?b=c HTTP"}, wire.sent) == {"header", "address"}
    assert wire.sent[0].endswith(b"body")
