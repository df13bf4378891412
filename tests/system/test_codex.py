"""Codex's own command line on a model of Anthropic's: a shell step and an edit, by way of /v1/responses.

Skipped where it is not installed (it is large): `pip install openai-codex-cli-bin` into the tests' environment.
"""
import importlib.util
import json
import os
import pathlib
import stat
import subprocess

import pytest
from lib.suite import Suite
from lib.upstream import Upstream

SPEC = importlib.util.find_spec("codex_cli_bin")
pytestmark = pytest.mark.skipif(SPEC is None, reason="openai-codex-cli-bin is not installed")
PATCH = "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: a.txt\n@@\n-old line\n+new line\n*** End Patch\nEOF"


def stream(stop, *blocks):
    """A message of Anthropic's as the events of its stream."""
    events = [{"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "c",
                                                    "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 1}}}]
    for i, block in enumerate(blocks):
        empty = dict(block, **({"text": ""} if block["type"] == "text" else {"input": {}}))
        events.append({"type": "content_block_start", "index": i, "content_block": empty})
        if block["type"] == "text":
            events.append({"type": "content_block_delta", "index": i, "delta": {"type": "text_delta", "text": block["text"]}})
        else:
            args = json.dumps(block["input"])
            events += [{"type": "content_block_delta", "index": i, "delta": {"type": "input_json_delta", "partial_json": args[at:at + 7]}}
                       for at in range(0, len(args), 7)]
        events.append({"type": "content_block_stop", "index": i})
    events += [{"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 9}},
               {"type": "message_stop"}]
    return 200, "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode(), {"content-type": "text/event-stream"}


def answer(request):
    turns = [m for m in request.json()["messages"] if m["role"] == "assistant"]
    steps = ["cat a.txt && echo from-shell >b.txt", PATCH]
    if len(turns) == len(steps):
        return stream("end_turn", {"type": "text", "text": "All done."})
    call = {"type": "tool_use", "id": f"toolu_{len(turns)}", "name": "exec_command", "input": {"cmd": steps[len(turns)]}}
    return stream("tool_use", {"type": "text", "text": "Looking."}, call)


def codex():
    path = pathlib.Path(SPEC.submodule_search_locations[0]) / "bin/codex"
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_codex_runs_a_command_and_edits_a_file(tmp_path):
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    (work / "a.txt").write_text("old line\n")
    with Upstream() as up:
        up.on("/a/v1/messages", answer=answer)
        with Suite(tmp_path / "suite", models={"claude-haiku-4-5": {"targets": [{"provider": "anthropic"}]}}, workers={"anthropic": 1},
                   providers={"anthropic": {"api_keys": ["${SIM_KEY}"], "endpoints": [f"{up.url}/a/v1"], "private": True}}) as suite:
            provider = f'{{name="tollgate",base_url="{suite.url}/v1",env_key="TOLLGATE_KEY",wire_api="responses"}}'
            done = subprocess.run(
                [codex(), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", "claude-haiku-4-5",
                 "-c", 'model_provider="tollgate"', "-c", f"model_providers.tollgate={provider}", "Change a.txt"],
                cwd=work, env=dict(os.environ, HOME=str(home), CODEX_HOME=str(home), TOLLGATE_KEY=suite.create_key()),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "All done." in done.stdout, done.stderr[-4000:]
        assert (work / "a.txt").read_text() == "new line\n" and (work / "b.txt").read_text() == "from-shell\n"
        last = up.requests[-1].json()["messages"]
        assert [m["role"] for m in last] == ["user", "assistant", "user", "assistant", "user"]
        assert "old line" in json.dumps(last[2]) and last[2]["content"][0]["type"] == "tool_result"
