"""What stands in the file and what lies outside it: endpoints as people write them, variables, and a provider that lacks something beside
others that serve."""
import json
import subprocess

import httpx
import pytest

from lib.suite import BIN, Suite, wait_for
from lib.upstream import Upstream, chat

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
           "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
PREDICTION = {"id": "p1", "status": "succeeded", "output": ["hi"], "model": "a/b", "urls": {}, "metrics": {}}
# name: (type, what stands behind the upstream's address, what the upstream is asked)
ENDPOINTS = {
    "bare": ("openai", "", "/v1/chat/completions"),
    "slash": ("openai", "/", "/v1/chat/completions"),
    "versioned": ("openai", "/v1/", "/v1/chat/completions"),
    "mounted": ("openai", "/o", "/o/v1/chat/completions"),
    "other-version": ("openai", "/api/paas/v4", "/api/paas/v4/chat/completions"),
    "whole": ("openai", "/api/chat/completions", "/api/chat/completions"),
    "azure": ("openai", "/openai/deployments/d?api-version=2024-10-21", "/openai/deployments/d/chat/completions?api-version=2024-10-21"),
    "claude": ("anthropic", "", "/v1/messages"),
    "claude-mounted": ("anthropic", "/anthropic", "/anthropic/v1/messages"),
    "claude-versioned": ("anthropic", "/v1", "/v1/messages"),
    "replicate-bare": ("replicate", "", "/v1/models/a/b/predictions"),
    "replicate-versioned": ("replicate", "/v1", "/v1/models/a/b/predictions"),
}


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as up:
        for kind, _, path in ENDPOINTS.values():
            up.on(path, 201 if kind == "replicate" else 200, {"openai": chat("hi"), "anthropic": MESSAGE, "replicate": PREDICTION}[kind])
        up.on("/v1/models/a/b", 200, {"latest_version": {"id": "v", "openapi_schema": {}}})
        yield up


def providers_of(up):
    all = {name: {"type": kind, "api_keys": ["${SIM_KEY}"], "endpoints": [up.url + path], "private": True}
           for name, (kind, path, _) in ENDPOINTS.items()}
    well = {"type": "openai", "private": True}
    return all | {
        "other-gateway": {**well, "api_keys": ["os.environ/SIM_KEY"], "endpoints": [up.url]},
        "by-variable": {**well, "api_keys": ["${SIM_KEY}"], "endpoints": ["${UP_URL}"], "organization": "${UP_ORG}"},
        "lacks-key": {**well, "api_keys": ["${NO_SUCH}"], "endpoints": [up.url]},
        "lacks-header": {**well, "endpoints": [up.url], "headers": {"x-secret": "${NO_SUCH}"}},
        "lacks-url": {**well, "endpoints": ["${NO_SUCH}"]},
        "lacks-ca": {**well, "endpoints": [up.url], "ca_file": "/nonexistent/ca.pem"},
        "lacks-name": {**well, "endpoints": ["https://no-such-host.invalid"]},
        "own-field": {**well, "api_keys": ["${SIM_KEY}"], "endpoints": [up.url], "headers": {"authorization": "Basic abc"}},
    }


LACKING = {"lacks-key": "NO_SUCH", "lacks-header": "NO_SUCH", "lacks-url": "NO_SUCH", "lacks-ca": "/nonexistent/ca.pem"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    providers = providers_of(upstream)
    models = {n: {"targets": [{"provider": n, "model": "a/b" if n.startswith("replicate") else "m"}]} for n in providers}
    models |= {n + "-or": {"targets": [{"provider": n}], "fallbacks": ["bare"]} for n in providers if n.startswith("lacks")}
    with Suite(tmp_path_factory.mktemp("suite"), models=models, providers=providers, workers={n: 1 for n in providers},
               env={"UP_URL": upstream.url + "/", "UP_ORG": "org-1"}, options={"broker": {"worker_grace": "100ms"}}) as s:
        s.key = s.create_key()
        yield s


def ask(suite, model):
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(suite.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {suite.key}"}, timeout=60)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_is_asked_as_its_server_wants_it(suite, upstream, name):
    r = ask(suite, name)
    assert r.status_code == 200 and "hi" in r.text, r.text
    assert upstream.requests[-1].path == ENDPOINTS[name][2]


def test_variables_stand_for_keys_addresses_and_fields(suite, upstream):
    assert ask(suite, "other-gateway").status_code == 200
    assert upstream.requests[-1].headers["authorization"] == "Bearer sk-simulated-upstream-key"
    assert ask(suite, "by-variable").status_code == 200
    assert upstream.requests[-1].headers["openai-organization"] == "org-1"


def test_a_configured_field_stands_instead_of_the_key(suite, upstream):
    assert ask(suite, "own-field").status_code == 200
    assert upstream.requests[-1].headers.get_all("authorization") == ["Basic abc"]


@pytest.mark.parametrize("name", [*LACKING, "lacks-name"])
def test_what_lies_outside_the_file_stops_one_provider_alone(suite, name):
    assert ask(suite, name).status_code in (502, 503)
    assert "hi" in ask(suite, name + "-or").text
    if name in LACKING:
        assert "event=no_slots_offered" in suite.daemons[f"worker-{name}-1"].log
        wait_for(lambda: LACKING[name] in suite.ctl("status").stdout, "status says what is missing")


def test_check_says_what_a_daemon_would(tmp_path, upstream):
    path = tmp_path / "tollgate.yaml"
    providers = {n: p for n, p in providers_of(upstream).items() if n != "lacks-ca"}
    path.write_text(json.dumps({"providers": providers, "models": {"m": {"targets": [{"provider": "bare"}]}}}))
    r = subprocess.run([BIN / "tollgate", "check", path], capture_output=True, text=True, env={"SIM_KEY": "k", "UP_URL": upstream.url})
    assert r.returncode == 0, r.stderr
    for name in ("lacks-key", "lacks-header", "lacks-url"):
        assert f"note: ${{NO_SUCH}} is not set here; the worker of provider {name} needs it" in r.stderr
    assert f"note: provider bare: endpoint {upstream.url} is asked as {upstream.url}/v1" in r.stderr
    assert "versioned: endpoint" not in r.stderr.replace("versioned: endpoint " + upstream.url + "/v1/ is asked as", "")


def test_a_folder_is_named_as_one(tmp_path):
    r = subprocess.run([BIN / "tollgate", "check", tmp_path], capture_output=True, text=True)
    assert r.returncode == 78 and "Is a directory: name the file in it" in r.stderr


def test_a_file_with_one_fault_is_refused_whole_by_every_daemon_as_by_check(tmp_path):
    path = tmp_path / "tollgate.yaml"
    path.write_text("providers:\n  a: {type: openai, endpoints: ['https://u:p@h/v1']}\n  b: {type: openai, endpoints: ['https://h']}\n")
    for program in (["tollgate", "check", path], ["tollgate-worker", "--provider", "b", "--config", path]):
        r = subprocess.run([BIN / program[0], *program[1:]], capture_output=True, text=True, timeout=30,
                           env={"TOLLGATE_RUN_DIR": str(tmp_path), "TOLLGATE_STATE_DIR": str(tmp_path)})
        assert r.returncode == 78 and "an endpoint is a URL" in r.stderr, r.stderr


def test_a_wildcard_lists_what_its_provider_has(tmp_path):
    """… to whom may use it; names that lead to another entry are that one's."""
    with Upstream() as up:
        names = ["qwen3-32b", "llama-3.3-70b", "a b", "special"]
        up.on("/o/v1/models", 200, {"object": "list", "data": [{"id": n, "object": "model"} for n in names]})
        up.on("/a/v1/models?limit=1000", 200, {"data": [{"type": "model", "id": "claude-x"}], "has_more": False})
        providers = {"o": up.provider("/o"), "a": up.provider("/a", type="anthropic"), "quiet": up.provider("/quiet")}
        models = {"o/*": {"targets": [{"provider": "o", "model": "*"}], "list": True}, "o/special": {"targets": [{"provider": "a"}]},
                  "claude-*": {"targets": [{"provider": "a"}], "list": True}, "quiet/*": {"targets": [{"provider": "quiet"}]},
                  "plain": {"targets": [{"provider": "o"}]}}
        with Suite(tmp_path, models=models, providers=providers, workers={n: 1 for n in providers}) as suite:
            all_of, some = suite.create_key(), suite.create_key(name="some", models="o/*")

            def listed(key, **headers):
                r = httpx.get(suite.url + "/v1/models", headers={"x-api-key": key, **headers}, timeout=60).json()
                return [m["id"] for m in r["data"]]
            wait_for(lambda: len(listed(all_of)) == 5, "both lists have come")
            assert listed(all_of) == ["o/qwen3-32b", "o/llama-3.3-70b", "o/special", "claude-x", "plain"]
            assert listed(some) == ["o/qwen3-32b", "o/llama-3.3-70b", "o/special"]
            assert listed(some, **{"anthropic-version": "2023-06-01"}) == ["o/qwen3-32b", "o/llama-3.3-70b", "o/special"]
            assert up.asked("/quiet") == 0
            suite.daemons["edge-1"].kill()
            suite.daemons["edge-1"].start()
            suite.wait_ready()
            wait_for(lambda: len(listed(all_of)) == 5, "a new edge is told")
