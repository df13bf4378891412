"""An upstream that answers by script, for what the simulator does not do: one sick provider beside a healthy one.

    with Upstream() as up:
        up.on("/a/v1/chat/completions", 429, {"error": {"message": "slow down"}}, {"retry-after": "60"})
        up.on("/b/v1/chat/completions", answer=lambda request: (200, chat("hello"), {}))
        up.provider("/a")    # a section of `providers` for it
        up.asked("/a")       # how many requests came to paths that begin so
"""
import http.server
import json
import threading


def chat(text, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, **more}


class Request:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body

    def json(self):
        return json.loads(self.body)


class Upstream:
    def __init__(self, tls=None):
        """tls: an ssl.SSLContext of a server; the address is https then."""
        self.answers, self.requests, self.lock = {}, [], threading.Lock()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(self.path, self.headers, body)
                with upstream.lock:
                    upstream.requests.append(request)
                status, answer, headers = upstream.answers.get(self.path, lambda _: (404, {"error": {"message": "no script"}}, {}))(request)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers, "content-length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_DELETE = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"

    def on(self, path, status=200, body=None, headers=None, answer=None):
        """The answer to every request for this very path; answer(request) → status, body, headers."""
        self.answers[path] = answer or (lambda _: (status, body if body is not None else {}, headers or {}))

    def provider(self, prefix, **more):
        return {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": [f"{self.url}{prefix}/v1"], "private": True, **more}

    def asked(self, prefix=""):
        with self.lock:
            return sum(r.path.startswith(prefix) for r in self.requests)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
