"""Stored responses: asked for by id they go to the key and endpoint that made them, and only for the key of the client
that made them. Two upstreams (the simulator twice), two keys, two workers: four places, each with a memory of its own."""
import json
import re

import httpx
import pytest
from lib.suite import Suite, in_threads, wait_for

KEYS = {"SIM_KEY_A": "sk-simulated-a", "SIM_KEY_B": "sk-simulated-b"}


class TwoUpstreams(Suite):
    """A second simulator beside the first; its ids are others."""

    def start_simulator(self):
        d = self.add("simulator-2", "tollgate-simulator", "--port", "0")
        found = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", d.log), "the second simulator listens")
        self.second_url = f"http://127.0.0.1:{found.group(1)}"
        for _ in range(500):
            httpx.get(f"{self.second_url}/openai/v1/models", headers={"authorization": "Bearer x"})
        super().start_simulator()
        self.providers["openai"] = {"type": "openai", "api_keys": ["${SIM_KEY_A}", "${SIM_KEY_B}"], "private": True,
                                    "endpoints": [f"http://127.0.0.1:{self.sim_port}/openai/v1",
                                                  f"{self.second_url}/openai/v1"]}

    def forget_upstream_requests(self):
        for url in (self.sim_url, self.second_url):
            httpx.post(f"{url}/_sim/reset", timeout=10).raise_for_status()

    def count_upstream_requests(self):
        return sum(len(httpx.get(f"{url}/_sim/requests", timeout=10).json()) for url in (self.sim_url, self.second_url))


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with TwoUpstreams(tmp_path_factory.mktemp("suite"), workers={"openai": 2}, env=KEYS) as s:
        yield s


@pytest.fixture(scope="module")
def ann(suite):
    return suite.create_key(name="ann")


@pytest.fixture(scope="module")
def bob(suite):
    return suite.create_key(name="bob")


def ask(suite, key, method, path, body=None):
    return httpx.request(method, suite.url + path, headers={"authorization": f"Bearer {key}"}, json=body, timeout=60)


def make(suite, key, text="hello", **more):
    r = ask(suite, key, "POST", "/v1/responses", {"model": "gpt-4o-mini", "input": text, **more})
    assert r.status_code == 200, r.text
    return r.json()


def row_of(suite, key_name, count):
    def rows():
        found = [r for r in suite.usage("--by", "key") if r["key_name"] == key_name]
        return found and found[0]["requests"] == count and found[0]
    return wait_for(rows, f"{key_name} has {count} rows")


def test_each_response_is_found_wherever_it_was_made(suite, ann):
    made = in_threads(16, lambda i: make(suite, ann, f"number {i}"))
    for m in made:
        r = ask(suite, ann, "GET", f"/v1/responses/{m['id']}")
        assert r.status_code == 200, r.text
        assert r.json()["id"] == m["id"]
        assert r.headers["x-tollgate-attempts"] == "1"


def test_a_stored_response_can_be_continued_cancelled_and_deleted(suite, ann):
    for i in range(8):
        first = make(suite, ann, f"first {i}")
        second = make(suite, ann, f"second {i}", previous_response_id=first["id"])
        assert ask(suite, ann, "POST", f"/v1/responses/{second['id']}/cancel").status_code == 200
        gone = ask(suite, ann, "DELETE", f"/v1/responses/{first['id']}")
        assert gone.status_code == 200 and gone.json()["deleted"] is True
        again = ask(suite, ann, "GET", f"/v1/responses/{first['id']}")
        assert again.status_code == 404
        assert again.json()["error"]["type"] == "invalid_request_error"
        assert first["id"] in again.json()["error"]["message"]
        assert ask(suite, ann, "GET", f"/v1/responses/{second['id']}").status_code == 200


def test_a_streamed_response_is_found_too(suite, ann):
    with httpx.stream("POST", suite.url + "/v1/responses", headers={"authorization": f"Bearer {ann}"}, timeout=60,
                      json={"model": "gpt-4o-mini", "input": "stream", "stream": True}) as r:
        text = r.read().decode()
    assert "[DONE]" not in text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "response.completed"
    found = ask(suite, ann, "GET", f"/v1/responses/{events[0]['response']['id']}")
    assert found.status_code == 200 and found.headers["x-tollgate-attempts"] == "1"


def test_an_id_of_nobody_is_404_and_no_provider_is_asked(suite, ann):
    suite.forget_upstream_requests()
    r = ask(suite, ann, "GET", "/v1/responses/resp_nobody")
    assert r.status_code == 404
    assert set(r.json()["error"]) == {"message", "type", "param", "code"}
    assert suite.count_upstream_requests() == 0


def test_another_client_s_key_cannot_read_delete_cancel_or_continue(suite, ann, bob):
    made = make(suite, ann, "secret")
    path = f"/v1/responses/{made['id']}"
    suite.forget_upstream_requests()
    for method, at in (("GET", path), ("DELETE", path), ("POST", path + "/cancel")):
        r = ask(suite, bob, method, at)
        assert r.status_code == 404, r.text
        assert "secret" not in r.text
    r = ask(suite, bob, "POST", "/v1/responses",
            {"model": "gpt-4o-mini", "input": "go on", "previous_response_id": made["id"]})
    assert r.status_code == 400
    assert r.json()["error"]["code"] == "previous_response_not_found"
    assert suite.count_upstream_requests() == 0
    assert ask(suite, ann, "GET", path).status_code == 200


def test_a_broker_that_has_forgotten_searches(suite, ann):
    made = [make(suite, ann, f"before {i}") for i in range(4)]
    suite.daemons["broker-1"].stop()
    suite.daemons["broker-1"].start()
    for m in made:
        r = wait_for(lambda m=m: (lambda r: r.status_code != 503 and r)(ask(suite, ann, "GET", f"/v1/responses/{m['id']}")),
                     "the broker is back")
        assert r.status_code == 200, r.text


def test_ownership_outlives_every_memory(suite, ann, bob):
    made = make(suite, ann, "for ann alone")
    wait_for(lambda: any(r["upstream_id"] == made["id"] for r in
                         json.loads(suite.ctl("usage", "--requests", "--json").stdout)), "it is in the ledger")
    for name in ("broker-1", "worker-openai-1", "worker-openai-2", "auth"):
        suite.daemons[name].stop()
    for name in ("auth", "broker-1", "worker-openai-1", "worker-openai-2"):
        suite.daemons[name].start()
    path = f"/v1/responses/{made['id']}"
    mine = wait_for(lambda: (lambda r: r.status_code != 503 and r)(ask(suite, ann, "GET", path)), "all are back")
    assert mine.status_code == 200, mine.text
    assert ask(suite, bob, "GET", path).status_code == 404
    on = {"model": "gpt-4o-mini", "input": "go on", "previous_response_id": made["id"]}
    assert ask(suite, bob, "POST", "/v1/responses", on).status_code == 400


def test_each_response_is_one_row_with_the_upstream_s_tokens(suite):
    key = suite.create_key(name="carl")
    used = [make(suite, key, f"row {i}")["usage"] for i in range(5)]
    made = make(suite, key, "last")
    for _ in range(3):
        assert ask(suite, key, "GET", f"/v1/responses/{made['id']}").status_code == 200
    with httpx.stream("POST", suite.url + "/v1/responses", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json={"model": "gpt-4o-mini", "input": "stream a row", "stream": True}) as r:
            last = [line for line in r.iter_lines() if line.startswith("data: ")][-1]
    used += [made["usage"], json.loads(last[6:])["response"]["usage"]]
    row = row_of(suite, "carl", 7)
    assert row["input_tokens"] == sum(u["input_tokens"] for u in used)
    assert row["output_tokens"] == sum(u["output_tokens"] for u in used)


def test_a_background_response_is_booked_at_once_and_corrected_when_it_is_polled(suite):
    key = suite.create_key(name="background")
    made = make(suite, key, "think long", background=True, max_output_tokens=4000)
    assert made["status"] == "queued"
    row = row_of(suite, "background", 1)
    assert row["estimated"] == 1 and row["output_tokens"] == 4000
    seen = ask(suite, key, "GET", f"/v1/responses/{made['id']}").json()["usage"]

    def corrected():
        found = row_of(suite, "background", 1)
        return found["estimated"] == 0 and found
    row = wait_for(corrected, "the row has what was used")
    assert (row["input_tokens"], row["output_tokens"]) == (seen["input_tokens"], seen["output_tokens"])
    assert row["cost_nano"] > 0
