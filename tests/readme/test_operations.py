"""docs/operations.md answers "why did my request fail?" with commands: each is run against a suite in which one has."""
import os
import re
import subprocess

import httpx
import pytest
from lib.suite import BIN, ROOT, Suite, fixed_port, wait_for

TEXT = (ROOT / "docs" / "operations.md").read_text()
SECTION = TEXT[TEXT.index("## Why did my request fail?"):TEXT.index("## Restart without")]
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", SECTION, re.S | re.M) for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A suite with a failed request, and the environment of who asks about it."""
    down = {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"http://127.0.0.1:{fixed_port()}/v1"], "private": True}
    with Suite(tmp_path_factory.mktemp("why"), models={"gpt-4o-mini": {"targets": [{"provider": "down"}]}}, providers={"down": down},
               workers={"down": 1}) as suite:
        key = suite.create_key(name="alice")
        r = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                       json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]})
        assert r.status_code == 502
        env = {**suite.environment(), "REQUEST_ID": r.headers["request-id"], "KEY_NAME": "alice", "MODEL": "gpt-4o-mini",
               "TOLLGATE_CONFIG": str(suite.folder / "tollgate.yaml"), "PATH": f"{BIN}:{os.environ['PATH']}"}
        wait_for(lambda: subprocess.run([BIN / "tollgate", "request", env["REQUEST_ID"]], env=env, capture_output=True).returncode == 0,
                 "the request is in the ledger")
        wait_for(lambda: "tollgate_errors_total{" in suite.metrics_text(), "it is counted")
        yield suite, env


@pytest.mark.parametrize("command", COMMANDS)
def test_command(place, command):
    suite, env = place
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command.replace("127.0.0.1:9464", f"127.0.0.1:{suite.metrics_port}")],
                          env=env, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    if "--status" in command:
        assert env["REQUEST_ID"] in done.stdout, done.stdout
    if command.startswith("tollgate request"):
        for said in ("UPSTREAM_UNREACHABLE", "refused", "nothing listens there", "alice", "worker-down-1"):
            assert said in done.stdout, done.stdout


def test_the_section_is_there_and_names_every_reason():
    assert len(COMMANDS) >= 6
    words = re.findall(r'^REASON\(\w+, "(\w+)"', (ROOT / "proto" / "reasons.def").read_text(), re.M)
    assert len(words) > 10
    missing = [word for word in words if f"`{word}`" not in SECTION]
    assert not missing
