"""What is measured: Tollgate, its yardsticks (nginx, HAProxy, LiteLLM), all in front of one simulator, and a TLS front of
that simulator. Each has .name, .port, .key, .model, .tls_model or None, pids() → {part: [pid]} and stop()."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from lib.suite import Suite, free_port, wait_for  # noqa: E402

LITELLM = "litellm[proxy]==1.106.2"
MODEL, TLS_MODEL = "gpt-4o-mini", "gpt-4o-mini-over-tls"
MODELS = {MODEL: {"targets": [{"provider": "openai"}], "timeout": "600s"},
          TLS_MODEL: {"targets": [{"provider": "secure", "model": MODEL}], "timeout": "600s"}}
# Room for every connection and stream of a run; all else is as it is by default, with a line in the access log per request.
OPTIONS = {"edge": {"access_log": True, "max_connections": 20000, "max_connections_per_address": 0},
           "broker": {"queue_size": 20000}, "worker": {"slots": 20000, "max_connections": 20000}}


def end_process(process, patience_s=10):
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def children_of(pid):
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in found]


def answers(port, path="/v1/models"):
    return Suite._status(f"http://127.0.0.1:{port}{path}") is not None


class Simulator:
    """The upstream of all systems; it keeps nothing of what it was asked."""

    def __init__(self, folder, bin_dir):
        self.log = folder / "simulator.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(bin_dir / "tollgate-simulator"), "--port", "0", "--keep", "0"], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        found = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text()), "the simulator listens")
        self.port = int(found[1])

    def stop(self):
        end_process(self.process)


class Tollgate(Suite):
    """The whole suite of one build, with a worker for the plain upstream; secure() adds one for the TLS upstream."""

    def __init__(self, name, folder, bin_dir, simulator, front, extra=None):
        options = {section: dict(values) for section, values in OPTIONS.items()}
        for section, values in (extra or {}).items():
            options.setdefault(section, {}).update(values)
        secure = {"type": "openai", "api_keys": ["${SIM_KEY}"], "private": True, "ca_file": str(front.ca),
                  "endpoints": [f"https://127.0.0.1:{front.port}/openai/v1"]}
        super().__init__(folder, models=MODELS, providers={"secure": secure}, options=options, workers={"openai": 1},
                         bin_dir=bin_dir)
        self.name, self.model, self.tls_model = name, MODEL, TLS_MODEL
        self.simulator = simulator
        self.unclean = []  # daemons that ended otherwise than by being asked to

    def start_simulator(self):
        self.sim_port = self.simulator.port
        self.sim_url = f"http://127.0.0.1:{self.sim_port}"

    def open(self):
        self.start()
        self.key = self.create_key("bench", rpm=100_000_000, tpm=1_000_000_000)  # counted, never reached
        return self

    def secure(self):
        self.add_worker("secure", 1)
        wait_for(lambda: self.broker_knows("worker-secure-1"), "the worker for TLS is known")

    @property
    def port(self):
        return self.ports[0]

    def pids(self):
        return {re.sub(r"-\d+$", "", n).replace("worker-openai", "worker"): [d.process.pid] for n, d in self.daemons.items()}

    def start_anew(self):
        """Ends all daemons, starts them again; milliseconds from the first start to the first request that is answered."""
        self.stop_daemons()
        began = time.monotonic()
        for d in self.daemons.values():
            log = os.open(d.log_path, os.O_WRONLY | os.O_APPEND)
            # without closing descriptors this is a posix_spawn, which costs the clock little
            d.process = subprocess.Popen(d.argv, env=d.env, stdout=log, stderr=log, close_fds=False)
            os.close(log)
        body = b'{"model":"%s","messages":[{"role":"user","content":"hello"}]}' % MODEL.encode()
        request = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
                   f"Authorization: Bearer {self.key}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        while time.monotonic() - began < 30:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                    s.sendall(request)
                    if s.recv(64).startswith(b"HTTP/1.1 200"):
                        return (time.monotonic() - began) * 1000
            except OSError:
                pass
            time.sleep(0.0005)
        raise AssertionError(f"{self.name}: no answer 30 s after the start")

    def stop(self):
        self.stop_daemons()
        for line in self.unclean:
            print(f"UNCLEAN END: {line}", file=sys.stderr)
        self._sockets.cleanup()

    def stop_daemons(self):
        """Clients before servers: a worker that has not settled waits for auth."""
        until = time.monotonic() + 20
        for name in sorted(self.daemons, key=lambda n: ("edge", "work", "brok", "auth", "metr").index(n[:4])):
            d = self.daemons[name]
            was_alive = d.alive
            code = d.stop(max(0.1, until - time.monotonic()))
            if code != 0 or not was_alive:
                self.unclean.append(f"{self.name} {name}: {'killed' if code is None else f'ended with {code}'}")


class Proxy:
    """One program in front of the simulator that passes every request through."""

    key, model, tls_model = "sk-any", MODEL, None

    def __init__(self, folder, argv, what):
        self.log = folder / f"{what}.out"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_ready(self, patience_s=20):
        def is_ready():
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
            return answers(self.port)
        wait_for(is_ready, f"{self.name} answers", patience_s)
        return self

    def pids(self):
        return {self.name: [self.process.pid, *children_of(self.process.pid)]}

    def stop(self):
        end_process(self.process)


def haproxy_program():
    return shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")


def nginx_program():
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


NGINX_HEAD = """
daemon off; worker_processes 1; pid {folder}/{what}.pid; error_log {folder}/{what}.err;
events {{ worker_connections 20000; }}
http {{
  access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; keepalive_requests 1000000000; client_body_buffer_size 256k;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 700s;
"""


class Nginx(Proxy):
    """A plain reverse proxy with kept-alive connections and no log: the yardstick."""

    name, tls_model = "nginx", MODEL

    def __init__(self, folder, simulator, front):
        self.port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(NGINX_HEAD.format(folder=folder, what="nginx") + f"""
  upstream plain {{ server 127.0.0.1:{simulator.port}; keepalive 1024; keepalive_requests 1000000000; }}
  upstream secure {{ server 127.0.0.1:{front.port}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{self.port};
    location / {{ proxy_pass http://plain/openai/; }}
    location /tls/ {{ proxy_pass https://secure/openai/; proxy_ssl_verify on; proxy_ssl_name 127.0.0.1;
                      proxy_ssl_trusted_certificate {front.ca}; }} }}
}}""")
        super().__init__(folder, [nginx_program(), "-c", str(conf)], "nginx")


class HAProxy(Proxy):
    """The second yardstick, one thread."""

    name = "haproxy"

    def __init__(self, folder, simulator):
        self.port = free_port()
        conf = folder / "haproxy.cfg"
        conf.write_text(f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  option http-no-delay
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 700s
  timeout server 700s
frontend clients
  bind 127.0.0.1:{self.port}
  http-request set-path /openai%[path]
  default_backend simulator
backend simulator
  server one 127.0.0.1:{simulator.port}
""")
        super().__init__(folder, [haproxy_program(), "-db", "-f", str(conf)], "haproxy")


class LiteLLM(Proxy):
    """LiteLLM's proxy, one process, no database: a key compared, nothing metered. Installed from PyPI when it is missing."""

    name, key = "litellm", "sk-bench"

    def __init__(self, folder, simulator):
        program = self.installed()
        self.port = free_port()
        conf = folder / "litellm.yaml"
        conf.write_text(f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: "http://127.0.0.1:{simulator.port}/openai/v1", api_key: sk-any}}
litellm_settings: {{num_retries: 0, request_timeout: 600, telemetry: false}}
router_settings: {{disable_cooldowns: true, num_retries: 0}}
general_settings: {{master_key: {self.key}}}
""")
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "HOME": str(folder)}
        self.log = folder / "litellm.out"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(program), "--config", str(conf), "--host", "127.0.0.1", "--port", str(self.port),
                                             "--num_workers", "1"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @staticmethod
    def installed():
        venv = ROOT / "build/litellm"
        if not (venv / "installed").exists() or (venv / "installed").read_text() != LITELLM:
            print(f"installing {LITELLM} into build/litellm", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
            subprocess.run([str(venv / "bin/pip"), "install", "-q", LITELLM], check=True, timeout=900)
            (venv / "installed").write_text(LITELLM)
        return venv / "bin/litellm"


class TlsFront(Proxy):
    """nginx with TLS before the simulator, its certificate from a CA of this run: the https upstream. HTTP/1.1 only."""

    name = "tls front"

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.ca = folder / "ca.pem"
        openssl = lambda *args: subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=folder, timeout=60)  # noqa: E731
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=bench CA", "-keyout", "ca.key", "-out", "ca.pem")
        openssl("req", "-new", *curve, "-subj", "/CN=127.0.0.1", "-keyout", "tls.key", "-out", "tls.csr")
        (folder / "tls.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:127.0.0.1\n")
        openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "tls.ext", "-out", "tls.pem")

    def open(self, simulator):
        conf = self.folder / "front.conf"
        conf.write_text(NGINX_HEAD.format(folder=self.folder, what="front") + f"""
  upstream plain {{ server 127.0.0.1:{simulator.port}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{self.port} ssl; ssl_certificate tls.pem; ssl_certificate_key tls.key;
    location / {{ proxy_pass http://plain; }} }}
}}""")
        super().__init__(self.folder, [nginx_program(), "-p", str(self.folder), "-c", str(conf)], "front")
        return self
