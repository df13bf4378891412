"""Sick providers: each kind of fault, slow ones, storms, endless answers."""
import collections
import http.client
import json
import time

from lib.suite import in_threads, wait_for
from traffic import Load
from trial import MIB, test

QUICK_BREAKERS = {"broker": {"breaker_failures": 0}, "worker": {"breaker_failures": 0}}
HASTY = {"gpt-4o-mini": {"targets": [{"provider": "openai"}], "timeout": "1s"}}


def ask(suite, key, words, stream=False, **more):
    """Status, headers, body and seconds of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=90)
    body = {"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": f"[[sim {words}]] <x>"}], **more}
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, answer.headers, raw, time.monotonic() - began


# The words for the simulator, a unary answer's status, a stream's: a status, or how it ends ("error" in-band, "done").
FAULTS = [
    ("status=500", 502, 502), ("status=503", 503, 503), ("status=429 retry-after=60", 429, 429), ("status=401", 502, 502),
    ("status=400", 400, 400), ("cut", 502, 502), ("reset", 502, 502), ("cut=300", 502, None), ("cut=600", None, "error"), ("stall", 504, 504),
    ("stall=300", 504, None), ("stall=600", None, "error"), ("garbage", 502, 502), ("gzip", 502, 502), ("error=2 chunks=5", None, "error"), ("no-done chunks=5", 200, "done or error"),
]


def outcome(status, raw, stream):
    if status != 200 or not stream:
        return status
    events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    if events and events[-1] == "[DONE]":
        return "done"
    return "error" if events and "error" in json.loads(events[-1]) else "no end"


@test("T7", "faults of an upstream, unary and streams", beside=True, edges=1, workers={"openai": 1}, models=HASTY, options=QUICK_BREAKERS)
def t7(trial):
    suite, key, wrong, again, forms = trial.suite, trial.suite.create_key(), {}, {}, 0
    for words, unary, streamed in FAULTS:
        for stream, expected in ((False, unary), (True, streamed)):
            if expected is None:
                continue
            forms += 1
            suite.sim_reset()
            status, headers, raw, _ = ask(suite, key, words, stream)
            found = outcome(status, raw, stream)
            if found != expected and found not in str(expected).split(" or "):
                wrong[f"{words} {'stream' if stream else 'unary'}"] = f"{found}, not {expected}: {raw[:120]}"
            asked, told = suite.sim_stats()["requests"], int(headers.get("x-tollgate-attempts") or 1)
            if asked > told:
                again[f"{words} {stream}"] = f"{asked} requests came, {told} attempts told"
    trial.mark("forms", forms, least=24)
    trial.none("other statuses than documented", wrong)
    trial.none("requests sent again in silence", again)


@test("T8", "upstreams that stall or drip", full_only=True, edges=1, workers={"openai": 1}, models={
    "gpt-4o-mini": {"targets": [{"provider": "openai"}], "timeout": "2s"}, "patient": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}},
      options=QUICK_BREAKERS)
def t8(trial):
    suite, key = trial.suite, trial.suite.create_key()
    for words, stream, seconds in (("stall", False, 2), ("stall", True, 2), ("stall=600", True, 2), ("stall=300", False, 2)):
        took = []
        for _ in range(1 if trial.quick else 5):
            status, _, raw, seconds_taken = ask(suite, key, words, stream)
            took.append(abs(seconds_taken - seconds))
            trial.rule(outcome(status, raw, stream) in (504, "error"), f"{words} {stream}: {status} {raw[-200:]}")
        trial.mark(f"{words.split('=')[0]}{' in the middle' if '=' in words else ''}, {'stream' if stream else 'unary'}: off its time by", max(took), most=0.25 * trial.slack, unit="s")
    _, _, _, seconds = ask(suite, key, "drip=100", True, model="patient")
    trial.mark("a stream of a byte each 100 ms is cut after", seconds, most=10 + 0.25 * trial.slack, unit="s")


@test("T9", "a storm of 503 and 429, and the time after", edges=2)
def t9(trial):
    suite = trial.suite
    for words in ("status=503", "status=429"):
        suite.sim_reset()
        asked, began = collections.Counter(), time.monotonic()

        def storm(i, words=words, asked=asked, until=time.monotonic() + (5 if trial.quick else 15)):
            key = suite.create_key(name=f"storm-{words[7:]}-{i}")
            while time.monotonic() < until:
                status, _, _, _ = ask(suite, key, words)
                asked[status] += 1
        in_threads(8, storm)
        over, count = time.monotonic(), sum(asked.values())
        floor = 10 * len(trial.brokers()) * (1 + (over - began) // 10)  # so many retries each broker always allows
        trial.mark(f"attempts for each request, {words[7:]}", (suite.sim_stats()["requests"] - floor) / count, most=1.2)
        trial.rule(set(asked) <= {503, 429}, f"{words}: {dict(asked)}")
        with Load(suite, 8, 2) as load:
            wait_for(lambda: sum(h.outcome == "ok" for h in load.hits[-30:]) >= 20, "it has recovered", 60)
            trial.took(f"recovered after, {words[7:]}", time.monotonic() - over, 15)
            again = len(load.hits)
            load.goes_on(60)
        trial.none(f"failed after the recovery, {words[7:]}", collections.Counter(h.outcome for h in load.hits[again:] if h.outcome != "ok"))
        trial.facts[f"requests of the storm, {words[7:]}"] = count


@test("T10", "answers of 10 GB, and a gzip bomb (max_response is 8 MiB)", edges=1, workers={"openai": 1}, options={"worker": {"max_response": "8MiB"}})
def t10(trial):
    suite, key, names = trial.suite, trial.suite.create_key(), ["edge-1", "worker-openai-1"]
    with Load(suite, 4, 4) as load:
        load.goes_on(100)
        for words, stream in (("flood=10000000000", False), ("flood=10000000000", True), ("gzip", False), (f"gzip flood={100 * MIB}", False),
                              ("tokens=50000000 chunks=2000", True)):
            before = {n: trial.memory(n) for n in names}
            for n in names:
                trial.forget_peak(n)
            status, _, raw, seconds = ask(suite, key, words, stream)
            more = {n: trial.memory(n, "VmHWM") - before[n] for n in names}
            trial.facts[f"{words}, {'stream' if stream else 'unary'}"] = f"{status}, {len(raw):,} bytes, {seconds:.1f} s, " + ", ".join(
                f"{n} +{m:.1f} MiB" for n, m in more.items())
            trial.mark("memory more, at the peak", max(more.values()), most=16, unit="MiB")
    trial.no_failures(load)
    return load


@test("T37", "usage that cannot be, and large answers at once", beside=True, full_only=True, alone=True)
def t37(trial):
    trial.pytest("tests/system/test_poison.py", "usage_that_cannot_be or large_answers_at_once", 7)
