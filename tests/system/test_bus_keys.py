"""The bus with keys (CURVE): the whole suite over tcp; who has no key, another one or somebody else's gets nothing; a
worker that is in other hands settles for its own provider alone; keys change under load."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import httpx
import pytest
import zmq
from lib.bus_peer import BusPeer, keys_of
from lib.suite import Suite, free_port, wait_for

MODEL = "gpt-4o-mini"


def chat(suite, key, edge=0, model=MODEL, **more):
    return httpx.post(suite.url_of(edge) + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json={"model": model, "messages": [{"role": "user", "content": "x"}], **more})


def refused(suite, role, reason):
    found = re.search(rf'tollgate_bus_refused_total{{role="{role}",reason="{reason}"}} (\d+)', suite.metrics_text())
    return int(found.group(1)) if found else 0


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with Suite(tmp_path_factory.mktemp("keys"), tcp=True, certs=True, brokers=2, edges=2) as s:
        yield s


@pytest.fixture(scope="module")
def key(suite):
    return suite.create_key()


def peer_of(suite, at, service, **who):
    """A peer that has a service's own keys, at a daemon."""
    role = re.sub(r"-.*", "", at)
    public, _ = keys_of(suite.certs, role)
    address = suite.bus["brokers"][0] if role == "broker" else suite.bus[role]
    pair = who.pop("pair", None) or keys_of(suite.certs, service)
    return BusPeer(address, pair=pair, server_key=public, **who)


@pytest.mark.parametrize("model", [MODEL, "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct"])
@pytest.mark.parametrize("edge", [0, 1])
def test_requests_and_streams_pass(suite, key, edge, model):
    assert chat(suite, key, edge, model).status_code == 200
    with httpx.stream("POST", suite.url_of(edge) + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json={"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True}) as r:
        assert r.status_code == 200
        assert r.read().rstrip().endswith(b"data: [DONE]")


def test_the_command_finds_its_way(suite):
    assert "worker-openai-1" in suite.ctl("status").stdout
    for what in ("auth", "metrics", "broker"):
        assert "healthy" in suite.ctl("health", what).stdout


def test_every_settlement_arrives(suite, key):
    before = sum(r["requests"] for r in suite.usage()["rows"]) if "rows" in suite.usage() else None
    assert chat(suite, key).status_code == 200
    if before is not None:
        wait_for(lambda: sum(r["requests"] for r in suite.usage()["rows"]) > before, "the request is booked")


@pytest.mark.parametrize("at", ["auth", "broker-1", "metrics"])
def test_a_stranger_without_a_key_gets_a_closed_connection(suite, at):
    """ZMTP without CURVE, and a multi-part message that never ends: nothing of it is read."""
    role = re.sub(r"-.*", "", at)
    address = suite.bus["brokers"][0] if role == "broker" else suite.bus[role]
    host, port = address.removeprefix("tcp://").split(":")
    before = refused(suite, role, "stranger")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
    part = b"\x03" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
    sent = 0
    with socket.create_connection((host, int(port)), timeout=30) as s:
        try:
            s.sendall(greeting + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER")
            for _ in range(64):
                s.sendall(part)
                sent += len(part)
            while s.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 64 << 20, "all of it was taken"
    wait_for(lambda: refused(suite, role, "stranger") > before, "it is counted")
    assert "event=stranger_refused" in suite.daemons[at].log


def test_an_unknown_key_is_refused(suite):
    pair = tuple(k.decode() for k in zmq.curve_keypair())
    before = refused(suite, "auth", "key")
    with peer_of(suite, "auth", "edge", pair=pair, role="edge", name="edge-x") as peer:
        assert peer.greet(2) is None
    wait_for(lambda: refused(suite, "auth", "key") > before, "it is counted")
    assert "its key is not listed" in suite.daemons["auth"].log


@pytest.mark.parametrize("who", [{"role": "edge", "name": "edge-1"}, {"role": "edge", "name": "edge-x"},
                                 {"role": "worker", "name": "worker-anthropic-1", "provider": "anthropic"},
                                 {"role": "worker", "name": "edge-1", "provider": "openai"}])
def test_a_workers_key_makes_nobody_anything_else(suite, key, who):
    for at in ("auth", "broker-1"):
        before = refused(suite, at[:6].rstrip("-"), "role")
        with peer_of(suite, at, "worker-openai", **who) as peer:
            assert peer.greet() == "REFUSE" or who["name"] == "edge-x"
        wait_for(lambda: refused(suite, at[:6].rstrip("-"), "role") > before, "it is counted")
    assert chat(suite, key).status_code == 200, "nobody's links were ended"


def test_a_worker_settles_for_its_own_provider_alone(suite):
    with peer_of(suite, "auth", "worker-openai", role="worker", name="worker-openai-x", provider="openai") as peer:
        assert peer.greet() == "WELCOME"
        before = refused(suite, "auth", "message")
        peer.send("SETTLE", id=b"\x01" * 16, attempt=1, key_id="key_x", provider="anthropic", model=MODEL, api=1, status=200)
        peer.send("AUTHORIZE", id=b"\x02" * 16, key_digest=bytes(32), model=MODEL, api=1)
        peer.send("RELEASE", id=b"\x03" * 16, key_id="key_x", model=MODEL, api=1, status=200)
        assert peer.receive(1) is None
        wait_for(lambda: refused(suite, "auth", "message") == before + 3, "all three are counted")
        peer.send("SETTLE", id=b"\x04" * 16, attempt=1, key_id="key_x", provider="openai", model=MODEL, api=1, status=200)
        assert peer.receive() == "SETTLED"
    assert re.search(r"event=message_refused .*type=SETTLE .*peer=worker-openai-x", suite.daemons["auth"].log)


def test_a_worker_asks_no_broker_for_grants(suite):
    with peer_of(suite, "broker-1", "worker-openai", role="worker", name="worker-openai-y", provider="openai") as peer:
        assert peer.greet() == "WELCOME"
        before = refused(suite, "broker", "message")
        peer.send("ASK", id=b"\x05" * 16, attempt=1, api=1, model=MODEL, key_id="key_x", wanted=1)
        wait_for(lambda: refused(suite, "broker", "message") == before + 1, "it is counted")


def test_nobody_but_edges_reaches_a_worker(suite):
    address = listener(suite.daemons["worker-openai-1"].process.pid)
    public, _ = keys_of(suite.certs, "worker-openai")
    for service, role in (("auth", "auth"), ("worker-anthropic", "worker")):
        with BusPeer(address, role=role, name=f"{service}-x", provider="anthropic" if role == "worker" else "",
                     pair=keys_of(suite.certs, service), server_key=public) as peer:
            assert peer.greet() in ("REFUSE", None)


def listener(pid):
    """The one tcp address that a process listens on."""
    inodes = {os.readlink(f)[8:-1] for f in pathlib.Path(f"/proc/{pid}/fd").iterdir() if os.readlink(f).startswith("socket:[")}
    lines = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    (port,) = {int(f[1].split(":")[1], 16) for f in lines if f[3] == "0A" and f[9] in inodes}
    return f"tcp://127.0.0.1:{port}"


class Load:
    """Requests without end, and what they brought."""

    def __init__(self, suite, key):
        self.suite, self.key, self.done, self.results = suite, key, threading.Event(), []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.done.is_set():
            for edge in range(self.suite.edge_count):
                self.results.append(chat(self.suite, self.key, edge).status_code)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def goes_on(self):
        seen = len(self.results)
        wait_for(lambda: len(self.results) > seen + 10, "requests go on")


@pytest.mark.parametrize("service,daemons", [("broker", ["broker-1", "broker-2"]), ("worker-openai", ["worker-openai-1"]),
                                             ("edge", []), ("auth", ["auth"])])
def test_a_key_changes_under_load_in_three_steps(tmp_path, service, daemons):
    def everywhere(s):
        for name, d in s.daemons.items():
            if name != "simulator":
                seen = d.log.count("event=reloaded")
                d.signal(signal.SIGHUP)
                wait_for(lambda: d.log.count("event=reloaded") > seen, f"{name} has reloaded")

    with Suite(tmp_path, tcp=True, certs=True, brokers=2, workers={"openai": 2, "anthropic": 1, "replicate": 1}) as s:
        with Load(s, s.create_key()) as load:
            load.goes_on()
            old, _ = keys_of(s.certs, service)
            assert "1 of 3" in s.ctl("certs", "rotate", s.certs, service).stdout
            everywhere(s)
            assert "2 of 3" in s.ctl("certs", "rotate", s.certs, service).stdout
            for name in daemons + (["worker-openai-2"] if service == "worker-openai" else []):
                assert s.daemons[name].stop() == 0
                s.daemons[name].start()
                ready = s.daemons[name].log.count("event=ready")
                wait_for(lambda: s.daemons[name].log.count("event=ready") >= ready and s.daemons[name].alive, f"{name} is back")
                load.goes_on()
            if service == "edge":
                return  # its restart is refused connections here: tested with what holds its socket
            assert "3 of 3" in s.ctl("certs", "rotate", s.certs, service).stdout
            everywhere(s)
            load.goes_on()
            assert old not in (s.certs / "public.keys").read_text()
        assert set(load.results) == {200}, {c: load.results.count(c) for c in set(load.results)}


def test_a_plain_bus_does_not_leave_the_machine_unless_that_is_said(tmp_path):
    with Suite(tmp_path, tcp=True, workers={}) as s:
        address = f"tcp://0.0.0.0:{free_port()}"
        done = subprocess.run([str(s.bin / "tollgate-broker"), "--name", "broker-x", "--bind", address], env=s.environment(),
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "event=plaintext_bus" in done.stderr and "tollgate certs create" in done.stderr
        s.write_config(bus={**s.bus, "plaintext": True})
        open_bus = s.add("broker-x", "tollgate-broker", "--name", "broker-x", "--bind", address)
        wait_for(lambda: "event=ready" in open_bus.log, "it starts when it is meant")


def test_a_daemon_without_its_keys_does_not_start(tmp_path):
    with Suite(tmp_path, tcp=True, certs=True, workers={}) as s:
        (s.certs / "broker.secret").chmod(0o444)
        done = subprocess.run([str(s.bin / "tollgate-broker"), "--name", "broker-x", "--bind", f"tcp://127.0.0.1:{free_port()}"],
                              env=s.environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "others may read this secret" in done.stderr
