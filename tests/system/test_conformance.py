"""Every hard case end to end through the real daemons, each a test of its own (tests/conformance holds the cases)."""
import http.server
import json
import pathlib
import re
import sys
import threading

import pytest

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "conformance"))

from runner import Runner, load_cases  # noqa: E402
from tollgate import tollgate  # noqa: E402
from upstream import Upstream, frame  # noqa: E402

CASES = load_cases()
INDEX = [json.loads(line) for line in (HERE.parents[1] / "fixtures/hard_cases.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    upstream = Upstream().start()
    with tollgate(upstream, tmp_path_factory.mktemp("conformance")) as suite:
        runner = Runner(suite.url, suite.create_key(name="conformance"), upstream, own=True)
        yield runner
        runner.close()
    upstream.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['id']} {c['title']}")
def test_hard_case(runner, case):
    failures = runner.run_case(case)
    assert not failures, "\n".join(failures)


def test_no_hard_case_is_missing():
    assert [(c["id"], c["title"]) for c in CASES if c["id"][0] == "H"] == [(c["id"], c["title"]) for c in INDEX]


def test_the_starred_twice_ask_every_gateway_the_same():
    """None of them only for Tollgate."""
    starred = [c for c in CASES if c["top20"]]
    assert len(starred) == 20
    assert all(any(run.get("only") != "own" for run in c["runs"]) for c in starred)


@pytest.mark.parametrize("status, body", [(200, b"{}"), (500, b'{"error":{"message":"no"}}')])
def test_no_case_passes_against_a_gateway_that_does_nothing(status, body):
    class Nothing(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = Upstream().start()
    runner = Runner(f"http://127.0.0.1:{server.server_port}", "k", upstream, patience_s=0)
    passed = [c["id"] for c in CASES if not runner.run_case(c)]
    runner.close()
    server.shutdown()
    server.server_close()
    upstream.stop()
    assert passed == []


def streams():
    """(case, run, bytes) of every stream whose end is its finish: no errors among its events."""
    for case in CASES:
        for run in case["runs"]:
            answers = run.get("upstream", {}).get("answers", [{}])
            raw = b"".join(frame(i, run["provider"]) for i in answers[0].get("sse", []))
            if raw and len(raw) < 20000 and b'"error"' not in raw and case["id"] not in ("H047", "H098"):
                yield case, run, raw


def test_a_stream_cut_anywhere_never_looks_whole(runner):
    for case, run, raw in streams():
        for at in range(3, len(raw), max(1, len(raw) // 6)):
            for end in ("clean", "cut"):
                part = raw[:at]
                runner.upstream.load({"answers": [{"sse": [part.decode("utf-8", "surrogateescape")], "end": end}]})
                answer = runner.send(run)
                story = answer.story(run["client"])
                where = f"{case['id']} {run['name']} {end} after {at} bytes: {answer}"
                finished = re.search(rb'"(finish|stop)_reason":\s*"', part)
                ends = int(story.get("done", story.get("stopped")))
                assert answer.broken is None, where
                assert ends == (0 if story["failed"] else 1), where
                assert finished or story["failed"], where
