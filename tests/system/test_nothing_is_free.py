"""What an upstream has got is booked and counts against limits, whoever breaks it off; and times are what is configured."""
import json
import socket

import httpx
import pytest
from lib.suite import Suite, wait_for

OPENAI = {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}
MODELS = {
    "patient": OPENAI,
    "hasty": {**OPENAI, "timeout": "1s"},
    "saved": {**OPENAI, "timeout": "1s", "fallbacks": ["claude"]},
    "claude": {"targets": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]},
    "overall": {**OPENAI, "total_timeout": "1s"},
}
WORDS = 2000


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with Suite(tmp_path_factory.mktemp("free"), models=MODELS, workers={"openai": 1, "anthropic": 1},
               options={"worker": {"first_content_timeout": "4s", "idle_timeout": "1s"}}) as s:
        yield s


def request_of(model, script, stream=False, **more):
    return {"model": model, "stream": stream, **more,
            "messages": [{"role": "user", "content": f"[[sim {script}]] " + "word " * WORDS}]}


def asked(suite):
    return suite.sim_stats()["requests"]


def send(suite, key, body):
    """A request that nobody waits for: its connection."""
    raw = json.dumps(body).encode()
    s = socket.create_connection(("127.0.0.1", suite.ports[0]))
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              + f"Authorization: Bearer {key}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
    return s


def rows(suite, name, count=1):
    """The rows of that key, when there are so many."""
    found = [r for r in suite.usage("--requests") if r["key_name"] == name]
    return found if len(found) >= count else None


def assert_booked(row):
    assert row["estimated"] and row["input_tokens"] >= WORDS * 5 / 4
    assert row["cost_nano"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_before_the_first_byte_is_booked(suite, stream):
    name = f"leaver-{stream}"
    key = suite.create_key(name=name)
    suite.sim_reset()
    s = send(suite, key, request_of("patient", "stall", stream))
    wait_for(lambda: asked(suite) == 1, "the upstream has the request")
    s.close()
    row = wait_for(lambda: rows(suite, name), "the leaver is booked")[0]
    assert row["status"] == 499
    assert_booked(row)


def test_a_timeout_is_booked_and_its_time_is_not_taken_twice(suite):
    key = suite.create_key(name="hasty")
    suite.sim_reset()
    r = httpx.post(suite.url + "/v1/chat/completions", json=request_of("hasty", "stall"), timeout=60,
                   headers={"authorization": f"Bearer {key}"})
    assert r.status_code == 504, r.text
    assert asked(suite) == 1
    assert r.headers["x-should-retry"] == "true"
    row = wait_for(lambda: rows(suite, "hasty"), "the timeout is booked")[0]
    assert row["status"] == 504
    assert_booked(row)
    again = httpx.post(suite.url + "/v1/chat/completions", json=request_of("hasty", "stall"), timeout=60,
                       headers={"authorization": f"Bearer {key}", "x-stainless-retry-count": "1"})
    assert again.headers["x-should-retry"] == "false"


def test_a_silent_target_is_left_for_a_fallback_which_is_named_and_booked(suite):
    key = suite.create_key(name="saved")
    suite.sim_reset()
    # the simulator of the fallback obeys the same script: an answer after 2 s is in time there, where no timeout is set
    r = httpx.post(suite.url + "/v1/chat/completions", json=request_of("saved", "delay=2000"), timeout=60,
                   headers={"authorization": f"Bearer {key}"})
    assert r.status_code == 200, r.text
    assert r.headers["x-tollgate-model"] == "claude"
    first, second = sorted(wait_for(lambda: rows(suite, "saved", 2), "both attempts are booked"), key=lambda row: row["attempt"])
    assert first["model"] == "saved" and first["estimated"]
    assert second["model"] == "claude" and not second["estimated"]


@pytest.mark.parametrize("script, answered", [("delay=2000", True), ("stall", False)])
def test_a_stream_may_be_silent_before_its_first_content_for_longer_than_within(suite, script, answered):
    key = suite.create_key(name=f"silent-{answered}")
    suite.sim_reset()
    r = httpx.post(suite.url + "/v1/chat/completions", json=request_of("patient", script, True), timeout=60,
                   headers={"authorization": f"Bearer {key}"})
    assert asked(suite) == 1
    assert ("[DONE]" in r.text) == answered, r.text
    assert answered or r.status_code == 504 or '"error"' in r.text


def test_the_first_content_has_a_time_over_all_attempts(suite):
    key = suite.create_key(name="overall")
    r = httpx.post(suite.url + "/v1/chat/completions", json=request_of("overall", "stall"), timeout=60,
                   headers={"authorization": f"Bearer {key}"})
    assert r.status_code == 504, r.text


def test_leaving_early_is_no_way_round_a_limit(suite):
    key = suite.create_key(name="thief", tpm=WORDS * 25 // 8)  # of a prompt's tokens twice, and a bit
    suite.sim_reset()
    for _ in range(8):
        before = asked(suite)
        s = send(suite, key, request_of("patient", "stall", max_tokens=10))
        s.settimeout(60)
        # it is refused, or it waits for an upstream that says nothing
        s.setblocking(False)
        seen = wait_for(lambda: asked(suite) > before or answer_of(s), "it is refused or sent")
        s.close()
        assert seen
    reached = suite.sim_stats()["requests"]
    assert 1 <= reached <= 3, reached
    booked = wait_for(lambda: rows(suite, "thief", reached), "they are booked")
    assert sum(r["input_tokens"] for r in booked) >= reached * WORDS * 5 / 4


def answer_of(s):
    try:
        return s.recv(100)
    except BlockingIOError:
        return None
