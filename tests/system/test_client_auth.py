"""auth: client: the client's own credential travels to one provider over https, and nowhere else."""
import ssl
import subprocess

import httpx
import pytest

from lib.suite import Suite
from lib.upstream import Upstream, chat

SECRET = "own-credential-of-the-client-0123"
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
           "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 3, "output_tokens": 2}}
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=upstream", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out",
                    folder / "cert.pem"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with Upstream(tls) as up:
        up.ca_file = str(folder / "cert.pem")
        up.on("/a/v1/messages", body=MESSAGE)
        up.on("/e/v1/embeddings", body={"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                                        "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        for name, status in (("bad", 401), ("limited", 429), ("forbidden", 403)):
            up.on(f"/{name}/v1/messages", answer=lambda r, s=status: (s, {"type": "error", "error": {
                "type": "authentication_error", "message": f"no: {r.headers['authorization']}"}}, {"retry-after": "7"}))
        up.on("/sick/v1/messages", 500, {"type": "error", "error": {"type": "api_error", "message": "broken"}})
        up.on("/own/v1/chat/completions", body=chat("by our own key"))
        yield up


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    def client(name, kind="anthropic"):
        return {"type": kind, "auth": "client", "endpoints": [f"{upstream.url}/{name}"], "ca_file": upstream.ca_file, "private": True}
    names = ("a", "bad", "limited", "forbidden", "sick")
    providers = {n: client(n) for n in names} | {"e": client("e", "openai")}
    providers["own"] = {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"{upstream.url}/own"], "ca_file": upstream.ca_file,
                        "private": True}
    models = {n: {"targets": [{"provider": n}]} for n in providers}
    models["sick"]["fallbacks"] = ["own"]
    models["twice"] = {"targets": [{"provider": "sick"}], "fallbacks": ["a"]}
    options = {"log": {"level": "debug"}, "edge": {"access_log": True}, "worker": {"embeddings_window": "200ms"}}
    with Suite(tmp_path_factory.mktemp("suite"), models=models, providers=providers, options=options,
               workers={n: 1 for n in providers}) as s:
        s.key = s.create_key(name="me")
        yield s


def ask(suite, model, headers=None, **body):
    own = {"x-tollgate-key": suite.key, "authorization": f"Bearer {SECRET}", "anthropic-version": "2023-06-01"}
    return httpx.post(suite.url + "/v1/messages", json={"model": model, "max_tokens": 5, "messages": HI, **body},
                      headers=own if headers is None else headers, timeout=60)


def test_the_clients_credential_answers_and_our_key_pays(suite, upstream):
    for field, key in (("x-tollgate-key", suite.key), ("x-litellm-api-key", f"Bearer {suite.key}")):
        r = ask(suite, "a", {field: key, "authorization": f"Bearer {SECRET}", "anthropic-beta": "oauth-2025-04-20"})
        assert r.status_code == 200, r.text
        got = upstream.requests[-1].headers
        assert got.get_all("authorization") == [f"Bearer {SECRET}"] and got["anthropic-beta"] == "oauth-2025-04-20"
        assert suite.key not in str(got) and "x-api-key" not in got and field not in got
    assert ask(suite, "a", {"x-tollgate-key": suite.key, "x-api-key": SECRET}).status_code == 200
    assert upstream.requests[-1].headers["x-api-key"] == SECRET and "authorization" not in upstream.requests[-1].headers
    rows = suite.usage("--requests")
    assert len([r for r in rows if r["model"] == "a" and r["key_name" if "key_name" in rows[0] else "key"] == "me"]) == 3


def test_without_one_the_client_is_told_what_to_send(suite, upstream):
    before = upstream.asked("/a")
    r = ask(suite, "a", {"authorization": f"Bearer {suite.key}"})
    assert r.status_code == 401 and "x-tollgate-key" in r.text and r.headers["x-should-retry"] == "false"
    assert ask(suite, "a", {"x-tollgate-key": "sk-nobody", "authorization": f"Bearer {SECRET}"}).status_code == 401
    assert upstream.asked("/a") == before


@pytest.mark.parametrize("model, status", [("bad", 401), ("limited", 429), ("forbidden", 403)])
def test_what_the_provider_says_of_it_is_the_clients_and_stops_nobody_else(suite, upstream, model, status):
    for _ in range(8):  # more than open a breaker
        before = upstream.asked(f"/{model}")
        r = ask(suite, model)
        assert r.status_code == status and SECRET not in r.text and ("***" if status == 429 else "your own credential") in r.text
        assert upstream.asked(f"/{model}") == before + 1
    if status == 429:
        assert r.headers["retry-after"] == "7"


def test_it_goes_to_no_other_provider(suite, upstream):
    r = ask(suite, "sick")
    assert r.status_code == 200 and "by our own key" in r.text
    assert SECRET not in str(upstream.requests[-1].headers)
    before = upstream.asked("/a")
    assert ask(suite, "twice").status_code == 401  # the second would need a credential of its own
    assert upstream.asked("/a") == before


def test_it_is_never_gathered_with_others(suite, upstream):
    before = upstream.asked("/e")
    for i in range(2):
        r = httpx.post(suite.url + "/v1/embeddings", json={"model": "e", "input": "x"}, timeout=60,
                       headers={"x-tollgate-key": suite.key, "authorization": f"Bearer {SECRET}{i}"})
        assert r.status_code == 200 and upstream.requests[-1].headers["authorization"] == f"Bearer {SECRET}{i}"
    assert upstream.asked("/e") == before + 2


def test_it_is_in_no_log_and_no_ledger(suite):
    ask(suite, "bad")
    assert SECRET not in str(suite.usage("--requests"))
    for d in suite.daemons.values():
        assert SECRET not in d.log, d.name
    for path in (suite.folder / "state").iterdir():
        assert SECRET.encode() not in path.read_bytes()
