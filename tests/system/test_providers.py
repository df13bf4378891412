"""The marks of compatible servers: each beside a scripted server that behaves so, and with it and without it."""
import json

import httpx
import pytest

from lib.suite import Suite
from lib.upstream import Upstream, chat

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
THOUGHT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [
    {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]}, {"role": "user", "content": "go on"}]
STREAM = ("data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
    {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}) + "\n\ndata: [DONE]\n\n").encode()

# mark: (path, request, what its server says no to)
CASES = {
    "max_tokens": ("chat/completions", {"messages": HI, "max_completion_tokens": 5}, lambda b: "max_completion_tokens" in b),
    "no_stream_options": ("chat/completions", {"messages": HI, "stream": True}, lambda b: "stream_options" in b),
    "echo_reasoning": ("messages", {"messages": THOUGHT, "max_tokens": 5},
                       lambda b: any(m["role"] == "assistant" and not m.get("reasoning_content") for m in b["messages"])),
    "no_parallel_tool_calls": ("chat/completions", {"messages": HI, "tools": [TOOL], "parallel_tool_calls": True},
                               lambda b: "parallel_tool_calls" in b),
    "system_first": ("chat/completions", {"messages": [*HI, {"role": "system", "content": "be brief"}, *HI]},
                     lambda b: any(m["role"] == "system" for m in b["messages"][1:])),
    "chat_only": ("responses", {"input": "hi"}, lambda b: "input" in b),
    "drop_hosted_tools": ("responses", {"input": "hi", "tools": [{"type": "web_search"}]}, lambda b: bool(b.get("tools"))),
    # these only widen what is passed on: their server says no to what was left out
    "top_k": ("messages", {"messages": HI, "max_tokens": 5, "top_k": 7}, lambda b: b.get("top_k") != 7),
    "many_stops": ("messages", {"messages": HI, "max_tokens": 5, "stop_sequences": list("abcdef")}, lambda b: len(b.get("stop", [])) != 6),
    "openai": ("messages", {"messages": HI, "max_tokens": 5}, lambda b: b.get("max_completion_tokens") != 5),
}

BESIDE = {"many_stops": ["openai"], "drop_hosted_tools": ["chat_only"]}  # only OpenAI itself is thought to have the bound that many_stops lifts


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    def server(refuses):
        def answer(request):
            body = request.json()
            if refuses(body):
                return 400, {"error": {"message": "Unrecognized request argument supplied: " + ", ".join(body), "type": "invalid_request_error"}}, {}
            return (200, STREAM, {"content-type": "text/event-stream"}) if body.get("stream") else (200, chat("hi"), {})
        return answer
    with Upstream() as up:
        providers = {}
        for mark, (_, _, refuses) in CASES.items():
            for name, more in ((f"with-{mark}", [mark, *BESIDE.get(mark, [])]), (f"without-{mark}", BESIDE.get(mark, []))):
                up.on(f"/{name}/v1/chat/completions", answer=server(refuses))
                providers[name] = up.provider(f"/{name}", compat=more)
        models = {n: {"targets": [{"provider": n}]} for n in providers}
        with Suite(tmp_path_factory.mktemp("marks"), models=models, providers=providers, workers={n: 1 for n in providers}) as suite:
            yield suite, up, suite.create_key()


def test_every_mark_has_its_server():
    rows = (__import__("pathlib").Path(__file__).parents[2] / "proto" / "compat.def").read_text().splitlines()
    assert {r.split('"')[1] for r in rows if r.startswith("COMPAT(")} == set(CASES)


@pytest.mark.parametrize("mark", CASES)
def test_a_mark_makes_its_server_answer(world, mark):
    suite, up, key = world
    path, body, refuses = CASES[mark]

    def ask(name):
        headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
        return httpx.post(f"{suite.url}/v1/{path}", json={"model": name, **body}, headers=headers, timeout=60)
    r = ask(f"with-{mark}")
    assert r.status_code == 200 and "hi" in r.text and up.asked(f"/with-{mark}") == 1, r.text
    r = ask(f"without-{mark}")
    first = next((q for q in up.requests if q.path.startswith(f"/without-{mark}/")), None)
    assert refuses(first.json()) if first else r.status_code == 400, "the mark changes nothing"
