"""Daemons are killed, stopped and restarted under load: whoever can be done without is not missed.

Two edges, two brokers, two workers. Quick forms; TOLLGATE_KILLS=200 kills that often. Every request's outcome is kept, and a
stream's text is compared with what the same prompt gives in peace: nothing lost, doubled or out of order.
"""
import json
import os
import re
import signal
import threading
import time

import httpx
import pytest
from lib.suite import Suite, wait_for

KILLS = int(os.environ.get("TOLLGATE_KILLS", "8"))
PROMPT = "[[sim chunks=30 pace=20]] count"
MODELS = {"gpt-4o-mini": {"targets": [{"provider": "openai"}]}}


def text_of(raw):
    """The streamed text, and whether the stream ended as a whole one does."""
    events = [line[6:] for line in raw.splitlines() if line.startswith("data: ")]
    text = "".join((json.loads(e).get("choices") or [{}])[0].get("delta", {}).get("content") or "" for e in events if e != "[DONE]")
    return text, bool(events) and events[-1] == "[DONE]"


class Load:
    """Clients that keep asking, over all edges; every outcome is kept as "ok" or what went wrong."""

    def __init__(self, suite, key, unary=6, streams=6):
        self.suite, self.key = suite, key
        self.results, self.stopped = [], threading.Event()
        self.reference = text_of(self._post(suite.url, True)[1])[0]
        self.threads = [threading.Thread(target=self._run, args=(i, i >= unary), daemon=True) for i in range(unary + streams)]

    def _post(self, url, stream, client=httpx):
        body = {"model": "gpt-4o-mini", "stream": stream, "messages": [
            {"role": "user", "content": PROMPT if stream else "[[sim delay=10]] x"}]}
        r = client.post(url + "/v1/chat/completions", json=body, timeout=60, headers={"authorization": f"Bearer {self.key}"})
        return r.status_code, r.text

    def _judge(self, status, raw, stream):
        if status != 200:
            return f"{status} {raw[:200]}"
        if not stream:
            return "ok" if "choices" in raw else raw[:200]
        text, done = text_of(raw)
        if done:
            return "ok" if text == self.reference else f"WRONG TEXT {text!r}"
        return "in-band error" if '"error"' in raw else f"CUT {raw[-200:]!r}"

    def _run(self, number, stream):
        url = self.suite.url_of(number % self.suite.edge_count)
        with httpx.Client() as client:
            while not self.stopped.is_set():
                try:
                    self.results.append((stream, self._judge(*self._post(url, stream, client), stream)))
                except httpx.HTTPError as e:
                    self.results.append((stream, repr(e)))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for t in self.threads:
            t.join()

    def goes_on(self, count=20):
        seen = len(self.results)
        wait_for(lambda: len(self.results) >= seen + count, "traffic goes on")

    def failures(self):
        bad = [r for _, r in self.results if r != "ok"]
        return {r: bad.count(r) for r in set(bad)}


@pytest.fixture
def world(tmp_path):
    with Suite(tmp_path, brokers=2, edges=2, workers={"openai": 2}, models=MODELS) as suite:
        yield suite, suite.create_key()


def kill_and_restart(suite, name):
    suite.daemons[name].kill()
    suite.daemons[name].start()


def counts_of(suite, event, name):
    """How often each edge has said this of its link to it: peer_up, peer_down."""
    return [len(re.findall(rf"event={event} .*peer={name}\b", d.log)) for n, d in suite.daemons.items() if n.startswith("edge-")]


def in_use(suite):
    """Attempts that run, as brokers know them, and slots."""
    text = suite.metrics_text()
    running = sum(float(m) for m in re.findall(r'^tollgate_worker_in_flight\{[^}]*\} (\S+)$', text, re.M))
    slots = sum(float(m) for m in re.findall(r'^tollgate_worker_slots\{[^}]*\} (\S+)$', text, re.M))
    return running, slots


def test_any_broker_may_be_killed(world):
    suite, key = world
    with Load(suite, key) as load:
        load.goes_on()
        for i in range(KILLS):
            kill_and_restart(suite, f"broker-{i % 2 + 1}")
            load.goes_on()
    assert load.failures() == {}
    wait_for(lambda: in_use(suite)[0] == 0, "nothing runs any more, and brokers know")


def test_all_brokers_may_be_away_for_five_seconds(world):
    suite, key = world
    with Load(suite, key) as load:
        load.goes_on()
        for name in ("broker-1", "broker-2"):
            suite.daemons[name].kill()
        time.sleep(5)  # the length of the outage is what is tested
        for name in ("broker-1", "broker-2"):
            suite.daemons[name].start()
        load.goes_on(60)
    assert load.failures() == {}


def test_a_broker_restarted_in_mid_load_knows_slots_and_what_runs(world):
    suite, key = world
    with Load(suite, key, unary=0, streams=8) as load:
        load.goes_on(8)
        for name in ("broker-1", "broker-2"):
            kill_and_restart(suite, name)
        wait_for(lambda: in_use(suite)[0] > 0 and in_use(suite)[1] > 0, "brokers know again")
    assert load.failures() == {}


def test_a_killed_worker_costs_no_unary_request_and_no_false_end(world):
    suite, key = world
    with Load(suite, key) as load:
        load.goes_on()
        for i in range(KILLS):
            name = f"worker-openai-{i % 2 + 1}"
            suite.daemons[name].kill()
            # A request is repeated once: the next worker dies when every edge that had a link to this one has dealt with its loss.
            links = counts_of(suite, "peer_up", name)
            wait_for(lambda n=name, up=links: all(down >= then for down, then in zip(counts_of(suite, "peer_down", n), up)), f"edges know that {name} is gone")
            suite.daemons[name].start()
            load.goes_on(60)
            wait_for(lambda n=name: suite.broker_knows(n), f"{name} serves again")
            load.goes_on()
    unary = [r for stream, r in load.results if not stream and r != "ok"]
    streams = {r for stream, r in load.results if stream} - {"ok", "in-band error"}
    assert unary == []
    assert streams == set()


def test_a_stopped_worker_is_left_out_and_brings_nothing_stale(world):
    suite, key = world
    with Load(suite, key, unary=6, streams=0) as load:
        load.goes_on()
        worker = suite.daemons["worker-openai-1"]
        worker.signal(signal.SIGSTOP)
        try:
            load.goes_on(200)
        finally:
            worker.signal(signal.SIGCONT)
        load.goes_on(100)
        wait_for(lambda: suite.broker_knows("worker-openai-1"), "it is back")
        load.goes_on(50)
    assert load.failures() == {}


def test_every_daemon_but_the_edge_restarts_unnoticed(world):
    suite, key = world
    names = [n for n in suite.daemons if not n.startswith(("edge", "simulator"))]
    with Load(suite, key) as load:
        load.goes_on()
        for _ in range(max(1, KILLS // 8)):
            for name in names:
                assert suite.daemons[name].stop() == 0, name
                suite.daemons[name].start()
                load.goes_on(30)
    assert load.failures() == {}


def test_workers_come_and_go_and_share_the_load(tmp_path):
    with Suite(tmp_path, brokers=2, edges=2, workers={"openai": 1}, models=MODELS) as suite:
        key = suite.create_key()
        with Load(suite, key, unary=8, streams=0) as load:
            load.goes_on()
            for number in range(2, 9):
                suite.add_worker("openai", number)
            for number in range(2, 9):
                wait_for(lambda n=number: suite.broker_knows(f"worker-openai-{n}"), f"worker {number} is known")
            load.goes_on(200)
            for number in range(1, 8):
                assert suite.daemons[f"worker-openai-{number}"].stop() == 0
                load.goes_on(20)
        assert load.failures() == {}


def test_one_key_uses_all_brokers(world):
    suite, key = world
    with Load(suite, key, unary=8, streams=8) as load:
        load.goes_on(100)
        wait_for(lambda: all(re.search(rf'^tollgate_grants\{{[^}}]*broker-{n}[^}}]*\}} [1-9]', suite.metrics_text(), re.M) for n in (1, 2)),
                 "both brokers have granted")
    assert load.failures() == {}
