"""Header fields on their way: keys in other fields, what of a client's travels to a provider, what of a provider's comes back."""
import re

import httpx
import pytest

from lib.suite import Suite, wait_for
from lib.upstream import Upstream, chat

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as up:
        up.on("/o/v1/chat/completions", body=chat("hi"), headers={"x-request-id": "req_up_1", "x-ratelimit-remaining-requests": "99",
                                                                  "set-cookie": "a=b"})
        up.on("/p/v1/chat/completions", body=chat("hi"))
        up.on("/a/v1/messages", body={"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
                                      "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 1, "output_tokens": 1}})
        yield up


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    providers = {"o": upstream.provider("/o", headers={"User-Agent": "acme/1", "X-Team": "ml"}, forward_headers=["x-mycorp-*", "x-team"]),
                 "p": upstream.provider("/p"), "a": upstream.provider("/a", type="anthropic")}
    models = {"m": {"targets": [{"provider": "o"}]}, "p": {"targets": [{"provider": "p"}]}, "c": {"targets": [{"provider": "a"}]}}
    options = {"edge": {"access_log": True, "upstream_headers": True, "cors_origins": ["https://ok.example"], "cors_credentials": True}}
    with Suite(tmp_path_factory.mktemp("suite"), models=models, providers=providers, options=options,
               workers={"o": 1, "p": 1, "a": 1}) as s:
        s.key = s.create_key()
        yield s


def ask(suite, headers=(), path="/v1/chat/completions", **body):
    return httpx.post(suite.url + path, headers=headers or {"authorization": f"Bearer {suite.key}"}, json={**ASK, **body}, timeout=60)


@pytest.mark.parametrize("field", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key", "x-tollgate-key"])
def test_the_key_may_be_in_the_field_that_a_client_knows(suite, field):
    assert ask(suite, {field: ("Bearer " if field == "authorization" else "") + suite.key}).status_code == 200
    assert ask(suite, {field: "Bearer sk-no-such-key"}).status_code == 401


def test_our_own_field_stands_above_a_credential_for_somebody_else(suite, upstream):
    assert ask(suite, {"x-tollgate-key": suite.key, "authorization": "Bearer somebody-elses"}).status_code == 200
    assert "somebody-elses" not in str(upstream.requests[-1].headers)
    r = ask(suite, {"api-key": suite.key, "authorization": "Bearer somebody-elses"})
    assert r.status_code == 401 and "Two different API keys" in r.text


def test_a_trace_and_what_the_operator_lets_through_travel_and_no_secret_does(suite, upstream):
    sent = {"authorization": f"Bearer {suite.key}", "x-mycorp-call-id": "42", "x-other": "1", "x-team": "client's", "traceparent": TRACE,
            "tracestate": "a=1", "cookie": "s=1", "openai-project": "proj", "idempotency-key": "abc", "x-client-request-id": "cid",
            "user-agent": "OpenAI/Python"}
    assert ask(suite, sent).status_code == 200
    got = {k.lower(): v for k, v in upstream.requests[-1].headers.items()}
    assert {k: got.get(k) for k in ("x-mycorp-call-id", "traceparent", "tracestate", "openai-project", "idempotency-key",
                                    "x-client-request-id")} == {k: sent[k] for k in sent if k not in (
                                        "authorization", "x-other", "x-team", "cookie", "user-agent")}
    assert got["user-agent"] == "acme/1" and got["x-team"] == "ml"  # configured ones stand
    assert "cookie" not in got and "x-other" not in got and suite.key not in str(got)
    assert ask(suite, sent, model="p").status_code == 200
    got = {k.lower(): v for k, v in upstream.requests[-1].headers.items()}
    assert got["traceparent"] == TRACE and "x-mycorp-call-id" not in got  # that is the other provider's


def test_a_trace_goes_on_through_a_translation(suite, upstream):
    r = ask(suite, {"authorization": f"Bearer {suite.key}", "traceparent": TRACE, "openai-project": "proj"}, model="c")
    assert r.status_code == 200
    got = {k.lower(): v for k, v in upstream.requests[-1].headers.items()}
    assert got["traceparent"] == TRACE and "openai-project" not in got and got["anthropic-version"] == "2023-06-01"


def test_a_repeated_beta_is_joined(suite, upstream):
    r = ask(suite, [("x-api-key", suite.key), ("anthropic-beta", "a"), ("anthropic-version", "2023-06-01"), ("anthropic-beta", "b"),
                    ("anthropic-workspace-id", "w")], "/v1/messages", model="c", max_tokens=5)
    assert r.status_code == 200
    got = upstream.requests[-1].headers
    assert got.get_all("anthropic-beta") == ["a,b"] and got["anthropic-workspace-id"] == "w"


def test_the_providers_request_id_and_limits_come_back_by_option_and_into_the_log(suite, upstream):
    r = ask(suite)
    assert r.headers["x-upstream-request-id"] == "req_up_1" and r.headers["x-upstream-ratelimit-remaining-requests"] == "99"
    assert "set-cookie" not in r.headers and r.headers["x-request-id"] != "req_up_1"
    upstream.on("/p/v1/chat/completions", 400, {"error": {"message": "no"}}, {"x-request-id": "req_up_400"})
    assert ask(suite, model="p").status_code == 400
    wait_for(lambda: re.search(r"event=request .*provider_request_id=req_up_400", suite.daemons["edge-1"].log), "a failure's id is logged")
    assert re.search(r"event=request .*provider_request_id=req_up_1 ", suite.daemons["edge-1"].log)


def test_browsers_send_credentials_to_listed_origins_alone(suite):
    for origin, allowed in (("https://ok.example", "true"), ("https://evil.example", None)):
        r = ask(suite, {"authorization": f"Bearer {suite.key}", "origin": origin})
        assert r.headers.get("access-control-allow-credentials") == allowed
