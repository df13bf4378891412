"""Concurrent embeddings calls of one key go upstream as one (worker.embeddings_window), and nobody can tell but by the
count. The window is long here so that the calls of a test surely meet in it."""
import base64
import json
import struct

import httpx
import pytest
from lib.suite import Suite, in_threads, wait_for

MODEL = "text-embedding-3-small"


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with Suite(tmp_path_factory.mktemp("suite"), workers={"openai": 1},
               options={"worker": {"embeddings_window": "400ms"}}) as s:
        yield s


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same without batching: what single calls give."""
    with Suite(tmp_path_factory.mktemp("plain"), workers={"openai": 1}) as s:
        s.key = s.create_key(name="plain")
        yield s


def embed(suite, key, input, timeout=60, **more):
    return httpx.post(suite.url + "/v1/embeddings", headers={"authorization": f"Bearer {key}"}, timeout=timeout,
                      json={"model": MODEL, "input": input, **more})


def upstream_calls(suite):
    return [r for r in suite.sim_requests() if r["path"].endswith("/embeddings")]


def inputs_of(call):
    body = call["body"] if isinstance(call["body"], dict) else json.loads(call["body"])
    return body["input"]


def rows_of(suite, name, count):
    def booked():
        rows = [r for r in suite.usage("--by", "key") if r["key_name"] == name]
        return rows and rows[0]["requests"] == count and rows[0]
    return wait_for(booked, f"{count} rows of {name}")


def together(suite, key, *calls):
    """All calls at once; the answers in order, and the upstream calls they caused."""
    suite.sim_reset()
    answers = in_threads(len(calls), lambda i: embed(suite, key, **calls[i]))
    return answers, upstream_calls(suite)


def same_but_usage(a, b):
    return {k: v for k, v in a.items() if k != "usage"} == {k: v for k, v in b.items() if k != "usage"}


def test_calls_at_once_are_one_upstream_and_each_gets_its_own(suite, plain):
    key = suite.create_key(name="ann")
    asked = ["one", ["two", "three", "a much longer input text"], "four", ["five"]]
    answers, calls = together(suite, key, *({"input": i} for i in asked))
    assert len(calls) == 1
    assert sorted(inputs_of(calls[0])) == sorted(["one", "two", "three", "a much longer input text", "four", "five"])
    for input, r in zip(asked, answers):
        assert r.status_code == 200, r.text
        assert [d["index"] for d in r.json()["data"]] == list(range(1 if isinstance(input, str) else len(input)))
        assert same_but_usage(r.json(), embed(plain, plain.key, input).json())
        assert r.headers["x-tollgate-usage"] == "estimated"
    told = suite.sim_stats()["input_tokens"]
    assert sum(r.json()["usage"]["prompt_tokens"] for r in answers) == told
    assert sum(r.json()["usage"]["total_tokens"] for r in answers) == told
    row = rows_of(suite, "ann", 4)
    assert row["input_tokens"] == told and row["output_tokens"] == 0


def test_rows_are_marked_estimated(suite):
    key = suite.create_key(name="marked")
    together(suite, key, {"input": "a"}, {"input": "b"})
    rows_of(suite, "marked", 2)
    rows = [r for r in json.loads(suite.ctl("usage", "--requests", "--json").stdout) if r["key_name"] == "marked"]
    assert len(rows) == 2 and all(r["estimated"] for r in rows)


def test_base64_comes_back_byte_for_byte(suite, plain):
    key = suite.create_key(name="base64")
    answers, calls = together(suite, key, *({"input": f"text {i}", "encoding_format": "base64", "dimensions": 8}
                                            for i in range(5)))
    assert len(calls) == 1
    for i, r in enumerate(answers):
        [item] = r.json()["data"]
        assert len(struct.unpack("<8f", base64.b64decode(item["embedding"]))) == 8
        alone = embed(plain, plain.key, f"text {i}", encoding_format="base64", dimensions=8).json()["data"][0]
        assert item == alone


def test_a_call_by_itself_passes_as_it_is(suite, plain):
    key = suite.create_key(name="single")
    [r], calls = together(suite, key, {"input": "alone"})
    assert len(calls) == 1 and inputs_of(calls[0]) == "alone"
    assert "x-tollgate-usage" not in r.headers
    assert r.json() == embed(plain, plain.key, "alone").json()


def test_only_equals_go_together(suite):
    ann, bob = suite.create_key(name="equal-ann"), suite.create_key(name="equal-bob")
    for a, b in (({"input": "x"}, {"input": "y", "dimensions": 8}),
                 ({"input": "x", "user": "u1"}, {"input": "y", "user": "u2"}),
                 ({"input": "x"}, {"input": "y", "encoding_format": "base64"}),
                 ({"input": [1, 2, 3]}, {"input": [4, 5]})):
        answers, calls = together(suite, ann, a, b)
        assert len(calls) == 2, (a, b)
        assert [r.status_code for r in answers] == [200, 200]
    suite.sim_reset()
    answers = in_threads(2, lambda i: embed(suite, (ann, bob)[i], "same"))
    assert [r.status_code for r in answers] == [200, 200] and len(upstream_calls(suite)) == 2


def test_a_bad_input_fails_its_own_caller_only(suite):
    key = suite.create_key(name="bad")
    answers, calls = together(suite, key, {"input": "good"}, {"input": ""}, {"input": ["fine", "too"]})
    assert [r.status_code for r in answers] == [200, 400, 200], [r.text for r in answers]
    assert answers[1].json()["error"]["type"] == "invalid_request_error"
    assert len(calls) == 4
    row = rows_of(suite, "bad", 3)
    assert row["input_tokens"] == sum(answers[i].json()["usage"]["prompt_tokens"] for i in (0, 2))


def test_an_upstream_failure_is_retried_for_all(suite):
    key = suite.create_key(name="retry")
    answers, _ = together(suite, key, {"input": "[[sim status=503 times=1]] a"}, {"input": "b"}, {"input": "c"})
    assert [r.status_code for r in answers] == [200, 200, 200], [r.text for r in answers]


def test_one_that_leaves_does_not_harm_the_others(suite):
    key = suite.create_key(name="leaver")
    suite.sim_reset()

    def work(i):
        if i:
            return embed(suite, key, f"[[sim delay=600]] stays {i}")
        # one leaves while the batch flies; the last while it still gathers would be the same to the others
        with pytest.raises(httpx.TimeoutException):
            embed(suite, key, "[[sim delay=600]] leaves", timeout=0.7)
        return None
    answers = in_threads(4, work)
    assert [r.status_code for r in answers[1:]] == [200] * 3
    assert len(upstream_calls(suite)) == 1
    rows_of(suite, "leaver", 4)


def test_one_that_leaves_before_the_window_ends_is_not_sent(suite):
    key = suite.create_key(name="early")
    suite.sim_reset()

    def work(i):
        if i:
            return embed(suite, key, f"stays {i}")
        with pytest.raises(httpx.TimeoutException):
            embed(suite, key, "leaves", timeout=0.1)
        return None
    answers = in_threads(3, work)
    assert [r.status_code for r in answers[1:]] == [200, 200]
    [call] = upstream_calls(suite)
    assert sorted(inputs_of(call)) == ["stays 1", "stays 2"]
    assert sum(r.json()["usage"]["prompt_tokens"] for r in answers[1:]) == suite.sim_stats()["input_tokens"]


def test_many_inputs_are_several_calls(suite):
    key = suite.create_key(name="many")
    answers, calls = together(suite, key, *({"input": [f"{i} {k}" for k in range(1000)], "dimensions": 2}
                                            for i in range(5)))
    assert [r.status_code for r in answers] == [200] * 5
    assert [len(r.json()["data"]) for r in answers] == [1000] * 5
    assert len(calls) == 3 and all(len(inputs_of(c)) <= 2048 for c in calls)
