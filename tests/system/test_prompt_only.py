"""POST /v1/completions with a prompt and nothing else: the model is default_model, the caps its `defaults`."""
import json

import httpx
import pytest
from lib.suite import MODELS, Suite

CAPS = {"max_tokens": 60, "temperature": 0.5}
WANTED = {  # model → where the upstream's request says the cap and the temperature
    "gpt-4o-mini": lambda b: (b.get("max_tokens", b.get("max_completion_tokens")), b["temperature"]),
    "claude-haiku-4-5": lambda b: (b["max_tokens"], b["temperature"]),
    "meta/meta-llama-3-8b-instruct": lambda b: (b["input"].get("max_tokens", b["input"].get("max_new_tokens")),
                                                b["input"]["temperature"]),
}


@pytest.mark.parametrize("model", WANTED)
def test_a_prompt_alone_is_enough(tmp_path, model):
    with Suite(tmp_path, models={model: {**MODELS[model], "defaults": CAPS}}) as suite:
        key = suite.create_key()
        r = httpx.post(suite.url + "/v1/completions", headers={"authorization": f"Bearer {key}"},
                       json={"prompt": "marker-alone"}, timeout=60)
        assert r.status_code == 200, r.text
        assert "marker-alone" in r.json()["choices"][0]["text"]
        assert r.json()["object"] == "text_completion"
        told = suite.sim_requests()
        asked = [x for x in (told["requests"] if isinstance(told, dict) else told) if x["method"] == "POST"][-1]
        assert WANTED[model](json.loads(asked["body"])) == (60, 0.5), asked["body"]
