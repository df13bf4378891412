"""Every fallible call of a kind fails once: memory, sockets, writes, fsync, over each daemon's start, one request and its stop."""
import collections
import http.client
import json
import os
import re
import signal
import sqlite3
import threading
import time

from lib.suite import wait_for
from trial import SHIM, Skipped, test

KINDS = ("malloc", "socket", "write", "fsync")
PATIENCE_S, START_S = 20, 2
# How libraries end a program that they cannot go on with; the first is libzmq's, which checks each allocation this way.
LIBRARY_ENDS = re.compile(r"Fatal: file |FATAL ERROR: OUT OF MEMORY|Assertion (?:failed: |.* failed)|std::bad_alloc|\((?:\./)?src/\w+\.cpp:\d+\)")


class Request:
    """One request in a thread of its own: status and body, or what broke it."""

    def __init__(self, port, key, nonce):
        self.nonce, self.status, self.raw, self.id, self.problem = nonce, None, b"", None, None
        self.thread = threading.Thread(target=self.send, args=(port, key), daemon=True)
        self.thread.start()

    def send(self, port, key):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        body = json.dumps({"model": "gpt-4o-mini", "user": self.nonce, "messages": [{"role": "user", "content": self.nonce}]})
        try:
            connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
            answer = connection.getresponse()
            self.raw, self.id = answer.read(), answer.getheader("request-id")
            self.status = answer.status
        except (OSError, http.client.HTTPException) as e:
            self.problem = repr(e)
        finally:
            connection.close()

    def proper(self):
        """An answer to this request, or an error in words."""
        try:
            body = json.loads(self.raw)
            return self.nonce in body["choices"][0]["message"]["content"] if self.status == 200 else bool(body["error"]["message"])
        except (ValueError, KeyError, IndexError, TypeError):
            return False


def within_a_library(said):
    """By the shim's word of where it crashed: behind its own handler and the C library's frames comes somebody else's than ours."""
    frames = [os.path.basename(m) for m in re.findall(r"^(/\S+?)\(", said.rpartition("CRASH\n")[2], re.M)] if "CRASH\n" in said else []
    frames = [f for f in frames if not f.startswith(("libchaos", "libc.so"))]
    return bool(frames) and not frames[0].startswith("tollgate")


class Sweep:
    """One daemon's calls, one failing after the other."""

    def __init__(self, trial, suite, key, name):
        self.trial, self.suite, self.key, self.daemon = trial, suite, key, suite.daemons[name]
        self.name, self.runs, self.outcomes, self.requests = name, 0, collections.Counter(), []
        self.env = self.daemon.env

    def start(self, **env):
        self.since = len(self.daemon.log)
        self.daemon.env = {**self.env, **env}
        self.daemon.start()

    def said(self):
        return self.daemon.log[self.since:]

    def up(self):
        """Has it started, or ended?"""
        return not self.daemon.alive or "event=ready" in self.said()

    def serve(self):
        """One request; a daemon that ends meanwhile is started again, as its supervisor does."""
        began, ended = time.monotonic(), None
        while not self.up() and time.monotonic() < began + START_S:
            time.sleep(0.005)  # beyond that its word may have been lost: the request will tell
        request = None
        while time.monotonic() < began + 2 * PATIENCE_S:
            if ended is None and not self.daemon.alive:
                ended = self.daemon.process.returncode, self.said()
                self.judge_end(*ended)
                self.start()
                wait_for(self.up, f"{self.name} starts again")
            if request is None:
                request = Request(self.suite.ports[0], self.key, f"<{self.name}-{self.what}-{os.urandom(4).hex()}>")
                self.requests.append(request)
            request.thread.join(0.005)
            if not request.thread.is_alive():
                break
        if request.problem and self.name.startswith("edge"):  # its connection ended with it, or was closed for want of memory: a client asks again
            self.outcomes["cut off, asked again"] += 1
            self.serve_again()
        else:
            self.judge_request(request)

    def serve_again(self):
        time.sleep(0.3)
        if not self.daemon.alive:
            self.judge_end(self.daemon.process.returncode, self.said())
            self.start()
            wait_for(self.up, f"{self.name} starts again")
        request = Request(self.suite.ports[0], self.key, f"<{self.name}-{self.what}-{os.urandom(4).hex()}>")
        self.requests.append(request)
        request.thread.join(PATIENCE_S)
        self.judge_request(request)

    def judge_end(self, code, said):
        """It has ended by itself: with a reason, and not by a crash."""
        if code == -signal.SIGABRT and LIBRARY_ENDS.search(said):
            self.outcomes["ended by a library, with its words"] += 1
        elif code == -signal.SIGSEGV and within_a_library(said):
            self.outcomes["ended within a library, which does not survive it"] += 1
        elif code == -signal.SIGABRT and re.search(r"event=ends .*out of memory", said):
            self.outcomes["ended with an error"] += 1
        elif code < 0:
            self.broken(f"ends by signal {-code}: {said[-600:]}")
        elif code == 0:
            self.broken(f"ends with 0 by itself: {said[-300:]}")
        elif not re.search(r"level=(?:error|fatal|warn)|^tollgate[^\n]*: \S", said, re.M):
            self.broken(f"ends with {code} without a word: {said[-300:]}")
        else:
            self.outcomes["ended with an error"] += 1

    def judge_request(self, request):
        if request.thread.is_alive():
            self.broken("the request hangs")
        elif request.problem:
            self.broken(f"the request breaks: {request.problem}")
        elif not request.proper() or 200 < request.status < 500:
            self.broken(f"no proper answer: {request.status} {request.raw[:200]}")
        else:
            self.outcomes["served" if request.status == 200 else f"status {request.status}"] += 1

    def stop(self):
        code = self.daemon.stop(PATIENCE_S)
        if code is None:
            self.broken("hangs when it is stopped")
        elif code != 0:
            self.judge_end(code, self.said())

    def broken(self, what):
        where = re.findall(r"(\S+?)\(\+?([^)]*)\)\[0x", self.said())
        self.trial.calls_broken.append(f"{self.name}, {self.what}: {what}; failed in " +
                                       " ".join(f"{os.path.basename(m)}+{a}" for m, a in where[2:9]))

    def sound_store(self):
        with sqlite3.connect(self.suite.folder / "state" / "tollgate.db") as db:
            wrong = [r for (r,) in db.execute("PRAGMA integrity_check") if r != "ok"]
        if wrong:
            self.broken(f"a corrupt store: {wrong[:3]}")

    def places(self):
        """The first call of each place, by kind."""
        path, self.what = self.suite.folder / f"{self.name}.calls", "nothing fails"
        self.daemon.stop()
        self.start(LD_PRELOAD=str(SHIM), CHAOS_LIST=str(path))
        self.serve()
        self.stop()
        found = collections.defaultdict(list)
        for line in path.read_text().splitlines():
            kind, number = line.split()
            found[kind].append(int(number))
        return found

    def one(self, kind, number):
        self.what, self.runs = f"{kind} {number}", self.runs + 1
        self.start(LD_PRELOAD=str(SHIM), CHAOS_FAIL=f"{kind}:{number}")
        self.serve()
        self.stop()
        if self.name == "auth":
            self.sound_store()

    def bills(self):
        """Each answered request has its row, and its row says what the simulator counted."""
        self.what = "afterwards"
        answered = [r for r in self.requests if r.status == 200]

        def booked():
            self.rows = {row["request_id"]: row for row in self.suite.usage("--requests", "--limit", "100000")}
            return all(r.id in self.rows for r in answered)
        try:
            wait_for(booked, "rows", 30)
        except AssertionError:
            for r in [r for r in answered if r.id not in self.rows]:
                self.broken(f"no row for {r.nonce}")
        told = self.suite.sim_stats()["by_user"]
        for r in [r for r in answered if r.id in self.rows]:
            row, count = self.rows[r.id], told[r.nonce]
            if row["estimated"]:
                self.outcomes["booked as an estimate"] += 1
            elif count["completed"] == 1 and (row["input_tokens"], row["output_tokens"]) != (count["input_tokens"], count["output_tokens"]):
                self.broken(f"{r.nonce}: booked {row}, the simulator counted {count}")


@test("T32", "every fallible call fails once, over each daemon's start, a request and its stop", beside=True, full_only=True, brokers=1, edges=1,
      workers={"openai": 1}, options={"runtime": {"drain_timeout": "3s"}})
def t32(trial):
    suite = trial.suite
    if not SHIM.exists():
        raise Skipped(f"{SHIM} is not built")
    trial.calls_broken = []
    key, most, outcomes = suite.create_key(), trial.args.calls, collections.Counter()
    for name in (trial.args.calls_of or "metrics,auth,broker-1,worker-openai-1,edge-1").split(","):
        sweep = Sweep(trial, suite, key, name)
        places = sweep.places()
        trial.rule(all(places[k] for k in (KINDS if name == "auth" else KINDS[:2])), f"{name}: no calls of a kind: {list(places)}")
        for kind in KINDS:
            numbers = sorted(places[kind])
            chosen = sorted(trial.rng.sample(numbers, min(most, len(numbers))))
            for number in chosen:
                sweep.one(kind, number)
            trial.facts[f"{name} {kind}"] = f"{len(chosen)} of {len(numbers)}"
        sweep.start()
        wait_for(sweep.up, f"{name} is up")
        sweep.bills()
        trial.facts[name] = dict(sweep.outcomes)
        outcomes.update(sweep.outcomes)
        outcomes["runs"] += sweep.runs
    trial.mark("runs", outcomes["runs"], least=100)
    trial.none("crashes, hangs, wrong bills, corrupt stores", trial.calls_broken)
    for text in trial.calls_broken:
        print(text, flush=True)
