"""What answers cost: in the header, in the ledger, in the log and on the command line."""
import json
import subprocess
import sys

import httpx
import pytest

from lib.suite import ROOT, Suite, wait_for
from lib.upstream import Upstream, chat


def message(usage):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
            "content": [{"type": "text", "text": "hi"}], "usage": usage}


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as up:
        yield up


@pytest.fixture(scope="module")
def suite(tmp_path_factory, upstream):
    models = {
        "claude-haiku-4-5": {"targets": [{"provider": "claude"}]},
        "gpt-5": {"targets": [{"provider": "oai"}]},
        "grok": {"targets": [{"provider": "oai"}], "price": {"input": 1.25, "cached_input": 0.2, "output": 2.5}},
        "qwen/qwen3": {"targets": [{"provider": "oai"}]},
    }
    providers = {"claude": upstream.provider("/a", type="anthropic"), "oai": upstream.provider("/o")}
    with Suite(tmp_path_factory.mktemp("suite"), models=models, providers=providers, workers={"claude": 1, "oai": 1}) as s:
        s.key = s.create_key()
        yield s


def ask(suite, upstream, model, answer, path="/v1/chat/completions", **body):
    upstream.on("/o/v1/chat/completions", body=answer)
    upstream.on("/a/v1/messages", body=answer)
    r = httpx.post(suite.url + path, headers={"authorization": f"Bearer {suite.key}"}, timeout=60,
                   json={"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}], **body})
    assert r.status_code == 200, r.text
    return r


def row_of(suite, answer):
    """The ledger's row of an answer."""
    return wait_for(lambda: next((r for r in suite.usage("--requests") if r["request_id"] == answer.headers["request-id"]
                                  and not r["estimated"]), None), "its row is in the ledger")


def nano(answer):
    return round(float(answer.headers["x-tollgate-cost"]) * 10**9)


def test_an_hours_cache_write_has_its_own_price_and_clients_see_the_split(suite, upstream):
    usage = {"input_tokens": 0, "cache_creation_input_tokens": 100000, "cache_read_input_tokens": 0, "output_tokens": 0,
             "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100000}}
    for path, member in (("/v1/messages", "cache_creation"), ("/v1/chat/completions", "prompt_tokens_details")):
        r = ask(suite, upstream, "claude-haiku-4-5", message(usage), path)
        assert nano(r) == 200_000_000
        row = row_of(suite, r)
        assert (row["cost_nano"], row["cache_write_1h_tokens"], row["cost_source"]) == (200_000_000, 100000, "computed")
        seen = r.json()["usage"][member]
        seen = seen.get("cache_creation_token_details", seen)
        assert seen == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100000}


def test_the_tier_that_served_sets_the_price(suite, upstream):
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    cost, tiers = {}, {}
    for tier in ("default", "flex", "priority"):
        r = ask(suite, upstream, "gpt-5", chat("hi", usage=usage, service_tier=tier), service_tier=tier)
        cost[tier], tiers[tier] = nano(r), row_of(suite, r)["service_tier"]
    assert cost == {"default": 11_250_000, "flex": 5_625_000, "priority": 22_500_000}
    assert tiers == {"default": "", "flex": "flex", "priority": "priority"}
    # the answer's word counts, not the request's
    assert nano(ask(suite, upstream, "gpt-5", chat("hi", usage=usage, service_tier="default"), service_tier="flex")) == 11_250_000


def test_searches_by_the_provider_cost_a_fee(suite, upstream):
    usage = {"input_tokens": 1000, "output_tokens": 100, "server_tool_use": {"web_search_requests": 2}}
    r = ask(suite, upstream, "claude-haiku-4-5", message(usage), "/v1/messages")
    assert nano(r) == 1000 * 1000 + 100 * 5000 + 20_000_000
    assert row_of(suite, r)["tool_calls"] == 2


def test_reasoning_beside_the_output_is_paid_once_and_shown_to_all(suite, upstream):
    usage = {"prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": 14428,
             "prompt_tokens_details": {"cached_tokens": 128}, "completion_tokens_details": {"reasoning_tokens": 2809}}
    want = (10120 - 128) * 1250 + 128 * 200 + 4308 * 2500
    r = ask(suite, upstream, "grok", chat("hi", usage=usage))
    assert nano(r) == want
    assert row_of(suite, r)["output_tokens"] == 4308
    r = ask(suite, upstream, "grok", chat("hi", usage=usage), "/v1/messages")
    assert nano(r) == want
    assert r.json()["usage"]["output_tokens"] == 4308
    inside = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600, "completion_tokens_details": {"reasoning_tokens": 200}}
    assert nano(ask(suite, upstream, "grok", chat("hi", usage=inside))) == 100 * 1250 + 500 * 2500


def test_a_stated_cost_is_booked_and_marked(suite, upstream):
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cost": 0.0123,
             "cost_details": {"upstream_inference_cost": None}}
    r = ask(suite, upstream, "qwen/qwen3", chat("hi", usage=usage))
    row = row_of(suite, r)
    assert (nano(r), row["cost_nano"], row["cost_source"]) == (12_300_000, 12_300_000, "stated")
    assert "cost as stated" in suite.ctl("usage", "--requests").stdout


def test_a_model_without_a_price_is_told_of_everywhere(suite, upstream):
    for _ in range(3):
        r = ask(suite, upstream, "qwen/qwen3", chat("hi"))
        assert "x-tollgate-cost" not in r.headers
    row = row_of(suite, r)
    assert (row["cost_nano"], row["cost_source"]) == (0, "unpriced")
    assert sum(s["unpriced"] for s in suite.usage("--by", "model") if s["model"] == "qwen/qwen3") == 3
    assert suite.daemons["auth"].log.count("event=model_without_price") == 1
    assert "3 of these requests" in suite.ctl("usage", "--by", "model").stderr
    for command in (("check", suite.folder / "tollgate.yaml"), ("models",)):
        assert "no price is known of qwen/qwen3 at oai" in suite.ctl(*command).stderr
    checked = suite.ctl("models", "--check-prices", "--json", check=False)
    assert checked.returncode == 1
    verdicts = {o["model"]: (o["source"], o["verdict"]) for o in json.loads(checked.stdout)}
    assert verdicts == {"claude-haiku-4-5": ("table", "ok"), "gpt-5": ("table", "ok"), "qwen/qwen3": ("-", "no price"),
                        "grok": ("configuration", "not in the table")}


def test_models_are_compared_by_price_and_by_what_was_measured(suite, upstream):
    ask(suite, upstream, "grok", chat("hi"))
    offers = wait_for(lambda: {o["model"]: o for o in json.loads(suite.ctl("models", "--compare", "--json").stdout)
                               if o["model"] == "grok" and o["requests"] > 0}, "the request is measured")
    grok = offers["grok"]
    assert grok["price"]["input"] == 1.25 and grok["failed"] == 0
    assert 0 <= grok["duration_p50_s"] <= grok["duration_p95_s"]
    text = suite.ctl("models", "--compare").stdout
    assert "FIRST S P50" in text and "FAILED %" in text


def test_the_table_is_refreshed_from_facts(tmp_path):
    facts = {
        "gpt-5": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-05,
                  "input_cost_per_token_flex": 4.5e-06, "input_cost_per_token_above_272k_tokens": 1.8e-05},
        "groq/new-model": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 1e-07, "output_cost_per_token": 3e-07,
                           "max_input_tokens": 4096, "supports_function_calling": True},
        "groq/unknown-price": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
        "elsewhere/x": {"litellm_provider": "elsewhere", "mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1},
    }
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "models.json").write_text((ROOT / "share/models.json").read_text())
    done = subprocess.run([sys.executable, ROOT / "share/refresh-models", tmp_path / "facts.json", "--date", "2027-01-02", "--source",
                           "a test", "--table", tmp_path / "models.json"], capture_output=True, text=True, check=True)
    assert "changed openai gpt-5\n" in done.stdout and "added groq new-model" in done.stdout
    table = json.loads((tmp_path / "models.json").read_text())
    assert table["updated"] == "2027-01-02" and table["sources"][0] == {"source": "a test", "date": "2027-01-02"}
    rows = {(r["provider"], r["match"]): r for r in table["models"]}
    assert rows["openai", "gpt-5"]["price"]["long"] == {"over": 272000, "input": 18}
    assert rows["openai", "gpt-5"]["price"]["flex"] == {"input": 4.5}
    assert rows["openai", "gpt-5"]["capabilities"]["effort"] == ["minimal", "low", "medium", "high"]
    assert rows["groq", "new-model"]["price"] == {"input": 0.1, "output": 0.3}
    assert ("groq", "unknown-price") not in rows
    assert not any(r["provider"] == "elsewhere" for r in table["models"])
