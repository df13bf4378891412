"""Limits that hold: probed at four edges, while clocks jump, while auth is away."""
import http.client
import json
import os
import struct
import threading
import time

from lib.suite import in_threads, wait_for
from traffic import Load
from trial import MODELS, SHIM, Sized, Skipped, test

YEAR = 365 * 24  # hours

RATE, BURST = 20, 20  # per second
LIMITED = {"limited": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}], "rate_limit": f"{RATE * 60}/minute", "burst": BURST}}


def ask(connection, key, model="limited", text="x", **more):
    """Status, the answer's headers and body."""
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}),
                       {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


class Probe:
    """Asks at every edge as fast as answers come, so many seconds; what was admitted, what refused, and what else there was."""

    def __init__(self, suite, key, seconds, meanwhile=None):
        self.suite, self.key, self.began = suite, key, time.monotonic()
        self.until, self.admitted, self.retry_after_ms, self.else_ = self.began + seconds, 0, [], []
        over, lock = threading.Event(), threading.Lock()

        def disturb():
            while not over.wait(0.5):
                meanwhile()

        def probe(i):
            connection = http.client.HTTPConnection("127.0.0.1", suite.ports[i], timeout=60)
            while time.monotonic() < self.until:
                status, headers, raw = ask(connection, key)
                with lock:
                    if status == 200:
                        self.admitted += 1
                    elif status == 429:
                        self.retry_after_ms.append(int(headers["retry-after-ms"]))
                    else:
                        self.else_.append(f"{status} {raw[:200]}")
                if status != 200:
                    time.sleep(0.004)
            connection.close()

        disturber = threading.Thread(target=disturb, daemon=True)
        if meanwhile:
            disturber.start()
        in_threads(len(suite.ports), probe)
        over.set()
        self.seconds = time.monotonic() - self.began

    def judge(self, trial, what, most=100.0, least=99.0, least_burst=BURST):
        """Of the rate and a burst; the least is of the time that was asked for, the most of what it took. What is admitted at the very ends is one."""
        trial.none(f"{what}: other answers", self.else_)
        trial.mark(f"{what}: admitted", 100 * self.admitted / (RATE * self.seconds + BURST), most=most, least=None, unit="% of rate and burst")
        trial.mark(f"{what}: admitted at least", 100 * (self.admitted + 1) / (RATE * (self.until - self.began) + least_burst), least=least,
                   unit="% of rate" + (" and burst" if least_burst else ""))


@test("T28", "a limit probed at four edges (one auth: several need PostgreSQL, which is not built)", models=LIMITED, workers={"openai": 1}, edges=4)
def t28(trial):
    probe = Probe(trial.suite, trial.suite.create_key(name="t28"), 8 if trial.quick else 60)
    probe.judge(trial, "limit", least=97.0 if trial.quick else 99.0)
    trial.mark("refusals", len(probe.retry_after_ms), least=1)
    trial.mark("longest retry-after", max(probe.retry_after_ms, default=0) / 1000, most=(BURST + 1) / RATE + 1, unit="s")


class Jumping(Sized):
    """All its daemons' wall clocks are off by what a file says."""

    def __init__(self, **options):
        super().__init__(**options)
        if not SHIM.exists():
            raise Skipped(f"{SHIM} is not built")
        self.clock = open(self.run_dir / "clock", "w+b", buffering=0)
        self.set_clock(0)

    def set_clock(self, hours):
        os.pwrite(self.clock.fileno(), struct.pack("<q", hours * 3600 * 10**9), 0)

    def add(self, name, program, *args):
        self.extra_env = {} if name.startswith("simulator") else {"LD_PRELOAD": str(SHIM), "CHAOS_CLOCK": self.clock.name}
        try:
            return super().add(name, program, *args)
        finally:
            self.extra_env = {}


@test("T21", "wall clocks of all daemons jump by ± 1 h and ± 1 year", alone=True)
def t21(trial):
    jumps, jumped = [1, -1, YEAR, -YEAR, 0], []
    with trial.make_suite(Jumping, models={**MODELS, **LIMITED}, workers={"openai": 1}) as suite:
        trial.suite = suite

        def jump():
            jumped.append(jumps[len(jumped) % len(jumps)])
            suite.set_clock(jumped[-1])
        key = suite.create_key(name="t21")
        with Load(suite, 2, 2) as load:
            Probe(suite, key, 5 if trial.quick else 20, jump).judge(trial, "limit", most=101.0, least_burst=0)
        trial.mark("jumps", len(jumped), least=8 if trial.quick else 30)
        trial.no_failures(load)
        # a restart in the wrong year keeps what was used, and forgives no more than a burst
        suite.set_clock(YEAR)
        suite.daemons["auth"].kill()
        suite.daemons["auth"].start()
        wait_for(lambda: suite.ctl("keys", "list", check=False).returncode == 0, "auth is back")
        Probe(suite, key, 3 if trial.quick else 5).judge(trial, "limit after a restart in another year", most=101.0, least_burst=0)
        suite.set_clock(0)
        trial.rest(load)
        trial.suite = None


def wanted(suite, key, per_second, until, answers):
    """So many requests a second, whatever comes of them."""
    connection, due = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=60), time.monotonic()
    while time.monotonic() < until:
        due += 1 / per_second
        time.sleep(max(0, due - time.monotonic()))
        try:
            answers.append(ask(connection, key, "gpt-4o-mini")[0])
        except (OSError, http.client.HTTPException) as e:
            answers.append(repr(e))
            connection.close()
    connection.close()


@test("T5", "auth away for 60 s: known keys go on, unknown ones wait outside, and limits are exact over all of it", brokers=1)
def t5(trial):
    suite, seconds = trial.suite, 6 if trial.quick else 60
    limited = suite.create_key(name="limited", rpm=600)
    greedy = suite.create_key(name="greedy", rpm=120)
    known, strange, more, before = [], [], [], []
    with Load(suite, 4, 2) as load:
        began = time.monotonic()
        in_threads(2, lambda i: wanted(suite, *((greedy, 50) if i else (limited, 8)), time.monotonic() + 4, more if i else before))
        assert suite.daemons["auth"].stop() == 0  # killed, it may forget the last tenths of a second of all limits
        until = time.monotonic() + seconds
        kinds = [(limited, 8, known), ("sk-" + "0" * 64, 4, strange), (greedy, 10, more)]
        in_threads(3, lambda i: wanted(suite, kinds[i][0], kinds[i][1], until, kinds[i][2]))
        suite.daemons["auth"].start()
        load.goes_on()
        wanted(suite, greedy, 50, time.monotonic() + 4, more)  # what is left of it now
        passed = time.monotonic() - began
    trial.no_failures(load)
    trial.none("unknown keys got something else than 503", [s for s in strange if s != 503])
    served = sum(s == 200 for s in known)
    trial.mark("requests of a limited key served, of 80 % of its limit", 100 * served / max(1, len(known)), least=99, unit="%")
    trial.mark("of a key that wants more than its limit, over all", 100 * sum(s == 200 for s in more) / (120 + 2 * passed), most=100.0,
               unit="% of rate and burst")
    trial.facts["served of the greedy key"] = f"{sum(s == 200 for s in more)} of {len(more)}"
    return load
