"""What the samples of a run say: tables as Markdown, and the targets with this run's figures."""
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

ORDER = ["tollgate", "against", "nginx", "haproxy", "litellm"]
NAMES = {"tollgate": "Tollgate", "against": "against", "nginx": "nginx", "haproxy": "HAProxy", "litellm": "LiteLLM"}


def said_by(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def about(args, bin_dir):
    """The circumstances: what was measured, with what, on what."""
    root = pathlib.Path(__file__).resolve().parents[2]
    cpus = re.findall(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    cache = bin_dir.parent / "CMakeCache.txt"
    build = re.search(r"CMAKE_BUILD_TYPE:\w+=(\w+)", cache.read_text())[1] if cache.exists() else ""
    version = lambda *argv: (re.search(r"\d+\.\d+(\.\d+)?", said_by(*argv)) or [""])[0]  # noqa: E731
    return {"date": time.strftime("%Y-%m-%d"), "commit": said_by("git", "-C", str(root), "rev-parse", "--short=12", "HEAD"),
            "changed": bool(said_by("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")), "build": build,
            "compiler": said_by("gcc", "--version").split("\n")[0], "kernel": platform.release(), "processors": os.cpu_count(),
            "processor": cpus[0] if cpus else platform.machine(), "load_before": os.getloadavg()[0],
            "nginx": version("/usr/sbin/nginx", "-v"), "haproxy": version("/usr/sbin/haproxy", "-v"), "wrk": version("wrk", "-v"),
            "rounds": args.rounds, "seconds": args.seconds, "chunks": args.chunks, "gap_ms": args.gap_ms, "load": args.load,
            "form": "full" if args.full else "quick" if args.quick else "usual", "stack": args.stack}


class Figures:
    """Medians by scenario and system; None where a run has not got it."""

    def __init__(self, results):
        self.rounds, self.once, self.about = results["rounds"], results["once"], results["about"]
        self.titles = results.get("titles", {})

    def all(self, scenario, system, field, part=None):
        samples = self.rounds.get(scenario, {}).get(system, [])
        return [s["by"].get(part, 0) if part else s[field] for s in samples]

    def median(self, scenario, system="tollgate", field="cpu", part=None):
        values = self.all(scenario, system, field, part)
        return statistics.median(values) if values else None

    def ratio(self, scenario, system="tollgate", field="cpu", other="nginx"):
        a, b = self.median(scenario, system, field), self.median(scenario, other, field)
        return a / b if a is not None and b else None

    def systems(self):
        return [s for s in ORDER if any(s in of for of in self.rounds.values())]

    def pss_mib(self, system="tollgate"):
        return sum(self.once["pss_kib"][system].values()) / 1024 if system in self.once.get("pss_kib", {}) else None

    def cold_ms(self, system="tollgate"):
        return statistics.median(self.once["cold_start"][system]) if system in self.once.get("cold_start", {}) else None

    def idle(self, system="tollgate"):
        return self.once.get("idle_streams", {}).get(system)

    def growth_mib(self, system="tollgate"):
        g = self.once.get("growth", {}).get(system)
        return (g["kib_last"] - g["kib_first"]) / 1024 if g else None


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.0f}" if abs(value) >= 200 else f"{value:.1f}"


def with_unit(value, unit):
    return "–" if value is None else f"{number(value)} {unit}"


def spread(values):
    if not values:
        return "–"
    text = number(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))}–{number(max(values))})"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cpu_table(f):
    """CPU of every scenario and system, and Tollgate's multiple of nginx."""
    systems = f.systems()
    rows = []
    for name in f.rounds:
        if name == "first":
            continue
        ratio = f.ratio(name)
        rows.append([f.titles.get(name, name), *(spread(f.all(name, s, "cpu")) for s in systems),
                     f"{ratio:.2f} ×" if ratio else "–"])
    return table(["CPU µs", *(NAMES[s] for s in systems), "Tollgate / nginx"], rows)


def speed_table(f):
    """Requests (or chunks) per second and latency."""
    systems = f.systems()
    rows = []
    for name in f.rounds:
        what = "time to a first event" if name.startswith("streams") or name == "first" else ""
        rows.append([f.titles.get(name, name), *(
            f"{number(f.median(name, s, 'rps'))}, {number(f.median(name, s, 'p50') or None)} / {number(f.median(name, s, 'p99') or None)}"
            if f.median(name, s) is not None else "–" for s in systems), what])
    return table(["per second, p50 / p99 µs", *(NAMES[s] for s in systems), "of what"], rows)


def part_table(f, system="tollgate"):
    """CPU by daemon."""
    parts = sorted({p for of in f.rounds.values() for s in of.get(system, []) for p in s["by"]})
    rows = [[f.titles.get(name, name), *(number(f.median(name, system, part=p)) for p in parts)] for name in f.rounds]
    return table(["CPU µs by daemon", *parts], rows)


def once_table(f):
    systems = [s for s in ("tollgate", "against") if s in f.once.get("pss_kib", {})]
    rows = [["memory of all daemons before any load, MiB (Pss)", *(number(f.pss_mib(s)) for s in systems)]]
    if "cold_start" in f.once:
        rows.append(["start of all daemons to the first answer, ms", *(spread(f.once["cold_start"][s]) for s in systems)])
    if "idle_streams" in f.once:
        n = f.idle()["streams"]
        rows.append([f"memory of one of {n:,} idle streams, KiB", *(
            number(f.idle(s)["kib_each"]) + " (" + ", ".join(f"{p} {v:.1f}" for p, v in f.idle(s)["kib_by"].items() if v >= 0.05) + ")"
            for s in systems)])
        rows.append([f"a plain request's CPU beside {n:,} idle streams", *(f"{beside(f, s):.2f} × of without" for s in systems)])
    if "growth" in f.once:
        g = f.once["growth"]["tollgate"]
        rows.append([f"growth from {g['first']:,} to {g['last']:,} requests, MiB", *(number(f.growth_mib(s)) for s in systems)])
    return table(["", *(NAMES[s] for s in systems)], rows)


def beside(f, system="tollgate"):
    i = f.idle(system)
    return statistics.median(i["cpu_beside"]) / statistics.median(i["cpu_without"]) if i else None


def errors(f):
    return {(name, s): sum(f.all(name, s, "errors")) for name, of in f.rounds.items() for s in of if sum(f.all(name, s, "errors"))}


def targets(f):
    """(what, figure, compared, target, met or None when this run has not got it). Multiples are of nginx in the same run;
    one connection's bounds were absolute where nginx took 15.3 µs of CPU and a p50 of 33 µs, and scale with it."""
    rows = []

    def add(what, figure, compared, unit, bound, at_least=False):
        met = None if compared is None else compared >= bound if at_least else compared <= bound
        said = "–" if compared is None else f"{compared:.2f} {unit}" if unit == "×" else with_unit(compared, unit)
        rows.append((what, figure, said, f"{'≥' if at_least else '≤'} {bound:g} {unit}", met))

    def times_nginx(name, bound, field="cpu", what="CPU"):
        add(f"{what}, {f.titles.get(name, name)}", with_unit(f.median(name, field=field), "µs"), f.ratio(name, field=field), "×", bound)

    for name, bound in (("c=64", 2.0), ("c=16", 2.2), ("c=256", 2.2), ("c=1", 6.5)):
        times_nginx(name, bound)
    times_nginx("c=1", 2.27, "p50", "p50")
    times_nginx("body=8 KB", 2.2)
    times_nginx("body=100 KB", 3.5)
    add("requests/s, 64 connections, of the build compared with", number(f.median("c=64", field="rps")),
        f.ratio("c=64", field="rps", other="against"), "×", 1.4, at_least=True)
    for name, bound in (("streams=64", 2.0), ("streams=1000", 1.1)):
        times_nginx(name, bound)
    first = f.median("first", field="p50")
    base = f.median("first", "nginx", "p50")
    add("added to a stream's first event, p50, 1 connection", with_unit(first, "µs"), None if first is None or base is None else first - base,
        "µs", 90)
    tls = f.median("tls", part="worker-secure")
    add("https upstream, the worker's CPU", with_unit(tls, "µs"), tls, "µs", 14)
    for what, value, unit, bound in (
            ("memory of all daemons before any load (Pss)", f.pss_mib(), "MiB", 14),
            # allocators and page counts wander by a few pages: half a MiB is none
            ("growth from 10^5 to 10^6 requests", f.growth_mib(), "MiB", 0.5),
            ("memory of an idle stream", f.idle()["kib_each"] if f.idle() else None, "KiB", 20),
            ("a plain request's CPU beside idle streams", beside(f), "×", 1.3),
            ("start of all daemons to the first answer", f.cold_ms(), "ms", 30)):
        add(what, with_unit(value, unit) if unit != "×" else "", value, unit, bound)
    return rows


def targets_table(f):
    said = {True: "met", False: "**not met**", None: "not measured"}
    return table(["target", "figure", "compared (× nginx)", "bound", ""], [[*row[:4], said[row[4]]] for row in targets(f)])


def circumstances(f):
    a = f.about
    return (f"{a['date']}, commit {a['commit']}{' with changes' if a['changed'] else ''}, {a['build']} by {a['compiler']}; "
            f"{a['processors']} processors ({a['processor']}), Linux {a['kernel']}; nginx {a['nginx']}, HAProxy {a['haproxy']}; "
            f"{a['rounds']} round{'s' * (a['rounds'] > 1)} of {a['seconds']:g} s each, load by {a['load']}")


def text(results):
    f = Figures(results)
    parts = [circumstances(f)]
    if f.rounds:
        parts += [cpu_table(f), speed_table(f), part_table(f)]
    if "against" in f.systems():
        changed = [f"{f.titles[n]}: {f.median(n, 'against'):.1f} → {f.median(n):.1f} µs" for n in f.rounds if f.median(n, "against")]
        parts.append("CPU against → Tollgate: " + "; ".join(changed))
    parts += [once_table(f), targets_table(f)]
    if errors(f):
        parts.append("ERRORS: " + ", ".join(f"{s} {name}: {n}" for (name, s), n in errors(f).items()))
    return "\n\n".join(parts)
