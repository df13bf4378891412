"""Bad input gets the documented status and body, in the client's own protocol; what can't be framed is refused and cut."""
import json
import socket

import httpx
import pytest

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}
GOOD_A = {**GOOD, "model": "claude-haiku-4-5", "max_tokens": 10}


def without(d, name):
    return {k: v for k, v in d.items() if k != name}


# path, body (JSON-able or bytes), status, OpenAI code or Anthropic type, param (OpenAI)
BODIES = [
    (CHAT, b"", 400, "invalid_json", None),
    (CHAT, b"{", 400, "invalid_json", None),
    (CHAT, b"[]", 400, None, None),
    (CHAT, b'"x"', 400, None, None),
    (CHAT, b'{"model":"gpt-4o-mini","messages":[]} xyz', 400, "invalid_json", None),
    (CHAT, b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\xff"}]}', 400, "invalid_json", None),
    (CHAT, b"[" * 200000, 400, "invalid_json", None),
    (CHAT, b'{"model":"a","model":"b","messages":[]}', 400, "invalid_value", "model"),
    (CHAT, b'{"model":"a","mod\\u0065l":"b","messages":[]}', 400, "invalid_value", "model"),
    (CHAT, b'{"model":"gpt-4o-mini","stream":true,"stream":false,"messages":[]}', 400, "invalid_value", "stream"),
    (CHAT, b'{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":2,"messages":[]}', 400, "invalid_value", "max_tokens"),
    (CHAT, {**GOOD, "model": 5}, 400, "invalid_value", "model"),
    (CHAT, {**GOOD, "stream": "true"}, 400, "invalid_value", "stream"),
    (CHAT, {**GOOD, "max_tokens": "100"}, 400, "invalid_value", "max_tokens"),
    (CHAT, {**GOOD, "model": "claude-haiku-4-5", "messages": {}}, 400, "invalid_value", "messages"),
    (CHAT, {**GOOD, "model": "claude-haiku-4-5", "messages": []}, 400, "invalid_value", "messages"),
    (CHAT, {**GOOD, "model": "claude-haiku-4-5", "n": 2}, 400, "unsupported_parameter", "n"),
    (CHAT, {**GOOD, "model": "claude-haiku-4-5", "logprobs": True}, 400, "unsupported_parameter", "logprobs"),
    (CHAT, {**GOOD, "model": "nothing-like-it"}, 404, "model_not_found", "model"),
    ("/v1/embeddings", {"model": "claude-haiku-4-5", "input": "x"}, 404, "model_not_found", None),
    ("/v1/responses", {"model": "claude-haiku-4-5", "input": [{"type": "compaction"}]}, 400, None, "input[0].type"),
    ("/v1/responses", {"model": "claude-haiku-4-5", "input": "x", "conversation": "conv_1"}, 400, "previous_response_not_found", "conversation"),
    (MESSAGES, b"{", 400, "invalid_request_error", None),
    (MESSAGES, b'{"model":"a","model":"b"}', 400, "invalid_request_error", None),
    (MESSAGES, {**GOOD_A, "stream": 1}, 400, "invalid_request_error", None),
    (MESSAGES, {**GOOD_A, "model": "nothing-like-it"}, 404, "not_found_error", None),
    (MESSAGES, {**without(GOOD_A, "max_tokens"), "model": "gpt-4o-mini"}, 400, "invalid_request_error", None),
    (MESSAGES, {**GOOD_A, "model": "gpt-4o-mini", "messages": "x"}, 400, "invalid_request_error", None),
    (MESSAGES, {**GOOD_A, "model": "gpt-4o-mini", "messages": [{"role": "robot", "content": "x"}]}, 400,
     "invalid_request_error", None),
]


def check_shape(path, response, status, word, param):
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-should-retry"] in ("true", "false")
    assert response.headers["request-id"].startswith("req_")
    body = response.json()
    if path.startswith(MESSAGES):
        assert body["type"] == "error" and body["error"]["message"]
        assert word is None or body["error"]["type"] == word, body
        assert body["request_id"]
    else:
        assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
        assert word is None or body["error"]["code"] == word, body
        assert param is None or body["error"]["param"] == param, body


@pytest.mark.parametrize("path,body,status,word,param", BODIES)
def test_a_bad_body(suite, key, path, body, status, word, param):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    r = httpx.post(suite.url + path, content=content, timeout=60,
                   headers={"authorization": f"Bearer {key}", "content-type": "application/json"})
    check_shape(path, r, status, word, param)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("headers,status,word", [
    ({}, 401, "authentication_error"),
    ({"authorization": "Bearer"}, 401, "authentication_error"),
    ({"authorization": "Basic eDp5"}, 401, "authentication_error"),
    ({"authorization": "Bearer sk-wrong"}, 401, "authentication_error"),
    ({"x-api-key": "sk-wrong"}, 401, "authentication_error"),
    ({"authorization": "Bearer sk-a", "x-api-key": "sk-b"}, 401, "authentication_error"),
])
def test_a_bad_key(suite, path, headers, status, word):
    r = httpx.post(suite.url + path, json=GOOD_A, headers=headers, timeout=60)
    check_shape(path, r, status, word if path == MESSAGES else "invalid_api_key", None)
    assert r.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("method,path,status,word", [
    ("GET", CHAT, 405, "method_not_allowed"), ("POST", "/v1/models", 405, "method_not_allowed"),
    ("GET", "/v1/nothing", 404, "not_found"), ("GET", "/", 404, "not_found"),
    ("GET", "/v1/models/no-such-model", 404, "model_not_found"),
    ("PUT", MESSAGES, 405, "invalid_request_error"),
])
def test_a_wrong_route(suite, key, method, path, status, word):
    r = httpx.request(method, suite.url + path, headers={"authorization": f"Bearer {key}"}, timeout=60)
    check_shape(path, r, status, word, None)
    if status == 405:
        assert "POST" in r.headers["allow"] or "GET" in r.headers["allow"]


def test_a_huge_body_is_413_and_an_encoded_one_415(suite, key):
    auth = {"authorization": f"Bearer {key}"}
    with socket.create_connection(("127.0.0.1", suite.ports[0])) as s:
        s.settimeout(60)
        s.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert b"413" in s.recv(4096).split(b"\r\n")[0]
    r = httpx.post(suite.url + CHAT, headers={**auth, "content-encoding": "gzip"}, content=b"xxx", timeout=60)
    check_shape(CHAT, r, 415, "unsupported_encoding", None)


def raw(suite, text):
    """Everything the edge says to these bytes, until it closes or is silent for a while after an answer."""
    with socket.create_connection(("127.0.0.1", suite.ports[0])) as s:
        s.settimeout(60)
        s.sendall(text)
        said = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return said, True
            said += piece
            if b"\r\n\r\n" in said:
                s.settimeout(0.5)
            try:
                if not s.recv(1, socket.MSG_PEEK):
                    return said, True
            except TimeoutError:
                return said, False


@pytest.mark.parametrize("head", [
    "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1",
    "Content-Length: 5, 5", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked", "Host: y",
    "Content-Length : 5", "A\tB: c", "X: a\x00b", "Transfer-Encoding: identity, chunked",
])
def test_ambiguous_framing_is_400_and_the_connection_ends(suite, key, head):
    said, closed = raw(suite, f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{head}\r\n\r\nhello".encode())
    assert said.startswith(b"HTTP/1.1 400"), said[:200]
    assert closed


def test_an_oversize_head_is_431(suite):
    said, closed = raw(suite, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 40000 + b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 431"), said[:200]
    assert closed


def test_100_pipelined_requests_are_answered_in_order(suite, key):
    with socket.create_connection(("127.0.0.1", suite.ports[0])) as s:
        s.settimeout(60)
        s.sendall(b"".join(f"GET /v1/models/nothing-{i}- HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
                           for i in range(100)))
        said = b""
        while said.count(b"HTTP/1.1 404") < 100 or b"nothing-99-" not in said:
            piece = s.recv(65536)
            assert piece, said[-500:]
            said += piece
    positions = [said.index(f"nothing-{i}-".encode()) for i in range(100)]
    assert positions == sorted(positions)


def test_cors(suite):
    r = httpx.options(suite.url + CHAT, headers={"origin": "https://a.example", "access-control-request-method": "POST",
                                                 "access-control-request-headers": "authorization"})
    assert r.status_code in (200, 204)
    assert r.headers["access-control-allow-origin"] in ("*", "https://a.example")
    assert "POST" in r.headers["access-control-allow-methods"]
