"""A provider's key from a command: asked for at start and at each reload, and refused when others could change it."""
import os
import signal

import httpx
from lib.suite import Suite, wait_for
from lib.upstream import Upstream, chat


def ask(suite, key):
    return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=30,
                      json={"model": "m", "messages": [{"role": "user", "content": "x"}]})


def test_a_key_from_a_command_follows_a_reload(tmp_path):
    script = tmp_path / "key"
    script.write_text("#!/bin/sh\necho sk-first-$1\n")
    script.chmod(0o700)
    with Upstream() as up:
        up.on("/v1/chat/completions", body=chat("ok"))
        provider = up.provider("", api_key_exec=[str(script), "of;$HOME"])
        del provider["api_keys"]
        with Suite(tmp_path / "suite", models={"m": {"targets": [{"provider": "openai"}]}}, providers={"openai": provider},
                   workers={"openai": 1}) as suite:
            key = suite.create_key(name="exec")
            worker = next(d for name, d in suite.daemons.items() if name.startswith("worker"))

            def sent():
                assert ask(suite, key).status_code == 200
                return up.requests[-1].headers["authorization"]

            assert sent() == "Bearer sk-first-of;$HOME"
            script.write_text("#!/bin/sh\necho sk-second\n")
            worker.signal(signal.SIGHUP)
            wait_for(lambda: sent() == "Bearer sk-second", "the new key is used")
            os.chmod(script, 0o722)
            worker.signal(signal.SIGHUP)
            wait_for(lambda: "could be changed by others" in worker.log, "it is refused")
            assert "sk-first" not in worker.log and "sk-second" not in worker.log
