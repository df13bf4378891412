"""One test: its suite, the rules it broke, the figures beside their marks.

    @test("T4", "each broker killed again and again")
    def t4(trial):
        with Load(trial.suite, 6, 8) as load:
            …
        trial.no_failures(load)
        return load    # at the end nothing may run, and the ledger must say what the simulator counted
"""
import collections
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

from lib.suite import BIN, ROOT, Suite, wait_for

MODELS = {"gpt-4o-mini": {"targets": [{"provider": "openai"}]}}
MIB = 1 << 20
TESTS = {}
SHIM = BIN.parent / "tests/chaos/libchaos_shim.so"


class Skipped(Exception):
    """It cannot be done here; the text says why."""


def test(name, title, full_only=False, alone=False, beside=False, **suite):
    """Registers a test. alone: it makes its own suites; full_only: tests/run has it in another stage, or it takes long; beside: it judges no
    clock closely, so that others may run at the same time."""
    def register(function):
        TESTS[name] = {"function": function, "title": title, "full_only": full_only, "alone": alone, "beside": beside, "suite": suite}
        return function
    return register


class Sized(Suite):
    """With a provider "big" whose simulator is another one: it reads large bodies while the first one's streams go on."""

    def start_simulator(self):
        super().start_simulator()
        if "big" not in self.worker_counts:
            return
        d = self.add("simulator-2", "tollgate-simulator", "--port", "0")
        port = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", d.log), "the second simulator listens")[1]
        more = {"api_keys": ["${SIM_KEY}"], "private": True}
        self.providers = {"big": {"type": "openai", "endpoints": [f"http://127.0.0.1:{port}/openai/v1"], **more},
                          "anthropic": {"type": "anthropic", "endpoints": [f"http://127.0.0.1:{port}/anthropic/v1"], **more},
                          "replicate": {"type": "replicate", "endpoints": [f"http://127.0.0.1:{port}/replicate/v1"], **more}}


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))] if ordered else 0.0


class Trial:
    def __init__(self, args, name):
        self.args, self.name, self.broken, self.facts, self.marks, self.skipped = args, name, [], {}, {}, None
        self.quick, self.slack = args.quick, 4 if args.quick else 1
        self.rng = random.Random(args.seed)
        self.suite = None
        if not TESTS[name]["alone"]:
            self.suite = self.make_suite(**TESTS[name]["suite"])

    def make_suite(self, kind=Sized, **options):
        return kind(**{"models": MODELS, "brokers": 2, "edges": 2, "workers": {"openai": 2}, **options})

    # ---- what was found ----
    def rule(self, kept, text):
        if not kept:
            self.broken.append(text)

    def mark(self, what, figure, most=None, least=None, unit=""):
        """A figure and its mark; of several with one name the worst counts."""
        kept = (most is None or figure <= most) and (least is None or figure >= least)
        worse = what not in self.marks or (figure > self.marks[what]["figure"] if most is not None else figure < self.marks[what]["figure"])
        if worse:
            self.marks[what] = {"figure": figure, "most": most, "least": least, "unit": unit, "kept": kept}
        return kept

    def took(self, what, seconds, most):
        """most: seconds, but for the slack of the quick form."""
        self.mark(what, seconds, most=most * self.slack, unit="s")

    def none(self, what, found):
        """A list, counter or dictionary that must be empty."""
        count = sum(found.values()) if isinstance(found, collections.Counter) else len(found)
        if not self.mark(what, count, most=0):
            shown = found.most_common(3) if isinstance(found, collections.Counter) else list(found.items() if isinstance(found, dict) else found)[:3]
            self.rule(False, f"{what}: {shown}")

    def no_failures(self, load, *allowed, stream=None):
        hits = sum(stream in (None, h.stream) for h in load.hits)
        self.none({None: "failed requests", True: "failed streams", False: "failed unary requests"}[stream], load.bad(*allowed, stream=stream))
        self.facts["requests"] = max(hits, self.facts.get("requests", 0))

    def slower(self, what, pairs, most):
        """How much higher the 99th percentile is with (second) than without (first), in rounds of both by turns. The mark is for the median of
        the rounds' ratios less its own error: a machine's noise is not the gateway's."""
        ratios = [percentile(w, 0.99) / percentile(wo, 0.99) for wo, w in pairs if w and wo]
        error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0
        assert ratios, f"{what}: nothing was measured"
        more = 100 * (statistics.median(ratios) - 1)
        self.facts[f"{what}, error of it"] = f"± {100 * error:.1f} %"
        self.mark(what, max(more - 100 * error, -100.0), most=300 if self.quick else most, unit="%")

    def pytest(self, path, pattern, count=None):
        """Tests that are kept elsewhere, run here."""
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", path, "-k", pattern], cwd=ROOT, text=True,
                              capture_output=True)
        line = (re.findall(r".*\d+ (?:passed|failed|skipped|error).*", done.stdout) or [""])[-1]
        number = {w: int((re.search(rf"(\d+) {w}", line) or [0, 0])[1]) for w in ("passed", "failed", "error", "skipped")}
        if number["skipped"] and not number["passed"] and not number["failed"]:
            raise Skipped((re.findall(r"SKIPPED.*?: (.*)", done.stdout) or ["?"])[0])
        self.rule(done.returncode == 0, done.stdout[-600:])
        self.mark(f"passed of {path}", number["passed"], least=count or 1)
        self.mark("failed tests", number["failed"] + number["error"], most=0)

    # ---- what the suite says ----
    def gauges(self, name, suite=None):
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in (suite or self.suite).metrics_text().splitlines()
                if line.startswith((name + "{", name + " "))}

    def told(self, metric, daemon):
        return sum(v for k, v in self.gauges(metric).items() if f'instance="{daemon}"' in k)

    def seen(self, pattern, daemons, since):
        """Do the logs of these say so, behind what they had said?"""
        return all(re.search(pattern, self.suite.daemons[n].log[since[n]:]) for n in daemons)

    def ends_of(self, daemons):
        return {n: len(self.suite.daemons[n].log) for n in daemons}

    def brokers(self):
        return [n for n in self.suite.daemons if n.startswith("broker")]

    def memory(self, name, field="VmRSS"):
        """MiB"""
        status = pathlib.Path(f"/proc/{self.suite.daemons[name].process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024

    def forget_peak(self, name):
        pathlib.Path(f"/proc/{self.suite.daemons[name].process.pid}/clear_refs").write_text("5")

    def cpu(self, name):
        """Seconds that it has used."""
        fields = pathlib.Path(f"/proc/{self.suite.daemons[name].process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---- afterwards ----
    def rest(self, load):
        """Nothing runs, all slots are back, and the ledger has what the simulator counted."""
        def at_rest():
            self.unrest = {k: v for n in ("tollgate_requests_in_flight", "tollgate_worker_in_flight", "tollgate_queue_depth", "tollgate_grants",
                                          "tollgate_settles_pending") for k, v in self.gauges(n).items() if v}
            return not self.unrest
        try:
            wait_for(at_rest, "rest", 40)
        except AssertionError:
            self.rule(False, f"no rest: {self.unrest}")
        self.ledger(load)

    def ledger(self, load):
        answered = [h for h in load.hits if h.outcome == "ok"]
        rows = collections.defaultdict(list)

        def booked():
            rows.clear()
            for row in self.suite.usage("--requests", "--limit", "100000"):
                rows[row["request_id"]].append(row)
            return all(h.id in rows for h in answered)
        try:
            wait_for(booked, "rows", 40)
        except AssertionError:
            pass
        self.none("answered requests without a row", [h.id for h in answered if h.id not in rows])
        told, wrong = self.suite.sim_stats()["by_user"], []
        for h in answered:
            mine = [r for r in rows.get(h.id, []) if not r["estimated"]]
            count = told.get(h.nonce, {})
            # one that was repeated may have been answered twice upstream: both are booked
            sums = tuple(sum(r[k] for r in mine) for k in ("input_tokens", "output_tokens"))
            differs = len(mine) == count.get("completed") and sums != (count["input_tokens"], count["output_tokens"])
            if differs or len(mine) > max(1, count.get("completed", 1)):
                wrong.append(f"#{h.number}: booked {mine}, the simulator counted {count}")
        self.none("rows that differ from the simulator", wrong)
        self.facts["estimated rows"] = sum(r["estimated"] for each in rows.values() for r in each)

    def close(self):
        if self.suite is None:
            return
        for d in self.suite.daemons.values():
            if d.alive:
                d.signal(18)  # SIGCONT
        codes = self.suite.close() if self.args.keep is None else {n: d.stop() for n, d in self.suite.daemons.items()}
        self.check_end(self.suite, codes)

    def check_end(self, suite, codes):
        for n, code in codes.items():
            self.rule(code == 0, f"{n} ends with {code}")
        for n, d in suite.daemons.items():
            self.rule("Sanitizer" not in d.log and "runtime error:" not in d.log, f"{n}: a sanitizer spoke")


def run(args, name):
    """The test's record."""
    began = time.monotonic()
    trial = Trial(args, name)
    try:
        if trial.suite is not None:
            trial.suite.start()
        load = TESTS[name]["function"](trial)
        if load is not None:
            trial.rest(load)
    except Skipped as e:
        trial.skipped = str(e)
    except Exception as e:  # noqa: BLE001 - whatever breaks a test is told as its failure
        trial.rule(False, f"{type(e).__name__}: {str(e)[:600]}")
    finally:
        trial.close()
    kept = not trial.broken and all(m["kept"] for m in trial.marks.values())
    return {"name": name, "title": TESTS[name]["title"], "ok": kept, "skipped": trial.skipped, "seconds": round(time.monotonic() - began, 1),
            "marks": [{"what": w, **m} for w, m in trial.marks.items()], "facts": trial.facts,
            "broken": [f"{c} × {t}" for t, c in collections.Counter(trial.broken).most_common(8)]}


def own_folder():
    return pathlib.Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
