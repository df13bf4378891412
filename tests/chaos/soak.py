"""Mixed faults for long: memory and descriptors of the daemons that live through it do not grow."""
import collections
import os
import random
import signal
import statistics
import threading
import time

from clients import chat, send
from traffic import Load
from trial import test

SICK = ["status=500", "status=503", "status=429", "cut", "cut=300", "reset", "stall=300", "garbage", "error=2 chunks=5", "no-done chunks=5"]
DAY_S = 86400


class Meter:
    """A figure of a daemon over time, by its least in each window: what is in use at any moment is no growth."""

    def __init__(self, window_s):
        self.window_s, self.least = window_s, collections.OrderedDict()

    def add(self, at, value):
        window = int(at // self.window_s)
        self.least[window] = min(value, self.least.get(window, value))

    def slope(self):
        """By day, and how far that may be off: the median of all pairs' slopes, and the spread of it by leaving out each window (jackknife)."""
        points = list(self.least.items())[1:-1]  # the first and the last window are not whole

        def median(of):
            return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(of) for b in of[i + 1:]) * DAY_S / self.window_s
        if len(points) < 4:
            return 0.0, float("inf")
        left_out = [median(points[:i] + points[i + 1:]) for i in range(len(points))]
        return median(points), statistics.pstdev(left_out) * (len(points) - 1) ** 0.5


def disturb(trial, suite, key, over):
    """Something happens twice a second; worker-2 and broker-2 die of it now and then, the others must live."""
    rng, n = random.Random(trial.args.seed), 0
    while not over.wait(0.5):
        n += 1
        kind = rng.choice(["leave", "leave", "stop", "reload", "sick", "sick", "stranger", "kill" if n % 10 == 0 else "leave"])
        if kind == "leave":
            s = send(suite, key, chat("[[sim chunks=100 pace=20]] x", stream=True), rng.randrange(2))
            time.sleep(rng.choice([0, 0.05]))
            s.close()
        elif kind == "sick":
            with_end = send(suite, key, chat(f"[[sim {rng.choice(SICK)}]] x", stream=rng.random() < 0.5), rng.randrange(2))
            threading.Timer(5, with_end.close).start()
        elif kind == "stranger":
            send(suite, "sk-nobody", chat("x"), rng.randrange(2)).close()
        elif kind == "reload":
            suite.write_config(models={**suite.models, f"more-{n % 7}": suite.models["gpt-4o-mini"]})
            for name in [d for d in suite.daemons if not d.startswith("simulator")]:
                suite.daemons[name].signal(signal.SIGHUP)
        elif kind == "stop":
            d = suite.daemons[rng.choice([d for d in suite.daemons if not d.startswith("simulator")])]
            d.signal(signal.SIGSTOP)
            time.sleep(rng.choice([0.05, 0.3]))
            d.signal(signal.SIGCONT)
        else:
            d = suite.daemons[rng.choice(["worker-openai-2", "broker-2"])]
            d.kill()
            d.start()
        trial.did[kind] += 1


@test("T33", "a soak with mixed faults", options={"broker": {"breaker_failures": 0}, "worker": {"breaker_failures": 0, "idle_timeout": "5s"},
                                                  "bus": {"peer_timeout": "3s"}}, full_only=True)
def t33(trial):
    suite, seconds = trial.suite, trial.args.soak
    window = max(2, seconds / 30)
    lives = ["edge-1", "edge-2", "auth", "metrics", "broker-1", "worker-openai-1"]
    memory, files = ({n: Meter(window) for n in lives} for _ in range(2))
    trial.did, over = collections.Counter(), threading.Event()
    key, began, bad = suite.create_key(name="soak"), time.monotonic(), collections.Counter()
    outcomes = {"ok", "in-band error"}  # a worker dies now and then
    with Load(suite, 6, 4, unary_words="delay=40") as load:
        disturber = threading.Thread(target=disturb, args=(trial, suite, key, over), daemon=True)
        disturber.start()
        while (now := time.monotonic() - began) < seconds:
            time.sleep(1)
            if now > seconds / 4:  # caches and tables have their size
                for n in lives:
                    memory[n].add(now, trial.memory(n, "RssAnon"))
                    files[n].add(now, len(os.listdir(f"/proc/{suite.daemons[n].process.pid}/fd")))
            with load.lock:  # what is over is counted and forgotten
                done, load.hits[:] = [h for h in load.hits if h.outcome], [h for h in load.hits if not h.outcome]
            trial.facts["requests"] = trial.facts.get("requests", 0) + len(done)
            bad.update(h.outcome for h in done if h.outcome not in outcomes)
        over.set()
        disturber.join()
    trial.none("failed requests", bad)
    trial.facts["seconds"] = seconds
    trial.facts["done"] = dict(trial.did)
    for n in lives:
        slope, error = memory[n].slope()
        trial.facts[n] = f"{slope:+.1f} ± {error:.1f} MiB a day, {files[n].slope()[0]:+.1f} descriptors"
        trial.rule(error < float("inf"), "too short to measure")
        trial.mark("memory grows by, at least (its error taken off)", max(slope - 2 * error, -9999.0), most=1, unit="MiB a day")
        trial.mark("descriptors grow by", files[n].slope()[0], most=0, unit="a day")
