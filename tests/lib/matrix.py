"""The SDK matrix: what the official SDKs do through the suite, feature by feature and provider by provider.

A cell is a function (env, provider) that uses the SDK as its users do and checks what comes back. It declares what each
provider gives: YES, the status of the documented refusal, or DROPPED: answered without, and x-tollgate-dropped says so. A
refusal is asserted as strictly as a success: the SDK's typed error, its status, the parameter where one is named, and that
the provider was not asked.
"""
import asyncio
import base64
import json
import struct
import sys
import time
from typing import List

import anthropic
import openai
from openai.lib.responses_tool_runner import (AsyncRegisteredFunction, AsyncResponsesToolRunner, RegisteredFunction,
                                               ResponsesToolRunner, ToolRunnerError)
import pydantic

from lib.suite import MODELS, ROOT, Suite, free_port

PROVIDERS = ("openai", "anthropic", "replicate")
YES = "yes"
DROPPED = "dropped"
WHOLE = "whole"  # the rest was fetched otherwise: the client gets all of it
NONE = "-"  # the row has no meaning for this provider

CHAT = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "replicate": "meta/meta-llama-3-8b-instruct"}
THINKER = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "replicate": "meta/meta-llama-3-8b-instruct"}
SEER = {**CHAT, "replicate": "acme/vision-8b"}
KEEPER = {**CHAT, "anthropic": "claude-haiku-4-5-threads"}  # the one that keeps message threads
EMBEDDER = {"openai": "text-embedding-3-small", "anthropic": "claude-haiku-4-5",
            "replicate": "meta/meta-llama-3-8b-instruct"}

# the 67 bytes of a PNG of one pixel
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
PIXEL_URL = "data:image/png;base64," + PIXEL
PDF = base64.b64encode(b"%PDF-1.4\n%simulated\n").decode()

MAX_BODY = 1 << 20  # of the suite under test

BIG = 9007199254740993  # 2^53 + 1: lost by whoever reads numbers as doubles

OPENAI_TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Weather of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}},
]
ANTHROPIC_TOOLS = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in OPENAI_TOOLS]
ASK_ONE = 'call:weather args:{"city":"Zürich"}'
ASK_TWO = f'call:weather args:{{"city":"Zürich"}} call:add args:{{"a":{BIG},"b":-2}}'


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: List[str]


class GetWeather(pydantic.BaseModel):
    """Weather of a city."""

    city: str


PERSON_JSON = 'json:{"name":"Ada","age":36,"tags":["a","b"]}'


def user(text):
    return [{"role": "user", "content": text}]


class Env:
    """One suite, one key, both SDKs' clients."""

    def __init__(self, suite):
        self.suite = suite
        self.key = suite.create_key(name="matrix")
        self.narrow_key = suite.create_key(name="narrow", models="none-*")
        self.slow_keys = {}
        self.openai = self.openai_with()
        self.anthropic = self.anthropic_with()

    def options(self, path, more):
        """Strict: an answer that differs from the SDK's own types is an error."""
        return {"base_url": self.suite.url + path, "api_key": self.key, "max_retries": 0,
                "_strict_response_validation": True, **more}

    def openai_with(self, **more):
        return openai.OpenAI(**self.options("/v1", more))

    def openai_async(self, **more):
        return openai.AsyncOpenAI(**self.options("/v1", more))

    def anthropic_with(self, **more):
        return anthropic.Anthropic(**self.options("", more))

    def anthropic_async(self, **more):
        return anthropic.AsyncAnthropic(**self.options("", more))

    @property
    def openai_lax(self):
        """For what the SDK's own types get wrong: base64 embeddings, finish_reason in streamed completions."""
        return self.openai_with(_strict_response_validation=False)

    def upstream(self):
        """The bodies the provider was sent last, newest first."""
        answer = self.suite.sim_requests()
        requests = answer["requests"] if isinstance(answer, dict) else answer
        return [r for r in reversed(requests) if r["method"] == "POST"]

    def upstream_body(self):
        body = self.upstream()[0]["body"]
        return json.loads(body) if isinstance(body, str) else body


class Cell:
    def __init__(self, sdk, name, run, expected, param):
        self.sdk, self.name, self.run, self.expected, self.param = sdk, name, run, expected, param


CELLS = []


def row(sdk, name, openai=YES, anthropic=YES, replicate=YES, param=None):
    """Declares one row; `param` is what an OpenAI refusal must name."""
    def declare(run):
        CELLS.append(Cell(sdk, name, run, {"openai": openai, "anthropic": anthropic, "replicate": replicate}, param))
        return run
    return declare


def openai_row(name, **expected):
    return row("openai", name, **expected)


def anthropic_row(name, **expected):
    return row("anthropic", name, **expected)


# ---- openai: chat ----

def check_usage(usage):
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@openai_row("chat.completions.create")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker-one"))
    assert "marker-one" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    check_usage(answer.usage)


@openai_row("chat.completions.create, stream=True")
def _(env, p):
    text, finish, usage = "", None, None
    for chunk in env.openai.chat.completions.create(model=CHAT[p], messages=user("marker-two"), stream=True,
                                                    stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert "marker-two" in text and finish == "stop"
    check_usage(usage)


@openai_row("chat.completions.stream helper")
def _(env, p):
    with env.openai.chat.completions.stream(model=CHAT[p], messages=user("marker-three"),
                                            stream_options={"include_usage": True}) as stream:
        text = "".join(e.delta for e in stream if e.type == "content.delta")
        final = stream.get_final_completion()
    assert "marker-three" in text
    assert final.choices[0].message.content == text
    assert final.choices[0].finish_reason == "stop"
    check_usage(final.usage)


@openai_row("system and developer messages, stop sequences")
def _(env, p):
    answer = env.openai.chat.completions.create(
        model=CHAT[p], stop=["STOP"],
        messages=[{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."},
                  {"role": "user", "content": "before STOP after"}])
    assert "before" in answer.choices[0].message.content
    assert "STOP" not in answer.choices[0].message.content and "after" not in answer.choices[0].message.content
    sent = json.dumps(env.upstream_body())
    assert "Be brief." in sent and "Be kind." in sent


@openai_row("several turns")
def _(env, p):
    answer = env.openai.chat.completions.create(
        model=CHAT[p], messages=[{"role": "user", "content": "first"}, {"role": "assistant", "content": "second"},
                                 {"role": "user", "content": "third"}])
    assert "third" in answer.choices[0].message.content
    sent = json.dumps(env.upstream_body())
    assert sent.index("first") < sent.index("second") < sent.index("third")


@openai_row("n=2", anthropic="400", replicate="400", param="n")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker"), n=2)
    assert [c.index for c in answer.choices] == [0, 1]
    assert all("marker" in c.message.content for c in answer.choices)


@openai_row("cached tokens in usage", replicate=NONE)
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker [[sim cached=3]] " + "x" * 200))
    assert answer.usage.prompt_tokens_details.cached_tokens == 3 and answer.usage.prompt_tokens > 3


@openai_row("refusal", replicate=NONE)
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker [[sim finish=refusal]]"))
    if p == "openai":
        assert "marker" in answer.choices[0].message.refusal
    else:
        assert answer.choices[0].finish_reason == "content_filter"


@openai_row("with_raw_response, with_streaming_response")
def _(env, p):
    raw = env.openai.chat.completions.with_raw_response.create(model=CHAT[p], messages=user("marker"))
    assert raw.headers["x-tollgate-provider"] == p and "marker" in raw.parse().choices[0].message.content
    with env.openai.chat.completions.with_streaming_response.create(model=CHAT[p], messages=user("marker"),
                                                                    stream=True) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert list(answer.iter_lines())[-2:] == ["data: [DONE]", ""]


@openai_row("audio input", anthropic="400", replicate="400")
def _(env, p):
    env.openai.chat.completions.create(model=CHAT[p], messages=[{"role": "user", "content": [
        {"type": "text", "text": "marker"}, {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}])


@openai_row("logprobs", anthropic="400", replicate="400", param="logprobs")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker"), logprobs=True)
    assert answer.choices[0].logprobs.content[0].logprob < 0


@openai_row("unknown members (extra_body)", anthropic=DROPPED, replicate=DROPPED)
def _(env, p):
    raw = env.openai.chat.completions.with_raw_response.create(model=CHAT[p], messages=user("marker"),
                                                               extra_body={"future_member": {"a": BIG}})
    assert "marker" in raw.parse().choices[0].message.content
    if p == "openai":
        assert env.upstream_body()["future_member"] == {"a": BIG} and "x-tollgate-dropped" not in raw.headers
        return YES
    assert raw.headers["x-tollgate-dropped"] == "future_member" and "future_member" not in env.upstream_body()
    return DROPPED


# ---- openai: tools ----

def openai_answer_calls(env, p, message, history):
    """The tools' results go back; the answer that follows."""
    results = [{"role": "tool", "tool_call_id": c.id, "content": json.dumps({"of": c.function.name})}
               for c in message.tool_calls]
    return env.openai.chat.completions.create(model=CHAT[p], tools=OPENAI_TOOLS,
                                              messages=[*history, message.model_dump(exclude_none=True), *results])


@openai_row("tools and their results", replicate="400", param="tools")
def _(env, p):
    first = env.openai.chat.completions.create(model=CHAT[p], messages=user(ASK_ONE), tools=OPENAI_TOOLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert [c.function.name for c in message.tool_calls] == ["weather"]
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Zürich"}
    second = openai_answer_calls(env, p, message, user(ASK_ONE))
    assert second.choices[0].finish_reason == "stop" and second.choices[0].message.content


@openai_row("parallel tools, big integers", replicate="400", param="tools")
def _(env, p):
    first = env.openai.chat.completions.create(model=CHAT[p], messages=user(ASK_TWO), tools=OPENAI_TOOLS)
    message = first.choices[0].message
    assert [c.function.name for c in message.tool_calls] == ["weather", "add"]
    assert len({c.id for c in message.tool_calls}) == 2
    assert json.loads(message.tool_calls[1].function.arguments) == {"a": BIG, "b": -2}
    assert openai_answer_calls(env, p, message, user(ASK_TWO)).choices[0].finish_reason == "stop"


@openai_row("parallel_tool_calls=False", replicate="400", param="tools")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user(ASK_TWO), tools=OPENAI_TOOLS,
                                                parallel_tool_calls=False)
    assert len(answer.choices[0].message.tool_calls) == 1


@openai_row("tool_choice required, named, none", replicate="400", param="tools")
def _(env, p):
    def calls(choice):
        answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("hello"), tools=OPENAI_TOOLS,
                                                    tool_choice=choice)
        return [c.function.name for c in answer.choices[0].message.tool_calls or []]
    assert len(calls("required")) == 1
    assert calls({"type": "function", "function": {"name": "add"}}) == ["add"]
    assert calls("none") == []


@openai_row("functions and function_call (deprecated)", replicate="400", param="functions")
def _(env, p):
    functions = [t["function"] for t in OPENAI_TOOLS]
    first = env.openai.chat.completions.create(model=CHAT[p], messages=user(ASK_ONE), functions=functions)
    call = first.choices[0].message.function_call
    assert first.choices[0].finish_reason == "function_call" and call.name == "weather"
    name, args = "", ""
    for chunk in env.openai.chat.completions.create(model=CHAT[p], messages=user(ASK_ONE), functions=functions,
                                                    stream=True):
        delta = chunk.choices[0].delta
        if delta.function_call:
            name += delta.function_call.name or ""
            args += delta.function_call.arguments or ""
    assert name == "weather" and json.loads(args) == json.loads(call.arguments) == {"city": "Zürich"}
    second = env.openai.chat.completions.create(model=CHAT[p], functions=functions, messages=[
        *user(ASK_ONE), first.choices[0].message.model_dump(exclude_none=True),
        {"role": "function", "name": "weather", "content": "warm"}])
    assert second.choices[0].finish_reason == "stop" and second.choices[0].message.content


@openai_row("tools, stream helper accumulates", replicate="400", param="tools")
def _(env, p):
    with env.openai.chat.completions.stream(model=CHAT[p], messages=user(ASK_TWO), tools=OPENAI_TOOLS) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert [(e.index, e.name) for e in done] == [(0, "weather"), (1, "add")]
    assert [json.loads(c.function.arguments) for c in message.tool_calls] == [{"city": "Zürich"}, {"a": BIG, "b": -2}]
    assert final.choices[0].finish_reason == "tool_calls"
    plain = {"role": "assistant", "tool_calls": [{"id": c.id, "type": "function", "function": {
        "name": c.function.name, "arguments": c.function.arguments}} for c in message.tool_calls]}
    results = [{"role": "tool", "tool_call_id": c.id, "content": "done"} for c in message.tool_calls]
    second = env.openai.chat.completions.create(model=CHAT[p], tools=OPENAI_TOOLS,
                                                messages=[*user(ASK_TWO), plain, *results])
    assert second.choices[0].message.content


@openai_row("pydantic_function_tool, parsed arguments", replicate="400", param="tools")
def _(env, p):
    answer = env.openai.chat.completions.parse(model=CHAT[p], tools=[openai.pydantic_function_tool(GetWeather)],
                                               messages=user('call:GetWeather args:{"city":"Bern"}'))
    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == GetWeather(city="Bern")


# ---- openai: structured output ----

@openai_row("chat.completions.parse (pydantic)")
def _(env, p):
    answer = env.openai.chat.completions.parse(model=CHAT[p], response_format=Person, messages=user(PERSON_JSON))
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36, tags=["a", "b"])
    sent = json.dumps(env.upstream_body())
    assert "tags" in sent and "age" in sent  # the schema reached the provider


@openai_row("chat.completions.stream with response_format (pydantic)")
def _(env, p):
    with env.openai.chat.completions.stream(model=CHAT[p], response_format=Person, messages=user(PERSON_JSON)) as s:
        final = s.get_final_completion()
    assert final.choices[0].message.parsed == Person(name="Ada", age=36, tags=["a", "b"])


@openai_row("JSON mode")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], response_format={"type": "json_object"},
                                                messages=user(f"Answer in JSON. {PERSON_JSON}"))
    assert json.loads(answer.choices[0].message.content)["age"] == 36


@openai_row("LengthFinishReasonError from parse")
def _(env, p):
    try:
        env.openai.chat.completions.parse(model=CHAT[p], response_format=Person, messages=user(PERSON_JSON),
                                          max_tokens=3)
    except openai.LengthFinishReasonError as e:
        assert e.completion.choices[0].finish_reason == "length"
    else:
        raise AssertionError("no error")


@openai_row("ContentFilterFinishReasonError from parse", replicate=NONE)
def _(env, p):
    word = {"openai": "content_filter", "anthropic": "refusal"}[p]
    try:
        env.openai.chat.completions.parse(model=CHAT[p], response_format=Person,
                                          messages=user(f"{PERSON_JSON} [[sim finish={word}]]"))
    except openai.ContentFilterFinishReasonError:
        return
    raise AssertionError("no error")


# ---- openai: vision, reasoning ----

def openai_picture(url):
    return [{"role": "user", "content": [{"type": "text", "text": "marker-picture"},
                                         {"type": "image_url", "image_url": {"url": url}}]}]


@openai_row("vision, data URL")
def _(env, p):
    answer = env.openai.chat.completions.create(model=SEER[p], messages=openai_picture(PIXEL_URL))
    assert "marker-picture" in answer.choices[0].message.content
    assert PIXEL in json.dumps(env.upstream_body())


@openai_row("vision, URL")
def _(env, p):
    url = "https://example.com/cat.png?size=1"
    answer = env.openai.chat.completions.create(model=SEER[p], messages=openai_picture(url))
    assert "marker-picture" in answer.choices[0].message.content
    assert url in json.dumps(env.upstream_body())


@openai_row("vision, of a model without eyes", openai=NONE, anthropic=NONE, replicate="400", param="messages")
def _(env, p):
    env.openai.chat.completions.create(model=CHAT[p], messages=openai_picture(PIXEL_URL))


@openai_row("a large max_completion_tokens without stream")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=user("marker"), max_completion_tokens=60000)
    assert "marker" in answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    check_usage(answer.usage)


@openai_row("file input (PDF)", replicate="400")
def _(env, p):
    answer = env.openai.chat.completions.create(model=CHAT[p], messages=[{"role": "user", "content": [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "text", "text": "marker-file"}]}])
    assert "marker-file" in answer.choices[0].message.content
    assert PDF in json.dumps(env.upstream_body())


@openai_row("reasoning_effort", replicate=DROPPED)
def _(env, p):
    raw = env.openai.chat.completions.with_raw_response.create(
        model=THINKER[p], reasoning_effort="low", messages=user("marker"), max_completion_tokens=4000)
    answer = raw.parse()
    assert "marker" in answer.choices[0].message.content
    if p == "replicate":
        assert raw.headers["x-tollgate-dropped"] == "reasoning_effort"
        return DROPPED
    assert "x-tollgate-dropped" not in raw.headers
    if p == "openai":
        assert env.upstream_body()["reasoning_effort"] == "low"
    else:
        assert env.upstream_body()["thinking"] == {"type": "enabled", "budget_tokens": 1024}
        assert answer.choices[0].message.reasoning_content.startswith("Simulated thoughts")


@openai_row("reasoning round trip with tools and signatures", replicate="400", param="tools")
def _(env, p):
    def ask(messages, stream=False):
        if not stream:
            return env.openai.chat.completions.create(model=THINKER[p], reasoning_effort="low", messages=messages,
                                                      tools=OPENAI_TOOLS, max_completion_tokens=4000)
        with env.openai.chat.completions.stream(model=THINKER[p], reasoning_effort="low", messages=messages,
                                                tools=OPENAI_TOOLS, max_completion_tokens=4000) as s:
            return s.get_final_completion()
    for stream in (False, True):
        first = ask(user(ASK_ONE), stream)
        message = first.choices[0].message.model_dump(exclude_none=True)
        for call in message["tool_calls"]:
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        if p == "anthropic":
            blocks = message["thinking_blocks"]
            assert len(blocks) == 1 and blocks[0]["signature"] and blocks[0]["thinking"].startswith("Simulated"), blocks
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "warm"}
        second = ask([*user(ASK_ONE), message, result])
        assert second.choices[0].finish_reason == "stop"
        if p == "anthropic":
            turn = env.upstream_body()["messages"][1]["content"]
            assert turn[0] == {"type": "thinking", "thinking": blocks[0]["thinking"], "signature": blocks[0]["signature"]}
            assert env.upstream_body()["thinking"]["type"] == "enabled"


# ---- openai: other endpoints ----

@openai_row("completions.create")
def _(env, p):
    answer = env.openai.completions.create(model=CHAT[p], prompt="marker-four", max_tokens=100)
    assert "marker-four" in answer.choices[0].text and answer.object == "text_completion"
    check_usage(answer.usage)


@openai_row("completions, several prompts, both ways")
def _(env, p):
    prompts = ["marker-a", "marker-b", "marker-c"]
    answer = env.openai.completions.create(model=CHAT[p], prompt=prompts, max_tokens=100)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert all(m in c.text for m, c in zip(prompts, answer.choices, strict=True))
    texts, finishes = {}, {}
    for chunk in env.openai_lax.completions.create(model=CHAT[p], prompt=prompts, max_tokens=100, stream=True):
        for c in chunk.choices:
            texts[c.index] = texts.get(c.index, "") + c.text
            if c.finish_reason:
                finishes[c.index] = c.finish_reason
    assert all(m in texts[i] for i, m in enumerate(prompts)) and finishes == {0: "stop", 1: "stop", 2: "stop"}


@openai_row("completions, suffix", anthropic="400", replicate="400", param="suffix")
def _(env, p):
    model = "gpt-3.5-turbo-instruct" if p == "openai" else CHAT[p]  # the others of OpenAI are chat models
    answer = env.openai.completions.create(model=model, prompt="marker", suffix="end", max_tokens=100)
    assert "marker" in answer.choices[0].text and env.upstream_body()["suffix"] == "end"


@openai_row("embeddings, dimensions and tokens", anthropic="404", replicate="404")
def _(env, p):
    answer = env.openai.embeddings.create(model=EMBEDDER[p], input=[[1, 2, 3], [4]], dimensions=8,
                                          encoding_format="float")
    assert [len(d.embedding) for d in answer.data] == [8, 8]


@openai_row("embeddings, floats and base64", anthropic="404", replicate="404")
def _(env, p):
    floats = env.openai.embeddings.create(model=EMBEDDER[p], input=["a", "b"], encoding_format="float")
    decoded = env.openai_lax.embeddings.create(model=EMBEDDER[p], input=["a", "b"])  # the SDK asks for base64
    assert [d.index for d in floats.data] == [0, 1]
    as_single = struct.unpack("<2f", struct.pack("<2f", *floats.data[1].embedding[:2]))
    assert tuple(decoded.data[1].embedding[:2]) == as_single
    raw = env.openai_lax.embeddings.create(model=EMBEDDER[p], input="a", encoding_format="base64")
    assert isinstance(raw.data[0].embedding, str) and floats.usage.prompt_tokens > 0


@openai_row("models.list and retrieve")
def _(env, p):
    assert CHAT[p] in [m.id for m in env.openai.models.list()]
    assert env.openai.models.retrieve(CHAT[p]).id == CHAT[p]


@openai_row("responses.create")
def _(env, p):
    answer = env.openai.responses.create(model=CHAT[p], input="marker-five")
    assert "marker-five" in answer.output_text and answer.status == "completed" and answer.usage.output_tokens > 0


@openai_row("responses.stream helper")
def _(env, p):
    with env.openai.responses.stream(model=CHAT[p], input="marker-six") as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert "marker-six" in text and final.output_text == text and final.status == "completed"


@openai_row("responses.parse (pydantic)")
def _(env, p):
    answer = env.openai.responses.parse(model=CHAT[p], input=PERSON_JSON, text_format=Person)
    assert answer.output_parsed == Person(name="Ada", age=36, tags=["a", "b"])


@openai_row("ResponsesToolRunner, both ways", replicate="400")
def _(env, p):
    for stream in (False, True):
        seen = []
        tool = {"type": "function", "name": "weather", "strict": False, "description": "Weather of a city",
                "parameters": OPENAI_TOOLS[0]["function"]["parameters"]}
        runner = ResponsesToolRunner(functions=[
            RegisteredFunction(tool, lambda args, seen=seen: seen.append(args) or "warm")])
        try:
            answer = runner.run(env.openai, {"model": CHAT[p], "input": user(ASK_ONE)}, max_steps=3, stream=stream)
        except ToolRunnerError as e:
            raise (e.__cause__ or e.__context__ or e) from None  # the SDK's own error for what the server said
        assert seen == [{"city": "Zürich"}]
        assert answer.status == "completed" and answer.output_text


@openai_row("responses, reasoning round trip with tools", replicate="400")
def _(env, p):
    tools = [{"type": "function", "name": "weather", "strict": False, "description": "Weather of a city",
              "parameters": OPENAI_TOOLS[0]["function"]["parameters"]}]

    def ask(items):
        return env.openai.responses.create(model=THINKER[p], input=items, tools=tools, max_output_tokens=5000,
                                           reasoning={"effort": "low", "summary": "auto"}, store=False,
                                           include=["reasoning.encrypted_content"])
    items = user(ASK_ONE)
    first = ask(items)
    call = next(i for i in first.output if i.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "warm"}
    second = ask([*items, *(i.model_dump(exclude_none=True) for i in first.output), result])
    assert second.status == "completed" and second.output_text
    if p == "anthropic":
        thought = next(i for i in first.output if i.type == "reasoning")
        turn = env.upstream_body()["messages"][1]["content"]
        assert turn[0]["type"] == "thinking" and turn[0]["thinking"] == thought.summary[0].text, turn
        assert turn[0]["signature"] and turn[1]["type"] == "tool_use"


@openai_row("responses.retrieve, cancel, delete", anthropic="404", replicate="404")
def _(env, p):
    if p != "openai":  # nothing of theirs is stored
        env.openai.responses.retrieve("resp_" + "0" * 32)
    made = env.openai.responses.create(model=CHAT[p], input="marker-seven")
    assert env.openai.responses.retrieve(made.id).output_text == made.output_text
    background = env.openai.responses.create(model=CHAT[p], input="marker-eight", background=True)
    assert env.openai.responses.cancel(background.id).id == background.id
    env.openai.responses.delete(made.id)
    try:
        env.openai.responses.retrieve(made.id)
    except openai.NotFoundError:
        return
    raise AssertionError("it is still there")


@openai_row("responses.input_tokens.count")
def _(env, p):
    assert env.openai.responses.input_tokens.count(model=CHAT[p], input="a few words").input_tokens > 0


@openai_row("AsyncOpenAI: responses, AsyncResponsesToolRunner", replicate="400")
def _(env, p):
    async def run():
        seen = []

        async def weather(args):
            seen.append(args)
            return "warm"
        tool = {"type": "function", "name": "weather", "strict": False, "description": "Weather of a city",
                "parameters": OPENAI_TOOLS[0]["function"]["parameters"]}
        async with env.openai_async() as client:
            runner = AsyncResponsesToolRunner(functions=[AsyncRegisteredFunction(tool, weather)])
            try:
                done = await runner.run(client, {"model": CHAT[p], "input": user(ASK_ONE)}, max_steps=3)
            except ToolRunnerError as e:
                raise (e.__cause__ or e.__context__ or e) from None  # the SDK's own error for what the server said
            assert seen == [{"city": "Zürich"}] and done.output_text
            answer = await client.responses.create(model=CHAT[p], input="marker-ten")
            assert "marker-ten" in answer.output_text
    asyncio.run(run())


@openai_row("AsyncOpenAI: embeddings", anthropic="404", replicate="404")
def _(env, p):
    async def run():
        async with env.openai_async() as client:
            vectors = await client.embeddings.create(model=EMBEDDER[p], input="a", encoding_format="float")
            assert vectors.data[0].embedding
    asyncio.run(run())


@openai_row("AsyncOpenAI: create, stream, parse")
def _(env, p):
    async def run():
        async with env.openai_async() as client:
            async def one(i):
                answer = await client.chat.completions.create(model=CHAT[p], messages=user(f"marker-{i}-"))
                assert f"marker-{i}-" in answer.choices[0].message.content
            await asyncio.gather(*[one(i) for i in range(8)])
            async with client.chat.completions.stream(model=CHAT[p], messages=user("marker-nine")) as stream:
                final = await stream.get_final_completion()
            assert "marker-nine" in final.choices[0].message.content
            parsed = await client.chat.completions.parse(model=CHAT[p], response_format=Person,
                                                         messages=user(PERSON_JSON))
            assert parsed.choices[0].message.parsed.name == "Ada"
    asyncio.run(run())


# ---- anthropic: messages ----

def check_tokens(usage):
    assert usage.input_tokens > 0 and usage.output_tokens > 0


def text_of(message):
    return "".join(b.text for b in message.content if b.type == "text")


@anthropic_row("messages.create")
def _(env, p):
    answer = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user("marker-one"))
    assert "marker-one" in text_of(answer) and answer.stop_reason == "end_turn" and answer.id.startswith("msg_")
    check_tokens(answer.usage)


@anthropic_row("messages.create, stream=True")
def _(env, p):
    kinds, text = [], ""
    for event in env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user("marker-two"), stream=True):
        kinds.append(event.type)
        if event.type == "content_block_delta":
            text += event.delta.text
    assert "marker-two" in text
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1


@anthropic_row("messages.stream helper")
def _(env, p):
    with env.anthropic.messages.stream(model=CHAT[p], max_tokens=200, messages=user("marker-three")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "marker-three" in text and text_of(final) == text and final.stop_reason == "end_turn"
    check_tokens(final.usage)


@anthropic_row("system blocks, stop_sequences")
def _(env, p):
    answer = env.anthropic.messages.create(
        model=CHAT[p], max_tokens=200, stop_sequences=["STOP"], messages=user("before STOP after"),
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Be kind."}])
    assert "before" in text_of(answer) and "after" not in text_of(answer)
    if p == "anthropic":
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "STOP")
    sent = json.dumps(env.upstream_body())
    assert "Be brief." in sent and "Be kind." in sent


@anthropic_row("messages.count_tokens")
def _(env, p):
    few = env.anthropic.messages.count_tokens(model=CHAT[p], messages=user("a few words"))
    many = env.anthropic.messages.count_tokens(model=CHAT[p], messages=user("a few words " * 100))
    assert 0 < few.input_tokens < many.input_tokens


@anthropic_row("beta.messages.create, stream, count_tokens")
def _(env, p):
    answer = env.anthropic.beta.messages.create(model=CHAT[p], max_tokens=200, messages=user("marker-one"))
    assert "marker-one" in text_of(answer)
    with env.anthropic.beta.messages.stream(model=CHAT[p], max_tokens=200, messages=user("marker-two")) as stream:
        assert "marker-two" in text_of(stream.get_final_message())
    assert env.anthropic.beta.messages.count_tokens(model=CHAT[p], messages=user("words")).input_tokens > 0


@anthropic_row("cached tokens in usage", replicate=NONE)
def _(env, p):
    ask = {"model": CHAT[p], "max_tokens": 200, "messages": user("marker [[sim cached=3]] " + "x" * 200)}
    with env.anthropic.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    for message in (env.anthropic.messages.create(**ask), final):
        assert message.usage.cache_read_input_tokens == 3 and message.usage.input_tokens > 0


@anthropic_row("refusal", replicate=NONE)
def _(env, p):
    with env.anthropic.messages.stream(model=CHAT[p], max_tokens=200,
                                       messages=user("marker [[sim finish=refusal]]")) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "refusal" and "marker" in text_of(final)


@anthropic_row("models.list and retrieve")
def _(env, p):
    assert CHAT[p] in [m.id for m in env.anthropic.models.list()]
    assert env.anthropic.models.retrieve(CHAT[p]).type == "model"


@anthropic_row("betas and unknown members (extra_body)", openai=DROPPED, replicate=DROPPED)
def _(env, p):
    raw = env.anthropic.beta.messages.with_raw_response.create(
        model=CHAT[p], max_tokens=200, messages=user("marker"), betas=["future-2027-01-01"],
        extra_body={"future_member": {"a": BIG}})
    assert "marker" in text_of(raw.parse())
    sent = env.upstream()[0]
    if p == "anthropic":
        assert env.upstream_body()["future_member"] == {"a": BIG} and "x-tollgate-dropped" not in raw.headers
        assert "future-2027-01-01" in json.dumps(sent["headers"])
        return YES
    assert raw.headers["x-tollgate-dropped"] == "future_member" and "future" not in json.dumps(sent)
    return DROPPED


@anthropic_row("a large max_tokens without stream")
def _(env, p):
    answer = env.anthropic.messages.create(model=CHAT[p], max_tokens=60000, messages=user("marker"), timeout=60)
    assert "marker" in text_of(answer) and answer.stop_reason == "end_turn"
    check_tokens(answer.usage)


# ---- anthropic: tools ----

def anthropic_calls(message):
    return [b for b in message.content if b.type == "tool_use"]


def anthropic_answer_calls(env, p, message, history, **more):
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": f"of {b.name}"} for b in anthropic_calls(message)]
    return env.anthropic.messages.create(
        model=CHAT[p], tools=ANTHROPIC_TOOLS, **{"max_tokens": 200, **more},
        messages=[*history, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}])


@anthropic_row("tools and their results", replicate="400")
def _(env, p):
    first = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user(ASK_ONE), tools=ANTHROPIC_TOOLS)
    assert first.stop_reason == "tool_use"
    assert [(b.name, b.input) for b in anthropic_calls(first)] == [("weather", {"city": "Zürich"})]
    second = anthropic_answer_calls(env, p, first, user(ASK_ONE))
    assert second.stop_reason == "end_turn" and text_of(second)


@anthropic_row("parallel tools, big integers", replicate="400")
def _(env, p):
    first = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user(ASK_TWO), tools=ANTHROPIC_TOOLS)
    assert [b.input for b in anthropic_calls(first)] == [{"city": "Zürich"}, {"a": BIG, "b": -2}]
    assert anthropic_answer_calls(env, p, first, user(ASK_TWO)).stop_reason == "end_turn"


@anthropic_row("tools, stream helper accumulates", replicate="400")
def _(env, p):
    with env.anthropic.messages.stream(model=CHAT[p], max_tokens=200, messages=user(ASK_TWO),
                                       tools=ANTHROPIC_TOOLS) as stream:
        partial = "".join(e.partial_json for e in stream if e.type == "input_json")
        final = stream.get_final_message()
    assert str(BIG) in partial
    assert [b.input for b in anthropic_calls(final)] == [{"city": "Zürich"}, {"a": BIG, "b": -2}]
    assert final.stop_reason == "tool_use"
    assert anthropic_answer_calls(env, p, final, user(ASK_TWO)).stop_reason == "end_turn"


@anthropic_row("tool_choice any, tool, none, one at a time", replicate="400")
def _(env, p):
    def calls(choice, text="hello"):
        answer = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user(text),
                                               tools=ANTHROPIC_TOOLS, tool_choice=choice)
        return [b.name for b in anthropic_calls(answer)]
    assert len(calls({"type": "any"})) == 1
    assert calls({"type": "tool", "name": "add"}) == ["add"]
    assert calls({"type": "none"}) == []
    assert len(calls({"type": "auto", "disable_parallel_tool_use": True}, ASK_TWO)) == 1


@anthropic_row("tool results with errors and images", replicate="400")
def _(env, p):
    first = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=user(ASK_TWO), tools=ANTHROPIC_TOOLS)
    ids = [b.id for b in anthropic_calls(first)]
    results = [
        {"type": "tool_result", "tool_use_id": ids[0], "content": [
            {"type": "text", "text": "a picture:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]},
        {"type": "tool_result", "tool_use_id": ids[1], "is_error": True, "content": "too big"}]
    second = env.anthropic.messages.create(
        model=CHAT[p], max_tokens=200, tools=ANTHROPIC_TOOLS,
        messages=[*user(ASK_TWO), {"role": "assistant", "content": first.content}, {"role": "user", "content": results}])
    assert second.stop_reason == "end_turn"
    sent = json.dumps(env.upstream_body())
    assert PIXEL in sent and "too big" in sent


def make_tools(seen):
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Weather of a city."""
        seen.append(("weather", city))
        return "warm"

    @anthropic.beta_tool
    def add(a: int, b: int) -> str:
        """Adds."""
        seen.append(("add", a, b))
        return str(a + b)
    return [weather, add]


BOTH_SEEN = [("add", BIG, -2), ("weather", "Zürich")]


@anthropic_row("beta tool_runner", replicate="400")
def _(env, p):
    seen = []
    final = env.anthropic.beta.messages.tool_runner(model=CHAT[p], max_tokens=200, tools=make_tools(seen),
                                                    messages=user(ASK_TWO)).until_done()
    assert sorted(seen) == BOTH_SEEN
    assert final.stop_reason == "end_turn" and text_of(final)


@anthropic_row("beta tool_runner, stream=True", replicate="400")
def _(env, p):
    seen, finals = [], []
    runner = env.anthropic.beta.messages.tool_runner(model=CHAT[p], max_tokens=200, tools=make_tools(seen),
                                                     messages=user(ASK_TWO), stream=True)
    for stream in runner:
        finals.append(stream.get_final_message())
    assert sorted(seen) == BOTH_SEEN
    assert [f.stop_reason for f in finals] == ["tool_use", "end_turn"]


@anthropic_row("beta tool_runner, run_tools_eagerly", replicate="400")
def _(env, p):
    seen = []
    runner = env.anthropic.beta.messages.tool_runner(model=CHAT[p], max_tokens=200, tools=make_tools(seen),
                                                     messages=user(ASK_TWO), stream=True, run_tools_eagerly=True)
    assert runner.until_done().stop_reason == "end_turn"
    assert sorted(seen) == BOTH_SEEN


@anthropic_row("beta tool_runner, thread=False", replicate="400")
def _(env, p):
    seen = []
    final = env.anthropic.beta.messages.tool_runner(model=CHAT[p], max_tokens=200, tools=make_tools(seen),
                                                    messages=user(ASK_TWO), thread=False).until_done()
    assert sorted(seen) == BOTH_SEEN and final.stop_reason == "end_turn"


@anthropic_row("beta tool_runner over a kept message thread", openai=NONE, replicate=NONE)
def _(env, p):
    for stream in (False, True):
        seen = []
        runner = env.anthropic.beta.messages.tool_runner(model=KEEPER[p], max_tokens=200, tools=make_tools(seen),
                                                         messages=user(ASK_TWO), stream=stream)
        final = runner.until_done()
        assert sorted(seen) == BOTH_SEEN and final.stop_reason == "end_turn"
        sent = env.upstream_body()
        assert sent["thread"]["type"] == "continue" and len(sent["messages"]) == 1  # no more than what is new


@anthropic_row("beta message threads", openai="400", replicate="400")
def _(env, p):
    thread = env.anthropic.beta.messages.thread(model=KEEPER[p], max_tokens=200)
    try:
        first = thread.send({"role": "user", "content": "marker-one"})
    except anthropic.BadRequestError as e:
        assert e.body["error"]["details"]["error_code"] == "thread_unsupported_request", e.body
        raise
    assert "marker-one" in text_of(first) and thread.previous_message_id == first.id
    second = thread.send({"role": "user", "content": "marker-two"})
    assert "marker-two" in text_of(second)
    sent = env.upstream_body()
    assert sent["thread"] == {"type": "continue", "previous_message_id": first.id} and len(sent["messages"]) == 1


@anthropic_row("beta message thread that the provider lost", openai=NONE, replicate=NONE)
def _(env, p):
    thread = env.anthropic.beta.messages.thread(model=KEEPER[p], max_tokens=200)
    thread.send({"role": "user", "content": "marker-one"})
    lost = f"[[sim status=404 code=thread_not_found times=1]] marker-two-{time.monotonic_ns()}"
    second = thread.send({"role": "user", "content": lost})
    assert "marker-two" in text_of(second)
    assert len(env.upstream_body()["messages"]) == 3  # the SDK told it all again


# ---- anthropic: structured output, vision, thinking ----

@anthropic_row("messages.parse (pydantic)")
def _(env, p):
    answer = env.anthropic.messages.parse(model=CHAT[p], max_tokens=200, output_format=Person,
                                          messages=user(PERSON_JSON))
    assert answer.parsed_output == Person(name="Ada", age=36, tags=["a", "b"])
    sent = json.dumps(env.upstream_body())
    assert "tags" in sent and "age" in sent


@anthropic_row("messages.stream with output_format (pydantic)")
def _(env, p):
    with env.anthropic.messages.stream(model=CHAT[p], max_tokens=200, output_format=Person,
                                       messages=user(PERSON_JSON)) as stream:
        final = stream.get_final_message()
    assert final.parsed_output == Person(name="Ada", age=36, tags=["a", "b"])


@anthropic_row("beta.messages.parse (pydantic)")
def _(env, p):
    answer = env.anthropic.beta.messages.parse(model=CHAT[p], max_tokens=200, output_format=Person,
                                               messages=user(PERSON_JSON))
    assert answer.parsed_output == Person(name="Ada", age=36, tags=["a", "b"])


def anthropic_picture(source):
    return [{"role": "user", "content": [{"type": "image", "source": source},
                                         {"type": "text", "text": "marker-picture"}]}]


@anthropic_row("vision, base64")
def _(env, p):
    answer = env.anthropic.messages.create(model=SEER[p], max_tokens=200, messages=anthropic_picture(
        {"type": "base64", "media_type": "image/png", "data": PIXEL}))
    assert "marker-picture" in text_of(answer) and PIXEL in json.dumps(env.upstream_body())


@anthropic_row("vision, URL")
def _(env, p):
    url = "https://example.com/cat.png?size=1"
    answer = env.anthropic.messages.create(model=SEER[p], max_tokens=200, messages=anthropic_picture(
        {"type": "url", "url": url}))
    assert "marker-picture" in text_of(answer) and url in json.dumps(env.upstream_body())


@anthropic_row("document (PDF)", replicate="400")
def _(env, p):
    answer = env.anthropic.messages.create(model=CHAT[p], max_tokens=200, messages=[{"role": "user", "content": [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        {"type": "text", "text": "marker-file"}]}])
    assert "marker-file" in text_of(answer) and PDF in json.dumps(env.upstream_body())


@anthropic_row("thinking, both ways", replicate=DROPPED)
def _(env, p):
    ask = {"model": THINKER[p], "max_tokens": 4000, "messages": user("marker [[sim reasoning]]"),
           "thinking": {"type": "enabled", "budget_tokens": 2000}}
    raw = env.anthropic.messages.with_raw_response.create(**ask)
    with env.anthropic.messages.stream(**ask) as stream:
        final = stream.get_final_message()
        headers = stream.response.headers
    for message in (raw.parse(), final):
        assert "marker" in text_of(message)
        if p == "replicate":
            assert [b.type for b in message.content] == ["text"]
            continue
        assert [b.type for b in message.content] == ["thinking", "text"]
        assert message.content[0].thinking.startswith("Simulated thoughts")
        assert p == "openai" or message.content[0].signature
    dropped = raw.headers.get("x-tollgate-dropped")
    assert headers.get("x-tollgate-dropped") == dropped == ("thinking" if p == "replicate" else None)
    return DROPPED if dropped else YES


@anthropic_row("adaptive thinking and effort", replicate=DROPPED)
def _(env, p):
    model = {**THINKER, "anthropic": "claude-opus-4-6"}[p]
    raw = env.anthropic.messages.with_raw_response.create(
        model=model, max_tokens=4000, messages=user("marker"), thinking={"type": "adaptive"},
        output_config={"effort": "low"})
    answer = raw.parse()
    assert "marker" in text_of(answer)
    if p == "replicate":
        assert raw.headers["x-tollgate-dropped"] == "thinking, output_config.effort"
        return DROPPED
    assert "x-tollgate-dropped" not in raw.headers
    if p == "anthropic":
        assert answer.content[0].type == "thinking" and answer.content[0].signature
    else:
        assert env.upstream_body()["reasoning_effort"] == "low"


@anthropic_row("thinking round trip with tools and signatures", replicate="400")
def _(env, p):
    for stream in (False, True):
        ask = {"model": THINKER[p], "max_tokens": 4000, "messages": user(ASK_ONE + " [[sim reasoning]]"),
               "tools": ANTHROPIC_TOOLS, "thinking": {"type": "enabled", "budget_tokens": 2000}}
        if stream:
            with env.anthropic.messages.stream(**ask) as s:
                first = s.get_final_message()
        else:
            first = env.anthropic.messages.create(**ask)
        assert [b.type for b in first.content] == ["thinking", "tool_use"]
        second = anthropic_answer_calls(env, p, first, ask["messages"], max_tokens=4000, thinking=ask["thinking"])
        assert second.stop_reason == "end_turn"
        if p == "anthropic":
            turn = env.upstream_body()["messages"][1]["content"]
            assert turn[0]["signature"] == first.content[0].signature and turn[0]["signature"]


@anthropic_row("AsyncAnthropic: create, stream, parse")
def _(env, p):
    async def run():
        async with env.anthropic_async() as client:
            async def one(i):
                answer = await client.messages.create(model=CHAT[p], max_tokens=200, messages=user(f"marker-{i}-"))
                assert f"marker-{i}-" in text_of(answer)
            await asyncio.gather(*[one(i) for i in range(8)])
            async with client.messages.stream(model=CHAT[p], max_tokens=200, messages=user("marker-nine")) as stream:
                final = await stream.get_final_message()
            assert "marker-nine" in text_of(final)
            parsed = await client.messages.parse(model=CHAT[p], max_tokens=200, output_format=Person,
                                                 messages=user(PERSON_JSON))
            assert parsed.parsed_output.name == "Ada"
    asyncio.run(run())


@anthropic_row("AsyncAnthropic: beta tool_runner", replicate="400")
def _(env, p):
    async def run():
        seen = []

        @anthropic.beta_async_tool
        async def weather(city: str) -> str:
            """Weather of a city."""
            seen.append(city)
            return "warm"
        async with env.anthropic_async() as client:
            done = await client.beta.messages.tool_runner(model=CHAT[p], max_tokens=200, tools=[weather],
                                                          messages=user(ASK_ONE)).until_done()
            assert seen == ["Zürich"] and done.stop_reason == "end_turn"
    asyncio.run(run())


# ---- errors: the cell succeeds when the SDK raises this very class ----

def openai_fails(env, p, words, error, status, code=None, **options):
    client = env.openai_with(**options)
    try:
        client.chat.completions.create(model=CHAT[p], messages=user(f"[[sim {words}]]" if words else "x"))
    except openai.APIStatusError as e:
        assert type(e) is error and e.status_code == status, (type(e), e.status_code, e.body)
        assert e.body["message"] and e.body["type"] and "param" in e.body and "code" in e.body
        assert code is None or e.code == code, e.code
        assert e.request_id
        return
    raise AssertionError("no error")


def anthropic_fails(env, p, words, error, status, kind, **options):
    client = env.anthropic_with(**options)
    try:
        client.messages.create(model=CHAT[p], max_tokens=50, messages=user(f"[[sim {words}]]" if words else "x"))
    except anthropic.APIStatusError as e:
        assert type(e) is error and e.status_code == status, (type(e), e.status_code, e.body)
        assert e.body["type"] == "error" and e.body["error"]["type"] == kind and e.body["error"]["message"], e.body
        assert e.request_id and e.request_id.startswith("req_")
        return
    raise AssertionError("no error")


def error_row(sdk, name, words, error, status, said, expected=None, **options):
    """One row for a class of error. `said`: the OpenAI code or the Anthropic type."""
    def run(env, p):
        made = {k: (v(env, p) if callable(v) else v) for k, v in options.items()}
        fails = openai_fails if sdk == "openai" else anthropic_fails
        fails(env, p, words, error, status, said, **made)
    row(sdk, name, **(expected or {}))(run)


def slow_key(env, p):
    """A key whose only request of this minute is used up."""
    key = env.suite.create_key(name=f"slow-{len(env.slow_keys)}", rpm=1)
    env.slow_keys[key] = p
    env.openai_with(api_key=key).chat.completions.create(model=CHAT[p], messages=user("x"))
    return key


OPENAI_ERRORS = [
    ("BadRequestError", "status=400", openai.BadRequestError, 400, None),
    ("NotFoundError", "status=404", openai.NotFoundError, 404, "model_not_found"),
    ("ConflictError", "status=409", openai.ConflictError, 409, "conflict"),
    ("413: APIStatusError", "status=413", openai.APIStatusError, 413, "request_too_large"),
    ("UnprocessableEntityError", "status=422", openai.UnprocessableEntityError, 422, None),
    ("RateLimitError, the provider's", "status=429", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("InternalServerError 502, the provider's 500", "status=500", openai.InternalServerError, 502, "upstream_error"),
    ("InternalServerError 502, the gateway's own key refused", "status=401", openai.InternalServerError, 502,
     "upstream_auth"),
    ("InternalServerError 503, the provider overloaded", "status=503", openai.InternalServerError, 503,
     "server_is_overloaded"),
    ("InternalServerError 504", "status=504", openai.InternalServerError, 504, "upstream_timeout"),
]
for _name, _words, _error, _status, _said in OPENAI_ERRORS:
    error_row("openai", _name, _words, _error, _status, _said)
error_row("openai", "AuthenticationError", None, openai.AuthenticationError, 401, "invalid_api_key", api_key="sk-wrong")
error_row("openai", "PermissionDeniedError", None, openai.PermissionDeniedError, 403, "model_not_allowed",
          api_key=lambda env, p: env.narrow_key)
error_row("openai", "RateLimitError, the key's own", None, openai.RateLimitError, 429, "rate_limit_exceeded",
          api_key=slow_key)

ANTHROPIC_ERRORS = [
    ("BadRequestError", "status=400", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("NotFoundError", "status=404", anthropic.NotFoundError, 404, "not_found_error"),
    ("ConflictError", "status=409", anthropic.ConflictError, 409, "invalid_request_error"),
    ("413", "status=413", None, 413, "request_too_large"),
    ("BadRequestError, the provider's 422", "status=422", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("RateLimitError, the provider's", "status=429", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("InternalServerError 502, the provider's 500", "status=500", anthropic.InternalServerError, 502, "api_error"),
    ("OverloadedError 529", "status=529", None, 529, "overloaded_error"),
    ("ServiceUnavailableError 503, the gateway's account is empty", "status=402", None, 503, "api_error"),
    ("GatewayTimeoutError 504", "status=504", None, 504, "timeout_error"),
]
_CLASSES = {413: "ContentTooLargeError", 529: "OverloadedError", 503: "ServiceUnavailableError",
            504: "GatewayTimeoutError"}
for _name, _words, _error, _status, _said in ANTHROPIC_ERRORS:
    _error = _error or getattr(anthropic._exceptions, _CLASSES[_status])
    error_row("anthropic", "413: ContentTooLargeError" if _name == "413" else _name, _words, _error, _status, _said)
error_row("anthropic", "AuthenticationError", None, anthropic.AuthenticationError, 401, "authentication_error",
          api_key="sk-wrong")
error_row("anthropic", "PermissionDeniedError", None, anthropic.PermissionDeniedError, 403, "permission_error",
          api_key=lambda env, p: env.narrow_key)
error_row("anthropic", "RateLimitError, the key's own", None, anthropic.RateLimitError, 429, "rate_limit_error",
          api_key=slow_key)


# The SDKs tell their patience; the gateway would answer 504 at that very moment.
PATIENT = {"x-stainless-timeout": "60", "x-stainless-read-timeout": "60"}


@openai_row("413, the gateway's own limit: APIStatusError")
def _(env, p):
    try:
        env.openai.chat.completions.create(model=CHAT[p], messages=user("x" * (MAX_BODY + 1)))
    except openai.APIStatusError as e:
        assert e.status_code == 413 and e.code == "request_too_large"
        return
    raise AssertionError("no error")


@anthropic_row("413, the gateway's own limit: ContentTooLargeError")
def _(env, p):
    try:
        env.anthropic.messages.create(model=CHAT[p], max_tokens=50, messages=user("x" * (MAX_BODY + 1)))
    except anthropic._exceptions.ContentTooLargeError as e:
        assert e.body["error"]["type"] == "request_too_large"
        return
    raise AssertionError("no error")


@openai_row("the SDK's own retry, after what retry-after says")
def _(env, p):
    client = env.openai_with(max_retries=2)
    words = f"[[sim status=429 retry-after=1 times=1 message='{time.monotonic_ns()}']]"
    begun = time.monotonic()
    answer = client.chat.completions.create(model=CHAT[p], messages=user(f"{words} marker"))
    assert "marker" in answer.choices[0].message.content and time.monotonic() - begun >= 0.9


@openai_row("APIConnectionError, APITimeoutError")
def _(env, p):
    for error, options, words in ((openai.APIConnectionError, {"base_url": f"http://127.0.0.1:{free_port()}/v1"}, ""),
                                  (openai.APITimeoutError, {"timeout": 0.7}, "[[sim delay=2000]]")):
        try:
            env.openai_with(**options).chat.completions.create(model=CHAT[p], messages=user(f"x{words}"),
                                                               extra_headers=PATIENT)
        except openai.APIConnectionError as e:
            assert type(e) is error, e
        else:
            raise AssertionError("no error")


@openai_row("a stream that fails at once: a typed error")
def _(env, p):
    for words, status in (("status=429", 429), ("error=0", None)):
        try:
            env.openai.chat.completions.create(model=CHAT[p], stream=True, messages=user(f"x [[sim {words}]]"))
        except openai.APIStatusError as e:
            assert e.status_code == status or (status is None and e.status_code >= 500), e.status_code
        else:
            raise AssertionError("no error")


CUT = "marker [[sim cut=1500 tokens=800 chunks=60 pace=1]]"
CUT_BYTES = 4 * 800


@openai_row("APIError when the provider hangs up in mid-stream", replicate=WHOLE)
def _(env, p):
    text = ""
    try:
        for chunk in env.openai.chat.completions.create(model=CHAT[p], stream=True, messages=user(CUT)):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as e:
        assert not isinstance(e, openai.APIStatusError) and e.code == "upstream_closed", e.body
        return YES
    assert len(text) == CUT_BYTES  # a prediction is read again when its stream breaks
    return WHOLE


@openai_row("APIError in mid-stream")
def _(env, p):
    text = ""
    try:
        for chunk in env.openai.chat.completions.create(model=CHAT[p], stream=True, messages=user(
                "marker-and-more-and-more [[sim error=3 chunks=9 pace=1]]")):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as e:
        assert not isinstance(e, openai.APIStatusError) and e.body["type"]
        assert text
        return
    raise AssertionError("no error")


@anthropic_row("the SDK's own retry, after what retry-after says")
def _(env, p):
    client = env.anthropic_with(max_retries=2)
    words = f"[[sim status=429 retry-after=1 times=1 message='{time.monotonic_ns()}']]"
    begun = time.monotonic()
    answer = client.messages.create(model=CHAT[p], max_tokens=50, messages=user(f"{words} marker"))
    assert "marker" in text_of(answer) and time.monotonic() - begun >= 0.9


@anthropic_row("APIConnectionError, APITimeoutError")
def _(env, p):
    for error, options, words in ((anthropic.APIConnectionError, {"base_url": f"http://127.0.0.1:{free_port()}"}, ""),
                                  (anthropic.APITimeoutError, {"timeout": 0.7}, "[[sim delay=2000]]")):
        try:
            env.anthropic_with(**options).messages.create(model=CHAT[p], max_tokens=50, messages=user(f"x{words}"),
                                                          extra_headers=PATIENT)
        except anthropic.APIConnectionError as e:
            assert type(e) is error, e
        else:
            raise AssertionError("no error")


@anthropic_row("a stream that fails at once: a typed error")
def _(env, p):
    for words, status in (("status=429", 429), ("error=0", None)):
        try:
            with env.anthropic.messages.stream(model=CHAT[p], max_tokens=50, messages=user(f"x [[sim {words}]]")):
                pass
        except anthropic.APIStatusError as e:
            assert e.status_code == status or (status is None and e.status_code >= 500), e.status_code
        else:
            raise AssertionError("no error")


@anthropic_row("APIStatusError when the provider hangs up in mid-stream", replicate=WHOLE)
def _(env, p):
    try:
        with env.anthropic.messages.stream(model=CHAT[p], max_tokens=2000, messages=user(CUT)) as stream:
            final = stream.get_final_message()
    except anthropic.APIError as e:
        assert e.body["error"]["type"] == "api_error", e.body
        return YES
    assert len(text_of(final)) == CUT_BYTES
    return WHOLE


@anthropic_row("APIStatusError in mid-stream")
def _(env, p):
    text = ""
    try:
        with env.anthropic.messages.stream(model=CHAT[p], max_tokens=200, messages=user(
                "marker-and-more-and-more [[sim error=3 chunks=9 pace=1]]")) as stream:
            for piece in stream.text_stream:
                text += piece
    except anthropic.APIError as e:
        assert e.body["type"] == "error" and e.body["error"]["type"] and e.body["error"]["message"]
        assert text
        return
    raise AssertionError("no error")


# ---- running and printing ----

SUITE = {
    # failures are asked for here: they must not close the way for the cells behind them
    "options": {"edge": {"max_body": MAX_BODY},
                "broker": {"breaker_failures": 1000000, "retry_base": "1ms", "retry_max_wait": "0ms"},
                "worker": {"breaker_failures": 1000000}},
    # the simulator as OpenAI itself, not as a compatible server
    "providers": {"openai": {"type": "openai", "api_keys": ["${SIM_KEY}"], "endpoints": ["{sim}/openai/v1"],
                             "private": True, "compat": ["openai"]}},
    "models": {**MODELS, "acme/*": {"targets": [{"provider": "replicate"}]}},
}


def open_suite(folder=None):
    return Suite(folder, **SUITE)


class Matrix:
    """Runs each cell once and remembers what it gave."""

    def __init__(self, env):
        self.env, self.results = env, {}

    def result(self, cell, provider):
        at = (cell.sdk, cell.name, provider)
        if at not in self.results:
            self.results[at] = self._run(cell, provider)
        return self.results[at]

    def _run(self, cell, provider):
        if cell.expected[provider] == NONE:
            return NONE
        refused = cell.expected[provider].isdigit()
        if refused:
            self.env.suite.sim_reset()
        try:
            return cell.run(self.env, provider) or YES
        except (openai.APIStatusError, anthropic.APIStatusError) as e:
            if str(e.status_code) != cell.expected[provider]:
                raise
            check_refusal(cell, e)
            assert self.env.upstream() == [], "the provider was asked"
            return str(e.status_code)


def check_refusal(cell, e):
    """A documented refusal: typed, worded, final."""
    assert e.response.headers["x-should-retry"] == "false", e.response.headers
    if isinstance(e, openai.APIStatusError):
        assert e.body["type"] == "invalid_request_error" and e.body["message"], e.body
        assert cell.param is None or e.param == cell.param, (cell.param, e.body)
    else:
        assert e.body["error"]["type"] in ("invalid_request_error", "not_found_error") and e.body["error"]["message"]


def table(results):
    """The README's section: one table for each SDK."""
    out = []
    for sdk, module in (("openai", openai), ("anthropic", anthropic)):
        out += [f"| {sdk} {module.__version__} | " + " | ".join(PROVIDERS) + " |", "|---|" + "---|" * len(PROVIDERS)]
        for cell in CELLS:
            if cell.sdk == sdk:
                given = [results[(sdk, cell.name, p)] for p in PROVIDERS]
                out.append(f"| {cell.name} | " + " | ".join(given) + " |")
        out.append("")
    return "\n".join(out).rstrip() + "\n"


def readme_section(text):
    """(where the tables begin, where they end) in README.md."""
    section = text.index("\n## SDK matrix\n")
    start = text.index("\n| openai", section) + 1
    return start, text.index("\n## ", start)


def main(arguments):
    failures = []
    with open_suite() as suite:
        matrix = Matrix(Env(suite))
        for cell in CELLS:
            for p in PROVIDERS:
                try:
                    given, why = matrix.result(cell, p), ""
                except Exception as e:  # noqa: BLE001 - any failure of a cell is shown in its place
                    given, why = "FAILED", f": {type(e).__name__}: {e}"
                    matrix.results[(cell.sdk, cell.name, p)] = given
                if given != cell.expected[p]:
                    failures.append(f"{cell.sdk}, {cell.name}, {p}: wanted {cell.expected[p]}, got {given}{why}")
    tables = table(matrix.results)
    print(tables, end="")
    print(*failures, sep="\n", file=sys.stderr)
    if "--write" in arguments and not failures:
        path = ROOT / "README.md"
        text = path.read_text()
        start, end = readme_section(text)
        path.write_text(text[:start] + tables + text[end:])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
