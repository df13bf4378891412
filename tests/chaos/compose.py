"""The same failures in containers: docker-compose.yml from an image of this checkout, Docker as the supervisor."""
import atexit
import collections
import re
import socket
import subprocess
import time

from lib.bus_peer import BusPeer
from lib.compose import Compose, build_image, run
from lib.suite import wait_for
from traffic import Load
from trial import Skipped, test

STARTED = []


def suite():
    """One for all these tests; the image is built once."""
    if not STARTED:
        version = subprocess.run("docker info && docker-compose version --short", shell=True, capture_output=True, text=True)
        if version.returncode or not re.search(r"^v?[2-9][0-9.-]*$", version.stdout, re.M):
            raise Skipped("no Docker, or no Compose v2 (deploy/install-deps --docker)")
        build_image()
        STARTED.append(Compose())
        atexit.register(STARTED[0].down)
        STARTED[0].up()
        key = STARTED[0].create_key("ready")
        wait_for(lambda: STARTED[0].chat(key).status_code == 200, "it serves", 60)
    return STARTED[0]


def kills(trial):
    return max(2, trial.args.kills // 10)


def crash(compose, container):
    """Docker's own restarts wait longer and longer for one that dies again and again."""
    compose.kill(container)
    wait_for(lambda: not compose.state(container)["State"]["Running"] or compose.state(container)["RestartCount"], "it is gone")
    run("docker", "start", container)


@test("T1-compose", "a container of a worker killed −9 under unary load", beside=True, full_only=True, alone=True)
def t1_compose(trial):
    trial.running = c = suite()
    c.scale("worker-openai", 2)
    with Load(c, 6, 0) as load:
        for i in range(kills(trial)):
            crash(c, c.containers("worker-openai")[i % 2])
            load.goes_on(30)
            load.turns_over()
    judge(trial, load)


@test("T4-compose", "a container of a broker killed −9; then both away for 5 s", full_only=True, alone=True)
def t4_compose(trial):
    trial.running = c = suite()
    with Load(c, 4, 6, stream_words="chunks=80 pace=50") as load:
        for i in range(kills(trial)):
            crash(c, c.containers(f"broker-{i % 2 + 1}")[0])
            load.goes_on(20)
        brokers = [c.containers(f"broker-{i}")[0] for i in (1, 2)]
        run("docker", "stop", "-t", "0", *brokers)
        time.sleep(5)
        run("docker", "start", *brokers)
        load.goes_on(40)
    trial.took("longest silence in a stream", max(h.gap for h in load.hits), 0.5)
    judge(trial, load)


@test("T23-compose", "every container but the edge's restarted in turn", beside=True, full_only=True, alone=True)
def t23_compose(trial):
    trial.running = c = suite()
    c.scale("worker-openai", 2)
    with Load(c, 4, 4) as load:
        for _ in range(1 if trial.quick else 3):
            for service in ("metrics", "auth", "broker-1", "broker-2", "worker-openai"):
                for container in c.containers(service):
                    run("docker", "restart", "-t", "40", container)
                    load.goes_on(30)
    judge(trial, load)


@test("T24-compose", "worker-openai scaled 1 → 8 → 1", full_only=True, alone=True)
def t24_compose(trial):
    trial.running = c = suite()
    c.scale("worker-openai", 1)
    with Load(c, 4, 120, stream_words="chunks=20 pace=150") as load:
        c.scale("worker-openai", 8)
        time.sleep(5)
        sums = collections.Counter()
        for _ in range(6):
            time.sleep(0.7)
            sums.update({m[1]: v for k, v in trial.gauges("tollgate_requests_in_flight", c).items() if (m := re.search(r'instance="(worker-openai[^"]*)"', k))})
        fair = sum(sums.values()) / 8
        each = [v / fair for v in sums.values() if v] if fair else []
        trial.facts["shares"] = [round(v, 2) for v in each]
        trial.mark("workers with a share", len(each), least=8)
        trial.mark("a worker's share is off by", max((abs(v - 1) for v in each), default=1.0), most=0.1 * (2.5 if trial.quick else 1))
        c.scale("worker-openai", 1)
        load.goes_on(80)
    judge(trial, load)


def judge(trial, load):
    """No failures, and the books are right; the suite goes on for the next test."""
    trial.no_failures(load)
    trial.suite = trial.running
    try:
        trial.ledger(load)
    finally:
        trial.suite = None


def refused(trial, c):
    return sum(v for k, v in trial.gauges("tollgate_bus_refused_total", c).items() if 'role="auth"' in k and 'reason="message"' in k)


@test("T39-compose", "a stranger in the bus's network, and a worker in other hands", beside=True, full_only=True, alone=True)
def t39_compose(trial):
    c = suite()
    key = c.create_key()
    at, names = {name: (c.address(name), port) for name, port in (("auth", 5572), ("broker-1", 5570), ("metrics", 5574))}, ["worker-openai"]
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
    part, taken = b"\x03" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20), {}
    for name, address in at.items():
        sent = 0
        with socket.create_connection(address, timeout=30) as s:
            try:
                s.sendall(greeting + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER")
                for _ in range(64):
                    s.sendall(part)
                    sent += len(part)
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
        if sent == 64 * len(part):
            taken[name] = sent
    trial.none("daemons that take what a stranger says", taken)
    secret = {s: c("exec", "-T", s, "cat", f"/etc/tollgate-bus/{s}.secret").stdout for s in names}
    public = c("exec", "-T", "worker-openai", "cat", "/etc/tollgate-bus/public.keys").stdout
    pair = tuple(re.search(rf'{kind}-key = "(.+)"', secret["worker-openai"])[1] for kind in ("public", "secret"))
    of_auth = re.search(r'auth[^\n]*?([0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40})', public)[1]
    answers, before = {}, refused(trial, c)
    with BusPeer(f"tcp://{at['auth'][0]}:5572", role="worker", name="worker-openai-x", provider="openai", pair=pair, server_key=of_auth) as peer:
        trial.rule(peer.greet() == "WELCOME", "auth does not welcome a worker")
        for message, fields in (("SETTLE", {"key_id": "key_x", "provider": "anthropic", "model": "m", "api": 1, "status": 200}),
                                ("AUTHORIZE", {"key_digest": bytes(32), "model": "m", "api": 1}), ("RELEASE", {"key_id": "key_x", "model": "m", "api": 1})):
            peer.send(message, id=message.encode().ljust(16, b"x"), attempt=1, **fields)
            if (said := peer.receive(1)) is not None:
                answers[message] = said
    trial.none("answers to a worker about what is not its own", answers)
    wait_for(lambda: refused(trial, c) >= before + 3, "all are counted")
    trial.mark("messages refused by auth", int(refused(trial, c) - before), least=3)
    trial.rule(c.chat(key).status_code == 200, "it does not serve afterwards")
