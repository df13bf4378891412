"""Clients that ask all the time, unary and streams, and judge each answer: exactly one outcome, nothing lost, doubled or out of order."""
import collections
import http.client
import json
import os
import re
import threading
import time

from lib.suite import wait_for

WORDS = 40  # of a stream's text: "w000 w001 …"
DEADLINE_S = 60


class Hit:
    """One request and what came of it."""

    def __init__(self, number, stream, nonce, words, model):
        self.number, self.stream, self.nonce, self.words, self.model = number, stream, nonce, words, model
        self.id = self.status = self.outcome = None
        self.began = self.ended = self.gap = 0.0

    def text(self):
        return f"{self.nonce} " + " ".join(f"w{i:03}" for i in range(WORDS))

    def body(self):
        return json.dumps({"model": self.model, "stream": self.stream, "user": self.nonce, "max_tokens": 4000,
                           "messages": [{"role": "user", "content": f"[[sim {self.words}]] {self.text()}"}]})


def read_stream(answer, hit):
    """The whole body; the longest silence within it."""
    raw, last = b"", time.monotonic()
    while True:
        piece = answer.read1(65536)
        now = time.monotonic()
        if not piece:
            answer.close()
            return raw
        if raw:
            hit.gap = max(hit.gap, now - last)
        raw, last = raw + piece, now


def judge(hit, raw):
    if hit.status != 200:
        return f"status {hit.status}: {raw[:150].decode(errors='replace')}"
    if not hit.stream:
        text, ended = json.loads(raw)["choices"][0]["message"]["content"], True
    else:
        events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
        ended = bool(events) and events[-1] == "[DONE]"
        parsed = [json.loads(e) for e in events if e != "[DONE]"]
        text = "".join(c["delta"].get("content") or "" for e in parsed for c in e.get("choices") or [])
        errors = [e for e in parsed if e.get("error")]
        if events.count("[DONE]") > 1 or len(errors) > 1 or (errors and ended):
            return f"two ends: {raw[-300:]!r}"
        if errors:
            whole = "[simulated] " + hit.text()
            return "in-band error" if whole.startswith(text) or text.startswith(whole) else f"damaged before its error: {text!r}"
    if not ended:
        return f"no end: {raw[-200:]!r}"
    return "ok" if re.fullmatch(re.escape("[simulated] " + hit.text()) + r" \(#\w+\)", text) else f"wrong text: {text!r}"


class Load:
    def __init__(self, suite, unary, streams, stream_words="chunks=40 pace=15", unary_words="delay=10", key=None, model="gpt-4o-mini"):
        self.suite, self.key, self.model = suite, key or suite.create_key(name=f"load-{os.urandom(4).hex()}"), model
        self.hits, self.lock, self.over = [], threading.Lock(), threading.Event()
        self.words = {True: stream_words, False: unary_words}
        self.threads = [threading.Thread(target=self._client, args=(i, i >= unary), daemon=True) for i in range(unary + streams)]

    def _one(self, connection, hit):
        hit.began = time.monotonic()
        connection.request("POST", "/v1/chat/completions", hit.body(),
                           {"authorization": f"Bearer {self.key}", "content-type": "application/json"})
        answer = connection.getresponse()
        hit.status, hit.id = answer.status, answer.getheader("request-id")
        hit.outcome = judge(hit, read_stream(answer, hit))

    def _client(self, i, stream):
        connection = http.client.HTTPConnection("127.0.0.1", self.suite.ports[i % len(self.suite.ports)], timeout=DEADLINE_S)
        while not self.over.is_set():
            with self.lock:
                hit = Hit(len(self.hits), stream, f"<{len(self.hits)}-{os.urandom(4).hex()}>", self.words[stream], self.model)
                self.hits.append(hit)
            try:
                self._one(connection, hit)
            except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as e:
                hit.outcome = f"broken: {type(e).__name__} {e}"
                connection.close()
            hit.ended = time.monotonic()
        connection.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join(DEADLINE_S + 10)

    def ended(self):
        return sum(h.outcome is not None for h in self.hits)

    def goes_on(self, count=15):
        seen = self.ended()
        wait_for(lambda: self.ended() >= seen + count, "traffic goes on")

    def turns_over(self):
        """All that run now end: who was repeated once is not met by the next kill."""
        now = [h for h in list(self.hits) if h.outcome is None]
        wait_for(lambda: all(h.outcome is not None for h in now), "what runs ends")

    def took(self, seconds):
        """How long those unary requests take that begin and end well within so many seconds from now."""
        since = time.monotonic()
        time.sleep(seconds)
        return [h.ended - h.began for h in list(self.hits) if h.outcome == "ok" and not h.stream and h.began > since]

    def bad(self, *allowed, stream=None):
        return collections.Counter(h.outcome for h in self.hits
                                   if h.outcome not in ("ok", *allowed) and stream in (None, h.stream))
