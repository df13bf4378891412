"""Who would have something for nothing; and peers that are hostile on the bus."""
import contextlib
import random
import re
import socket
import struct
import time

import httpx
from clients import chat, send
from lib.bus_peer import MAJOR, MESSAGES, BusPeer, keys_of
from lib.suite import in_threads, wait_for
from traffic import Load
from trial import MODELS, test

LIMIT = 20000  # tokens a minute
THEFT_MODELS = {**MODELS, "gpt-3.5-turbo-instruct": {"targets": [{"provider": "openai"}], "completions": "native"}}


def post(suite, key, edge, path, body, **headers):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.post(suite.url_of(edge) + path, json=body, timeout=60, headers={"authorization": f"Bearer {key}", **headers}).status_code


def leave(suite, key, edge, _):
    s = send(suite, key, chat("[[sim delay=2000]] " + "word " * 1000, max_tokens=500), edge)
    time.sleep(0.1)
    s.close()


def impatient(suite, key, edge, _):
    post(suite, key, edge, "/v1/chat/completions", chat("[[sim delay=3000]] " + "word " * 1000), **{"x-stainless-timeout": "1"})


def background(suite, key, edge, _):
    post(suite, key, edge, "/v1/responses", {"model": "gpt-4o-mini", "background": True, "input": "word " * 1000})


def no_cap(suite, key, edge, _):
    post(suite, key, edge, "/v1/chat/completions", chat("[[sim tokens=3000]] word"))


def many_choices(suite, key, edge, _):
    post(suite, key, edge, "/v1/chat/completions", chat("[[sim tokens=200]] word", n=8, max_tokens=200))


def many_prompts(suite, key, edge, _):
    post(suite, key, edge, "/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": ["word " * 100] * 8, "max_tokens": 100})


def no_blank(suite, key, edge, _):
    post(suite, key, edge, "/v1/chat/completions", chat("x" * 60000, max_tokens=10))


# What one request of each may bring upstream at most: tokens that its key is charged with beyond the limit, for each edge.
THEFTS = {"leave before the first byte": (leave, 1800), "x-stainless-timeout: 1": (impatient, 2300), "background": (background, 11300),
          "no max_tokens": (no_cap, 3100), "n": (many_choices, 1700), "prompts": (many_prompts, 2000), "no blank": (no_blank, 15100)}


@test("T36", "thieves: seven ways to pass a limit of tokens, at two edges", full_only=True, beside=True, models=THEFT_MODELS)
def t36(trial):
    suite = trial.suite
    for name, (theft, one) in THEFTS.items():
        key = suite.create_key(name=name, tpm=LIMIT)
        suite.sim_reset()
        began = time.monotonic()
        in_threads(4, lambda i, t=theft, k=key: [t(suite, k, i % 2, n) for n in range(4 if trial.quick else 12)])
        seconds = time.monotonic() - began

        def at_rest():
            return not any(trial.gauges("tollgate_requests_in_flight").values()) and not any(trial.gauges("tollgate_settles_pending").values())
        wait_for(at_rest, "all have ended")
        time.sleep(1)
        rows = [r for r in suite.usage("--requests", "--limit", "100000") if r["key_name"] == name]
        booked = sum(r["input_tokens"] + r["output_tokens"] for r in rows)
        told = suite.sim_stats()
        generated = told["input_tokens"] + told["output_tokens"]
        trial.facts[name] = f"{len(rows)} rows, {booked:,} tokens booked, {generated:,} generated"
        trial.rule(rows, f"{name}: nothing was admitted")
        trial.mark(f"{name}: tokens admitted over the limit", max(0, booked - LIMIT - int(LIMIT * seconds / 60)), most=2 * one)
        if generated:
            trial.mark(f"{name}: booked of what was generated", 100 * booked / generated, least=90, unit="%")


# ---- on the bus ----
def resident(trial, names):
    return sum(trial.memory(n) for n in names)


def noise(rng):
    """What a stranger may say: random bytes, and greetings of ZMTP that go wrong at some byte."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + rng.choice([b"NULL", b"CURVE", b"PLAIN"]).ljust(20, b"\0") + b"\0" + bytes(31)
    whole = greeting + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER" + b"\x02\xff" + struct.pack(">Q", 1 << rng.randrange(64)) + rng.randbytes(4096)
    raw = bytearray(whole if rng.random() < 0.8 else rng.randbytes(2000))
    for _ in range(rng.randrange(8)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw[:rng.randrange(1, len(raw))])


def addresses(suite):
    found = {"auth": suite.bus["auth"], "metrics": suite.bus["metrics"], "broker-1": suite.bus["brokers"][0]}
    return {name: ("127.0.0.1", int(a.rsplit(":", 1)[1])) for name, a in found.items()}


def strangers(trial, at, count, rng):
    open_ = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            s = socket.create_connection(at, timeout=5)
            s.sendall(noise(rng))
            open_.append(s)
        if len(open_) > 200:
            open_.pop(0).close()
    for s in open_:
        s.close()


def fuzzed(rng, name):
    """A frame of ours whose payload, or head, has been changed."""
    number, fields = MESSAGES[name]
    payload = b"\xdc" + struct.pack(">H", len(fields)) + b"".join(rng.choice(
        [b"\xcf" + rng.randbytes(8), b"\xdd\x0f\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xda\x00\x05hello", b"\xc3", b"\xd3" + rng.randbytes(8),
         b"\x91" * 50, b"\xdf\xff\xff\xff\xff", b"\xc4\x10" + rng.randbytes(16)]) for _ in fields)
    head = struct.pack("<BBBBI16sQII", MAJOR if rng.random() < 0.9 else rng.randrange(256), number, rng.randrange(256), 0, rng.randrange(1 << 32),
                       rng.randbytes(16), rng.getrandbits(64), 0, 0)
    return (head + payload)[:rng.randrange(1, len(head) + len(payload) + 1)]


@test("T31", "hostile peers: noise of strangers, wrong messages of a worker that has its keys", tcp=True, certs=True, options={"bus": {"peer_timeout": "5s"}})
def t31(trial):
    suite, rng = trial.suite, random.Random(trial.args.seed)
    names, count = ["auth", "metrics", "broker-1"], 300 if trial.quick else 5000
    before = {}
    with Load(suite, 4, 4) as load:
        load.goes_on(100)
        before = resident(trial, names)
        for at in addresses(suite).values():
            strangers(trial, at, count, rng)
        trial.mark("memory more after strangers", resident(trial, names) - before, most=32, unit="MiB")
        accepted = [n for n in names if re.search(r"event=peer_up .*peer=(?!worker-|edge-|broker-|auth|metrics|ctl|tollgate)", suite.daemons[n].log)]
        trial.none("strangers accepted", accepted)
        for at, role in (("auth", "auth"), ("metrics", "metrics"), ("broker-1", "broker")):
            address = suite.bus["brokers"][0] if role == "broker" else suite.bus[role]
            public, _ = keys_of(suite.certs, role)
            with BusPeer(address, role="worker", name="worker-openai-x", provider="openai", pair=keys_of(suite.certs, "worker-openai"),
                         server_key=public) as peer:
                trial.rule(peer.greet() == "WELCOME", f"{at} does not welcome a worker")
                for _ in range(count):
                    peer.socket.send(fuzzed(rng, rng.choice(list(MESSAGES))))
                time.sleep(1)
        trial.mark("memory more after a worker's wrong messages", resident(trial, names) - before, most=256, unit="MiB")
        load.goes_on(50)
    trial.none("daemons that ended", [n for n, d in suite.daemons.items() if not d.alive])
    trial.no_failures(load)
    return load


@test("T39", "a stranger on every tcp bus, and a worker in other hands", beside=True, full_only=True, alone=True)
def t39(trial):
    trial.pytest("tests/system/test_bus_keys.py", "stranger or unknown_key or worker", 8)
