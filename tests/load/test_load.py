"""64 clients at once, 20,000 requests, unary and streamed mixed: each answer is its own request's, nothing fails, and the
ledger's sum is the simulator's to the token. Then all daemons under valgrind, with less."""
import http.client
import json
import os
import shutil

import pytest
from lib import suite as suite_module
from lib.suite import Suite, in_threads, wait_for

MODELS = ["gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct"]


def body_of(n):
    """Request n: an OpenAI or Anthropic client, one of three providers, unary or streamed."""
    request = {"model": MODELS[n % 3] if n % 7 else "gpt-4o-mini", "stream": n % 2 == 0,
               "messages": [{"role": "user", "content": f"<{n}-load-{n * 7919}>" + " pad" * (n % 50)}]}
    if n % 5 == 0:
        request["max_tokens"] = 300
        return "/v1/messages", request
    return "/v1/chat/completions", request


def text_of(path, stream, raw):
    """The answer's text, from whichever protocol and form; the end is checked too."""
    if not stream:
        answer = json.loads(raw)
        return answer["content"][0]["text"] if path == "/v1/messages" else answer["choices"][0]["message"]["content"]
    events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    if path == "/v1/messages":
        parsed = [json.loads(e) for e in events]
        assert parsed[-1]["type"] == "message_stop", raw[-500:]
        return "".join(e["delta"].get("text", "") for e in parsed if e["type"] == "content_block_delta")
    assert events[-1] == "[DONE]", raw[-500:]
    return "".join(c["delta"].get("content") or "" for e in events[:-1] for c in json.loads(e)["choices"])


def client(suite, key, numbers):
    connection = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=120)
    for n in numbers:
        path, request = body_of(n)
        connection.request("POST", path, json.dumps(request), {"authorization": f"Bearer {key}",
                                                               "content-type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        assert answer.status == 200, (n, answer.status, raw[:500])
        assert f"<{n}-load-{n * 7919}>" in text_of(path, request["stream"], raw), (n, raw[:500])
    connection.close()
    return len(numbers)


def run_and_compare(suite, name, requests, clients):
    key = suite.create_key(name=name)
    suite.sim_reset()
    done = in_threads(clients, lambda i: client(suite, key, range(i, requests, clients)))
    assert sum(done) == requests

    def booked():
        rows = [r for r in suite.usage("--by", "key") if r["key_name"] == name]
        return rows[0] if rows and rows[0]["requests"] == requests else None

    row = wait_for(booked, f"{requests} rows are booked", 120)
    told = suite.sim_stats()
    assert row["input_tokens"] == told["input_tokens"]
    assert row["output_tokens"] == told["output_tokens"]


@pytest.mark.timeout(600)
def test_20000_requests_of_64_clients_with_two_brokers_and_two_workers(tmp_path):
    with Suite(tmp_path, brokers=2, workers={"openai": 2, "anthropic": 1, "replicate": 1}) as suite:
        run_and_compare(suite, "load", 20000, 64)


@pytest.mark.timeout(900)
def test_no_daemon_leaks_under_valgrind(tmp_path):
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind here")

    class Checked(Suite):
        def add(self, name, program, *args):
            d = suite_module.Daemon(name, [str(suite_module.BIN / program), *map(str, args)], self.environment(), self.folder)
            if program != "tollgate-simulator":
                d.argv = ["valgrind", "-q", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect",
                          "--show-leak-kinds=definite,indirect", "--error-exitcode=99",
                          f"--suppressions={os.path.dirname(__file__)}/valgrind.supp", *d.argv]
            self.daemons[name] = d
            d.start()
            return d

    with Checked(tmp_path, options={"runtime": {"watchdog": "120s"}, "bus": {"peer_timeout": "60s"}}) as suite:
        run_and_compare(suite, "valgrind", 300, 8)
