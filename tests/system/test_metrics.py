"""Counters over deaths of the metrics daemon: no increment lost, none counted twice, no total that falls."""
import re
import threading

import httpx
import pytest

from lib.suite import Suite, wait_for

CLIENTS = 6


@pytest.fixture()
def fresh(tmp_path):
    with Suite(tmp_path, models={"gpt-4o-mini": {"targets": [{"provider": "openai"}]}}, workers={"openai": 1},
               edges=2) as s:
        yield s


class Load:
    """Clients that ask one thing after another until they are stopped; .made counts the answers."""

    def __init__(self, url, key, clients=CLIENTS):
        self.url, self.key, self.made, self.ends = url, key, 0, threading.Event()
        self.lock, self.errors = threading.Lock(), []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def run(self):
        with httpx.Client(timeout=60) as client:
            while not self.ends.is_set():
                r = client.post(self.url + "/v1/chat/completions", headers={"authorization": f"Bearer {self.key}"},
                                json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]})
                with self.lock:
                    self.made += 1
                    if r.status_code != 200:
                        self.errors.append(r.text)

    def reach(self, more):
        wanted = self.made + more
        wait_for(lambda: self.made >= wanted, f"{wanted} answers")

    def stop(self):
        self.ends.set()
        for t in self.threads:
            t.join()
        assert not self.errors, self.errors[:3]
        return self.made


class Scrapes:
    """Reads /metrics all the time, as Prometheus would; .falls: totals that were less than before."""

    def __init__(self, suite):
        self.suite, self.last, self.falls, self.good, self.refused = suite, {}, [], 0, 0
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ends.is_set():
            try:
                r = httpx.get(f"http://127.0.0.1:{self.suite.metrics_port}/metrics", timeout=10)
            except httpx.HTTPError:
                continue  # it has just been killed
            if r.status_code != 200:
                assert r.status_code == 503 and r.headers["retry-after"]
                self.refused += 1
                continue
            self.good += 1
            self.read(totals(r.text))

    def read(self, now):
        for name, before in self.last.items():
            if now.get(name, 0) < before:
                self.falls.append((name, before, now.get(name, 0)))
        self.last = now

    def stop(self):
        self.ends.set()
        self.thread.join()


def totals(text):
    """Every counter and histogram of the suite by name and labels."""
    kinds, found = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            family = name.split("{")[0]
            for end in ("_bucket", "_sum", "_count"):
                family = family.removesuffix(end) if family.removesuffix(end) in kinds else family
            if kinds[family] != "gauge":
                found[name] = float(value)
    return found


def total_of(suite, prefix):
    try:
        r = httpx.get(f"http://127.0.0.1:{suite.metrics_port}/metrics", timeout=10)
    except httpx.HTTPError:
        return None  # it has just been restarted
    return sum(v for k, v in totals(r.text).items() if k.startswith(prefix)) if r.status_code == 200 else None


def restart_killed(suite):
    """Where in all logs the life of the new process begins."""
    suite.daemons["metrics"].kill()
    begins = {name: len(d.log) for name, d in suite.daemons.items()}
    suite.daemons["metrics"].start()
    return begins


def test_counters_are_exact_over_kills_of_metrics_in_mid_load(fresh):
    key = fresh.create_key(name="counter")
    one, two, scrapes = Load(fresh.url_of(0), key), Load(fresh.url_of(1), key), Scrapes(fresh)
    for _ in range(3):
        one.reach(60)
        begins = restart_killed(fresh)
    # What an edge that has stopped had counted is known to nobody else any more.
    made = two.stop()
    edge = fresh.daemons["edge-2"]
    wait_for(lambda: re.search("event=peer_up .*peer=metrics", edge.log[begins["edge-2"]:]), "edge-2 has found metrics")
    assert edge.stop() == 0
    wait_for(lambda: "peer=edge-2 why=stopped" in fresh.daemons["metrics"].log[begins["metrics"]:], "metrics has heard it stop")
    restart_killed(fresh)
    one.reach(60)
    restart_killed(fresh)
    made += one.stop()
    # A restart while nothing happens: the totals must come by themselves.
    restart_killed(fresh)
    for what in ('tollgate_requests_total{', 'tollgate_request_duration_seconds_count{',
                 'tollgate_ledger_rows_total{estimated="false"}', 'tollgate_upstream_attempts_total{'):
        wait_for(lambda what=what: total_of(fresh, what) == made, f"{what} {made}")
    scrapes.stop()
    assert not scrapes.falls, scrapes.falls[:5]
    assert scrapes.good > 0
    assert not total_of(fresh, "tollgate_metrics_dropped_total")


def test_counters_of_a_stopped_suite_are_there_when_it_starts_again(fresh):
    key = fresh.create_key(name="counter")
    load = Load(fresh.url, key, 2)
    load.reach(20)
    made = load.stop()
    for name in ("edge-1", "edge-2", "metrics"):
        assert fresh.daemons[name].stop() == 0
    fresh.daemons["metrics"].start()
    for name in ("edge-1", "edge-2"):
        fresh.daemons[name].start()
    fresh.wait_ready()
    wait_for(lambda: total_of(fresh, "tollgate_requests_total{") == made, f"{made} requests")
    load = Load(fresh.url, key, 2)
    load.reach(20)
    made += load.stop()
    wait_for(lambda: total_of(fresh, "tollgate_requests_total{") == made, f"{made} requests")


def names_in(text, family):
    return {line.split('model="')[1].split('"')[0] for line in text.splitlines() if line.startswith(family + "{")}


def test_a_flood_of_invented_names_leaves_room_for_real_models(tmp_path):
    """A wildcard lets any name in: the first few get series of their own, the others are counted under the wildcard,
    and a model that the configuration names has its own however late it comes."""
    models = {"gpt-*": {"targets": [{"provider": "openai"}]}, "late": {"targets": [{"provider": "openai"}]}}
    with Suite(tmp_path, models=models, workers={"openai": 1}, options={"metrics": {"max_series": 2000}}) as suite:
        key = suite.create_key(name="flood")
        with httpx.Client(timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
            def ask(model):
                r = client.post(suite.url + "/v1/chat/completions",
                                json={"model": model, "messages": [{"role": "user", "content": "hi"}]})
                return r.status_code
            assert {ask(f"gpt-{i}") for i in range(300)} == {200}
            assert ask("no-such-model") == 404
            assert {ask("late") for _ in range(3)} == {200}
        wait_for(lambda: total_of(suite, "tollgate_requests_total{") == 304, "all are counted")
        text = suite.metrics_text()
        assert total_of(suite, 'tollgate_requests_total{model="late"') == 3
        own = names_in(text, "tollgate_requests_total")
        assert {"gpt-0", "gpt-1", "gpt-*", "late"} <= own and len(own) < 80 and "no-such-model" not in own
        buckets = [line.split('le="')[1].split('"')[0] for line in text.splitlines()
                   if line.startswith('tollgate_request_duration_seconds_bucket{model="late"')]
        assert buckets[-2:] == ["300", "+Inf"]
        assert text.count("\n") < 2500
