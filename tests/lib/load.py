"""Clients that ask all the time, each answer checked: what a restart must not be noticed by.

    with Load(url, key) as load:
        …
    assert not load.failures
"""
import threading

import httpx

STREAM = "[[sim chunks=20 pace=20]] marker-load"


class Load:
    def __init__(self, url, key, kept=3, fresh=2, streams=4, verify=True):
        self.url, self.headers, self.verify = url + "/v1/chat/completions", {"authorization": f"Bearer {key}"}, verify
        self.failures, self.done, self._over = [], {"unary": 0, "stream": 0}, threading.Event()
        self._lock = threading.Lock()
        work = [self._kept] * kept + [self._fresh] * fresh + [self._streams] * streams
        self._threads = [threading.Thread(target=self._run, args=(w,), daemon=True) for w in work]

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for t in self._threads:
            t.join()

    def _run(self, work):
        while not self._over.is_set():
            try:
                work()
            except Exception as e:  # noqa: BLE001 - whatever a client may see
                self._fail(repr(e))

    def _fail(self, what):
        with self._lock:
            self.failures.append(what)

    def _count(self, kind):
        with self._lock:
            self.done[kind] += 1

    def _body(self, text, **more):
        return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}

    def _unary(self, client):
        r = client.post(self.url, headers=self.headers, json=self._body("x"))
        if r.status_code != 200:
            self._fail(f"{r.status_code} {r.text[:200]}")
        self._count("unary")

    def _kept(self):
        """One connection as long as the server keeps it."""
        with httpx.Client(timeout=60, verify=self.verify) as client:
            while not self._over.is_set():
                self._unary(client)

    def _fresh(self):
        with httpx.Client(timeout=60, verify=self.verify) as client:
            self._unary(client)

    def _streams(self):
        with httpx.Client(timeout=60, verify=self.verify) as client:
            with client.stream("POST", self.url, headers=self.headers, json=self._body(STREAM, stream=True)) as r:
                text = r.read().decode()
        if r.status_code != 200 or not text.rstrip().endswith("data: [DONE]"):
            self._fail(f"{r.status_code} …{text[-200:]}")
        self._count("stream")
