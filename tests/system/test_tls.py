"""TLS from clients, renewed without a cut connection; HTTP/1.1 and HTTP/2 to an upstream under TLS (nginx before the simulator)."""
import shutil
import signal
import ssl
import subprocess

import httpx
import pytest
from lib.suite import Suite, free_port, wait_for


def certificate(folder, name):
    """A self-signed certificate for 127.0.0.1; returns its PEM."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out",
                    folder / "cert.pem"], check=True, capture_output=True)
    return (folder / "cert.pem").read_text()


class TlsSuite(Suite):
    @property
    def url(self):
        return super().url.replace("http://", "https://")

    def wait_ready(self):
        wait_for(lambda: "event=ready" in self.daemons["edge-1"].log, "the edge is ready")
        wait_for(lambda: all(self.broker_knows(w) for w in self.daemons if w.startswith("worker-")), "workers are known")


def test_a_renewed_certificate_is_served_and_no_stream_is_cut(tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir()
    first = certificate(folder, "first")
    options = {"edge": {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}}
    with TlsSuite(tmp_path / "suite", options=options, workers={"openai": 1}) as suite:
        key = suite.create_key()
        trust = ssl.create_default_context(cadata=first)
        body = {"model": "gpt-4o-mini", "stream": True,
                "messages": [{"role": "user", "content": "[[sim chunks=60 pace=50]] marker-tls"}]}
        with httpx.Client(verify=trust, timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
            with client.stream("POST", suite.url + "/v1/chat/completions", json=body) as r:
                assert r.status_code == 200
                lines = r.iter_lines()
                next(lines)
                second = certificate(folder, "second")
                suite.daemons["edge-1"].signal(signal.SIGHUP)
                wait_for(lambda: ssl.get_server_certificate(("127.0.0.1", suite.ports[0])).strip() == second.strip(),
                         "the new certificate is served")
                rest = list(lines)
            assert rest[-2:] == ["data: [DONE]", ""]
        # a file that is no certificate leaves the last one in force
        (folder / "cert.pem").write_text("nothing")
        suite.daemons["edge-1"].signal(signal.SIGHUP)
        wait_for(lambda: "event=tls_not_renewed" in suite.daemons["edge-1"].log, "the complaint")
        assert ssl.get_server_certificate(("127.0.0.1", suite.ports[0])).strip() == second.strip()


@pytest.fixture()
def http2_front(tmp_path):
    """nginx with TLS and HTTP/2; start(upstream_port) → port. Its log tells the protocol of each request."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not nginx:
        pytest.skip("no nginx here")
    folder = tmp_path / "nginx"
    folder.mkdir()
    certificate(folder, "upstream")
    port = free_port()
    processes = []

    def start(upstream_port):
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/err;
events {{ worker_connections 256; }}
http {{
  log_format proto '$server_protocol $status'; access_log {folder}/access proto; client_body_temp_path {folder};
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{upstream_port}; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; }} }}
}}""")
        processes.append(subprocess.Popen([nginx, "-c", folder / "nginx.conf"]))
    yield port, folder, start
    for p in processes:
        p.terminate()
        p.wait()


@pytest.mark.parametrize("trusted,http2", [(True, True), (True, False), (False, True), (False, False)])
def test_an_upstream_under_tls_is_spoken_to_with_http2_only_when_asked_to(tmp_path, http2_front, trusted, http2):
    port, folder, start = http2_front
    provider = {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"https://127.0.0.1:{port}/openai/v1"], "private": True,
                "http2": http2}
    if trusted:
        provider["ca_file"] = str(folder / "cert.pem")
    with Suite(tmp_path / "suite", providers={"openai": provider}, workers={"openai": 1}) as suite:
        start(suite.sim_port)
        key = suite.create_key()

        def chat(**more):
            return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                              json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "marker-h2"}], **more})
        if not trusted:
            wait_for(lambda: (folder / "err").exists(), "nginx is up")
            r = wait_for(lambda: (a := chat()).status_code == 502 and a, "TLS failure is told")
            assert r.json()["error"]["code"] in ("upstream_tls", "upstream_unreachable")
            return
        r = wait_for(lambda: (a := chat()).status_code == 200 and a, "answered")
        assert "marker-h2" in r.json()["choices"][0]["message"]["content"]
        streamed = chat(stream=True)
        assert streamed.text.rstrip().endswith("data: [DONE]")
        log = wait_for(lambda: (folder / "access").exists() and (folder / "access").read_text(), "nginx's log")
        spoken, other = ("HTTP/2.0", "HTTP/1.1") if http2 else ("HTTP/1.1", "HTTP/2.0")
        assert f"{spoken} 200" in log and other not in log
