"""Clients that leave, do not read, say half of it, or try to trick the framing."""
import asyncio
import collections
import contextlib
import itertools
import json
import pathlib
import re
import resource
import socket
import threading
import time

from lib.suite import wait_for
from traffic import Load
from trial import MIB, MODELS, percentile, test

PATH = "/v1/chat/completions"


def many_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def head(key, length, path=PATH, more=""):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"


def send(suite, key, body, edge=0, small=False):
    """A request that nobody waits for: its connection."""
    raw = json.dumps(body).encode()
    s = socket.socket()
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", suite.ports[edge]))
    s.sendall(head(key, len(raw)).encode() + raw)
    return s


def chat(text, model="gpt-4o-mini", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


class Watcher:
    """An upstream whose streams never end; it notes when each of them was closed, by the request's marker. endless: it sends as much as is taken."""

    def __init__(self, endless=False):
        self.begun, self.closed, self.endless = {}, {}, endless
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=2000), self.loop).result()
        self.port = server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        marker = None
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", request)[1])
            marker = re.search(rb"<(\d+)>", await reader.readexactly(length))[1].decode()
            event = json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                                "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {event}\n\n".encode())
            self.begun[marker] = time.monotonic()
            while self.endless:
                writer.write(f"data: {event}\n\n".replace("word", "word" * 1000).encode())
                await writer.drain()
            await reader.read(1)  # until it is closed
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        self.closed[marker] = time.monotonic()
        writer.close()

    def provider(self):
        return {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"http://127.0.0.1:{self.port}/v1"], "private": True}


@test("T11", "1,000 clients leave their streams at once", alone=True)
def t11(trial):
    many_files()
    upstream, count = Watcher(), 200 if trial.quick else 1000
    trial.suite = suite = trial.make_suite(providers={"openai": upstream.provider()}, options={"worker": {"slots": 2048}})
    suite.start()
    key, took = suite.create_key(), []
    for r in range(1 if trial.quick else 3):
        markers = [str(r * count + i) for i in range(count)]
        clients = {m: send(suite, key, chat(f"<{m}>", stream=True), int(m) % 2) for m in markers}
        wait_for(lambda: all(m in upstream.begun for m in markers), "all streams run")
        left = {}
        for m, s in clients.items():
            left[m] = time.monotonic()
            s.close()
        wait_for(lambda: all(m in upstream.closed for m in markers), "all are closed upstream")
        took += [upstream.closed[m] - left[m] for m in markers]
    trial.facts["leavers"] = len(took)
    trial.took("closed upstream after, 99th percentile", percentile(took, 0.99), 0.2)
    trial.unrest = {}

    def none_runs():
        trial.unrest = {k: v for n in ("tollgate_requests_in_flight", "tollgate_worker_in_flight", "tollgate_grants") for k, v in trial.gauges(n).items() if v}
        return not trial.unrest
    with contextlib.suppress(AssertionError):
        wait_for(none_runs, "slots come back", 30)
    trial.none("slots that did not come back", trial.unrest)


@test("T12", "1,000 readers that do not read", full_only=True, alone=True)
def t12(trial):
    many_files()
    upstream, count, names, pairs = Watcher(endless=True), 200 if trial.quick else 1000, ["edge-1", "worker-slow-1"], []
    trial.suite = suite = trial.make_suite(edges=1, workers={"openai": 1, "slow": 1}, providers={"slow": upstream.provider()}, options={
        "worker": {"slots": 2048}}, models={**MODELS, "slow": {"targets": [{"provider": "slow"}]}})
    suite.start()
    slow = suite.create_key(name="slow")
    with Load(suite, 8, 4) as load:
        load.goes_on(50)
        for r in range(1 if trial.quick else 3):
            before, without = sum(trial.memory(n) for n in names), load.took(2)
            markers = [str(r * count + i) for i in range(count)]
            readers = [send(suite, slow, chat(f"<{m}>", "slow", stream=True), small=True) for m in markers]
            wait_for(lambda: all(m in upstream.begun for m in markers), "all run")
            time.sleep(5)  # their windows fill
            pairs.append((without, load.took(2)))
            trial.mark("memory for each", (sum(trial.memory(n) for n in names) - before) * 1024 / count, most=512, unit="KiB")
            for s in readers:
                s.close()
            wait_for(lambda: all(m in upstream.closed for m in markers), "they are gone")
    trial.slower("others' p99 is higher by", pairs, 10)
    trial.no_failures(load)
    return load


def unread(port, client):
    """Bytes between a client's socket and what serves it on that port: sent, and not read."""
    ours = {f"{port:04X}", f"{client:04X}"}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        f = line.split()
        if {f[1].split(":")[1], f[2].split(":")[1]} == ours:
            yield sum(int(q, 16) for q in f[4].split(":"))


def read_of(port, s, data, seconds=30):
    """How much of this a server reads; what it says."""
    sent, read, said, until, client = 0, 0, b"", time.monotonic() + seconds, s.getsockname()[1]
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    s.setblocking(False)
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                piece = s.recv(65536)
                said += piece
                if not piece and sent == len(data):
                    break
            with contextlib.suppress(BlockingIOError):
                sent += s.send(data[sent:sent + 16384])
            time.sleep(0.002)
            queues = list(unread(port, client))
            if len(queues) == 2 and queues == list(unread(port, client)):  # both ends are there still, and nothing is on its way between them
                read = max(read, sent - sum(queues))
    return read, said


@test("T14", "heads and bodies that are too large", edges=1, workers={"openai": 1}, options={"edge": {"max_body": "1MiB"}})
def t14(trial):
    chunked, wrong, most = (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 96, {}, 0
    forms = [("a line", 431, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Big: ", b"a" * MIB, 32 << 10),
             ("fields", 431, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n" * (MIB // 8), 32 << 10),
             ("a target", 431, b"GET /", b"a" * MIB, 32 << 10)]
    # nothing beyond 64 KiB is read for who has no key; who has one sends on and is answered, what comes is dropped
    for who, key, statuses in (("a stranger's", "sk-nobody", (401, 401)), ("a client's", trial.suite.create_key(), (413, 413))):
        start, ahead = head(key, 9 * MIB), 40 << 10  # libmicrohttpd, which takes chunked bodies, reads as much ahead as its pool holds
        forms += [(f"{who} body", statuses[0], start.encode(), b" " * 9 * MIB, 0),
                  (f"{who} chunked body", statuses[1], start.replace(f"Content-Length: {9 * MIB}", "Transfer-Encoding: chunked").encode(), chunked, ahead)]
    for name, status, start, rest, limit in forms:
        with socket.create_connection(("127.0.0.1", trial.suite.ports[0])) as s:
            s.sendall(start)
            read, said = read_of(trial.suite.ports[0], s, rest)
        found = re.match(rb"HTTP/1\.1 (\d+)", said)
        if not found or int(found[1]) != status:
            wrong[name] = said[:80]
        past = max(0, read - limit) / 1024
        trial.facts[name] = f"{past:.0f} KiB past"
        if not name.startswith("a client's"):
            most = max(most, past)
    trial.none("other answers than 431, 413, and 401 to strangers", wrong)
    trial.mark("read past the limit of a head, or of a stranger's body", most, most=64, unit="KiB")


def smuggling():
    """Heads that two readers may end at different places: name and head, without the blank line."""
    lengths = ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6",
               "Content-Length: -1", "Content-Length: +5", "Content-Length: 5, 6", "Content-Length: 0x5", "Content-Length: 5 5", "Content-Length: 5a",
               "Content-Length:", "Content-Length: 99999999999999999999", "Content-Length : 5", "Content-Length\t: 5",
               "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity",
               "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding:\x0bchunked",
               "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
               "Transfer-Encoding:", "Transfer_Encoding: chunked\r\nTransfer-Encoding: , chunked", "Content-Length: 5\r\n Transfer-Encoding: chunked",
               " Transfer-Encoding: chunked", "Host: y\r\nContent-Length: 5", "X: a\x00b\r\nContent-Length: 5", "X: a\rb\r\nContent-Length: 5",
               "A\tB: c\r\nContent-Length: 5", ": c\r\nContent-Length: 5", "A(B): c\r\nContent-Length: 5", "no colon\r\nContent-Length: 5"]
    cases, places = [str, str.lower, str.upper], ["{h}\r\n{f}", "{f}\r\n{h}"]
    versions = ["HTTP/1.1"]
    methods = ["POST", "GET", "PUT"]
    for field, case, place, version, method in itertools.product(lengths, cases, places, versions, methods):
        fields = place.format(h="Host: x\r\nAuthorization: Bearer KEY", f=case(field))
        yield f"{method} {PATH} {version}\r\n{fields}\r\n\r\n"


@test("T15", "heads that two readers may understand differently, with a second request behind them", beside=True, edges=1, workers={"openai": 1})
def t15(trial):
    suite, key = trial.suite, trial.suite.create_key(name="smuggler")
    forms = list(dict.fromkeys(smuggling()))
    second = json.dumps(chat("<second>"))
    tail = f"0\r\n\r\n{head(key, len(second))}{second}"
    wrong, open_ = {}, {}
    for form in forms[::7] if trial.quick else forms:
        with socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=3) as s:
            said, closed = b"", True
            try:
                s.sendall((form.replace("KEY", key) + tail).encode("latin-1"))
                while piece := s.recv(65536):
                    said += piece
            except TimeoutError:
                closed = False
            except ConnectionError:
                pass
        statuses = re.findall(rb"HTTP/1\.1 (\d+)", said)
        if statuses not in ([b"400"], [b"501"]):
            wrong[form] = said[:120]
        if not closed:
            open_[form] = said[:80]
    seen = [r for r in suite.sim_requests() if "<second>" in json.dumps(r)]
    trial.mark("forms", len(forms), least=500)
    trial.none("other answers than 400", wrong)
    trial.none("connections left open", open_)
    trial.none("second requests that ran", seen)


@test("T16", "100 pipelined requests", beside=True, edges=1, workers={"openai": 1})
def t16(trial):
    suite, key = trial.suite, trial.suite.create_key()
    bodies = [json.dumps(chat(f"<pipelined-{i}>")) for i in range(100)]
    with Load(suite, 2, 0) as load, socket.create_connection(("127.0.0.1", suite.ports[0]), timeout=60) as s:
        began = time.monotonic()
        s.sendall("".join(head(key, len(b)) + b for b in bodies).encode())
        file, order = s.makefile("rb"), []
        for _ in bodies:
            status = file.readline().split()[1]
            fields = {}
            while (line := file.readline().strip()):
                name, value = line.split(b":", 1)
                fields[name.lower()] = value.strip()
            text = json.loads(file.read(int(fields[b"content-length"])))["choices"][0]["message"]["content"] if status == b"200" else ""
            order.append(int((re.search(r"<pipelined-(\d+)>", text) or [0, -1])[1]))
        trial.facts["all after"] = f"{time.monotonic() - began:.2f} s"
    trial.none("answers out of their order", [o for i, o in enumerate(order) if o != i])
    trial.none("others failed", load.bad())


@test("T17", "clients that close their sending half are taken for gone", beside=True, edges=1, workers={"openai": 1})
def t17(trial):
    suite, count = trial.suite, 20 if trial.quick else 100
    key, ends = suite.create_key(name="half"), collections.Counter()
    crowd = [send(suite, key, chat("[[sim delay=3000]] <half>", stream=i % 2 == 0)) for i in range(count)]
    wait_for(lambda: suite.sim_stats()["requests"] >= count, "all are asked")
    began = time.monotonic()
    for s in crowd:
        s.shutdown(socket.SHUT_WR)
    for s in crowd:
        s.settimeout(10)
        with contextlib.suppress(ConnectionError):
            ends["answered" if s.recv(4096).startswith(b"HTTP/1.1 200") else "closed"] += 1
        s.close()
    trial.took("closed after", time.monotonic() - began, 1)
    trial.mark("connections closed without an answer", ends["closed"], least=count)

    def booked():
        return [r for r in suite.usage("--requests", "--limit", "1000") if r["key_name"] == "half"]
    with contextlib.suppress(AssertionError):
        wait_for(lambda: len(booked()) >= count, "all are booked", 20)
    trial.mark("rows with status 499, estimated", sum(r["status"] == 499 and bool(r["estimated"]) for r in booked()), least=count)


def anonymous(trial, names):
    """KiB"""
    return sum(int(re.search(r"Anonymous:\s+(\d+)", pathlib.Path(f"/proc/{trial.suite.daemons[n].process.pid}/smaps_rollup").read_text())[1])
               for n in names)


@test("T18", "10,000 idle streams", edges=1, options={"worker": {"slots": 12000}, "edge": {"max_connections_per_address": 0}})
def t18(trial):
    many_files()
    suite, count = trial.suite, 1000 if trial.quick else 10000
    key, names = suite.create_key(), [n for n in trial.suite.daemons if n != "simulator"]
    with Load(suite, 4, 0) as load:
        load.goes_on(200)
    before, crowd = anonymous(trial, names), []
    for i in range(count):
        s = socket.socket()
        s.bind((f"127.0.2.{1 + i % 50}", 0))
        s.connect(("127.0.0.1", suite.ports[0]))
        raw = json.dumps(chat("[[sim chunks=2 pace=600000]] x", stream=True))
        s.sendall((head(key, len(raw)) + raw).encode())
        crowd.append(s)
        if i % 200 == 199:
            wait_for(lambda n=i: suite.sim_stats()["requests"] > n, "they are asked")
    time.sleep(3)
    cpu, since = sum(trial.cpu(n) for n in names), time.monotonic()
    trial.mark("memory of each", (anonymous(trial, names) - before) / count, most=20, unit="KiB")
    time.sleep(5 if trial.quick else 20)  # with their keep-alive comments
    trial.mark("CPU of all daemons", 100 * (sum(trial.cpu(n) for n in names) - cpu) / (time.monotonic() - since), most=5, unit="%")
    open_ = 0
    for s in crowd:
        s.setblocking(False)
        try:
            while s.recv(65536):
                pass
        except BlockingIOError:
            open_ += 1
        s.close()
    trial.mark("streams open at the end", open_, least=count)
