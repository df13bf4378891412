"""Runs hard cases against a gateway: sends the client's request, lets the scripted upstream answer, compares."""
import json
import pathlib
import socket
import time

import httpx

from client import chat_story, messages_story, normal_request, responses_story
from jsontext import ABSENT, Matcher, Mismatch, Number, dumps, loads, show
from upstream import frame

CASES = pathlib.Path(__file__).resolve().parent / "cases"
PATIENCE_S = 60
SETTLE_S = 3
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "completions": "/v1/completions",
         "responses": "/v1/responses"}


def load_cases(folder=CASES):
    """All cases in order of their numbers, fragments filled in."""
    fragments = loads((folder / "fragments.json").read_text())
    cases = []
    for path in sorted(folder.glob("*.json")):
        if path.name != "fragments.json":
            area = loads(path.read_text())
            cases += [dict(fill(c, fragments), area=area["area"]) for c in area["cases"]]
    return sorted(cases, key=lambda c: c["id"])


def fill(value, fragments):
    """Replaces "@name" in arrays by the fragment's elements."""
    if isinstance(value, dict):
        return {k: fill(v, fragments) for k, v in value.items()}
    if isinstance(value, list):
        out = []
        for item in value:
            if isinstance(item, str) and item.startswith("@") and item[1:] in fragments:
                out += fragments[item[1:]]
            else:
                out.append(fill(item, fragments))
        return out
    return value


def repeated(value):
    """{"$repeat": ["x", 3]} stands for "xxx" in what a client sends."""
    if isinstance(value, dict):
        if set(value) == {"$repeat"}:
            return value["$repeat"][0] * int(value["$repeat"][1])
        return {k: repeated(v) for k, v in value.items()}
    if isinstance(value, list):
        return [repeated(v) for v in value]
    return value


def request_bytes(run, models=None):
    """What the client sends; `models` are the gateway's own names of the cases' models."""
    models = models or {}
    if "request_text" in run:
        parts = run["request_text"] if isinstance(run["request_text"], list) else [run["request_text"]]
        text = "".join(repeated(p) for p in parts)
        for ours, theirs in models.items():
            text = text.replace(f'"{ours}"', f'"{theirs}"')
        return text.encode("utf-8", "surrogateescape")
    if "request" not in run:
        return b""
    request = repeated(run["request"])
    return dumps(request | {"model": models.get(request.get("model"), request.get("model"))}).encode()


class Answer:
    """What the client got."""

    def __init__(self, status=0, headers=None, raw=b"", broken=None):
        self.status, self.headers, self.raw, self.broken = status, headers or {}, raw, broken

    @property
    def is_stream(self):
        return "text/event-stream" in self.headers.get("content-type", "")

    def story(self, client):
        tell = {"messages": messages_story, "responses": responses_story}.get(client, chat_story)
        story = tell(self.raw if self.is_stream else b"")
        story["failed"] = self.status >= 400 or story["error"] is not None or self.broken is not None
        if not self.is_stream and self.status < 400:
            story["faults"].append("not a stream")
        return story

    def __str__(self):
        text = self.raw.decode("utf-8", "replace")
        return f"HTTP {self.status}{f' ({self.broken})' if self.broken else ''} {text[:600]}"


class Runner:
    def __init__(self, url, key, upstream, own=False, patience_s=SETTLE_S, models=None, paths=None):
        self.url, self.key, self.upstream, self.own = url.rstrip("/"), key, upstream, own
        self.models, self.paths = models or {}, PATHS | (paths or {})
        self.patience_s = patience_s  # for calls that come after the answer
        self.http = httpx.Client(timeout=PATIENCE_S, headers={"accept-encoding": "identity"}, trust_env=False)

    def close(self):
        self.http.close()

    # ---- sending ----
    def headers(self, run):
        headers = {"content-type": "application/json"}
        if run.get("client") == "messages":
            headers |= {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        else:
            headers["authorization"] = f"Bearer {self.key}"
        return headers | run.get("headers", {})

    def send(self, run):
        method, path = run.get("method", "POST"), run.get("path", self.paths[run["client"]])
        try:
            with self.http.stream(method, self.url + path, headers=self.headers(run),
                                  content=request_bytes(run, self.models)) as r:
                answer = Answer(r.status_code, {k.lower(): v for k, v in r.headers.items()})
                try:
                    for piece in r.iter_raw():
                        answer.raw += piece
                except httpx.HTTPError as e:
                    answer.broken = type(e).__name__
                return answer
        except httpx.HTTPError as e:
            return Answer(0, broken=f"{type(e).__name__}: {e}")

    def leave(self, run):
        """Sends the request and goes away without an answer."""
        try:
            self.http.post(self.url + self.paths[run["client"]], headers=self.headers(run), content=request_bytes(run, self.models),
                           timeout=int(run["leave_after_ms"]) / 1000)
        except httpx.TimeoutException:
            return Answer(0, broken="left")
        return Answer(0, broken="answered before the client left")

    def socket_client(self, run):
        """A client that says Expect: 100-continue, and may declare a body it never sends."""
        body = request_bytes(run, self.models)
        length = int(run["declare_bytes"]) if "declare_bytes" in run else len(body)
        host = httpx.URL(self.url)
        head = f"POST {self.paths[run['client']]} HTTP/1.1\r\nhost: {host.host}\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n"
        head += "".join(f"{k}: {v}\r\n" for k, v in self.headers(run).items()) + "connection: close\r\n\r\n"
        with socket.create_connection((host.host, host.port or 80), PATIENCE_S) as s:
            s.sendall(head.encode())
            first = s.recv(4096)
            if "declare_bytes" in run:
                return self._read_answer(s, first)
            if b" 100 " not in first.split(b"\r\n")[0]:
                return Answer(0, broken="no 100 Continue")
            s.sendall(body)
            return self._read_answer(s, first.partition(b"\r\n\r\n")[2])

    @staticmethod
    def _read_answer(s, got):
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/") else 0
        return Answer(status, {k.lower(): v.strip() for k, _, v in (li.partition(":") for li in lines[1:])}, body)

    # ---- one case ----
    def run_case(self, case):
        """The failures of a case, as lines; none when it passes."""
        failures = []
        for run in case["runs"]:
            if run.get("only") == "own" and not self.own:
                continue
            failures += [f"{run['name']}: {f}" for f in self.run_one(run)]
        return failures

    def run_one(self, run):
        for pieces in self.ways(run):
            self.upstream.load(run.get("upstream", {}), pieces)
            for _ in range(int(run.get("times", 1))):
                answer = self.leave(run) if "leave_after_ms" in run else (
                    self.socket_client(run) if "socket" in run else self.send(run))
            failure = self.judge(run, answer)
            if failure:
                return [f"{failure}{'' if pieces == 'events' else f' [stream sent in pieces: {pieces}]'}"]
        return []

    def ways(self, run):
        """How often and in which pieces the stream is sent."""
        for pieces in run.get("pieces", self.usual_ways(run)):
            if not isinstance(pieces, dict):
                yield pieces
                continue
            total = self.stream_length(run)
            count = int(pieces["cuts"])
            yield from sorted({max(1, total * i // (count + 1)) for i in range(1, count + 1)})

    def usual_ways(self, run):
        """Events one by one; Tollgate's answer is the same when all come in one read, and byte by byte."""
        streams = [a["sse"] for answers in run.get("upstream", {}).values() for a in answers if "sse" in a]
        short = streams and not any(isinstance(i, dict) and "$repeat" in i for s in streams for i in s)
        return ["events", "whole", "bytes"] if self.own and short else ["events"]

    def stream_length(self, run):
        provider = run["provider"]
        return sum(len(frame(i, provider)) for i in run["upstream"]["answers"][0]["sse"])

    def judge(self, run, answer):
        expect = run.get("expect", {})
        try:
            self.check_any(run, expect if isinstance(expect, list) else [expect], answer)
            if self.own:
                self.check(run, run.get("own", {}), answer)
        except Mismatch as e:
            return f"{e} | client got {answer}"
        return None

    # ---- comparing ----
    def check_any(self, run, alternatives, answer):
        for i, expect in enumerate(alternatives):
            try:
                return self.check(run, expect, answer)
            except Mismatch:
                if i == len(alternatives) - 1:
                    raise

    def check(self, run, expect, answer):
        matcher = Matcher(bool(expect.get("exact")))
        self.check_client(run, expect, answer, matcher)
        self.check_upstream(run, expect, matcher)
        if "kinds" in expect:
            self.check_kinds(expect["kinds"], matcher)

    def check_client(self, run, expect, answer, matcher):
        if "status" in expect:
            matcher.check(expect["status"], Number(answer.status), "status")
        if "headers" in expect:
            matcher.check(expect["headers"], answer.headers, "headers")
        if "story" in expect:
            matcher.check(expect["story"], answer.story(run["client"]), "story")
        if "body" in expect:
            try:
                body = loads(answer.raw)
            except ValueError:
                body = ABSENT
            matcher.check(expect["body"], body, "body")
        for text in expect.get("raw_has", []):
            if text.encode("utf-8", "surrogateescape") not in answer.raw:
                raise Mismatch(f"answer lacks {show(text)}")
        for text in expect.get("raw_lacks", []):
            if text.encode("utf-8", "surrogateescape") in answer.raw:
                raise Mismatch(f"answer has {show(text)}")
        if expect.get("raw_is_upstream") and answer.raw != run["upstream"]["answers"][0]["text"].encode():
            raise Mismatch("the answer's bytes are not the upstream's")

    def calls(self):
        return [c for c in self.upstream.calls if c.kind in ("call", "create")]

    def check_upstream(self, run, expect, matcher):
        calls = self.calls()
        if "calls" in expect:
            matcher.check(expect["calls"], Number(len(calls)), "calls to the upstream")
        if "upstream" in expect:
            body = normal_request(calls[-1].json, calls[-1].provider) if calls else ABSENT
            matcher.check(expect["upstream"], body, "upstream")
        if "upstreams" in expect:
            matcher.check(expect["upstreams"], [normal_request(c.json, c.provider) for c in calls], "upstream calls")
        for text in expect.get("upstream_raw_has", []):
            if not calls or text.encode("utf-8", "surrogateescape") not in calls[-1].body:
                raise Mismatch(f"upstream request lacks {show(text)}: {calls[-1].body.decode('utf-8', 'replace')[:600] if calls else 'no call'}")
        if expect.get("upstream_raw_is_request") and (not calls or calls[-1].body != request_bytes(run, self.models)):
            raise Mismatch(f"upstream request is not the client's bytes: {calls[-1].body.decode('utf-8', 'replace')[:600] if calls else 'no call'}")
        if expect.get("same_connection") and len({c.connection for c in calls}) != 1:
            raise Mismatch(f"upstream connections used: {len({c.connection for c in calls})}")

    def check_kinds(self, kinds, matcher):
        """Counts of Replicate's calls by kind; waits a little, since some come after the answer."""
        until = time.monotonic() + self.patience_s
        while True:
            counts = {k: Number(sum(c.kind == k for c in self.upstream.calls)) for k in ("create", "get", "stream", "cancel")}
            counts["trapped"] = Number(len(self.upstream.trapped))
            if matcher.matches(kinds, counts) or time.monotonic() > until:
                return matcher.check(kinds, counts, "calls by kind")
            time.sleep(0.05)


# ---- reports ----

def stars(case):
    return "**" if case.get("top20") else "*" if case.get("star") else ""


def table(results):
    """Markdown: a line per case, then the sums by area."""
    width = max(len(r["case"]["title"]) for r in results)
    lines = []
    for area in dict.fromkeys(r["case"]["area"] for r in results):
        lines += ["", area]
        for r in (r for r in results if r["case"]["area"] == area):
            c = r["case"]
            lines.append(f"  {c['id']} {stars(c):2} {c['title']:{width}}  {r['outcome']}{'  ' + r['reason'] if r['outcome'] == 'n/a' else ''}")
    return "\n".join(lines)


def sums(results):
    rows = [("area", "passed", "failed", "n/a")]
    areas = list(dict.fromkeys(r["case"]["area"] for r in results))
    for area in areas + ["all"]:
        of = [r for r in results if area in ("all", r["case"]["area"])]
        rows.append((area, *(str(sum(r["outcome"] == o for r in of)) for o in ("passed", "failed", "n/a"))))
    return "\n".join(f"{r[0]:12} {r[1]:>7} {r[2]:>7} {r[3]:>5}" for r in rows)


def write_json(path, results, about):
    path.write_text(json.dumps({**about, "results": [
        {"id": r["case"]["id"], "area": r["case"]["area"], "title": r["case"]["title"], "outcome": r["outcome"],
         "failures": r["failures"], "reason": r["reason"]} for r in results]}, indent=1) + "\n")
