"""Compressed bodies: what clients send, bounded, and what upstreams send although nobody asked for it."""
import gzip
import json
import random
import socket
import struct
import threading
import zlib

import httpx
import pytest

from lib.suite import Suite
from lib.upstream import Upstream, chat

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def zstd(data):
    """A frame of raw blocks: whole, and of no use but for tests."""
    blocks = [data[i:i + (1 << 17)] for i in range(0, len(data), 1 << 17)] or [b""]
    out = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
    for i, block in enumerate(blocks):
        out += struct.pack("<I", len(block) << 3 | (i == len(blocks) - 1))[:3] + block
    return out


def raw_deflate(data):
    c = zlib.compressobj(wbits=-15)
    return c.compress(data) + c.flush()


CODINGS = {"gzip": ("gzip", gzip.compress), "x-gzip": ("X-Gzip", gzip.compress), "two members": (
    "gzip", lambda b: gzip.compress(b[:9]) + gzip.compress(b[9:])), "deflate": ("deflate", zlib.compress),
           "raw deflate": ("deflate", raw_deflate), "zstd": ("zstd", zstd), "identity": ("identity", bytes)}


class Streaming:
    """An upstream that compresses its stream, piece by piece."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with s:
            s.recv(65536)
            c = zlib.compressobj(wbits=31)
            s.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n")
            for text in ("hello ", "there", None):
                delta = {"choices": [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None if text else "stop"}],
                         "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                s.sendall(c.compress(f"data: {json.dumps(delta)}\n\n".encode()) + c.flush(zlib.Z_SYNC_FLUSH))
            usage = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
                     "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
            s.sendall(c.compress(f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode()) + c.flush())


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as up:
        up.on("/o/v1/chat/completions", body=chat("hi"))
        up.on("/zipped/v1/chat/completions", body=gzip.compress(json.dumps(chat("zipped")).encode()), headers={"content-encoding": "gzip"})
        up.on("/refused/v1/chat/completions", 400, gzip.compress(b'{"error":{"message":"it says why"}}'), {"content-encoding": "gzip"})
        up.on("/bomb/v1/chat/completions", body=gzip.compress(b" " * (200 << 20)), headers={"content-encoding": "gzip"})
        yield up


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    names = ("o", "zipped", "refused", "bomb")
    providers = {n: upstream.provider(f"/{n}") for n in names}
    providers["stream"] = {"type": "openai", "endpoints": [Streaming().url], "private": True}
    models = {"m" if n == "o" else n: {"targets": [{"provider": n}]} for n in providers}
    with Suite(tmp_path_factory.mktemp("suite"), models=models, providers=providers, workers={n: 1 for n in providers}) as s:
        s.key = s.create_key()
        yield s


def send(suite, body, coding, key=None, path="/v1/chat/completions", **headers):
    return httpx.post(suite.url + path, content=body, timeout=60, headers={
        "authorization": f"Bearer {key or suite.key}", "content-type": "application/json", "content-encoding": coding, **headers})


@pytest.mark.parametrize("name", CODINGS)
def test_a_coded_body_is_read_as_it_was(suite, upstream, name):
    coding, encode = CODINGS[name]
    r = send(suite, encode(json.dumps(ASK).encode()), coding)
    assert r.status_code == 200, r.text
    got = upstream.requests[-1]
    assert got.json()["messages"] == ASK["messages"] and "content-encoding" not in got.headers


def test_a_large_coded_body_goes_whole(suite, upstream):
    text = "".join(random.Random(1).choices("abcdefghij", k=3 << 20))
    body = json.dumps({**ASK, "messages": [{"role": "user", "content": text}]}).encode()
    for coding, encode in (("gzip", gzip.compress), ("zstd", zstd)):
        assert send(suite, encode(body), coding).status_code == 200
        assert upstream.requests[-1].json()["messages"][0]["content"] == text


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress"])
def test_another_coding_is_refused_in_the_clients_protocol(suite, coding):
    r = send(suite, b"{}", coding)
    assert r.status_code == 415 and r.json()["error"]["code"] == "unsupported_encoding" and coding in r.text
    assert "gzip" in r.headers["accept-encoding"]
    r = send(suite, b"{}", coding, path="/v1/messages", **{"anthropic-version": "2023-06-01"})
    assert r.status_code == 415 and r.json()["type"] == "error"


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b\x08", gzip.compress(json.dumps(ASK).encode())[:-6], json.dumps(ASK).encode(),
                                  gzip.compress(json.dumps(ASK).encode()) + b"more"])
def test_what_is_not_of_its_coding_is_refused(suite, body):
    r = send(suite, body, "gzip")
    assert r.status_code == 415 and "gzip" in r.text
    assert send(suite, gzip.compress(b"{"), "gzip").status_code == 400  # JSON's fault


def test_a_bomb_is_refused_and_a_strangers_is_not_looked_at(suite):
    bomb = gzip.compress(b" " * (300 << 20))
    r = send(suite, bomb, "gzip")
    assert r.status_code == 413 and "gzip coding" in r.text
    assert send(suite, bomb, "gzip", key="sk-nobody").status_code == 401
    assert send(suite, b"\x1f\x8b\x08", "gzip", key="sk-nobody-else").status_code == 401


def test_what_an_upstream_compresses_is_read_and_counted(suite):
    r = httpx.post(suite.url + "/v1/chat/completions", json={**ASK, "model": "zipped"}, headers={"authorization": f"Bearer {suite.key}"})
    assert r.status_code == 200 and r.json()["choices"][0]["message"]["content"] == "zipped" and "content-encoding" not in r.headers
    r = httpx.post(suite.url + "/v1/chat/completions", json={**ASK, "model": "refused"}, headers={"authorization": f"Bearer {suite.key}"})
    assert r.status_code == 400 and "it says why" in r.text
    body = {**ASK, "model": "stream", "stream": True, "stream_options": {"include_usage": True}}
    r = httpx.post(suite.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {suite.key}"})
    assert r.status_code == 200 and "hello " in r.text and "there" in r.text and r.text.rstrip().endswith("[DONE]")
    assert '"prompt_tokens": 7' in r.text


def test_an_upstreams_bomb_is_its_fault(suite):
    r = httpx.post(suite.url + "/v1/chat/completions", json={**ASK, "model": "bomb"}, headers={"authorization": f"Bearer {suite.key}"},
                   timeout=60)
    assert r.status_code == 502 and r.json()["error"]["code"] == "upstream_protocol_error"
