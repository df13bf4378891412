"""Every block of README.md is run: shell and Python against a suite of this build (port 4000 replaced by its own), YAML
checked by `tollgate check`. The blocks without a language are the two commands, compose and systemd, which have tests of
their own (tests/compose) or are what is running here (tests/run, deploy/quickstart)."""
import os
import re
import subprocess
import sys

import pytest
from lib.suite import BIN, ROOT, Suite, free_port

TEXT = (ROOT / "README.md").read_text()
BLOCKS = [(m[1], m[2], TEXT[: m.start()].count("\n") + 1) for m in re.finditer(r"^```(\w*)\n(.*?)^```", TEXT, re.S | re.M)]


def of(language):
    return [pytest.param(text, id=f"line-{line}") for name, text, line in BLOCKS if name == language]


@pytest.fixture(scope="module")
def place(suite, key):
    """The environment that the README's reader has."""
    return {**suite.environment(), "TOLLGATE_KEY": key, "PATH": f"{BIN}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def run(suite, argv, text, place):
    text = text.replace("127.0.0.1:4000", f"127.0.0.1:{suite.ports[0]}")
    done = subprocess.run([*argv, text], env=place, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("text", of("sh"))
def test_shell_block(suite, place, text):
    said = run(suite, ["bash", "-euo", "pipefail", "-c"], text, place)
    assert said.strip()
    assert '"error"' not in said, said


@pytest.mark.parametrize("text", of("python"))
def test_python_block(suite, place, text):
    assert "Say hello." in run(suite, [sys.executable, "-c"], text, place)


@pytest.mark.parametrize("text", of("yaml"))
def test_configuration_block(suite, tmp_path, text):
    path = tmp_path / "tollgate.yaml"
    path.write_text(text)
    done = suite.ctl("check", path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_other_block_is_known():
    """A new kind of block needs a test of its own."""
    first_words = {text.split()[0] for name, text, _ in BLOCKS if name == "" and "──" not in text}
    assert first_words == {"./deploy/quickstart", "./tests/run", "deploy/install-deps"}, first_words
    assert {name for name, _, _ in BLOCKS} == {"", "sh", "python", "yaml"}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.timeout(900)
def test_quickstart_shows_all_three_providers(tmp_path):
    """The first command, as it stands (its packages are there already when tests run)."""
    env = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_API_TOKEN")) and not k.startswith("TOLLGATE")}
    done = subprocess.run(["deploy/quickstart", "--once", "--port", str(free_port())], cwd=ROOT, env=env, capture_output=True,
                          text=True, timeout=850, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for provider in ("openai", "anthropic", "replicate"):
        assert f"x-tollgate-provider: {provider}" in done.stdout
    assert done.stdout.count("[simulated] ") >= 3
    assert re.search(r"^tollgate_cost_dollars_total\{.*\} 0\.0", done.stdout, re.M)
    assert "what to try next" in done.stdout
