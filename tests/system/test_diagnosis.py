"""Why did it fail? What the log, the ledger and the commands say when an upstream can't be reached, when requests fail,
and when a daemon can't listen."""
import contextlib
import json
import os
import re
import socket
import subprocess
import threading

import httpx
import pytest
from lib.suite import BIN, ROOT, Suite, fixed_port, free_port, wait_for
from lib.tls import TlsFront, certificate
from lib.upstream import Upstream, chat

GENERAL = {"No secure connection to the upstream could be made.", "The upstream could not be reached."}


@contextlib.contextmanager
def hanging_up():
    """Takes connections, and cuts each with a reset before it has read anything of a TLS handshake."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@contextlib.contextmanager
def refusing_proxy():
    """A proxy that lets nobody through."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@pytest.fixture(scope="module")
def sick(tmp_path_factory):
    """A suite whose providers are called as the reason for which they can't be reached, and "well"."""
    folder = tmp_path_factory.mktemp("sick")
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(Upstream())
        up.on("/well/v1/chat/completions", 200, chat("well"))
        port = int(up.url.rsplit(":", 1)[1])
        good, other, old = (certificate(folder, "good"), certificate(folder, "other", names="DNS:other.example"),
                            certificate(folder, "old", days=-1))
        fronts = {name: stack.enter_context(TlsFront(*pair, port)) for name, pair in
                  {"good": good, "other": other, "old": old}.items()}
        reset, proxy = stack.enter_context(hanging_up()), stack.enter_context(refusing_proxy())

        def https(at, **more):
            return {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"https://127.0.0.1:{at}/well/v1"],
                    "private": True, **more}
        providers = {
            "well": https(fronts["good"].port, ca_file=str(good[0])),
            "tls_untrusted": https(fronts["good"].port),
            "tls_wrong_name": https(fronts["other"].port, ca_file=str(other[0])),
            "tls_expired": https(fronts["old"].port, ca_file=str(old[0])),
            "tls_handshake": https(port),
            "dns": {**https(1), "endpoints": ["https://no-such-host.invalid/v1"]},
            "refused": https(fixed_port()),
            "reset": https(reset),
            "private_address": {**https(fronts["good"].port), "private": False},
            "proxy_refused": https(fronts["good"].port, proxy=f"http://127.0.0.1:{fixed_port()}"),
            "proxy_denied": https(fronts["good"].port, proxy=f"http://127.0.0.1:{proxy}"),
            "proxy_dns": https(fronts["good"].port, proxy="http://no-such-proxy.invalid:3128"),
        }
        models = {name: {"targets": [{"provider": name}]} for name in providers}
        suite = stack.enter_context(Suite(folder, models=models, providers=providers, workers={n: 1 for n in providers}))
        suite.key = suite.create_key()
        yield suite


def ask(suite, model, **more):
    return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {suite.key}"}, timeout=60,
                      json={"model": model, "messages": [{"role": "user", "content": "SECRET-PROMPT"}], **more})


REASONS_TEXT = dict(re.findall(r'^REASON\(\w+, "(\w+)", "(.*)"\)$', (ROOT / "proto" / "reasons.def").read_text(), re.M))


def asked(suite, response, part="history"):
    """What the ledger has of the request that got this response, once that part of it is there."""
    def look():
        done = suite.ctl("request", response.headers["request-id"], "--json", check=False)
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        return found.get(part) and found
    return wait_for(look, f"the request's {part}")


REASONS = ("tls_untrusted", "tls_wrong_name", "tls_expired", "tls_handshake", "dns", "refused", "reset", "private_address",
           "proxy_refused", "proxy_denied", "proxy_dns")


@pytest.mark.parametrize("reason", REASONS)
def test_the_operator_is_told_why_an_upstream_can_not_be_reached_and_the_client_is_not(sick, reason):
    assert ask(sick, "well").status_code == 200
    r = ask(sick, reason)
    assert r.status_code == 502
    message = r.json()["error"]["message"]
    assert message in GENERAL or reason == "private_address"
    log = sick.daemons[f"worker-{reason}-1"].log
    line = next(line for line in log.splitlines() if "event=attempt_failed" in line)
    assert f"reason={reason} " in line and "level=warn" in line
    history = asked(sick, r)["history"]
    assert history["status"] == 502 and history["class"] in ("UPSTREAM_TLS", "UPSTREAM_UNREACHABLE")
    for attempt in history["attempts"]:
        assert attempt["reason"] == reason and attempt["provider"] == reason and attempt["worker"] == f"worker-{reason}-1"
        assert attempt["sent"] is False and attempt["model"] == reason
    told = sick.ctl("request", r.headers["request-id"]).stdout
    assert REASONS_TEXT[reason] in told and history["class"] in told and reason in told


def test_check_fails_for_a_ca_file_that_is_missing_or_is_none(tmp_path):
    good, _ = certificate(tmp_path)
    (tmp_path / "empty.pem").write_text("nothing")
    for name, code, said in (("cert.pem", 0, "ok"), ("missing.pem", 78, "missing.pem: No such file"),
                             ("empty.pem", 78, "empty.pem: there is no certificate")):
        config = tmp_path / "tollgate.yaml"
        config.write_text(json.dumps({"providers": {"x": {"type": "openai", "api_keys": ["k"], "endpoints": ["https://x.example/v1"],
                                                          "ca_file": str(tmp_path / name)}}, "models": {}}))
        done = subprocess.run([BIN / "tollgate", "check", config], capture_output=True, text=True, timeout=60)
        assert done.returncode == code and said in done.stdout + done.stderr, (done.returncode, done.stdout, done.stderr)


def test_what_can_not_be_listened_on_is_said_with_who_holds_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        base = {"providers": {}, "models": {}, "metrics": {"port": free_port()}, "edge": {"address": "127.0.0.1", "port": free_port()}}
        mine = f"address in use by {open('/proc/self/comm').read().strip()} (pid {os.getpid()})"
        env = {**os.environ, "TOLLGATE_RUN_DIR": str(tmp_path / "r"), "TOLLGATE_STATE_DIR": str(tmp_path / "s")}
        for section, program in (("edge", "tollgate-edge"), ("metrics", "tollgate-metrics"), ("edge", "tollgate up")):
            config = tmp_path / "tollgate.yaml"
            config.write_text(json.dumps({**base, section: {**base[section], "port": port}}))
            command = [BIN / "tollgate", "up"] if program == "tollgate up" else [BIN / program]
            done = subprocess.run([*command, "--config", config], env=env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1 and mine in done.stderr and str(port) in done.stderr, done.stderr
        # the bus, over ipc and over tcp
        with Suite(tmp_path / "one", workers={}) as suite:
            again = [BIN / "tollgate-auth", "--name", "auth-2", "--config", suite.folder / "tollgate.yaml"]
            done = subprocess.run(again, env={**suite.environment(), "TOLLGATE_STATE_DIR": str(tmp_path / "s2")},
                                  capture_output=True, text=True, timeout=60)
            pid = suite.daemons["auth"].process.pid
            assert done.returncode == 1 and re.search(rf"event=bind_failed .*address in use by tollgate-auth \(pid {pid}\)", done.stderr), done.stderr
            done = subprocess.run([*again, "--bind", f"tcp://127.0.0.1:{port}"],
                                  env={**suite.environment(), "TOLLGATE_STATE_DIR": str(tmp_path / "s2")},
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 1 and f"event=bind_failed" in done.stderr and mine in done.stderr, done.stderr


def test_a_start_is_one_line_and_what_comes_later_is_news(tmp_path):
    config = tmp_path / "tollgate.yaml"
    config.write_text(json.dumps({"providers": {n: {"type": "openai", "api_keys": ["k"]} for n in ("a", "b")}, "models": {},
                                  "metrics": {"port": free_port()}, "edge": {"address": "127.0.0.1", "port": free_port()}}))
    env = {**os.environ, "TOLLGATE_STATE_DIR": str(tmp_path / "s"), "TOLLGATE_RUN_DIR": str(tmp_path / "r")}
    log = tmp_path / "log"
    with open(log, "w") as out:
        up = subprocess.Popen([BIN / "tollgate", "up", "--config", config], env=env, stdout=out, stderr=out)
        try:
            wait_for(lambda: "event=ready daemon=tollgate " in log.read_text(), "all are ready")
            text = log.read_text()
            assert 'daemons="1 edge, 1 broker, 1 auth, 1 metrics, 2 workers"' in text
            assert "event=peer_up" not in text and "event=started" not in text
            worker = next(c for c in json.loads(subprocess.run([BIN / "tollgate", "status", "--json", "--config", config], env=env,
                                                               capture_output=True, text=True, timeout=60).stdout)["children"]
                          if c["name"] == "worker-a")
            os.kill(worker["pid"], 9)
            wait_for(lambda: re.search("event=peer_up .*name=broker-1 .*peer=worker-a", log.read_text()), "it is back")
        finally:
            up.terminate()
            assert up.wait(60) == 0


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """A suite before a scripted upstream: `m` has a target that fails and one that is well; each fails in its own way."""
    with Upstream() as up:
        up.on("/ok/v1/chat/completions", 200, chat("well"))
        up.on("/busy/v1/chat/completions", 503, {"error": {"message": "no room", "code": "overloaded"}}, {"x-request-id": "req-of-theirs-1"})
        up.on("/echo/v1/chat/completions", answer=lambda r: (400, {"error": {
            "message": f"bad input {json.loads(r.body)['messages'][0]['content']} with {r.headers['authorization']}",
            "code": "SECRET-PROMPT in a code", "param": "messages"}}, {}))
        providers = {n: up.provider(f"/{n}") for n in ("ok", "busy", "echo")}
        models = {"m": {"targets": [{"provider": "busy"}], "fallbacks": ["ok"]}, "ok": {"targets": [{"provider": "ok"}]},
                  "echo": {"targets": [{"provider": "echo"}]}, "busy": {"targets": [{"provider": "busy"}]},
                  "nobody": {"targets": [{"provider": "unserved"}]}}
        providers["unserved"] = up.provider("/ok")
        with Suite(tmp_path_factory.mktemp("scripted"), models=models, providers=providers,
                   workers={n: 1 for n in ("ok", "busy", "echo")}) as suite:
            suite.key = suite.create_key()
            yield suite


def test_all_attempts_of_a_request_are_told(scripted):
    r = ask(scripted, "m")
    assert r.status_code == 200
    history = asked(scripted, r)["history"]
    *failed, last = history["attempts"]
    assert failed and history["status"] == 200 and "class" not in history
    for number, attempt in enumerate(failed, 1):
        assert attempt["attempt"] == number and attempt["provider"] == "busy" and attempt["class"] == "UPSTREAM_OVERLOADED"
        assert attempt["upstream_status"] == 503
        assert attempt["provider_request_id"] == "req-of-theirs-1" and attempt["sent"] is True
    assert last["provider"] == "ok" and last["route"] == "ok" and "class" not in last
    assert last["waited_ms"] >= 0 and history["took_ms"] >= sum(a["waited_ms"] + a["took_ms"] for a in history["attempts"]) - 50
    told = scripted.ctl("request", r.headers["request-id"].removeprefix("req_")).stdout
    assert "req-of-theirs-1" in told and "UPSTREAM_OVERLOADED" in told


def test_one_that_is_answered_at_once_has_no_history(scripted):
    r = ask(scripted, "ok")
    found = asked(scripted, r, "rows")
    assert "history" not in found and found["rows"][0]["status"] == 200 and found["rows"][0]["error"] == ""
    assert "outcome   200" in scripted.ctl("request", r.headers["request-id"]).stdout


def test_no_worker_is_told_with_how_long_was_waited(scripted):
    r = ask(scripted, "nobody")
    assert r.status_code == 503
    history = asked(scripted, r)["history"]
    assert history["class"] == "OVERLOADED" and history["attempts"] == [] and history["message"]
    told = scripted.ctl("request", r.headers["request-id"]).stdout
    assert "for a worker" in told and history["message"] in told


def test_neither_prompts_nor_keys_get_into_the_ledger(scripted):
    r = ask(scripted, "echo")
    assert r.status_code == 400 and "SECRET-PROMPT" in r.text
    history = asked(scripted, r)["history"]
    assert history["class"] == "UPSTREAM_BAD_REQUEST" and history["attempts"][0]["param"] == "messages"
    assert "code" not in history["attempts"][0], "a code is a word"
    for path in (scripted.folder / "state").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"SECRET-PROMPT" not in raw and scripted.key.encode() not in raw, path


def test_requests_are_found_by_status_time_key_and_model(scripted):
    other = scripted.create_key(name="other")
    for _ in range(2):
        assert ask(scripted, "busy").status_code == 503
    mine, scripted.key = scripted.key, other
    try:
        wanted = ask(scripted, "busy")
        assert ask(scripted, "ok").status_code == 200
    finally:
        scripted.key = mine
    asked(scripted, wanted, "rows")

    def rows(*args):
        return json.loads(scripted.ctl("usage", "--requests", "--json", *args).stdout)
    found = rows("--status", "5xx", "--since", "1h", "--key", "other")
    assert [row["request_id"] for row in found] == [wanted.headers["request-id"]]
    assert found[0]["error"] == "UPSTREAM_OVERLOADED" and found[0]["status"] == 503
    for args, check in ((("--status", "5xx"), lambda row: row["status"] >= 500), (("--status", "200,400"), lambda row: row["status"] in (200, 400)),
                        (("--model", "busy"), lambda row: row["model"] == "busy"), (("--since", "45m"), lambda row: True)):
        found = rows(*args)
        assert found and all(map(check, found))
        assert [row["started_ms"] for row in found] == sorted((row["started_ms"] for row in found), reverse=True)
    assert len(rows("--limit", "2")) == 2
    assert rows("--since", "2100-01-01") == []
    assert "UPSTREAM_OVERLOADED" in scripted.ctl("usage", "--requests", "--status", "5xx").stdout
    sums = json.loads(scripted.ctl("usage", "--by", "model", "--model", "busy", "--json").stdout)
    assert [row["model"] for row in sums] == ["busy"]
    for bad in (("--status", "abc"), ("--status", "5x"), ("--since", "soon")):
        assert scripted.ctl("usage", "--requests", *bad, check=False).returncode != 0
    assert scripted.ctl("usage", "--status", "5xx", check=False).returncode == 2


def test_a_request_that_is_not_known_is_said_so(scripted):
    for bad, said in (("req_" + "0" * 32, "no such request"), ("nonsense", "hexadecimal")):
        done = scripted.ctl("request", bad, check=False)
        assert done.returncode == 1 and said in done.stderr
