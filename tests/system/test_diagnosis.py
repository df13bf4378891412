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
from lib.suite import BIN, Suite, fixed_port, free_port, wait_for
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
