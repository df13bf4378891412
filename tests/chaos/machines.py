"""A sick machine: a full disk, no descriptors, metrics away, auth killed in the middle of a write; and edges that restart."""
import collections
import contextlib
import http.client
import json
import resource
import socket
import sqlite3
import subprocess
import time

from lib.suite import in_threads, wait_for
from lib.up import TlsUp, restart_by_hand, restart_by_up
from traffic import Load
from trial import Sized, Skipped, own_folder, test


@test("T6", "metrics down: nobody notices, and nothing is lost of its counts")
def t6(trial):
    metrics, pairs = trial.suite.daemons["metrics"], []

    def counted():
        try:
            return sum(trial.gauges("tollgate_requests_total").values())
        except Exception:  # noqa: BLE001 - it is 503 until all have told theirs
            return -1
    with Load(trial.suite, 8, 4) as load:
        for _ in range(2 if trial.quick else 6):
            without = load.took(1 if trial.quick else 3)
            metrics.kill()
            pairs.append((without, load.took(1 if trial.quick else 3)))
            metrics.start()
            wait_for(lambda: counted() > 0, "metrics is told again")
    trial.slower("p99 is higher by", pairs, 1)
    trial.no_failures(load)
    with contextlib.suppress(AssertionError):
        wait_for(lambda: counted() == len(load.hits), "all are counted", 15)
    trial.mark("requests counted too few or too many", abs(int(counted()) - len(load.hits)), most=0)
    return load


class SmallDisk(Sized):
    """Its state directory is a disk of its own, of 8 MiB."""

    def environment(self):
        return {**super().environment(), "TOLLGATE_STATE_DIR": str(self.disk)}

    def start(self):
        self.disk = own_folder()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(self.disk)], capture_output=True).returncode:
            raise Skipped("may not mount a small disk (root may)")
        super().start()

    def fill(self):
        with contextlib.suppress(OSError), open(self.disk / "filler", "wb", buffering=0) as f:
            while True:
                f.write(bytes(4096))

    def close(self):
        codes = super().close()
        subprocess.run(["umount", "-l", str(self.disk)], capture_output=True)
        self.disk.rmdir()
        return codes


@test("T20", "the ledger's disk is full, and has room again", alone=True)
def t20(trial):
    trial.suite = suite = trial.make_suite(SmallDisk)
    suite.start()
    limited = suite.create_key(name="limited", rpm=600000)
    with Load(suite, 4, 2) as load, Load(suite, 1, 0, key=limited) as other:
        for _ in range(1 if trial.quick else 3):
            suite.fill()
            wait_for(lambda: "event=store_failed" in suite.daemons["auth"].log, "auth has noticed")
            time.sleep(3 if trial.quick else 10)
            (suite.disk / "filler").unlink()
            freed = time.monotonic()
            wait_for(lambda: any(h.outcome == "ok" and h.began > freed for h in other.hits[-50:]), "it is served again")
            trial.took("served again after", time.monotonic() - freed, 5)
            load.goes_on()
    allowed = [o for o in {*load.bad(), *other.bad()} if o.startswith("status 503")]
    trial.no_failures(load, *allowed)
    trial.no_failures(other, *allowed)
    trial.facts["503 meanwhile"] = sum(h.outcome in allowed for h in load.hits + other.hits)
    load.hits += other.hits
    trial.rest(load)
    store = suite.disk / "tollgate.db"
    for name in [n for n in suite.daemons if n != "simulator"]:
        suite.daemons[name].stop()
    with sqlite3.connect(store) as db:
        trial.none("complaints of integrity_check", [r for (r,) in db.execute("PRAGMA integrity_check") if r != "ok"])


class FewDescriptors(Sized):
    """Some of its daemons may have 256 files open."""
    few = ("edge-1", "worker-openai-1")

    def add(self, name, program, *args):
        d = super().add(name, program, *args)
        if name in self.few:
            resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        return d


@test("T22", "256 descriptors at the edge and at the worker", alone=True)
def t22(trial):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for few, workers in (("edge-1", 1), ("worker-openai-1", 1)):
        FewDescriptors.few = (few,)
        trial.suite = suite = trial.make_suite(FewDescriptors, edges=1, workers={"openai": workers},
                                               options={"broker": {"queue_timeout": "50s"}})
        suite.start()
        key = suite.create_key()
        if few == "edge-1":
            crowd_of_sockets(trial, suite, key)
        else:
            crowd_of_streams(trial, suite)
        trial.check_end(suite, suite.close())
    trial.suite = None


def crowd_of_sockets(trial, suite, key):
    crowd = [socket.create_connection(("127.0.0.1", suite.ports[0])) for _ in range(400)]
    time.sleep(1)  # all that can be are accepted
    before, since = trial.cpu("edge-1"), time.monotonic()
    time.sleep(2)
    busy = 100 * (trial.cpu("edge-1") - before) / (time.monotonic() - since)
    trial.mark("CPU of an edge without descriptors", busy, most=5 * trial.slack, unit="%")
    for s in crowd:
        s.close()
    freed = time.monotonic()

    def served():
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=10)
            connection.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}),
                               {"authorization": f"Bearer {key}", "content-type": "application/json"})
            return connection.getresponse().status == 200
        return False
    wait_for(served, "the edge serves again")
    trial.took("the edge serves again after", time.monotonic() - freed, 2)


def crowd_of_streams(trial, suite):
    """More streams than the worker has descriptors for: they wait for a slot."""
    with Load(suite, 0, 400, stream_words="chunks=40 pace=50") as load:
        before, since = trial.cpu("worker-openai-1"), time.monotonic()
        time.sleep(4)
        trial.facts["CPU of a worker with all its streams"] = f"{100 * (trial.cpu('worker-openai-1') - before) / (time.monotonic() - since):.0f} %"
    trial.none("failed streams of a worker without descriptors", load.bad())
    trial.facts["streams"] = len(load.hits)
    quiet = trial.cpu("worker-openai-1"), time.monotonic()
    time.sleep(1)
    trial.mark("CPU of a worker at rest again", 100 * (trial.cpu("worker-openai-1") - quiet[0]) / (time.monotonic() - quiet[1]), most=5 * trial.slack,
               unit="%")
    trial.rest(load)


@test("T29", "auth killed −9 again and again", beside=True, brokers=1, edges=1, workers={"openai": 1})
def t29(trial):
    suite, kills = trial.suite, 20 if trial.quick else 5 * trial.args.kills
    auth = suite.daemons["auth"]
    with Load(suite, 4, 0, unary_words="delay=1") as load:
        for n in range(kills):
            lives = auth.log.count("event=ready")
            auth.kill()
            auth.start()
            wait_for(lambda: auth.log.count("event=ready") > lives, f"auth is back from kill {n + 1}")
            load.goes_on(6)
    trial.no_failures(load)
    trial.mark("kills", kills, least=20 if trial.quick else 1000)
    trial.rest(load)
    trial.mark("answered requests booked as estimates", trial.facts["estimated rows"], most=0)
    auth.stop()
    with sqlite3.connect(suite.folder / "state" / "tollgate.db") as db:
        trial.none("complaints of integrity_check", [r for (r,) in db.execute("PRAGMA integrity_check") if r != "ok"])


def spool_of(suite):
    return suite.folder / "state" / "spool"


def damage(trial, folder):
    """A copy of each file that is torn somewhere, and files of any bytes: none of it may be booked once more, or stop a start."""
    for n, path in enumerate(sorted(folder.glob("*.spool"))):
        whole, name = path.read_bytes(), path.name[:-len("0123456789abcdef.spool")]
        (folder / f"{name}{trial.rng.getrandbits(60):016x}.spool").write_bytes(whole[:trial.rng.randrange(len(whole))])
        (folder / f"{name}{trial.rng.getrandbits(60):016x}.spool").write_bytes(trial.rng.randbytes(trial.rng.randrange(4000)))
        (folder / f"{name}{n:016x}.spool").symlink_to("/etc/hostname")


@test("T29-spool", "edges and workers stopped while auth is away, their files torn")
def t29_spool(trial):
    suite, rounds, asked, lost = trial.suite, 2 if trial.quick else 20, [], []
    key = suite.create_key(name="spool")
    names = [n for n in suite.daemons if n.startswith(("edge", "worker"))]

    def chat(i):
        connection = http.client.HTTPConnection("127.0.0.1", suite.ports[i % 2], timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "user": f"spool-{len(asked)}-{i}", "messages": [
            {"role": "user", "content": "x"}]}), {"authorization": f"Bearer {key}", "content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["request-id"]
    for _ in range(rounds):
        in_threads(2, chat)  # both edges know the key
        suite.daemons["auth"].kill()
        answers = in_threads(20, chat)
        lost += [a for a in answers if a[0] != 200]
        asked += [i for s, i in answers if s == 200]
        for n in names:
            trial.rule(suite.daemons[n].stop() == 0, f"{n}: SIGTERM does not end it well")
        trial.rule(any(spool_of(suite).glob("worker*.spool")) and any(spool_of(suite).glob("edge*.spool")), "nothing was kept")
        damage(trial, spool_of(suite))
        for n in ["auth", *names]:
            suite.daemons[n].start()
        suite.wait_ready()
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not [p for p in spool_of(suite).glob("*.spool") if not p.is_symlink()], "all is taken care of", 30)
        for p in spool_of(suite).glob("*.spool"):
            trial.rule(p.is_symlink(), f"{p.name} stays")
            p.unlink()
    rows = collections.Counter(r["request_id"] for r in suite.usage("--requests", "--limit", "100000"))
    trial.none("requests refused without auth", lost)
    trial.mark("answered while auth was away", len(asked), least=20 * rounds)
    trial.none("of these without a row", [i for i in asked if not rows[i]])
    trial.none("booked more than once", [i for i in asked if rows[i] > 1])
    trial.mark("of these booked as estimates", sum(r["estimated"] for r in suite.usage("--requests", "--limit", "100000")), most=0)


@test("T38", "edges restarted under load, by `up` (plain and TLS) and behind a socket of systemd's kind", beside=True, full_only=True, alone=True)
def t38(trial):
    times = 2 if trial.quick else 20
    restart_by_up(own_folder(), times)
    if not trial.quick:
        restart_by_up(own_folder(), times, TlsUp)
    restart_by_hand(own_folder(), times)
    trial.mark("restarts each, 0 refused, 0 cut", times, least=2 if trial.quick else 20)


@test("T25", "this version's daemons and the previous one's together", beside=True, full_only=True, alone=True)
def t25(trial):
    trial.pytest("tests/system/test_up.py", "previous_version")
