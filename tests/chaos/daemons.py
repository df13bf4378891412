"""Daemons that die, hang, are restarted, come and go."""
import collections
import re
import signal
import time

from lib.suite import wait_for
from traffic import Load
from trial import test

SMALL = {"worker": {"slots": 8}, "broker": {"queue_timeout": "50s"}}
QUICK_LIVENESS = {"bus": {"peer_timeout": "1200ms"}}


def kill_worker(trial, load, name):
    daemon, since = trial.suite.daemons[name], trial.ends_of(trial.brokers())
    daemon.kill()
    killed = time.monotonic()
    time.sleep(trial.rng.choice([0, 0.05, 0.3]))
    daemon.start()
    began = time.monotonic()
    wait_for(lambda: trial.seen(rf"event=peer_up .*peer={name}\b", trial.brokers(), since), f"{name} is known again")
    trial.took("a new worker is known after", time.monotonic() - began, 2)
    load.turns_over()
    return killed


@test("T1", "a worker killed −9 under unary load, again and again", beside=True)
def t1(trial):
    with Load(trial.suite, 8, 0) as load:
        for i in range(trial.args.kills):
            kill_worker(trial, load, f"worker-openai-{i % 2 + 1}")
    trial.no_failures(load)
    return load


@test("T2", "a worker killed −9 under streams, again and again")
def t2(trial):
    kills = []
    with Load(trial.suite, 2, 10) as load:
        for i in range(max(6, trial.args.kills // 2)):
            kills.append(kill_worker(trial, load, f"worker-openai-{i % 2 + 1}"))
    trial.no_failures(load, "in-band error", stream=True)
    trial.no_failures(load, stream=False)
    cut = [h for h in load.hits if h.outcome == "in-band error"]
    trial.rule(cut, "no stream was ever cut: nothing has been tested")
    trial.facts["cut streams"] = len(cut)
    for h in cut:
        trial.took("a cut stream has its error event after", h.ended - max(k for k in kills if k < h.ended), 1)
    return load


@test("T3", "a worker stopped (SIGSTOP), and back (SIGCONT)", options=QUICK_LIVENESS)
def t3(trial):
    daemon, pairs = trial.suite.daemons["worker-openai-1"], []
    with Load(trial.suite, 8, 4) as load:
        for _ in range(max(1, trial.args.kills // 30)):
            without = load.took(1 if trial.quick else 2)
            since = trial.ends_of(trial.brokers())
            daemon.signal(signal.SIGSTOP)
            began = time.monotonic()
            try:
                wait_for(lambda: trial.seen(r"event=peer_down .*peer=worker-openai-1\b", trial.brokers(), since), "it is missed")
                trial.took("a stopped worker is missed after", time.monotonic() - began, 1.5)
                pairs.append((without, load.took(1 if trial.quick else 2)))
            finally:
                since = trial.ends_of(trial.brokers())
                daemon.signal(signal.SIGCONT)
            wait_for(lambda: trial.seen(r"event=peer_up .*peer=worker-openai-1\b", trial.brokers(), since), "it is back")
            load.goes_on(30)
    trial.slower("others' p99 is higher by", pairs, 10)
    trial.no_failures(load, "in-band error", stream=True)
    trial.no_failures(load, stream=False)
    return load


@test("T4", "each broker killed again and again")
def t4(trial):
    with Load(trial.suite, 6, 8) as load:
        for i in range(trial.args.kills):
            daemon = trial.suite.daemons[f"broker-{i % 2 + 1}"]
            daemon.kill()
            time.sleep(trial.rng.choice([0, 0.05, 0.3]))
            daemon.start()
            load.goes_on(10)
    trial.no_failures(load)
    trial.took("longest silence in a stream", max(h.gap for h in load.hits), 0.5)
    return load


@test("T4-all", "all brokers away for 5 s")
def t4_all(trial):
    with Load(trial.suite, 4, 6, stream_words="chunks=80 pace=100") as load:
        time.sleep(1)  # all streams run
        for name in trial.brokers():
            trial.suite.daemons[name].kill()
        gone = time.monotonic()
        time.sleep(5)
        for name in trial.brokers():
            trial.suite.daemons[name].start()
        back = time.monotonic()
        load.goes_on(30)
    trial.no_failures(load)
    ran = [h for h in load.hits if h.stream and h.began < gone - 0.5 and h.ended > back]
    trial.rule(ran, "no stream ran through it")
    trial.took("longest silence in a stream", max([h.gap for h in ran], default=0), 0.5)
    waited = [h.ended - back for h in load.hits if not h.stream and gone < h.began < back and h.ended > back]
    trial.took("who waited is served after", max(waited, default=0), 1.5)
    return load


@test("T23", "every daemon but the edge restarted in turn", beside=True)
def t23(trial):
    names = [n for n in trial.suite.daemons if not n.startswith(("edge", "simulator"))]
    with Load(trial.suite, 6, 4) as load:
        for _ in range(1 if trial.quick else 3):
            for name in names:
                trial.rule(trial.suite.daemons[name].stop() == 0, f"{name}: SIGTERM does not end it well")
                trial.suite.daemons[name].start()
                load.goes_on(20)
    trial.no_failures(load)
    return load


def running(trial):
    """What runs at each worker, by its own word."""
    return {m[1]: v for k, v in trial.gauges("tollgate_requests_in_flight").items() if (m := re.search(r'instance="(worker-[^"]+)"', k))}


@test("T24", "workers 1 → 8 → 1 under load", workers={"openai": 1})
def t24(trial):
    workers = [f"worker-openai-{i}" for i in range(1, 9)]
    with Load(trial.suite, 4, 160, stream_words="chunks=20 pace=150") as load:
        for i in range(2, 9):
            trial.suite.add_worker("openai", i)
        since = {n: 0 for n in trial.brokers()}
        wait_for(lambda: all(trial.seen(rf"event=peer_up .*peer={w}\b", trial.brokers(), since) for w in workers), "all are known")
        time.sleep(5)  # so long it may take until the load is spread
        sums, samples = collections.Counter(), 6
        for _ in range(samples):
            time.sleep(0.7)  # metrics are told twice a second
            sums.update(running(trial))
        fair, most = sum(sums.values()) / 8, 0.25 if trial.quick else 0.10
        each = [round(sums[w] / fair, 2) if fair else 0 for w in workers]
        trial.facts["shares"] = each
        trial.mark("a worker's share is off by", max((abs(v - 1) for v in each), default=1.0), most=most)
        for w in workers[1:]:
            trial.rule(trial.suite.daemons[w].stop() == 0, f"{w}: SIGTERM does not end it well")
        load.goes_on(80)
    trial.no_failures(load)
    return load


@test("goodbye", "a worker stops while streams finish", beside=True)
def goodbye(trial):
    """Streams that end while their worker stops: whole, since it waits for them."""
    with Load(trial.suite, 0, 12, stream_words="chunks=40 pace=3") as load:
        for i in range(max(6, trial.args.kills // 2)):
            daemon = trial.suite.daemons[f"worker-openai-{i % 2 + 1}"]
            trial.rule(daemon.stop() == 0, f"{daemon.name}: SIGTERM does not end it well")
            daemon.start()
            load.goes_on(24)
    trial.no_failures(load)
    return load


@test("full", "workers without room, brokers killed", beside=True, options=SMALL)
def full(trial):
    """Workers lose most of their slots and get them back, brokers are killed: whoever is told "busy" asks again, unseen by clients."""
    suite = trial.suite
    with Load(suite, 12, 4, stream_words="chunks=40 pace=5") as load:
        for i in range(max(4, trial.args.kills // 4)):
            suite.options["worker"]["slots"] = 8 if i % 2 else 2
            suite.write_config()
            for name in ("worker-openai-1", "worker-openai-2"):
                suite.daemons[name].signal(signal.SIGHUP)
            load.goes_on(20)
            daemon = suite.daemons[f"broker-{i % 2 + 1}"]
            daemon.kill()
            daemon.start()
            load.goes_on(20)
    trial.no_failures(load)
    trial.facts["refused"] = sum(trial.gauges("tollgate_dispatches_refused_total").values())
    return load


@test("knows", "a broker restarted in mid-load knows slots and grants")
def knows(trial):
    """A broker that is restarted in mid-load knows slots, and grants."""
    with Load(trial.suite, 2, 10, stream_words="chunks=80 pace=50") as load:
        for name in trial.brokers():
            daemon, since = trial.suite.daemons[name], trial.ends_of([name])
            daemon.kill()
            daemon.start()
            began = time.monotonic()
            wait_for(lambda n=name, m=since: trial.seen("event=peer_up .*peer=worker-openai-1", [n], m), "it is back")
            trial.took("workers are known after", time.monotonic() - began, 1)
            wait_for(lambda n=name: trial.told("tollgate_worker_slots", n), f"{name} knows slots")
            trial.took("metrics are told of slots after", time.monotonic() - began, 4)
            load.goes_on(20)
        for metric in ("tollgate_grants", "tollgate_worker_in_flight"):
            wait_for(lambda m=metric: sum(trial.told(m, n) for n in trial.brokers()), metric)
    trial.no_failures(load)
    return load
