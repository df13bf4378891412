"""Requests that were made to hurt, and upstreams that say what cannot be: nobody else notices, no worker is lost, the books stay sound."""
import json
import re
import select
import socket
import threading

import httpx
import pytest
from lib.suite import Suite, wait_for
from lib.upstream import Upstream, chat

MODELS = {"gpt-4o-mini": {"targets": [{"provider": "openai"}]}, "claude-haiku-4-5": {"targets": [{"provider": "anthropic"}]}}
MANY = 20000


def call(i, name="f"):
    return {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def asks(calls, results):
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": calls}, *results]


def result(i):
    return {"role": "tool", "tool_call_id": f"c{i}", "content": "ok"}


SHAPES = {
    "calls with one id": {"messages": asks([call(0)] * MANY, [result(0)] * MANY)},
    "calls and results": {"messages": asks([call(i) for i in range(MANY)], [result(i) for i in range(MANY)])},
    "calls of many tools": {"messages": asks([call(i, f"f{i}") for i in range(MANY)], [result(i) for i in range(MANY)])},
    "assistants in a row": {"messages": [{"role": "user", "content": "hi"},
                                         *({"role": "assistant", "tool_calls": [call(i)]} for i in range(MANY)), {"role": "user", "content": "x"}]},
    "many messages": {"messages": [{"role": "user", "content": "x"}] * 4 * MANY},
    "many parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 4 * MANY}]},
    "a wide schema": {"messages": [{"role": "user", "content": "hi"}],
                      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {f"p{i}": {} for i in range(4 * MANY)}}}}]},
    "a long string": {"messages": [{"role": "user", "content": "x " * (4 << 20)}]},
}


def bodies():
    for name, shape in SHAPES.items():
        for model in MODELS:
            yield f"{name} to {model}", json.dumps({"model": model, "max_tokens": 5, **shape})
    escaped = ",".join(r'"\u006d\u0061\u0078_toke\u006e%d":1' % i for i in range(4 * MANY))
    for model in MODELS:
        yield f"escaped names to {model}", f'{{"model":"{model}","max_tokens":5,"messages":[{{"role":"user","content":"hi"}}],{escaped}}}'


def post(suite, key, body, timeout=120):
    return httpx.post(suite.url + "/v1/chat/completions", content=body if isinstance(body, (str, bytes)) else json.dumps(body),
                      headers={"authorization": f"Bearer {key}", "content-type": "application/json"}, timeout=timeout)


class Bystander:
    """A client that asks small things all the while."""

    def __init__(self, suite, key):
        self.suite, self.key, self.bad, self.count, self.over = suite, key, [], 0, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over.is_set():
            for model in MODELS:
                r = post(self.suite, self.key, {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
                self.count += 1
                if r.status_code != 200:
                    self.bad.append(r.text[:200])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def test_no_shape_of_a_request_takes_a_worker_down(tmp_path):
    with Suite(tmp_path, models=MODELS, workers={"openai": 1, "anthropic": 1}, options={"edge": {"max_body": "32MiB"}}) as suite:
        key = suite.create_key()
        with Bystander(suite, key) as other:
            for name, body in bodies():
                r = post(suite, key, body)
                assert r.status_code in (200, 400), f"{name}: {r.status_code} {r.text[:200]}"
        assert other.count and not other.bad
        for name, daemon in suite.daemons.items():
            assert "event=peer_down" not in daemon.log and "event=request_suspected" not in daemon.log, name


def sick(up, **more):
    return {"providers": {"openai": up.provider("/a"), "other": up.provider("/b")}, "workers": {"openai": 1, "other": 1},
            "models": {"m": {"targets": [{"provider": "openai"}]},
                       "either": {"targets": [{"provider": "openai"}], "fallbacks": ["good"]},
                       "good": {"targets": [{"provider": "other"}]}}, **more}


HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("tokens", [2 ** 62, 2 ** 63 - 1, 10 ** 30, -5, 1.5, 1e300])
def test_usage_that_cannot_be_is_bounded_and_locks_nobody_out(tmp_path, tokens):
    with Upstream() as up:
        up.on("/a/v1/chat/completions", body=chat("hello", usage={"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": tokens}))
        up.on("/b/v1/chat/completions", body=chat("hello"))
        with Suite(tmp_path, **sick(up)) as suite:
            key = suite.create_key("alice", tpm=1000)
            for _ in range(2):
                post(suite, key, {"model": "m", "max_tokens": 5, "messages": HI})
            wait_for(lambda: len(suite.usage("--requests")) >= 2 or suite.usage("--requests"), "a row")
            rows = suite.usage("--requests")
            assert all(r["estimated"] for r in rows)
            assert all(r["input_tokens"] < 2 ** 25 and r["output_tokens"] < 2 ** 25 for r in rows)
            assert suite.usage("--by", "key")[0]["requests"] >= 1
            suite.ctl("keys", "reset-limits", "alice")
            # within the second in which an edge may still hold what auth said before
            wait_for(lambda: post(suite, key, {"model": "good", "max_tokens": 5, "messages": HI}).status_code == 200, "alice is served again")


def test_many_large_answers_at_once_stay_within_the_option(tmp_path):
    large = json.dumps(chat("x" * (12 << 20))).encode()
    with Upstream() as up:
        up.on("/a/v1/chat/completions", body=large)
        up.on("/b/v1/chat/completions", body=chat("hello"))
        with Suite(tmp_path, **sick(up, options={"worker": {"max_response": "16MiB", "max_answer_memory": "48MiB"}})) as suite:
            key = suite.create_key()
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(post(suite, key, {"model": "m", "messages": HI}))) for _ in range(6)]
            for t in threads:
                t.start()
            good = [post(suite, key, {"model": "good", "messages": HI}).status_code for _ in range(20)]
            for t in threads:
                t.join()
            assert good == [200] * 20
            assert all(r.status_code in (200, 503) for r in answers) and any(r.status_code == 200 for r in answers)
            assert all(len(r.content) == len(large) for r in answers if r.status_code == 200)


def resident(daemon):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{daemon.process.pid}/status").read())[1]) * 1024


def test_answers_that_nobody_reads_fill_no_edge_and_stop_no_other_key(tmp_path):
    large = json.dumps(chat("x" * (60 << 20))).encode()
    with Upstream() as up:
        up.on("/a/v1/chat/completions", body=large)
        up.on("/b/v1/chat/completions", body=chat("hello"))
        # as many slots as the readers take, and some: what is tested is memory
        with Suite(tmp_path, **sick(up, options={"worker": {"slots": "80"}})) as suite:
            lazy, other = suite.create_key("lazy"), suite.create_key("other")
            whole = post(suite, other, {"model": "m", "messages": HI})  # and no longer is anything new to the allocator
            assert whole.status_code == 200 and whole.headers["content-length"] == str(len(large))
            before = resident(suite.daemons["edge-1"])
            body = json.dumps({"model": "m", "messages": HI})
            readers = [socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60) for _ in range(64)]
            for s in readers:
                s.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {lazy}\r\n"
                          f"content-length: {len(body)}\r\n\r\n{body}".encode())
            wait_for(lambda: sum(bool(select.select([s], [], [], 0)[0]) for s in readers) >= 2, "two of them have an answer")
            answers = [post(suite, other, {"model": model, "messages": HI}) for model in ("m", "good", "m")]
            assert [r.status_code for r in answers] == [200] * 3 and len(answers[2].content) == len(large)
            grown = resident(suite.daemons["edge-1"]) - before
            for s in readers:
                s.close()
        assert grown < 64 << 20, f"the edge has grown by {grown >> 20} MiB"


@pytest.mark.parametrize("name, status, body, headers", [
    ("not JSON", 502, b"<html>", {}),
    ("compressed", 502, b"\x1f\x8b\x08", {"content-encoding": "gzip"}),
    ("too large", 502, b"[" + b" " * (3 << 20) + b"]", {}),
    ("a head too large", 502, b"{}", {f"x-{i}": "y" * 8000 for i in range(40)}),
])
def test_an_answer_that_can_only_be_the_same_is_asked_for_once(tmp_path, name, status, body, headers):
    with Upstream() as up:
        up.on("/a/v1/chat/completions", body=body, headers=headers)
        up.on("/b/v1/chat/completions", body=chat("hello"))
        with Suite(tmp_path, **sick(up, options={"worker": {"max_response": "2MiB"}})) as suite:
            r = post(suite, suite.create_key(), {"model": "either", "messages": HI})
            assert r.status_code == status and r.headers["x-should-retry"] == "false", name
            assert (up.asked("/a"), up.asked("/b")) == (1, 0)


def test_an_empty_answer_is_another_targets_to_give(tmp_path):
    with Upstream() as up:
        up.on("/a/v1/chat/completions", body={})
        up.on("/b/v1/chat/completions", body=chat("hello"))
        with Suite(tmp_path, **sick(up)) as suite:
            r = post(suite, suite.create_key(), {"model": "either", "messages": HI})
            assert r.status_code == 200 and r.json()["choices"][0]["message"]["content"] == "hello"
