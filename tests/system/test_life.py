"""Start, stop, reload, restart: what a person does to the daemons."""
import re
import signal

import httpx
import pytest
from lib.suite import Suite, wait_for


def chat(suite, key, text="x", **more):
    return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more})


@pytest.fixture()
def fresh(tmp_path):
    with Suite(tmp_path) as s:
        yield s


def test_health_liveness_readiness_and_status(suite, key):
    assert httpx.get(suite.url + "/health/liveness").status_code == 200
    assert httpx.get(suite.url + "/health/readiness").status_code == 200
    health = httpx.get(suite.url + "/health").json()
    assert health["status"] == "healthy" and health["timestamp"]
    status = suite.ctl("status").stdout
    for name in ("edge-1", "auth", "broker-1", "worker-openai-1", "worker-anthropic-1", "worker-replicate-1"):
        assert name in status
    assert chat(suite, key).status_code == 200
    wait_for(lambda: "# TYPE tollgate_requests_total counter" in httpx.get(suite.url + "/metrics").text, "requests counted")


def test_sigterm_lets_a_stream_end_and_refuses_new_work(fresh):
    key = fresh.create_key()
    with httpx.Client(timeout=60) as client:
        with client.stream("POST", fresh.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"},
                           json={"model": "gpt-4o-mini", "stream": True, "messages": [
                               {"role": "user", "content": "[[sim chunks=40 pace=50]] marker-drain"}]}) as r:
            lines = r.iter_lines()
            next(lines)
            fresh.daemons["edge-1"].signal(signal.SIGTERM)
            text = "\n".join(lines)
    assert text.rstrip().endswith("data: [DONE]")
    assert fresh.daemons["edge-1"].stop() == 0


def test_a_reload_takes_effect_and_a_bad_one_is_refused_with_line_and_reason(fresh):
    key = fresh.create_key()
    edge, broker = fresh.daemons["edge-1"], fresh.daemons["broker-1"]
    fresh.write_config(models={**fresh.models, "brand-new": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}})
    assert chat(fresh, key).status_code == 200
    for name, d in fresh.daemons.items():
        if name != "simulator":
            d.signal(signal.SIGHUP)
    for name, d in fresh.daemons.items():
        if name != "simulator":
            wait_for(lambda d=d: "event=reloaded" in d.log, f"{name} reloads")
    r = httpx.post(fresh.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"},
                   json={"model": "brand-new", "messages": [{"role": "user", "content": "x"}]}, timeout=60)
    assert r.status_code == 200, r.text
    fresh.write_config(modles={})
    edge.signal(signal.SIGHUP)
    wait_for(lambda: re.search(r"tollgate.yaml:\d+: modles: unknown key \(did you mean models\?\)", edge.log), "the complaint")
    assert chat(fresh, key).status_code == 200
    assert broker.alive


def test_a_killed_worker_that_comes_back_serves_again(fresh):
    key = fresh.create_key()
    assert chat(fresh, key).status_code == 200
    worker = fresh.daemons["worker-openai-1"]
    worker.kill()
    worker.start()
    wait_for(lambda: chat(fresh, key).status_code == 200, "served again")


def test_auth_may_be_away_for_known_keys_but_not_for_unknown_ones(fresh):
    key = fresh.create_key()
    assert chat(fresh, key).status_code == 200
    fresh.daemons["auth"].kill()
    assert chat(fresh, key).status_code == 200
    r = chat(fresh, "sk-never-seen")
    assert r.status_code == 503 and r.headers["x-should-retry"] == "true"
    fresh.daemons["auth"].start()
    wait_for(lambda: chat(fresh, "sk-never-seen").status_code == 401, "auth is back")
    assert chat(fresh, key).status_code == 200


def test_a_revoked_key_is_refused_at_once(fresh):
    key = fresh.create_key(name="short-lived")
    assert chat(fresh, key).status_code == 200
    fresh.ctl("keys", "revoke", "short-lived")
    wait_for(lambda: chat(fresh, key).status_code == 401, "the key is refused", 10)


def test_a_worker_without_its_secret_stays_up_offers_nothing_and_says_so(tmp_path):
    with Suite(tmp_path, providers={"anthropic": {"type": "anthropic", "api_keys": ["${NOT_SET_ANYWHERE}"],
                                                  "endpoints": ["{sim}/anthropic/v1"], "private": True}}) as suite:
        key = suite.create_key()
        assert chat(suite, key).status_code == 200
        r = httpx.post(suite.url + "/v1/messages", headers={"x-api-key": key}, timeout=60, json={
            "model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]})
        assert r.status_code == 529
        assert suite.daemons["worker-anthropic-1"].alive
        wait_for(lambda: "no api key" in suite.ctl("status").stdout, "status says why")


def test_a_bad_configuration_exits_78(suite, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("edge: {prt: 1}\n")
    done = suite.ctl("check", bad, check=False)
    assert done.returncode == 78
    assert "bad.yaml:1: edge.prt: unknown key (did you mean port?)" in done.stdout + done.stderr


def test_no_secret_reaches_any_log(suite, key):
    chat(suite, key, "marker-secret-body")
    for d in suite.daemons.values():
        for secret in (key, "sk-simulated-upstream-key", "marker-secret-body"):
            assert secret not in d.log, d.name


def test_a_reload_warns_of_what_only_a_start_takes(fresh):
    edge = fresh.daemons["edge-1"]
    fresh.options["edge"] = {"port": fresh.ports[0], "max_body": "2KiB", "deadline": "50s"}
    fresh.write_config()
    edge.signal(signal.SIGHUP)
    wait_for(lambda: "event=reloaded" in edge.log, "the edge reloads")
    warned = [line for line in edge.log.splitlines() if "event=restart_needed" in line]
    assert len(warned) == 1 and "option=edge.max_body" in warned[0]
