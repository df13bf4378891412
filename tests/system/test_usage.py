"""Every request has exactly one row, and the ledger's sum is the simulator's to the token."""
import httpx
from lib.suite import in_threads, wait_for


def chat(suite, key, model, text, **more):
    return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json={"model": model, "messages": [{"role": "user", "content": text}], **more})


def totals(suite, name):
    rows = [r for r in suite.usage("--by", "key") if r["key_name"] == name]
    return rows[0] if rows else {"requests": 0, "input_tokens": 0, "output_tokens": 0}


def test_the_ledger_agrees_with_the_simulator_to_the_token(suite):
    key = suite.create_key(name="ledger")
    suite.sim_reset()
    models = ["gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct"]
    jobs = [(models[i % 3], i % 2 == 0) for i in range(60)]

    def work(i):
        for model, stream in jobs[i * 10:i * 10 + 10]:
            r = chat(suite, key, model, f"ledger {i} {model} " + "word " * i, stream=stream)
            assert r.status_code == 200, r.text
        return True

    assert all(in_threads(6, work))
    wait_for(lambda: totals(suite, "ledger")["requests"] == 60, "60 rows are booked")
    booked, told = totals(suite, "ledger"), suite.sim_stats()
    assert booked["input_tokens"] == told["input_tokens"]
    assert booked["output_tokens"] == told["output_tokens"]
    assert booked["cost_nano"] > 0


def test_usage_sums_by_model_and_day(suite):
    by_model = {r["model"]: r for r in suite.usage("--by", "model")}
    assert by_model["gpt-4o-mini"]["requests"] >= 20
    assert sum(r["requests"] for r in suite.usage("--by", "day")) == sum(r["requests"] for r in by_model.values())


def test_a_client_that_leaves_is_booked_as_499_and_estimated(suite):
    key = suite.create_key(name="leaver")
    with httpx.Client() as client:
        with client.stream("POST", suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"},
                           json={"model": "gpt-4o-mini", "stream": True,
                                 "messages": [{"role": "user", "content": "[[sim chunks=1000 pace=20]] bye"}]}) as r:
            next(r.iter_lines())
    row = wait_for(lambda: totals(suite, "leaver")["requests"] == 1 and totals(suite, "leaver"), "the leaver is booked")
    assert row["input_tokens"] > 0


def test_metrics_count_the_same(suite):
    def counted():
        text = suite.metrics_text()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("tollgate_requests_total{") and 'key="ledger"' in line)
    wait_for(lambda: counted() == 60, "60 requests in the metrics")
    text = suite.metrics_text()
    for name in ("tollgate_tokens_total", "tollgate_cost_dollars_total", "tollgate_request_duration_seconds_bucket",
                 "gen_ai_server_time_to_first_token_seconds_bucket", "tollgate_worker_slots", "tollgate_queue_depth"):
        assert name in text, name
