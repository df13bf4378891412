"""Suites whose edge serves a socket that somebody else holds: `tollgate up`, or the test in systemd's place."""
import json
import os
import socket
import subprocess

import httpx
from lib.load import Load
from lib.suite import Daemon, Suite, free_port, wait_for


class Up(Suite):
    """The suite of `tollgate up`, with the tests' own simulator."""

    def start(self):
        (self.folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.start_simulator()
        self.ports, self.metrics_port = [free_port()], free_port()
        self.bus = self.bus_addresses()
        self.write_config()
        if self.certs:
            self.ctl("certs", "create", self.certs)
        self.add("up", "tollgate", "up")
        wait_for(lambda: "listening: " in self.log or not self.up.alive, "the suite is up")
        assert self.up.alive, self.log
        wait_for(lambda: self._status(f"{self.url}/health/readiness") == 200, "the edge is ready")

    @property
    def up(self):
        return self.daemons["up"]

    @property
    def log(self):
        return self.up.log

    def close(self):
        codes = {name: self.daemons[name].stop() for name in ("up", "simulator") if name in self.daemons}
        self._sockets.cleanup()
        return codes

    def children(self):
        return {c["name"]: c for c in json.loads(self.ctl("status", "--json").stdout)["children"]}

    def chat(self, key, model="gpt-4o-mini", text="x", **more):
        return httpx.post(self.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                          json={"model": model, "messages": [{"role": "user", "content": text}], **more})


def begin_stream(suite, key, text):
    """A stream of which the first event has come; returns a function that reads the rest."""
    client = httpx.Client(timeout=60)
    response = client.send(client.build_request(
        "POST", suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"},
        json={"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": text}]}), stream=True)
    lines = response.iter_lines()
    next(lines)
    return lambda: "\n".join(lines)


class Handed(Suite):
    """Its edge is handed the socket that the test holds, as systemd hands over that of a .socket unit."""

    def add_edge(self, index):
        if not hasattr(self, "socket"):
            self.socket = socket.socket()
            self.socket.bind(("127.0.0.1", 0))
            self.socket.listen(1024)
            self.ports[0] = self.socket.getsockname()[1]
            self.lives = 0
        self.lives += 1
        name = f"edge-{self.lives}"
        edge = Daemon(name, ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', str(self.bin / "tollgate-edge"), "--name", name],
                      {**self.environment(), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, self.folder)
        log = open(edge.log_path, "ab")
        edge.process = subprocess.Popen(edge.argv, env=edge.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(3,),
                                        preexec_fn=lambda: os.dup2(self.socket.fileno(), 3))
        log.close()
        self.daemons[name] = edge
        return edge

    def wait_up(self, edge):
        wait_for(lambda: "event=ready" in edge.log, "the edge is ready")
        return edge


class TlsUp(Up):
    """Clients come by TLS: through the other way into the edge's HTTP server."""

    def start(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "2", "-subj", "/CN=edge", "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"],
                       check=True, capture_output=True)
        self.options["edge"] = {"tls_cert": str(self.folder / "cert.pem"), "tls_key": str(self.folder / "key.pem")}
        super().start()

    @property
    def url(self):
        return super().url.replace("http://", "https://")

    @staticmethod
    def _status(url):
        try:
            return httpx.get(url, timeout=5, verify=False).status_code
        except httpx.HTTPError:
            return None


def restart_by_up(folder, times, kind=Up):
    """T38: 0 refused, 0 cut."""
    with kind(folder) as suite:
        key = suite.create_key()
        pids = {suite.children()["edge-1"]["pid"]}
        with Load(suite.url, key, verify=kind is Up) as load:
            for _ in range(times):
                assert "ready" in suite.ctl("restart", "edge-1").stdout
                pids.add(suite.children()["edge-1"]["pid"])
            streams = load.done["stream"]
            wait_for(lambda: load.done["stream"] >= streams + 8 or load.failures, "streams of the last edge")
        assert load.failures == []
        assert len(pids) == times + 1
        assert suite.children()["edge-1"]["restarts"] == times
        print(f"T38 by {kind.__name__}: {times} restarts, {load.done}: 0 refused, 0 cut")


def restart_by_hand(folder, times):
    """T38 behind a socket that outlives the edges, as systemd's does."""
    with Handed(folder, workers={"openai": 1}) as suite:
        assert "handed=1" in suite.daemons["edge-1"].log
        key = suite.create_key()
        with Load(suite.url, key) as load:
            for life in range(1, times + 1):
                if life % 2:  # as `systemctl restart` does: the old one ends first
                    assert suite.daemons[f"edge-{life}"].stop() == 0
                    suite.wait_up(suite.add_edge(0))
                else:  # two instances on one socket: the new one is ready first
                    suite.wait_up(suite.add_edge(0))
                    assert suite.daemons[f"edge-{life}"].stop() == 0
        assert load.failures == []
        print(f"T38 by a handed socket: {times} restarts, {load.done}: 0 refused, 0 cut")
