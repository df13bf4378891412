"""`tollgate up`: one command keeps a suite, restarts its parts unseen, follows its configuration. And the edge behind a socket
that somebody else holds, as systemd does."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import httpx
import pytest
from lib.load import Load
from lib.suite import BIN, ROOT, Suite, free_port, wait_for
from lib.up import TlsUp, Up, begin_stream, restart_by_hand, restart_by_up


def environment_of(pid):
    with open(f"/proc/{pid}/environ") as f:
        return dict(v.split("=", 1) for v in f.read().split("\0") if "=" in v)


def test_an_edge_that_is_restarted_under_load_refuses_nobody_and_cuts_nothing(tmp_path):
    restart_by_up(tmp_path, 4)


def test_nor_are_clients_under_tls_refused_or_cut(tmp_path):
    restart_by_up(tmp_path, 4, TlsUp)


@pytest.mark.parametrize("certs", [False, True])
def test_every_daemon_is_restarted_in_turn_and_nobody_notices(tmp_path, certs):
    with Up(tmp_path, brokers=2, certs=certs, models={"gpt-4o-mini": {"targets": [{"provider": "openai"}]}}) as suite:
        key = suite.create_key()
        with Load(suite.url, key) as load:
            for name in ("metrics", "auth", "broker-1", "broker-2", "worker-openai", "edge-1"):
                suite.ctl("restart", name)
        assert load.failures == []


def test_a_stream_longer_than_the_drain_ends_in_words(tmp_path):
    with Up(tmp_path, options={"runtime": {"drain_timeout": "1s"}}) as suite:
        key = suite.create_key()
        rest = begin_stream(suite, key, "[[sim chunks=400 pace=50]] marker-long")
        suite.ctl("restart", "edge-1")
        text = rest()
        assert "service_unavailable" in text and "[DONE]" not in text
        assert suite.chat(key).status_code == 200


def test_a_killed_edge_is_back_before_its_clients_give_up(tmp_path):
    with Up(tmp_path) as suite:
        key = suite.create_key()
        old = suite.children()["edge-1"]["pid"]
        os.kill(old, signal.SIGKILL)
        for _ in range(10):
            assert suite.chat(key).status_code == 200  # it waits in the socket's queue
        edge = suite.children()["edge-1"]
        assert edge["pid"] != old and edge["last_end"] == "signal 9" and edge["restarts"] == 1


def test_a_provider_that_is_added_gets_a_worker_and_a_removed_one_loses_it(tmp_path):
    with Up(tmp_path, env={"OTHER_KEY": "sk-other"}) as suite:
        key = suite.create_key()
        assert "worker-more" not in suite.children()
        base = {"type": "openai", "private": True}
        suite.providers = {"more": {**base, "api_keys": ["${OTHER_KEY}"], "endpoints": ["{sim}/openai/v1"]}}
        suite.models = {**suite.models, "new-model": {"targets": [{"provider": "more", "model": "gpt-4o-mini"}]}}
        suite.write_config()
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: suite.children().get("worker-more", {}).get("state") == "ready", "the worker is there")
        wait_for(lambda: suite.chat(key, "new-model").status_code == 200, "and serves")
        pid = suite.children()["worker-more"]["pid"]
        rest = begin_stream(suite, key, "[[sim chunks=40 pace=25]] marker-other")
        suite.providers, suite.models = {}, {k: v for k, v in suite.models.items() if k != "new-model"}
        suite.write_config()
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: "worker-more" not in suite.children(), "the worker is gone")
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "and its process has ended")
        assert suite.chat(key, "new-model").status_code == 404
        assert rest().rstrip().endswith("[DONE]")


def test_what_only_a_start_takes_is_named_until_it_is_taken(tmp_path):
    with Up(tmp_path) as suite:
        def waiting():
            return {d["name"]: d["restart_for"] for d in json.loads(suite.ctl("status", "--json").stdout)["daemons"]}
        suite.options = {"edge": {"max_body": "2KiB"}, "auth": {"store": str(tmp_path / "other.db")},
                         "metrics": {"max_series": 5000}}
        suite.write_config()
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: {k: v for k, v in waiting().items() if v} == {
            "edge-1": "edge.max_body", "auth": "auth.store", "metrics": "metrics.max_series"}, "status says so")
        assert re.search(r"event=restart_needed .*name=edge-1 option=edge.max_body", suite.log), suite.log
        assert "edge.max_body" in suite.ctl("status").stdout
        suite.ctl("restart", "edge-1")
        wait_for(lambda: waiting().get("edge-1.2") == "" and "edge-1" not in waiting(), "it is taken")
        big = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": "Bearer sk-x"}, content=b"x" * 4096)
        assert big.status_code == 413
        del suite.options["auth"]["store"]
        suite.write_config()
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: waiting()["auth"] == "", "what is taken back is forgotten")


def test_an_edge_moves_to_another_port_with_its_restart(tmp_path):
    with Up(tmp_path) as suite:
        key, old = suite.create_key(), suite.url
        suite.ports = [free_port()]
        suite.write_config()
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: "event=reloaded" in suite.log, "the file is read")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", suite.ports[0]))
            taken.listen()
            assert "edge.port is in use" in suite.ctl("restart", "edge-1", check=False).stderr
        assert httpx.get(old + "/health/liveness").status_code == 200
        suite.ctl("restart", "edge-1")
        assert suite.chat(key).status_code == 200
        wait_for(lambda: suite._status(old + "/health/liveness") is None, "the old port is closed")


def test_while_the_file_is_wrong_the_suite_can_still_be_asked(tmp_path):
    with Up(tmp_path, options={"auth": {"admin_socket": "{run}/elsewhere.sock"}}) as suite:
        key = suite.create_key(name="mine")
        assert suite.chat(key).status_code == 200
        (tmp_path / "tollgate.yaml").write_text("edge: {prt: 1}\n")
        suite.up.signal(signal.SIGHUP)
        wait_for(lambda: "event=reload_refused" in suite.log, "the complaint")
        assert "did you mean port?" in suite.log
        for command in (["status"], ["keys", "list"], ["usage"]):
            done = suite.ctl(*command)
            assert "tollgate.yaml:1" in done.stderr  # what is wrong is said
        assert "mine" in suite.ctl("keys", "list").stdout
        assert suite.ctl("check", tmp_path / "tollgate.yaml", check=False).returncode == 78
        assert suite.chat(key).status_code == 200


def test_restart_says_what_it_cannot_do(tmp_path):
    with Up(tmp_path) as suite:
        assert "no daemon of that name" in suite.ctl("restart", "edge-9", check=False).stderr
        assert suite.ctl("restart", check=False).returncode == 2
        second = subprocess.run([str(suite.bin / "tollgate"), "up"], env=suite.environment(), capture_output=True, text=True, timeout=60)
        assert second.returncode == 1 and "another `tollgate up`" in second.stderr
        # a new one that cannot start leaves the old one in its place
        pid = suite.children()["edge-1"]["pid"]
        good = (tmp_path / "tollgate.yaml").read_text()
        (tmp_path / "tollgate.yaml").write_text("edge: {prt: 1}\n")
        assert "could not start" in suite.ctl("restart", "edge-1", check=False).stderr
        (tmp_path / "tollgate.yaml").write_text(good)
        edge = suite.children()["edge-1"]
        assert edge["pid"] == pid and edge["failed_restarts"] == 1 and edge["last_end"] == "exit code 78"
    outside = subprocess.run([str(suite.bin / "tollgate"), "restart", "edge-1", "--run-dir", str(tmp_path)], capture_output=True,
                             text=True, timeout=60)
    assert outside.returncode == 1 and "no `tollgate up` listens" in outside.stderr


def test_a_daemon_sees_the_variables_it_needs_and_is_nobody_s_to_read(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may look into a daemon")
    with Up(tmp_path, env={"AWS_SECRET_ACCESS_KEY": "not yours", "HTTPS_PROXY": "http://nowhere"}) as suite:
        children = suite.children()
        seen = {name: environment_of(c["pid"]) for name, c in children.items()}
        assert [n for n, env in seen.items() if "SIM_KEY" in env] == [n for n in seen if n.startswith("worker-")]
        for name, env in seen.items():
            assert "AWS_SECRET_ACCESS_KEY" not in env and "HTTPS_PROXY" not in env, name
            assert env["PATH"]
        for pid in [suite.up.process.pid] + [c["pid"] for c in children.values()]:
            owner = os.stat(f"/proc/{pid}/environ").st_uid
            assert owner == 0
            limits = open(f"/proc/{pid}/limits").read()
            assert re.search(r"Max core file size +0 ", limits)


def test_a_daemon_is_closed_to_its_own_user(tmp_path):
    """Root runs it as somebody, and lets that somebody look."""
    if os.geteuid() != 0 or os.stat(BIN).st_mode & 0o005 != 0o005:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory(prefix="tg-") as folder:
        os.chown(folder, 12345, 12345)
        config = pathlib.Path(folder) / "c.yaml"
        for traceable in (False, True):
            config.write_text(f"runtime: {{traceable: {str(traceable).lower()}}}\nmetrics: {{port: {free_port()}}}\n")
            env = {**os.environ, "TOLLGATE_CONFIG": str(config), "TOLLGATE_RUN_DIR": folder, "TOLLGATE_STATE_DIR": folder + "/state"}
            with subprocess.Popen([str(BIN / "tollgate-metrics")], env=env, stderr=subprocess.PIPE, user=12345, group=12345,
                                  extra_groups=[], text=True) as daemon:
                wait_for(lambda: "event=ready" in daemon.stderr.readline(), "it is ready")
                look = subprocess.run(["cat", f"/proc/{daemon.pid}/environ"], user=12345, group=12345, extra_groups=[],
                                      capture_output=True)
                assert (look.returncode == 0) == traceable, look.stderr
                daemon.terminate()


def test_another_users_run_directory_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    program = str(Suite(tmp_path / "s").bin / "tollgate")
    for path, why in ((folder, "belongs to another user"), (link, "is a symbolic link")):
        done = subprocess.run([program, "up", "--demo", "--run-dir", str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and why in done.stderr, done.stderr


def test_a_second_ctrl_c_ends_streams_in_words(tmp_path):
    with Up(tmp_path) as suite:
        key = suite.create_key()
        rest = begin_stream(suite, key, "[[sim chunks=400 pace=50]] marker-twice")
        suite.up.signal(signal.SIGINT)
        wait_for(lambda: "event=draining" in suite.log, "the first one is heard")
        suite.up.signal(signal.SIGINT)
        text = rest()
        assert "service_unavailable" in text and "[DONE]" not in text
        assert suite.up.stop() == 0


# ---- a socket that somebody else holds ----


def test_behind_a_socket_of_systemd_an_edge_is_restarted_unseen(tmp_path):
    restart_by_hand(tmp_path, 4)


def test_the_edge_understands_systemd_s_own_hand_over(tmp_path):
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        pytest.skip("no systemd-socket-activate here")
    with Suite(tmp_path, workers={"openai": 1}) as suite:
        key = suite.create_key()
        port = free_port()
        passed = [f"--setenv={k}={v}" for k, v in suite.environment().items() if k.startswith(("TOLLGATE_", "ASAN", "UBSAN", "PATH"))]
        edge = suite.add("edge-9", "tollgate-edge")  # only for its name and log
        edge.kill()
        edge.argv = [activate, f"--listen=127.0.0.1:{port}", "--fdname=http", *passed, str(suite.bin / "tollgate-edge"), "--name", "edge-9"]
        edge.start()
        first = wait_for(lambda: Suite._status(f"http://127.0.0.1:{port}/health/liveness"), "the edge is started by its first client")
        assert first == 200
        r = wait_for(lambda: (a := httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", timeout=60,
                                              headers={"authorization": f"Bearer {key}"},
                                              json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}))
                     .status_code == 200 and a, "it serves")
        assert r.status_code == 200 and "handed=1" in edge.log


def test_what_is_handed_over_must_be_a_listening_socket(tmp_path):
    with Suite(tmp_path, workers={"openai": 1}) as suite:
        with open(os.devnull) as nothing:
            done = subprocess.run(["sh", "-c", 'LISTEN_PID=$$ exec "$0" --name edge-9', str(suite.bin / "tollgate-edge")],
                                  env={**suite.environment(), "LISTEN_FDS": "1"}, pass_fds=(3,), capture_output=True, text=True,
                                  preexec_fn=lambda: os.dup2(nothing.fileno(), 3), timeout=60)
        assert done.returncode == 1 and "no listening TCP socket" in done.stderr


def test_a_lame_duck_says_no_to_its_balancer_first(tmp_path):
    with Suite(tmp_path, workers={"openai": 1}, options={"edge": {"lame_duck": "3s"}}) as suite:
        key = suite.create_key()
        edge = suite.daemons["edge-1"]
        edge.signal(signal.SIGTERM)
        wait_for(lambda: suite._status(f"{suite.url}/health/readiness") == 503, "readiness says no")
        r = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                       json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]})
        assert r.status_code == 200 and r.headers["connection"] == "close"
        assert edge.stop() == 0


def test_a_revoked_key_s_streams_end(tmp_path):
    with Suite(tmp_path, workers={"openai": 1}) as suite:
        key, other = suite.create_key(name="bad"), suite.create_key(name="good")
        ended, goes_on = begin_stream(suite, key, "[[sim chunks=400 pace=50]] marker-bad"), begin_stream(
            suite, other, "[[sim chunks=60 pace=50]] marker-good")
        suite.ctl("keys", "revoke", "bad")
        texts = {}
        reader = threading.Thread(target=lambda: texts.update(bad=ended()))
        reader.start()
        reader.join(5)
        assert "This API key has been revoked." in texts["bad"] and "[DONE]" not in texts["bad"]
        assert goes_on().rstrip().endswith("[DONE]")


# ---- versions ----


# Of 0.2's own commits the one from which on daemons' messages and stores keep to each other; it stands for the previous version until there is a tag.
BEFORE_TAGS = "43324494d9f1850fbca4d1defdd76539e3cbd247"


def previous_version():
    """The newest tag whose daemons speak this protocol's major version, else BEFORE_TAGS; None where the history lacks both."""
    def major(text):
        found = re.search(r"PROTO_MAJOR\s*=?\s*(\d+)", text)
        return found and int(found.group(1))

    def git(*args):
        return subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True)
    found = subprocess.run(["grep", "-rlE", r"PROTO_MAJOR\s*=?\s*[0-9]", "--include=*.h", str(ROOT / "proto")], capture_output=True,
                           text=True).stdout.split()
    assert len(found) == 1, found
    path = os.path.relpath(found[0], ROOT)
    now = major((ROOT / path).read_text())
    for version in [*git("tag", "--list", "v*", "--sort=-version:refname").stdout.split(), BEFORE_TAGS]:
        there = git("show", f"{version}:{path}")
        if there.returncode == 0 and major(there.stdout) == now:
            return version
    return None


def test_the_previous_version_s_daemons_and_these_serve_together(tmp_path):
    version = previous_version()
    if not version:
        pytest.skip("this clone's history has no earlier version with this major version of the daemons' protocol")
    source, build = tmp_path / "source", tmp_path / "build"
    subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(source), version], check=True)
    try:
        subprocess.run(["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", "-DTOLLGATE_TESTS=OFF"], check=True)
        subprocess.run(["ninja", "-C", str(build)], check=True)
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(source)], check=True)
    with Suite(tmp_path / "mixed", workers={"openai": 2}, brokers=2, edges=2, bin_dir=build / "bin") as suite:
        key = suite.create_key()

        def upgrade(name):
            d = suite.daemons[name]
            starts = d.log.count("event=ready")
            assert d.stop() == 0
            d.argv[0] = str(BIN / os.path.basename(d.argv[0]))
            d.start()
            wait_for(lambda: d.log.count("event=ready") > starts, f"{name} is ready")
        upgrade("edge-2")  # its clients are not asked: that an edge is replaced unseen is T38
        with Load(suite.url, key) as of_the_old_edge, Load(suite.url_of(1), key) as load:
            for name in ("worker-openai-1", "broker-1", "metrics", "auth", "worker-openai-2", "broker-2"):
                upgrade(name)
        assert load.failures == [] and of_the_old_edge.failures == []
