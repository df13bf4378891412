"""One request of random kind to a suite to which random things happen: what is sent, what its client is like, what came of it."""
import json
import socket
import time

KINDS = ("upstream", "kill", "stop", "term", "reload")
MODEL_TIMEOUT_S, DEADLINE_S, SLACK_S = 4, 20, 15
MODELS = {
    "gpt-4o-mini": {"targets": [{"provider": "openai"}]},
    "gpt-3.5-turbo-instruct": {"targets": [{"provider": "openai"}], "completions": "native"},
    "text-embedding-3-small": {"targets": [{"provider": "openai"}]},
    "claude-haiku-4-5": {"targets": [{"provider": "anthropic"}]},
    "meta/meta-llama-3-8b-instruct": {"targets": [{"provider": "replicate"}]},
    "either": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}, {"provider": "anthropic", "model": "claude-haiku-4-5"}]},
}
CHAT_MODELS = ["gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct", "either"]
# What an upstream may do: words for the simulator; does it ever let an answer end well?
FAULTS = [("status=429 retry-after=1", False), ("status=500", False), ("status=503", False), ("status=529", False), ("stall", False),
          ("stall=300", False), ("cut", False), ("cut=300", False), ("reset", False), ("reset=300", False),
          ("garbage", False), ("status=429 times=1", True), ("status=503 times=1", True), ("cut times=1", True),
          ("no-done chunks=5", True), ("error=2 chunks=5", False), ("no-usage", True), ("delay=700", True), ("drip=1", True)]
# Client errors are no outcome of a good request, whatever happens to us.
PROPER = {429, 500, 502, 503, 504, 529}


class Broken(Exception):
    """A rule was broken."""


class Ask:
    """One request: what is sent, what its client is like, what came of it."""

    def __init__(self, n, rng, faults):
        self.n, self.nonce = n, f"<{n}-chaos-{rng.getrandbits(48):x}>"
        self.stream = rng.random() < 0.55
        self.ends_well = True
        words = ""
        if "upstream" in faults and rng.random() < 0.25:
            words, self.ends_well = rng.choice(FAULTS)
        elif self.stream:
            words = f"chunks={rng.choice([3, 10, 40])} pace={rng.choice([1, 10, 40])}"
        if words.startswith("error="):
            self.ends_well = not self.stream  # an error in mid-stream
        self.words = words
        text = f"[[sim {words}]] {self.nonce}" if words else self.nonce
        text += " pad" * rng.choice([0, 5, 50, 3000])
        self.kind = rng.choices(["chat", "messages", "completions", "embeddings"], [10, 6, 2, 1])[0]
        self.model = rng.choice(CHAT_MODELS)
        self._body(text)
        if "llama" in self.model and words in ("garbage", "cut=300", "reset=300", "stall=300"):
            self.ends_well = True  # met by the event stream; the prediction itself is read then
        self.slow = self.stream and rng.random() < 0.1
        self.leaves_s = rng.uniform(0, 0.6) if rng.random() < 0.12 else None
        self.id = self.status = self.outcome = self.text = None
        self.took = 0

    def _body(self, text):
        if self.kind == "completions":
            self.path, self.model = "/v1/completions", "gpt-3.5-turbo-instruct"
            self.body = {"prompt": text, "user": self.nonce, "max_tokens": 4000}
            self.ends_well |= self.words.startswith("error=")  # the simulator has none of these there
        elif self.kind == "embeddings":
            self.path, self.model, self.stream = "/v1/embeddings", "text-embedding-3-small", False
            self.body = {"input": text, "user": self.nonce}
        elif self.kind == "messages":
            self.path = "/v1/messages"
            self.body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8000, "metadata": {"user_id": self.nonce}}
        else:
            self.path = "/v1/chat/completions"
            self.body = {"messages": [{"role": "user", "content": text}], "user": self.nonce, "max_tokens": 4000}
        self.body["model"] = self.model
        if self.kind != "embeddings":
            self.body["stream"] = self.stream

    def __str__(self):
        how = f"stream={self.stream} slow={self.slow} leaves={self.leaves_s}"
        return f"#{self.n} {self.path} {self.model} {how} sim='{self.words}' id={self.id} status={self.status}"


class Left(Exception):
    """The client has gone."""


def read_all(answer, ask, began):
    """The body. A slow reader takes small pieces; one that leaves stops in the middle."""
    raw = b""
    while True:
        if ask.leaves_s is not None and time.monotonic() - began > ask.leaves_s:
            raise Left
        piece = answer.read1(512 if ask.slow else 65536)
        if not piece:
            answer.close()  # read1 leaves an answer with a length open
            return raw
        raw += piece
        if ask.slow:
            time.sleep(0.02)


def check_error(ask, raw):
    if ask.status not in PROPER:
        raise Broken(f"status {ask.status}: {raw[:300]}")
    try:
        body = json.loads(raw)
        error = body["error"]
    except (ValueError, KeyError, TypeError) as e:
        raise Broken(f"no error in JSON: {raw[:300]!r}") from e
    if not error.get("message") or not error.get("type") or (ask.kind == "messages") != (body.get("type") == "error"):
        raise Broken(f"no error of this protocol: {raw[:300]}")
    return f"{ask.status} {error.get('code') or error['type']}"


def check_text(ask, text):
    ask.text = text
    if ask.nonce not in text:
        raise Broken(f"not its own answer, or only part of it: {text[:200]!r}")
    if not ask.ends_well:
        raise Broken(f"ends well after '{ask.words}'")
    return "answered"


def check_unary(ask, raw):
    body = json.loads(raw)
    if ask.kind == "embeddings":
        return "answered" if len(body["data"]) == 1 and ask.ends_well else f"answered after '{ask.words}'"
    if ask.kind == "messages":
        return check_text(ask, "".join(c.get("text", "") for c in body["content"]))
    choice = body["choices"][0]
    return check_text(ask, choice["text"] if ask.kind == "completions" else choice["message"]["content"])


def check_stream(ask, raw):
    """One end: [DONE] or message_stop, or an error; nothing behind it."""
    events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    text, ends = "", []
    for i, event in enumerate(events):
        if ends:
            raise Broken(f"more behind the end {ends}: {events[i - 1:i + 3]}")
        if event == "[DONE]":
            ends.append("done")
            continue
        e = json.loads(event)
        if e.get("error"):
            error = e["error"]
            if not error.get("message") or (ask.kind == "messages") != (e.get("type") == "error"):
                raise Broken(f"no error of this protocol: {event[:300]}")
            ends.append(f"in-band {error.get('code') or error.get('type')}")
        elif e.get("type") == "message_stop":
            ends.append("done")
        elif ask.kind == "messages":
            text += e["delta"].get("text", "") if e["type"] == "content_block_delta" else ""
        elif ask.kind == "completions":
            text += "".join(c.get("text") or "" for c in e["choices"])
        else:
            text += "".join(c["delta"].get("content") or "" for c in e["choices"])
    if not ends:
        raise Broken(f"the stream ends without an end: {raw[-300:]}")
    return check_text(ask, text) + " stream" if ends[0] == "done" else ends[0]


def exchange(connection, key, ask, began):
    connection.request("POST", ask.path, json.dumps(ask.body), {"authorization": f"Bearer {key}", "content-type": "application/json"})
    connection.sock.settimeout(DEADLINE_S + SLACK_S if ask.leaves_s is None else max(0.001, ask.leaves_s))
    if ask.slow:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    answer = connection.getresponse()
    ask.status, ask.id = answer.status, answer.getheader("request-id")
    if not ask.id:
        raise Broken("no request-id")
    raw = read_all(answer, ask, began)
    if answer.status != 200:
        return check_error(ask, raw)
    return check_stream(ask, raw) if ask.stream else check_unary(ask, raw)
