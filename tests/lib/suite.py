"""The whole suite on one host, for tests: real daemons over ipc in a folder of their own, the simulator as upstream.

    with Suite(tmp_path) as suite:
        key = suite.create_key(name="me")
        httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json={...})
"""
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import httpx

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = (ROOT / os.environ.get("TOLLGATE_BIN", "build/asan/bin")).resolve()

# Only ends a test that has failed: nothing here is a measurement.
PATIENCE_S = 60

MODELS = {
    "gpt-4o-mini": {"targets": [{"provider": "openai"}]},
    "gpt-3.5-turbo-instruct": {"targets": [{"provider": "openai"}], "completions": "native"},
    "text-embedding-3-small": {"targets": [{"provider": "openai"}]},
    "claude-haiku-4-5": {"targets": [{"provider": "anthropic"}]},
    "meta/meta-llama-3-8b-instruct": {"targets": [{"provider": "replicate"}]},
    "gpt-*": {"targets": [{"provider": "openai"}]},
    "claude-*": {"targets": [{"provider": "anthropic"}]},
}


def wait_for(condition, what, patience_s=PATIENCE_S):
    """Returns the first true value of condition(); fails the test when none comes."""
    until = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fixed_port():
    """One that no outgoing connection takes meanwhile: those who wait for a daemon try again and again."""
    while True:
        with socket.socket() as s:
            port = random.randrange(20000, 32000)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Daemon:
    """One process; its output goes to a file and into .lines."""

    def __init__(self, name, argv, env, folder):
        self.name, self.argv, self.env = name, argv, env
        self.log_path = folder / f"{name}.log"
        self.process = None

    def start(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.alive:
            self.process.kill()
        self.process.wait()

    def stop(self, patience_s=PATIENCE_S):
        """SIGTERM, then the exit code (None → it had to be killed)."""
        if self.alive:
            self.process.terminate()
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


class Suite:
    def __init__(self, folder=None, *, models=None, providers=None, options=None, workers=None, brokers=1, edges=1,
                 simulator_args=(), env=None, bin_dir=None, tcp=False, certs=False):
        self._own = None
        self.bin = BIN if bin_dir is None else pathlib.Path(bin_dir).resolve()
        if folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="tollgate-")
            folder = self._own.name
        # sockets have short paths: 107 bytes at most
        self.folder = pathlib.Path(folder)
        self._sockets = tempfile.TemporaryDirectory(prefix="tg-")
        self.run_dir = pathlib.Path(self._sockets.name)
        self.models = MODELS if models is None else models
        self.providers = providers or {}
        self.options = options or {}
        self.worker_counts = {"openai": 1, "anthropic": 1, "replicate": 1} if workers is None else workers
        self.broker_count, self.edge_count = brokers, edges
        self.tcp, self.certs = tcp, self.folder / "bus" if certs else None
        self.simulator_args = list(simulator_args)
        self.extra_env = env or {}
        self.daemons = {}
        self.ports = []

    # ---- life ----
    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self._print_logs()
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        codes = self.close()
        if kind is None:
            self.check_end(codes)
        else:
            self._print_logs()

    def _print_logs(self):
        for d in self.daemons.values():
            print(f"--- {d.name}\n{d.log[-3000:]}")

    def check_end(self, codes):
        """Every daemon stopped cleanly and no sanitizer spoke."""
        for d in self.daemons.values():
            assert "Sanitizer" not in d.log and "runtime error:" not in d.log, f"{d.name}:\n{d.log[-6000:]}"
        bad = {name: code for name, code in codes.items() if code != 0}
        assert not bad, f"unclean ends: {bad}\n" + "\n".join(self.daemons[n].log[-2000:] for n in bad)

    def share(self):
        """share/ of the source that the programs were built from, where they lie in its build/PRESET/bin: its form changes."""
        own = self.bin.parents[2] / "share"
        return own if own.is_dir() else ROOT / "share"

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_API_TOKEN"))}
        env.update(TOLLGATE_RUN_DIR=str(self.run_dir), TOLLGATE_STATE_DIR=str(self.folder / "state"),
                   TOLLGATE_CONFIG=str(self.folder / "tollgate.yaml"), TOLLGATE_SHARE=str(self.share()),
                   SIM_KEY="sk-simulated-upstream-key",
                   ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99", UBSAN_OPTIONS="print_stacktrace=1")
        env.update(self.extra_env)
        return env

    def add(self, name, program, *args):
        d = Daemon(name, [str(self.bin / program), *map(str, args)], self.environment(), self.folder)
        self.daemons[name] = d
        d.start()
        return d

    def write_config(self, **changes):
        """The configuration file; `changes` replace top-level keys."""
        base = f"http://127.0.0.1:{self.sim_port}"
        providers = {name: {"type": name, "api_keys": ["${SIM_KEY}"], "endpoints": [f"{base}/{name}/v1"], "private": True}
                     for name in ("openai", "anthropic", "replicate")}
        providers.update({n: {k: (v.replace("{sim}", base) if isinstance(v, str) else
                                  [i.replace("{sim}", base) for i in v] if isinstance(v, list) else v)
                              for k, v in p.items()} for n, p in self.providers.items()})
        config = {"default_model": next(iter(self.models), None), "providers": providers, "models": self.models,
                  # a machine that does five things at once may let a live daemon wait for a second or two
                  "bus": {**self.bus, "peer_timeout": "10s"},
                  "metrics": {"port": self.metrics_port}, "edge": {"address": "127.0.0.1", "port": self.ports[0]}}
        for section, values in self.options.items():
            config.setdefault(section, {}).update(values)
        config.update(changes)
        if config["default_model"] is None:
            del config["default_model"]
        path = self.folder / "tollgate.yaml"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(config, indent=1))  # JSON is YAML
        temporary.replace(path)
        return config

    def start(self):
        (self.folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.start_simulator()
        self.ports = [free_port() for _ in range(self.edge_count)]
        self.metrics_port = free_port()
        self.bus = self.bus_addresses()
        self.write_config()
        if self.certs:
            self.ctl("certs", "create", self.certs)
        self.add("metrics", "tollgate-metrics", "--name", "metrics")
        self.add("auth", "tollgate-auth", "--name", "auth")
        for i in range(self.broker_count):
            # debug: it says which workers have come
            self.add(f"broker-{i + 1}", "tollgate-broker", "--name", f"broker-{i + 1}", "--bind", self.bus["brokers"][i],
                     "--log-level", "debug")
        for provider, count in self.worker_counts.items():
            for i in range(count):
                self.add_worker(provider, i + 1)
        for i in range(self.edge_count):
            self.add_edge(i)
        self.wait_ready()

    def bus_addresses(self):
        names = [f"broker-{i + 1}" for i in range(self.broker_count)]
        at = {n: f"tcp://127.0.0.1:{fixed_port()}" if self.tcp else f"ipc://{self.run_dir}/{n}"
              for n in ["auth", "metrics", *names]}
        options = {"brokers": [at[n] for n in names], "auth": at["auth"], "metrics": at["metrics"]}
        return {**options, "certs": str(self.certs)} if self.certs else options

    def start_simulator(self):
        d = self.add("simulator", "tollgate-simulator", "--port", "0", *self.simulator_args)
        found = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", d.log), "the simulator listens")
        self.sim_port = int(found.group(1))
        self.sim_url = f"http://127.0.0.1:{self.sim_port}"

    def add_worker(self, provider, number):
        name = f"worker-{provider}-{number}"
        return self.add(name, "tollgate-worker", "--provider", provider, "--name", name)

    def add_edge(self, index):
        if index == 0:
            return self.add("edge-1", "tollgate-edge", "--name", "edge-1")
        # one more edge on another port: a configuration of its own beside the shared one
        config = json.loads((self.folder / "tollgate.yaml").read_text())
        config["edge"]["port"] = self.ports[index]
        path = self.folder / f"edge-{index + 1}.yaml"
        path.write_text(json.dumps(config))
        return self.add(f"edge-{index + 1}", "tollgate-edge", "--name", f"edge-{index + 1}", "--config", path)

    def url_of(self, index=0):
        return f"http://127.0.0.1:{self.ports[index]}"

    @property
    def url(self):
        return self.url_of(0)

    def wait_ready(self):
        """Every edge answers and every worker is known to every broker."""
        for i in range(self.edge_count):
            wait_for(lambda i=i: self._status(f"{self.url_of(i)}/health/readiness") == 200, f"edge {i + 1} is ready")
        workers = [n for n in self.daemons if n.startswith("worker-")]
        wait_for(lambda: all(self.broker_knows(w) for w in workers), f"brokers know {workers}")

    def broker_knows(self, worker):
        return all(re.search(rf"event=peer_up .*peer={re.escape(worker)}\b", d.log)
                   for n, d in self.daemons.items() if n.startswith("broker-"))

    @staticmethod
    def _status(url):
        try:
            return httpx.get(url, timeout=5).status_code
        except httpx.HTTPError:
            return None

    def close(self):
        """SIGTERM to all, clients first; exit codes by name."""
        order = sorted(self.daemons, key=lambda n: ("edge", "work", "brok", "auth", "metr", "simu").index(n[:4]))
        codes = {}
        for name in order:
            d = self.daemons[name]
            if d.process is not None:
                was_alive = d.alive
                code = d.stop()
                if was_alive or code not in (-signal.SIGKILL,):
                    codes[name] = code
        self._sockets.cleanup()
        if self._own:
            self._own.cleanup()
        return codes

    # ---- the command ----
    def ctl(self, *args, check=True):
        done = subprocess.run([str(self.bin / "tollgate"), *map(str, args)], env=self.environment(), capture_output=True,
                              text=True, timeout=PATIENCE_S)
        if check:
            assert done.returncode == 0, f"tollgate {args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def create_key(self, name="test", **limits):
        args = ["keys", "create", "--name", name, "--json"]
        for option, value in limits.items():
            args += [f"--{option.replace('_', '-')}", str(value)]
        return json.loads(self.ctl(*args).stdout)["secret"]

    def usage(self, *args):
        return json.loads(self.ctl("usage", "--json", *args).stdout)

    # ---- the simulator ----
    def sim_stats(self):
        return httpx.get(f"{self.sim_url}/_sim/stats", timeout=10).json()

    def sim_requests(self):
        return httpx.get(f"{self.sim_url}/_sim/requests", timeout=10).json()

    def sim_reset(self):
        httpx.post(f"{self.sim_url}/_sim/reset", timeout=10).raise_for_status()

    # ---- metrics ----
    def metrics_text(self):
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text


def in_threads(count, work):
    """work(i) in `count` threads at once; their results in order, the first exception raised."""
    results, errors = [None] * count, []

    def run(i):
        try:
            results[i] = work(i)
        except BaseException as e:  # noqa: BLE001 - carried to the caller
            errors.append(e)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results
