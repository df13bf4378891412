"""What is measured of each system: the scenarios of a round, and those that are taken of Tollgate alone."""
import collections
import json
import sys
import time

from measure import memory_kib, wait_quiet

Scenario = collections.namedtuple("Scenario", "name kind title only take")
CHUNKS, GAP_MS = 100, 10
FAR_MS = 3_600_000


def request(model, prompt_bytes, stream=False, directive=""):
    message = {"role": "user", "content": directive + "x" * (prompt_bytes - len(directive))}
    body = {"model": model, **({"stream": True} if stream else {}), "messages": [message]}
    return json.dumps(body, separators=(",", ":"))


def of_rounds(generator, *, connections, streams, seconds, chunks, gap_ms):
    """The scenarios that every round takes of every system, in order."""
    def unary(c, size):
        return lambda s: generator.unary(s, request(s.model, size), c, seconds_for(s))

    def seconds_for(system):
        return max(seconds, 5) if system.name == "litellm" else seconds

    def streamed(n):
        directive = f"[[sim chunks={chunks} pace={gap_ms}]]"
        return lambda s: generator.streams(s, request(s.model, 600, True, directive), n, max(2, seconds_for(s)))

    def over_tls(s):
        path = "/tls/v1/chat/completions" if s.name == "nginx" else "/v1/chat/completions"
        return generator.unary(s, request(s.tls_model, 600), 64, seconds, path)

    def first(s):
        return generator.streams(s, request(s.model, 600, True, "[[sim chunks=2]]"), 1, seconds_for(s))

    fast = lambda s: s.name != "litellm"  # noqa: E731
    plan = [Scenario(f"c={c}", "unary", f"{c} connection{'s' * (c > 1)}, 700 B", lambda s: True, unary(c, 600)) for c in connections]
    plan += [Scenario(f"body={title}", "unary", f"64 connections, {title}", lambda s: True, unary(64, size))
             for title, size in (("8 KB", 8000), ("100 KB", 100_000))]
    plan.append(Scenario("tls", "unary", "64 connections, https upstream", lambda s: s.tls_model is not None, over_tls))
    plan += [Scenario(f"streams={n}", "stream", f"{n:,} streams, per chunk", fast if n > 64 else lambda s: True, streamed(n))
             for n in streams]
    plan.append(Scenario("first", "stream", "1 connection, a stream's first event", lambda s: True, first))
    return plan


def cold_starts(stacks, tries):
    """Milliseconds from exec of all daemons to the first answer, of each stack, in turns."""
    taken = {s.name: [] for s in stacks}
    for _ in range(tries):
        for s in stacks:
            taken[s.name].append(s.start_anew())
    return taken


def idle_streams(generator, system, count, rounds, seconds):
    """Memory of `count` streams that stand still, and a plain request's CPU without and with them beside it."""
    text = request(system.model, 600)
    plain = [generator.unary(system, text, 64, seconds)["cpu"] for _ in range(rounds)]
    wait_quiet(system)
    before = memory_kib(system, "Anonymous")
    directive = f"[[sim chunks=2 pace={FAR_MS}]]"
    with generator.held(system, request(system.model, 600, True, directive), count, 300 + rounds * (seconds + 60)) as end:
        wait_quiet(system, patience_s=5)
        after = memory_kib(system, "Anonymous")
        beside = [generator.unary(system, text, 64, seconds)["cpu"] for _ in range(rounds)]
        left = end()["open"]
    if left != count:
        print(f"idle streams: only {left} of {count} were open to the end", file=sys.stderr)
    by = {part: (after[part] - before[part]) / count for part in after}
    return {"streams": count, "open_at_end": left, "kib_each": sum(by.values()), "kib_by": by, "cpu_without": plain,
            "cpu_beside": beside}


def growth(generator, system, first, last):
    """Anonymous memory of all daemons after `first` requests and after `last`, in KiB."""
    text = request(system.model, 600)
    errors = generator.count(system, text, 64, first, 600)["errors"]
    wait_quiet(system)
    at_first = memory_kib(system, "Anonymous")
    errors += generator.count(system, text, 64, last - first, 1800)["errors"]
    wait_quiet(system)
    at_last = memory_kib(system, "Anonymous")
    return {"first": first, "last": last, "kib_first": sum(at_first.values()), "kib_last": sum(at_last.values()), "errors": errors,
            "kib_by": {part: at_last[part] - at_first[part] for part in at_last}}


def idle_memory(system):
    """Pss of all daemons before any load, in KiB by part."""
    wait_quiet(system)
    time.sleep(0.5)
    return memory_kib(system, "Pss")
