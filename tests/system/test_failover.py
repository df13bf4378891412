"""A sick target beside a healthy one: clients get the healthy one's answer, and the sick one is left alone as it asked."""
import httpx
import pytest
from lib.suite import Suite, in_threads
from lib.upstream import Upstream, chat

SICK = {
    "limited": (429, {"error": {"message": "Rate limit exceeded", "type": "rate_limit_error"}}, {"retry-after": "14400"}),
    "refused": (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, {}),
    "spent": (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, {}),
    "gone": (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, {}),
    "broken": (500, {"error": {"message": "The server had an error", "type": "server_error"}}, {}),
    "long": (400, {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error"}}, {}),
    "policy": (400, {"error": {"message": "The response was filtered", "code": "content_filter"}}, {}),
}
ABSENT = {"dns": "https://no-such-host.invalid/v1", "closed": "http://127.0.0.1:1/v1"}
COUNT = 30


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with Upstream() as up:
        for name in ("well", "large"):
            up.on(f"/{name}/v1/chat/completions", 200, chat(f"from {name}"))
        for name, (status, body, headers) in SICK.items():
            up.on(f"/{name}/v1/chat/completions", status, body, headers)
        providers = {n: up.provider(f"/{n}") for n in [*SICK, "well", "large"]}
        providers |= {n: {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [url], "private": True} for n, url in ABSENT.items()}
        models = {n: {"targets": [{"provider": n}], "fallbacks": ["well"]} for n in [*SICK, *ABSENT]}
        models |= {"well": {"targets": [{"provider": "well"}]}, "large": {"targets": [{"provider": "large"}]},
                   "half": {"targets": [{"provider": "limited"}, {"provider": "well"}]},
                   "alone": {"targets": [{"provider": "gone"}]},
                   "chosen": {"targets": [{"provider": "long"}], "fallbacks": ["well"], "context_fallbacks": ["large"]}}
        with Suite(tmp_path_factory.mktemp("failover"), models=models, providers=providers, workers={n: 1 for n in providers}) as suite:
            yield suite, up, suite.create_key()


def ask(suite, key, model):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    r = httpx.post(suite.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)
    return r.status_code, r.text


@pytest.mark.parametrize("model", [*SICK, *ABSENT, "half"])
def test_the_healthy_one_answers(world, model):
    suite, _, key = world
    answers = [a for each in in_threads(5, lambda i: [ask(suite, key, model) for _ in range(COUNT // 5)]) for a in each]
    assert {status for status, _ in answers} == {200}, answers
    assert all("from well" in text for _, text in answers)


def test_a_limited_one_is_left_alone(world):
    suite, up, key = world
    ask(suite, key, "limited")
    before = up.asked("/limited")
    for _ in range(20):
        assert "from well" in ask(suite, key, "limited")[1]
    assert up.asked("/limited") == before


def test_what_is_too_long_goes_to_the_model_named_for_that(world):
    suite, _, key = world
    assert "from large" in ask(suite, key, "chosen")[1]


def test_without_another_the_failure_is_told(world):
    suite, _, key = world
    status, text = ask(suite, key, "alone")
    assert status == 404 and "model_not_found" in text


def test_every_kind_of_failure_leaves_a_line_with_its_reason(world):
    suite, _, key = world
    for model in ("dns", "closed", "gone"):
        ask(suite, key, model)
    logs = {n: suite.daemons[f"worker-{n}-1"].log for n in ("dns", "closed", "gone")}
    assert "event=attempt_failed" in logs["dns"] and "resolve" in logs["dns"]
    assert "event=attempt_failed" in logs["closed"] and "refused" in logs["closed"]
    assert "event=attempt_failed" in logs["gone"] and "does not exist" in logs["gone"]
