"""Keys as people manage them: changed, rotated, blocked, deleted; and what is booked to end users and tags."""
import csv
import io
import json

import httpx
import pytest
from lib.suite import Suite, in_threads, wait_for
from lib.upstream import Upstream, chat

AT_THE_EDGES_S = 5
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "a", "content": [{"type": "text", "text": "ok"}],
           "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2}}


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as server:
        server.on("/v1/chat/completions", body=chat("ok"))
        server.on("/v1/messages", body=MESSAGE)
        yield server


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    models = {"m": {"targets": [{"provider": "openai"}], "price": {"input": 1, "output": 1}},
              "other": {"targets": [{"provider": "openai"}]}, "a": {"targets": [{"provider": "anthropic"}]}}
    with Suite(tmp_path_factory.mktemp("keys"), edges=2, workers={"openai": 1, "anthropic": 1}, models=models,
               providers={"openai": upstream.provider(""), "anthropic": upstream.provider("", type="anthropic")}) as s:
        yield s


def ask(suite, key, model="m", edge=0, headers=None, **body):
    return httpx.post(suite.url_of(edge) + "/v1/chat/completions", timeout=30,
                      headers={"authorization": f"Bearer {key}", **(headers or {})},
                      json={"model": model, "messages": [{"role": "user", "content": "x"}], **body})


def both(suite, key, **more):
    return [ask(suite, key, edge=edge, **more).status_code for edge in (0, 1)]


def keys(suite, *args):
    return json.loads(suite.ctl("keys", *args, "--json").stdout)


def test_a_change_of_limits_holds_at_every_edge_that_has_leases(suite):
    secret = suite.create_key(name="limits", rpm=5)
    statuses = [ask(suite, secret, edge=i % 2).status_code for i in range(7)]
    assert statuses.count(429) >= 1
    before = keys(suite, "show", "limits")
    after = keys(suite, "update", "limits", "--rpm", "1000", "--models", "m", "--expires", "30d", "--tags", "a,b")
    assert after["id"] == before["id"] and after["requests_per_minute"] == 1000 and after["tags"] == "a,b"
    assert both(suite, secret) == [200, 200]
    assert both(suite, secret, model="other") == [403, 403]
    keys(suite, "update", "limits", "--models", "all", "--rpm", "1")
    wait_for(lambda: both(suite, secret) == [429, 429], "the lower limit holds", AT_THE_EDGES_S)
    assert keys(suite, "update", "limits", "--rpm", "none", "--expires", "never", "--name", "limits2")["expires_ms"] == 0
    assert both(suite, secret, model="other") == [200, 200]
    assert keys(suite, "show", "limits2")["id"] == before["id"]


def test_a_rotated_key_opens_by_both_secrets_until_its_overlap_ends(suite):
    old = suite.create_key(name="rotated", rpm=1000)
    assert both(suite, old) == [200, 200]
    before = keys(suite, "show", "rotated")
    answer = keys(suite, "rotate", "rotated", "--overlap", "1h")
    new = answer["secret"]
    assert answer["key"]["id"] == before["id"] and new != old
    assert both(suite, old) == [200, 200] and both(suite, new) == [200, 200]
    newer = keys(suite, "rotate", "rotated", "--overlap", "0")["secret"]
    assert both(suite, old) == [401, 401] and both(suite, new) == [401, 401] and both(suite, newer) == [200, 200]
    wait_for(lambda: sum(r["requests"] for r in suite.usage("--by", "key", "--key", before["id"])) == 8,
             "one ledger for all secrets")


def test_a_concurrent_key_keeps_to_its_number_while_it_is_rotated(suite):
    old = suite.create_key(name="slots", concurrent=2)
    assert set(sum(in_threads(2, lambda i: both(suite, old)), [])) == {200}
    new = keys(suite, "rotate", "slots", "--overlap", "1h")["secret"]
    for secret in (old, new, old, new):
        assert both(suite, secret) == [200, 200]
    keys(suite, "update", "slots", "--concurrent", "none")
    assert set(sum(in_threads(6, lambda i: both(suite, new)), [])) == {200}


def test_a_blocked_key_is_refused_at_once_and_opens_again(suite):
    secret = suite.create_key(name="blocked")
    assert both(suite, secret) == [200, 200]
    assert keys(suite, "block", "blocked")["state"] == "blocked"
    r = ask(suite, secret)
    assert (r.status_code, both(suite, secret)) == (401, [401, 401]) and "blocked" in r.json()["error"]["message"]
    assert [k["name"] for k in keys(suite, "list", "--state", "blocked")] == ["blocked"]
    keys(suite, "unblock", "blocked")
    assert both(suite, secret) == [200, 200]


def test_a_deleted_key_is_gone_and_its_rows_stay(suite):
    secret = suite.create_key(name="deleted", concurrent=3, rpm=100)
    assert both(suite, secret) == [200, 200]
    wait_for(lambda: len(suite.usage("--requests", "--key", "deleted")) == 2, "both are booked")
    refused = suite.ctl("keys", "delete", "deleted", check=False)
    assert refused.returncode == 1 and "not revoked" in refused.stderr
    assert both(suite, secret) == [200, 200]
    keys(suite, "revoke", "deleted")
    key_id = keys(suite, "delete", "deleted")["id"]
    assert both(suite, secret) == [401, 401]
    assert suite.ctl("keys", "show", key_id, check=False).returncode == 1
    assert len(suite.usage("--requests", "--key", key_id)) >= 2
    suite.create_key(name="deleted")


def test_a_change_survives_a_restart_of_auth_and_reaches_edges_that_were_cut_off(suite):
    secret = suite.create_key(name="restarted", tags="kept")
    old = suite.create_key(name="turned")
    new = keys(suite, "rotate", "turned", "--overlap", "1h")["secret"]
    assert both(suite, secret) == [200, 200]
    auth = suite.daemons["auth"]
    auth.kill()
    auth.start()
    wait_for(lambda: suite.ctl("keys", "block", "restarted", check=False).returncode == 0, "auth is back")
    wait_for(lambda: both(suite, secret) == [401, 401], "the block holds", AT_THE_EDGES_S)
    wait_for(lambda: both(suite, old) + both(suite, new) == [200] * 4, "both secrets open")
    assert keys(suite, "list", "--tag", "kept")[0]["name"] == "restarted"


def test_a_secret_that_exists_elsewhere_opens_its_key(suite):
    own = "sk-my-own-secret-0123456789"
    suite.ctl("keys", "create", "--name", "own", "--key", own)
    assert both(suite, own) == [200, 200]
    assert suite.ctl("keys", "create", "--name", "own2", "--key", own, check=False).returncode == 1
    assert own not in suite.ctl("keys", "show", "own", "--json").stdout


def test_end_users_and_tags_are_in_the_ledger_and_summed(suite, upstream):
    secret = suite.create_key(name="labels", tags="team")
    assert ask(suite, secret, user="customer-42", metadata={"tags": ["x", "y"], "k": "v"}).status_code == 200
    sent = upstream.requests[-1].json()
    assert (sent["user"], sent["metadata"]) == ("customer-42", {"k": "v"})  # no provider takes a list there
    assert ask(suite, secret, safety_identifier="customer-43", headers={"x-litellm-tags": "y, z"}).status_code == 200
    r = httpx.post(suite.url + "/v1/messages", headers={"x-api-key": secret, "x-tollgate-tags": "q"}, timeout=30,
                   json={"model": "a", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}],
                         "metadata": {"user_id": "customer-42"}})
    assert r.status_code == 200, r.text
    assert ask(suite, secret).status_code == 200
    rows = wait_for(lambda: (r := suite.usage("--requests", "--key", "labels")) and len(r) == 4 and r, "all are booked")
    assert {(r["end_user"], r["tags"]) for r in rows} == {
        ("customer-42", "team,x,y"), ("customer-43", "team,y,z"), ("customer-42", "team,q"), ("", "team")}
    by_user = {r["end_user"]: r["requests"] for r in suite.usage("--by", "user", "--key", "labels")}
    assert by_user == {"customer-42": 2, "customer-43": 1, "": 1}
    by_tag = {r["tag"]: r["requests"] for r in suite.usage("--by", "tag", "--key", "labels")}
    assert by_tag == {"team": 4, "x": 1, "y": 2, "z": 1, "q": 1}
    both_ = suite.ctl("usage", "--by", "user,tag", "--key", "labels", "--csv").stdout
    table = list(csv.DictReader(io.StringIO(both_)))
    assert {(r["end_user"], r["tag"]) for r in table} >= {("customer-42", "x"), ("customer-43", "z"), ("", "team")}
    assert "USER" in suite.ctl("usage", "--by", "user,tag,model").stdout


@pytest.mark.parametrize("body, headers", [
    ({"user": "a\u0007"}, {}), ({"user": "u" * 513}, {}), ({"metadata": {"tags": ["t"] * 2 + ["a" * 129]}}, {}),
    ({"metadata": {"tags": [str(i) for i in range(17)]}}, {}), ({}, {"x-litellm-tags": ",".join(map(str, range(17)))})])
def test_labels_out_of_bounds_are_refused(suite, body, headers):
    secret = suite.create_key(name=f"bounds-{abs(hash(str(body) + str(headers)))}")
    assert ask(suite, secret, headers=headers, **body).status_code == 400
