"""Workers and brokers come and go under load, by SIGTERM: nobody notices."""
import threading
import time

import httpx
from lib.suite import Suite, wait_for


class Load:
    """Eight clients that keep asking; every outcome is kept."""

    def __init__(self, suite, key):
        self.suite, self.key, self.results, self.stopped = suite, key, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(8)]

    def run(self, number):
        with httpx.Client(timeout=60, headers={"authorization": f"Bearer {self.key}"}) as client:
            while not self.stopped.is_set():
                try:
                    r = client.post(self.suite.url + "/v1/chat/completions", json={
                        "model": "gpt-4o-mini", "stream": number % 2 == 0,
                        "messages": [{"role": "user", "content": "[[sim delay=20]] x"}]})
                    whole = number % 2 or r.text.rstrip().endswith("data: [DONE]")
                    self.results.append(r.status_code if whole else r.text[-300:])
                except httpx.HTTPError as e:
                    self.results.append(repr(e))
                time.sleep(0.002)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for t in self.threads:
            t.join()

    def goes_on(self, count=150):
        seen = len(self.results)
        wait_for(lambda: len(self.results) >= seen + count, "traffic goes on")


def test_workers_scale_from_one_to_four_to_one_and_brokers_restart_without_an_error(tmp_path):
    with Suite(tmp_path, brokers=2, workers={"openai": 1}) as suite:
        key = suite.create_key()
        with Load(suite, key) as load:
            load.goes_on()
            for number in (2, 3, 4):
                suite.add_worker("openai", number)
            for number in (2, 3, 4):
                wait_for(lambda n=number: suite.broker_knows(f"worker-openai-{n}"), f"worker {number} is known")
            load.goes_on()
            for number in (1, 2, 3):
                assert suite.daemons[f"worker-openai-{number}"].stop() == 0
                load.goes_on(50)
            for broker in ("broker-1", "broker-2"):
                assert suite.daemons[broker].stop() == 0
                load.goes_on(50)
                suite.daemons[broker].start()
                load.goes_on(100)
        assert set(load.results) == {200}, {str(r): load.results.count(r) for r in set(load.results)}
