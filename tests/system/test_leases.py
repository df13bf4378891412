"""Keys with limits while auth is away, and after: they go on at their rate, and the limit is exact over all of it."""
import http.client
import json
import re
import time

import pytest
from lib.suite import Suite, in_threads, wait_for

RPM = 120  # two a second, and as many at once
MODELS = {"gpt-4o-mini": {"targets": [{"provider": "openai"}]}, "gpt-*": {"targets": [{"provider": "openai"}]}}


@pytest.fixture()
def fresh(tmp_path):
    with Suite(tmp_path, models=MODELS, workers={"openai": 1}, edges=2) as s:
        yield s


class Client:
    def __init__(self, suite, key, edge=0, model="gpt-4o-mini"):
        self.connection, self.key, self.model = http.client.HTTPConnection("127.0.0.1", suite.ports[edge], timeout=60), key, model

    def ask(self, model=None):
        self.connection.request("POST", "/v1/chat/completions", json.dumps({"model": model or self.model, "max_tokens": 5, "messages": [
            {"role": "user", "content": "x"}]}), {"authorization": f"Bearer {self.key}", "content-type": "application/json"})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def use_up(*clients):
    """Until both edges are refused: nothing is left, and nothing is on lease."""
    admitted = 0
    while True:
        statuses = [c.ask() for c in clients]
        admitted += statuses.count(200)
        if 200 not in statuses:
            return admitted


def test_a_limited_key_goes_on_at_its_rate_without_auth_and_the_limit_is_exact_afterwards(fresh):
    key = fresh.create_key(rpm=RPM)
    clients = [Client(fresh, key, edge) for edge in range(2)]
    began = time.monotonic()
    admitted = use_up(*clients)
    assert fresh.daemons["auth"].stop() == 0  # killed, it may forget the last tenths of a second
    wait_for(lambda: all("peer=auth why=" in fresh.daemons[e].log for e in ("edge-1", "edge-2")), "the edges miss it")
    away = time.monotonic()
    served = [0, 0]

    def go_on(edge):
        while sum(served) < 12:
            served[edge] += clients[edge].ask() == 200
            time.sleep(0.02)
    in_threads(2, go_on)
    admitted += sum(served)
    assert sum(served) <= RPM / 60 * (time.monotonic() - away) + 4  # and what a lease had left
    seen = {e: len(fresh.daemons[e].log) for e in ("edge-1", "edge-2")}
    fresh.daemons["auth"].start()
    wait_for(lambda: all(re.search("event=peer_up .*peer=auth", fresh.daemons[e].log[n:]) for e, n in seen.items()), "auth is back")
    more = use_up(*clients)
    passed = time.monotonic() - began
    assert admitted + more <= RPM + RPM / 60 * passed + 1, (admitted, more, passed)


def test_names_that_a_client_makes_up_take_no_more_than_one(fresh):
    key = fresh.create_key(rpm=RPM)
    client, other = Client(fresh, key), Client(fresh, key, 1)
    for n in range(10):
        assert client.ask(f"gpt-{n}") == 200
    # 110 are left, of which the first edge holds one lease of an eighth: not one for each name
    statuses = [other.ask() for _ in range(60)]
    assert statuses.count(200) == 60
