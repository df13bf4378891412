"""Large bodies: of strangers nothing is read, and those of the gateway's own clients hold nobody up."""
import http.client
import json
import re
import socket
import threading

import httpx
from lib.suite import Suite, in_threads, wait_for

MIB = 1 << 20
# the tests' own slack for pings is 10 s: here a busy daemon must not be taken for a dead one
TIGHT = {"bus": {"peer_timeout": "1200ms"}}


def chat(content, **more):
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}], **more}


def upload(suite, key, path, length, body=b""):
    """Sends the head and as much of the body as is taken; the answer's status, text and how much of the body went out."""
    s = socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60)
    s.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
              f"content-length: {length}\r\n\r\n".encode())
    sent = 0
    try:
        while sent < len(body):
            sent += s.send(body[sent:sent + 65536])
    except OSError:
        pass
    answer = http.client.HTTPResponse(s)
    try:
        answer.begin()
        return answer.status, answer.read().decode(), sent
    except (OSError, http.client.HTTPException) as e:
        return None, repr(e), sent  # the rest of what was sent has reset the answer away
    finally:
        s.close()


def resident(daemon):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{daemon.process.pid}/status").read())[1]) * 1024


def busy_over(suite, seconds):
    """Turns of the loop that took longer, by role."""
    over = {}
    for role in ("edge", "worker", "broker", "auth"):
        counts = {m[1]: float(m[2]) for m in re.finditer(
            rf'^tollgate_loop_busy_seconds_bucket{{role="{role}",le="([^"]+)"}} (\S+)$', suite.metrics_text(), re.M)}
        if counts:
            over[role] = counts["+Inf"] - max(v for k, v in counts.items() if k != "+Inf" and float(k) <= seconds)
    return over


class Streams:
    """Streams that run while something else happens, and end whole."""

    def __init__(self, suite, key, count):
        self.suite, self.key, self.ends, self.begun = suite, key, [], 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        words = "[[sim chunks=60 pace=50]] " + " ".join(f"w{i}" for i in range(60))
        try:
            with httpx.stream("POST", self.suite.url + "/v1/chat/completions", timeout=120,
                              headers={"authorization": f"Bearer {self.key}"}, json=chat(words, stream=True)) as answer:
                text = ""
                for piece in answer.iter_text():
                    self.begun += not text
                    text += piece
                self.ends.append("whole" if text.rstrip().endswith("data: [DONE]") else text[-300:])
        except httpx.HTTPError as e:
            self.ends.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: self.begun == len(self.threads), "all streams run")
        return self

    def __exit__(self, *_):
        for t in self.threads:
            t.join()


def test_of_strangers_bodies_nothing_is_read(tmp_path):
    with Suite(tmp_path, options=TIGHT, workers={"openai": 1}) as suite:
        key = suite.create_key()
        edge = suite.daemons["edge-1"]
        before = resident(edge)
        with Streams(suite, key, 10) as streams:
            paths = ("/v1/chat/completions", "/v1/messages")
            answers = in_threads(64, lambda i: upload(suite, "sk-stranger", paths[i % 2], 32 * MIB, b" " * (8 * MIB)))
            good = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=chat("hello"), timeout=60)
            grown = resident(edge) - before
        assert good.status_code == 200
        assert streams.ends == ["whole"] * 10
        assert {status for status, _, _ in answers} <= {401, None}, answers
        assert sum(status == 401 for status, _, _ in answers) >= 32
        assert grown < 64 * MIB, f"the edge has grown by {grown >> 20} MiB"
        status, text, _ = upload(suite, "sk-stranger", "/v1/messages", 32 * MIB)
        assert status == 401 and json.loads(text)["error"]["type"] == "authentication_error"


def test_strangers_small_bodies_that_drip_end_with_auths_word(tmp_path):
    """500 of them announce 30 MB; none is whole. An hour of body_timeout keeps none of them."""
    options = {"edge": {"body_timeout": "1h", "max_body_memory": "16MiB", "max_body_memory_per_address": "0"}}
    with Suite(tmp_path, options=options, workers={"openai": 1}) as suite:
        key = suite.create_key()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 60000\r\n\r\n{{"
        strangers = [socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60) for _ in range(500)]
        known = socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60)
        known.sendall(head.format(key).encode())
        for i, s in enumerate(strangers):
            s.sendall(head.format(f"sk-stranger-{i % 50}").encode())
        good = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=chat("hello"), timeout=60)
        assert good.status_code == 200
        for s in strangers:
            assert b" 401 " in s.recv(4096).split(b"\r\n")[0]
            s.close()
        rest = json.dumps(chat("x" * 10))[1:].encode()
        known.sendall(rest + b" " * (59999 - len(rest)))  # whoever has a key goes on
        assert b" 200 " in known.recv(4096).split(b"\r\n")[0]


def test_who_is_known_may_send_all_of_a_body_that_is_too_large(suite, key):
    for path, kind in (("/v1/chat/completions", "request_too_large"), ("/v1/messages", "request_too_large")):
        status, text, sent = upload(suite, key, path, 33 * MIB, b" " * (33 * MIB))
        assert (status, sent) == (413, 33 * MIB), text
        assert kind in text


def test_a_drip_is_cut_and_a_steady_upload_is_not(tmp_path):
    options = {"edge": {"body_timeout": "1s", "body_min_rate": "16KiB"}}
    with Suite(tmp_path, options=options, workers={"openai": 1}) as suite:
        key = suite.create_key()
        body = json.dumps(chat("x" * 262144)).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                f"content-length: {len(body)}\r\n\r\n").encode()
        drip, steady = (socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60) for _ in range(2))
        for s in (drip, steady):
            s.sendall(head)
        at, cut = 0, b""
        drip.settimeout(0.1)
        while at < len(body):  # about three times the timeout, at about five times the rate
            steady.sendall(body[at:at + 8192])
            at += 8192
            try:
                if not cut:
                    drip.sendall(b"{" if at == 8192 else b" ")
                    cut = drip.recv(4096)
            except TimeoutError:
                pass
        assert b" 408 " in cut
        assert b" 200 " in steady.recv(4096)
        for s in (drip, steady):
            s.close()


def test_large_bodies_at_once_cut_no_stream(tmp_path):
    options = {**TIGHT, "edge": {"max_body_memory": "512MiB", "max_body_memory_per_address": "0", "max_body_memory_per_key": "0"}}
    models = {"gpt-4o-mini": {"targets": [{"provider": "openai"}]}, "big": {"targets": [{"provider": "anthropic"}]}}
    with Suite(tmp_path, options=options, models=models, workers={"openai": 1, "anthropic": 1}) as suite:
        key = suite.create_key()
        rows = ",".join('{"role":"%s","content":"%s"}' % (("user", "assistant")[i % 2], "x" * 400) for i in range(29 * MIB // 440))
        body = ('{"model":"%s","max_tokens":5,"messages":[' + rows + "]}").encode()
        with Streams(suite, key, 10) as streams:
            answers = in_threads(6, lambda i: upload(suite, key, "/v1/chat/completions", len(body % (b"big" if i % 2 else b"gpt-4o-mini")),
                                                     body % (b"big" if i % 2 else b"gpt-4o-mini")))
        assert streams.ends == ["whole"] * 10
        assert [status for status, _, _ in answers] == [200] * 6, [a[:2] for a in answers]
        for daemon in suite.daemons.values():
            assert "event=peer_down" not in daemon.log, daemon.log[-2000:]
        over = busy_over(suite, 2.5)  # 50 ms is the mark, of an optimised build on a quiet machine: tests/chaos
        assert not any(over.values()), f"turns of a loop over 2.5 s: {over}"
