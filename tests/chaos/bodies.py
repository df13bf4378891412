"""Large bodies, and many sockets."""
import collections
import http.client
import re
import resource
import selectors
import socket
import threading
import time

from traffic import DEADLINE_S, Load
from trial import MIB, MODELS, test

# one address, one key: its own bounds are another test's
ROOMY = {"bus": {"peer_timeout": "1200ms"},
         "edge": {"max_body_memory": "1GiB", "max_body_memory_per_address": "0", "max_body_memory_per_key": "0"}}
BIG = {"options": ROOMY, "edges": 1, "workers": {"openai": 1, "big": 1, "anthropic": 1, "replicate": 1},
       "models": {**MODELS, "big": {"targets": [{"provider": "big"}]}, "claude": {"targets": [{"provider": "anthropic"}]},
                  "llama": {"targets": [{"provider": "replicate", "model": "meta/meta-llama-3-8b-instruct"}]}}}


def busy_over_50ms(trial):
    """Turns of a daemon's loop that took longer, by role."""
    over = {}
    for key, count in trial.gauges("tollgate_loop_busy_seconds_bucket").items():
        role, least = re.search(r'role="(\w+)"', key)[1], re.search(r'le="([^"]+)"', key)[1]
        if least in ("0.05", "+Inf"):
            over[role] = over.get(role, 0) + (count if least == "+Inf" else -count)
    return over


def no_long_turns(trial):
    time.sleep(2)  # until metrics has been told
    over = {role: int(n) for role, n in busy_over_50ms(trial).items() if n}
    if "asan" not in str(trial.suite.bin):
        trial.none("turns of a loop over 50 ms", collections.Counter(over))


def post(trial, key, length, body, port=None):
    """Sends what is taken of the body; the status, or None when the answer was lost to what was still sent."""
    with socket.create_connection(("127.0.0.1", port or trial.suite.ports[0]), timeout=DEADLINE_S) as s:
        try:
            s.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n".encode())
            s.sendall(body)
        except OSError:
            pass
        try:
            answer = http.client.HTTPResponse(s)
            answer.begin()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None


def all_at_once(work):
    results = [None] * len(work)

    def one(i):
        results[i] = work[i]()
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(work))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(DEADLINE_S * 2)
    return results


@test("T13", "slowloris: 5,000 sockets from 50 addresses, a byte a second")
def t13(trial):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    count, port = (1000 if trial.quick else 5000), trial.suite.ports[0]
    with Load(trial.suite, 6, 4) as load:
        drips = selectors.DefaultSelector()
        for i in range(count):
            s = socket.socket()
            s.bind((f"127.0.1.{1 + i % 50}", 0))
            s.connect(("127.0.0.1", port))
            s.setblocking(False)
            s.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A: ")
            drips.register(s, selectors.EVENT_READ, time.monotonic())
        longest, until, last = 0.0, time.monotonic() + 60, 0.0
        while drips.get_map() and time.monotonic() < until:
            for key, _ in drips.select(0.2):
                longest = max(longest, time.monotonic() - key.data)
                drips.unregister(key.fileobj)
                key.fileobj.close()
            if time.monotonic() > last + 1:
                last = time.monotonic()
                for key in list(drips.get_map().values()):
                    try:
                        key.fileobj.send(b"a")
                    except OSError:
                        pass
        trial.rule(not drips.get_map(), f"{len(drips.get_map())} of {count} sockets are still open")
        for key in list(drips.get_map().values()):
            key.fileobj.close()
        trial.took("the last drip is cut after", longest, 11)
    good = sum(h.outcome == "ok" for h in load.hits)
    trial.mark("good requests served", 100 * good / len(load.hits), least=99.9, unit="%")
    return load


@test("T34", "strangers' large bodies, and many large bodies of one key", **BIG)
def t34(trial):
    json_body = ('{"model":"big","messages":[' + ",".join('{"role":"user","content":"%s"}' % ("x" * 60) for _ in range(29 * MIB // 92)) + "]}").encode()
    key = trial.suite.create_key(name="big")
    with Load(trial.suite, 2, 20 if trial.quick else 100, stream_words="chunks=100 pace=50") as load:
        time.sleep(1)
        before = trial.memory("edge-1")
        for _ in range(2):
            statuses = all_at_once([lambda: post(trial, "sk-stranger", 32 * MIB, b" " * (4 * MIB))] * 64)
            trial.rule(set(statuses) <= {401, None}, f"strangers got {collections.Counter(statuses)}")
        trial.mark("the edge has grown by", trial.memory("edge-1") - before, most=16 * trial.slack, unit="MiB")
        for _ in range(1 if trial.quick else 3):
            statuses = all_at_once([lambda: post(trial, key, len(json_body), json_body)] * 6)
            trial.rule(set(statuses) == {200}, f"6 large requests got {collections.Counter(statuses)}")
        load.goes_on(20)
    trial.no_failures(load)
    trial.took("longest silence in a stream", max(h.gap for h in load.hits), 0.15)  # one word each 50 ms
    for name, daemon in trial.suite.daemons.items():
        trial.rule("event=peer_down" not in daemon.log, f"{name} took a busy daemon for dead")
    no_long_turns(trial)
    return load


def shapes(bound):
    """Large bodies of every shape, as bytes."""
    def fill(start, item, end):
        return (start + ",".join([item] * max(1, (bound - len(start) - len(end)) // (len(item) + 1))) + end).encode()
    def chat(model):
        return '{"model":"%s","max_tokens":9,"messages":[' % model
    user = '{"role":"user","content":"%s"}'
    for model in ("big", "claude", "llama"):
        yield f"{model} one string", (chat(model) + user % ("x" * (bound - 200)) + "]}").encode()
        yield f"{model} escapes", (chat(model) + user % ("\\u00e9" * (bound // 6 - 50)) + "]}").encode()
        yield f"{model} many messages", fill(chat(model), user % "hello", "]}")
        yield f"{model} many parts", fill(chat(model) + '{"role":"user","content":[', '{"type":"text","text":"a"}', "]}]}")
        yield f"{model} numbers", fill(chat(model) + user % "hi" + '],"metadata":[', "0", "]}")
        yield f"{model} members", (chat(model) + user % "hi" + '],"metadata":{' + ",".join(f'"k{i}":0' for i in range(bound // 14)) + "}}").encode()
        yield f"{model} deep", fill(chat(model) + user % "hi" + '],"metadata":[', "[" * 100 + "]" * 100, "]}")
        yield f"{model} escaped names", fill(chat(model) + user % "hi" + '],"metadata":{', '"\\u006dodel":0', "}}")
        yield f"{model} no JSON", b"[" * bound


@test("T35", "large bodies of every shape", **BIG)
def t35(trial):
    key = trial.suite.create_key(name="big")
    seen = collections.Counter()
    with Load(trial.suite, 2, 8, stream_words="chunks=40 pace=15") as load:
        for what, body in shapes((2 if trial.quick else 31) * MIB):
            before = sum(busy_over_50ms(trial).values())
            status = post(trial, key, len(body), body)
            time.sleep(0 if trial.quick else 1)
            more = sum(busy_over_50ms(trial).values()) - before
            seen[status] += 1
            if more:
                trial.facts.setdefault("long turns with", []).append(f"{what} ({int(more)})")
        load.goes_on(20)
    trial.facts["answers"] = dict(seen)
    trial.no_failures(load)
    for name, daemon in trial.suite.daemons.items():
        trial.rule("event=peer_down" not in daemon.log, f"{name} took a busy daemon for dead")
    no_long_turns(trial)
    return load
