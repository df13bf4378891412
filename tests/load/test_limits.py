"""T21 (clock jumps), T28 (a limit probed at four edges), T29 (auth killed again and again)."""
import glob
import http.client
import json
import os
import sqlite3
import threading
import time

import pytest
from lib.suite import Suite, in_threads, wait_for

RATE, BURST = 20, 20  # per second
LIMITED = {"limited": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}], "rate_limit": f"{RATE * 60}/minute",
                       "burst": BURST}}
BODY = json.dumps({"model": "limited", "messages": [{"role": "user", "content": "x"}]})


def probe(port, key, until, admitted, refused):
    """Asks as fast as answers come; notes when each was admitted; checks that each refusal says when to come back."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    while time.monotonic() < until:
        connection.request("POST", "/v1/chat/completions", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            admitted.append(time.monotonic())
        else:
            assert answer.status == 429, answer.status
            refused.append(int(answer.headers["retry-after-ms"]))
            time.sleep(0.004)
    connection.close()


def probe_all(suite, key, seconds, meanwhile=lambda: None):
    admitted, refused = [], []
    start = time.monotonic()
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            meanwhile()
            stop.wait(0.5)

    disturber = threading.Thread(target=disturb, daemon=True)
    disturber.start()
    in_threads(len(suite.ports), lambda i: probe(suite.ports[i], key, start + seconds, admitted, refused))
    stop.set()
    disturber.join()
    return admitted, refused, time.monotonic() - start


@pytest.mark.timeout(300)
def test_T28_a_limit_probed_at_four_edges_admits_its_rate_and_no_more(tmp_path):
    with Suite(tmp_path, models=LIMITED, workers={"openai": 1}, edges=4) as suite:
        key = suite.create_key(name="t28")
        admitted, refused, seconds = probe_all(suite, key, 60)
        most = RATE * seconds + BURST
        assert refused and all(0 < ms <= 1000 * (BURST + 1) / RATE + 1000 for ms in refused)
        assert len(admitted) <= most, (len(admitted), most)
        assert len(admitted) >= 0.99 * RATE * 60 + BURST - 1, (len(admitted), most)


@pytest.mark.timeout(300)
def test_T21_clock_jumps_do_not_move_a_limit(tmp_path):
    """auth's wall clock jumps by ± 1 h and ± 1 year every half second, and once it is restarted in between."""
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock"

    def set_clock(text):
        """libfaketime reads the file at any moment: it must never see half of it."""
        beside = clock.with_suffix(".new")
        beside.write_text(text + "\n")
        beside.rename(clock)

    set_clock("+0")
    jumps = ["+1h", "-1h", "+1y", "-1y", "+0"]
    state = {"n": 0}

    class Jumping(Suite):
        def add(self, name, program, *args):
            if name == "auth":
                self.extra_env.update(LD_PRELOAD=library[0], FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1",
                                      FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")
            try:
                return super().add(name, program, *args)
            finally:
                self.extra_env.clear()

    with Jumping(tmp_path, models=LIMITED, workers={"openai": 1}) as suite:
        key = suite.create_key(name="t21")

        def jump():
            state["n"] += 1
            set_clock(jumps[state["n"] % len(jumps)])

        admitted, _, seconds = probe_all(suite, key, 20, jump)
        assert state["n"] >= 20
        assert len(admitted) <= 1.01 * RATE * seconds + BURST, len(admitted)
        assert len(admitted) >= 0.99 * RATE * 20 - 1, len(admitted)
        # a restart in the wrong year keeps what was used, and forgives no more than a burst
        set_clock("+1y")
        suite.daemons["auth"].kill()
        suite.daemons["auth"].start()
        wait_for(lambda: suite.ctl("keys", "list", check=False).returncode == 0, "auth is back")
        admitted, _, seconds = probe_all(suite, key, 5)
        assert len(admitted) <= 1.01 * RATE * seconds + BURST, len(admitted)
        set_clock("+0")


@pytest.mark.timeout(1800)
def test_T29_auth_killed_again_and_again_loses_nothing_acknowledged(tmp_path):
    kills = int(os.environ.get("TOLLGATE_KILLS", "100"))
    stop, answered = threading.Event(), []

    with Suite(tmp_path, workers={"openai": 1}) as suite:
        key = suite.create_key(name="t29")
        auth = suite.daemons["auth"]
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]})

        def load():
            connection = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=60)
            while not stop.is_set():
                connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
                answer = connection.getresponse()
                raw = answer.read()
                assert answer.status == 200, (answer.status, raw)
                answered.append(json.loads(raw)["usage"]["total_tokens"])
                time.sleep(0.002)

        errors = []

        def guarded():
            try:
                load()
            except BaseException as e:  # noqa: BLE001 - told below
                errors.append(e)

        threads = [threading.Thread(target=guarded, daemon=True) for _ in range(4)]
        for t in threads:
            t.start()
        wait_for(lambda: len(answered) > 10, "traffic")
        for n in range(kills):
            seen, lives = len(answered), auth.log.count("event=ready")
            auth.kill()
            auth.start()
            wait_for(lambda: auth.log.count("event=ready") > lives, f"auth is back from kill {n + 1}")
            wait_for(lambda: len(answered) > seen + 5 or errors, "traffic goes on")
            assert not errors, errors
        stop.set()
        for t in threads:
            t.join()
        assert not errors, errors

        def rows():
            found = [r for r in suite.usage("--by", "key") if r["key_name"] == "t29"]
            return found[0] if found else {"requests": 0}

        wait_for(lambda: rows()["requests"] >= len(answered), f"{len(answered)} rows are booked", 120)
        booked = rows()
        assert booked["requests"] == len(answered)
        assert booked["input_tokens"] + booked["output_tokens"] == sum(answered)
        store = suite.folder / "state" / "tollgate.db"
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
