"""Takes one sample: load on one system, and what its processes spent meanwhile. CPU is run time of all threads from
/proc/PID/task/*/schedstat; every command is bounded by a time of its own."""
import contextlib
import json
import pathlib
import re
import subprocess
import threading
import time

EXTRA_S = 60  # what a load generator may take beyond its seconds


def cpu_us(pids):
    """Run time so far of these processes, in µs; threads that ended are not in it (none of ours end)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((thread / "schedstat").read_text().split()[0])
    return total / 1000


def cpu_by_part(system):
    return {part: cpu_us(pids) for part, pids in system.pids().items()}


def memory_kib(system, field):
    """A field of smaps_rollup (Pss, Anonymous) by part, in KiB."""
    def of(pid):
        return int(re.search(rf"^{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
    return {part: sum(map(of, pids)) for part, pids in system.pids().items()}


def spent(before, after, units):
    by = {part: (after[part] - before.get(part, 0)) / units for part in after}
    return {"cpu": sum(by.values()), "by": by}


class Generator:
    """The programs that make load: wrk for plain requests where it is installed, bench_load for everything else."""

    def __init__(self, load_program, folder, use_wrk):
        self.load_program, self.folder, self.use_wrk = load_program, folder, use_wrk

    def body(self, text):
        path = self.folder / f"body-{abs(hash(text)):x}.json"
        if not path.exists():
            path.write_text(text)
        return path

    def argv(self, system, text, connections, path, *more):
        return [str(self.load_program), "--port", str(system.port), "--key", system.key, "--path", path, "--body",
                str(self.body(text)), "--connections", str(connections), *map(str, more)]

    @contextlib.contextmanager
    def running(self, argv, deadline_s):
        """bench_load, until it said READY; ends it in any case."""
        process = subprocess.Popen([*argv, "--deadline", str(int(deadline_s))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        timer = threading.Timer(deadline_s + 5, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
            if not line.startswith("READY"):
                raise RuntimeError(f"no answers: {' '.join(argv)}: {line}")
            yield process
        finally:
            timer.cancel()
            process.kill()
            process.wait()

    @staticmethod
    def result_of(process):
        line = process.stdout.readline()
        if not line.startswith("{"):
            raise RuntimeError(f"bench_load ended without a result: {line}")
        return json.loads(line)

    # ---- samples ----
    def warm(self, system, text, connections, path="/v1/chat/completions"):
        with self.running(self.argv(system, text, connections, path, "--seconds", 0.2), EXTRA_S) as process:
            self.result_of(process)

    def unary(self, system, text, connections, seconds, path="/v1/chat/completions"):
        """CPU µs per request, requests per second, latency."""
        self.warm(system, text, connections, path)
        if self.use_wrk:
            return self._unary_by_wrk(system, text, connections, seconds, path)
        with self.running(self.argv(system, text, connections, path, "--seconds", seconds), seconds + EXTRA_S) as process:
            before = cpu_by_part(system)
            r = self.result_of(process)
            after = cpu_by_part(system)
        return {**spent(before, after, max(r["requests"], 1)), "rps": r["requests"] / r["seconds"], "p50": r["p50"], "p99": r["p99"],
                "errors": r["errors"]}

    def _unary_by_wrk(self, system, text, connections, seconds, path):
        script = self.folder / "post.lua"
        script.write_text(f"""wrk.method = "POST"
wrk.body = io.open("{self.body(text)}", "rb"):read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {system.key}"
done = function(s, l, r)
  io.write(string.format("RESULT %d %d %d %d %d\\n", s.requests, s.errors.status + s.errors.connect + s.errors.read +
    s.errors.write + s.errors.timeout, s.duration, l:percentile(50), l:percentile(99)))
end
""")
        before = cpu_by_part(system)
        out = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--timeout", "60", "-s",
                              str(script), f"http://127.0.0.1:{system.port}{path}"], capture_output=True, text=True, check=True,
                             timeout=seconds + EXTRA_S).stdout
        after = cpu_by_part(system)
        requests, errors, duration, p50, p99 = map(int, re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", out).groups())
        return {**spent(before, after, max(requests, 1)), "rps": requests / (duration / 1e6), "p50": p50, "p99": p99, "errors": errors}

    def streams(self, system, text, connections, seconds):
        """CPU µs per event of a stream, events per second, time to the first event."""
        with self.running(self.argv(system, text, connections, "/v1/chat/completions", "--stream", "--seconds", seconds),
                          seconds + EXTRA_S) as process:
            before = cpu_by_part(system)
            r = self.result_of(process)
            after = cpu_by_part(system)
        return {**spent(before, after, max(r["events"], 1)), "rps": r["events"] / r["seconds"], "p50": r["first_p50"],
                "p99": r["first_p99"], "errors": r["errors"]}

    def count(self, system, text, connections, requests, deadline_s):
        """Exactly so many requests."""
        with self.running(self.argv(system, text, connections, "/v1/chat/completions", "--requests", requests), deadline_s) as process:
            return self.result_of(process)

    @contextlib.contextmanager
    def held(self, system, text, connections, deadline_s):
        """Streams that have had their first event and stay open while the block runs; yields a function that ends them
        and tells how many were still open."""
        with self.running(self.argv(system, text, connections, "/v1/chat/completions", "--hold"), deadline_s) as process:
            def end():
                process.stdin.close()
                return self.result_of(process)
            yield end


def wait_quiet(system, patience_s=20, share=0.05):
    """Returns when the system uses less than `share` of a processor for half a second, or when patience ends."""
    until = time.monotonic() + patience_s
    last = sum(cpu_by_part(system).values())
    while time.monotonic() < until:
        time.sleep(0.5)
        now = sum(cpu_by_part(system).values())
        if now - last < share * 0.5e6:
            return
        last = now
