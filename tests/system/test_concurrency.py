"""A key that may run so many requests at once: edges hold its slots on lease, exactly so many over all edges."""
import threading
import time

import httpx
import pytest
from lib.suite import Suite, in_threads, wait_for
from lib.upstream import Upstream, chat

CONCURRENT = 6


class Counter:
    """How many requests the upstream is about at once."""

    def __init__(self):
        self.lock, self.running, self.most, self.served = threading.Lock(), 0, 0, 0
        self.takes_s = 0.01

    def begin_again(self):
        with self.lock:
            self.most = self.running

    def answer(self, _):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.takes_s)
        with self.lock:
            self.running -= 1  # before anybody can know that it is over
            self.served += 1
        return 200, chat("ok"), {}


@pytest.fixture(scope="module")
def upstream():
    return Counter()


@pytest.fixture(scope="module")
def leased(tmp_path_factory, upstream):
    with Upstream() as server:
        server.on("/v1/chat/completions", answer=upstream.answer)
        # a lease that outlasts the test: what moves between edges has been called back
        with Suite(tmp_path_factory.mktemp("slots"), edges=2, workers={"openai": 1},
                   options={"auth": {"lease": "1m"}}, providers={"openai": server.provider("")}) as suite:
            suite.key = suite.create_key(name="slots", concurrent=CONCURRENT)
            yield suite


def ask(suite, edge, times):
    """So many requests one after the other; their statuses."""
    with httpx.Client(timeout=60, headers={"authorization": f"Bearer {suite.key}"}) as client:
        return [client.post(suite.url_of(edge) + "/v1/chat/completions", json={
            "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}).status_code for _ in range(times)]


def counted(suite, name, label):
    return sum(float(line.rsplit(" ", 1)[1]) for line in suite.metrics_text().splitlines()
               if line.startswith(name + "{") and label in line)


def test_an_edge_asks_auth_once_for_each_slot_and_not_for_each_request(leased, upstream):
    statuses = sum(in_threads(CONCURRENT, lambda _: ask(leased, 0, 50)), [])
    assert set(statuses) == {200}
    assert upstream.most <= CONCURRENT
    wait_for(lambda: counted(leased, "tollgate_requests_total", 'key="slots"') == len(statuses), "all are counted")
    asked = wait_for(lambda: counted(leased, "tollgate_authorizations_total", "allowed"), "auth has counted")
    assert asked <= 3 * CONCURRENT, asked


def test_another_edge_gets_slots_when_it_needs_them(leased, upstream):
    held = sum(in_threads(CONCURRENT, lambda _: ask(leased, 0, 10)), [])
    assert set(held) == {200}
    statuses = sum(in_threads(CONCURRENT - 2, lambda _: ask(leased, 1, 20)), [])
    assert set(statuses) == {200}
    assert upstream.most <= CONCURRENT


def test_two_edges_together_never_run_more_than_the_key_may(leased, upstream):
    def work(i):
        return i % 2, ask(leased, i % 2, 40)

    results = in_threads(2 * CONCURRENT, work)
    for edge in (0, 1):
        statuses = sum((s for e, s in results if e == edge), [])
        assert set(statuses) <= {200, 429} and statuses.count(200) > 0, (edge, set(statuses))
    assert upstream.most <= CONCURRENT


def test_whatever_dies_no_more_run_and_all_slots_come_back(tmp_path):
    upstream, stopped = Counter(), threading.Event()

    def load(suite, edge):
        headers = {"authorization": f"Bearer {suite.key}"}
        while not stopped.is_set():
            try:
                httpx.post(suite.url_of(edge) + "/v1/chat/completions", timeout=20, headers=headers,
                           json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]})
            except httpx.HTTPError:
                time.sleep(0.02)  # its edge is away

    def goes_on(count=100):
        seen = upstream.served
        wait_for(lambda: upstream.served >= seen + count, "traffic goes on")

    with Upstream() as server:
        server.on("/v1/chat/completions", answer=upstream.answer)
        with Suite(tmp_path, edges=2, workers={"openai": 1}, options={"auth": {"lease": "1s"}, "bus": {"peer_timeout": "2s"}},
                   providers={"openai": server.provider("")}) as suite:
            suite.key = suite.create_key(name="deaths", concurrent=CONCURRENT)
            threads = [threading.Thread(target=load, args=(suite, i % 2), daemon=True) for i in range(2 * CONCURRENT)]
            for t in threads:
                t.start()
            try:
                goes_on()
                suite.daemons["auth"].kill()
                goes_on(1)  # under leases
                suite.daemons["auth"].start()
                goes_on()
                assert upstream.most <= CONCURRENT
                suite.daemons["edge-2"].kill()
                upstream.takes_s = 0.5  # whoever has a slot is seen
                upstream.begin_again()
                wait_for(lambda: upstream.most == CONCURRENT, "the other edge gets the dead one's slots")
                upstream.takes_s = 0.01
                suite.daemons["edge-2"].start()
                goes_on()
            finally:
                stopped.set()
                for t in threads:
                    t.join()
            assert upstream.most <= CONCURRENT
