"""The scripted upstream: answers as OpenAI, Anthropic and Replicate do, byte by byte as a case says.

One case at a time is loaded; calls are recorded as they come. Paths: /openai/v1, /openai-itself/v1, /openai-chat/v1, /anthropic/v1,
/replicate/v1. A second port, `trap`, answers nothing and records who comes: no gateway has any business there.
"""
import asyncio
import re
import threading
import time
from email.utils import formatdate

from jsontext import dumps, loads

ANSWER_TEXT = "Hello from the scripted upstream."
KINDS = (("create", "POST", r".*/predictions$"), ("cancel", "POST", r".*/predictions/[^/]+/cancel$"),
         ("get", "GET", r".*/predictions/[^/]+$"), ("stream", "GET", r".*/streams/[^/]+$"),
         ("schema", "GET", r".*/models/.+$"))


class Call:
    """One request as the upstream saw it."""

    def __init__(self, method, path, headers, body, connection):
        self.method, self.path, self.headers, self.body, self.connection = method, path, headers, body, connection
        self.closed_early = False
        self.kind = "call" if method == "POST" else "other"
        if path.startswith("/replicate"):
            self.kind = next((k for k, m, r in KINDS if m == method and re.match(r, path)), "other")

    @property
    def json(self):
        try:
            return loads(self.body)
        except ValueError:
            return None

    @property
    def provider(self):
        return self.path.split("/")[1].replace("openai-itself", "openai").replace("openai-chat", "openai")


def frame(item, provider):
    """One item of a scripted stream as bytes: text as it is, an object as an event of that provider."""
    if isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if set(item) == {"$repeat"}:
        return item["$repeat"][0].encode() * int(item["$repeat"][1])
    name = f"event: {item['type']}\n" if provider == "anthropic" else ""
    return f"{name}data: {dumps(item)}\n\n".encode()


def split(frames, pieces):
    """The stream's bytes in the pieces they are sent in."""
    whole = b"".join(frames)
    if pieces == "whole":
        return [whole]
    if pieces == "bytes":
        return [whole[i:i + 1] for i in range(len(whole))]
    if isinstance(pieces, int):
        return [p for p in (whole[:pieces], whole[pieces:]) if p]
    return [f for f in frames if f]


REPLICATE_SCHEMA = {"latest_version": {"id": "v1", "openapi_schema": {"components": {"schemas": {
    "Input": {"type": "object", "properties": {
        "prompt": {"type": "string"}, "system_prompt": {"type": "string"},
        "max_new_tokens": {"type": "integer", "minimum": 1, "maximum": 4096},
        "temperature": {"type": "number", "minimum": 0.01, "maximum": 5}, "top_p": {"type": "number"},
        "stop_sequences": {"type": "string"}}},
    "Output": {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator",
               "x-cog-array-display": "concatenate"}}}}}}


def default_replicate(call):
    if call.kind == "schema":
        return {"json": REPLICATE_SCHEMA}
    prediction = {"id": "p1", "model": "acme/text", "version": "v1", "input": {}, "logs": "", "error": None,
                  "status": "canceled" if call.kind == "cancel" else "succeeded", "output": [ANSWER_TEXT],
                  "created_at": "2026-01-01T00:00:00Z", "metrics": {"input_token_count": 11, "output_token_count": 6},
                  "urls": {"get": "{upstream}/replicate/v1/predictions/p1",
                           "cancel": "{upstream}/replicate/v1/predictions/p1/cancel"}}
    return {"status": 201 if call.kind == "create" else 200, "json": prediction}


def default_answer(call):
    """What an upstream says when the case is about the request."""
    if call.path.startswith("/replicate"):
        return default_replicate(call)
    body = call.json or {}
    stream = isinstance(body, dict) and body.get("stream") is True
    if call.provider == "anthropic":
        return {"sse": anthropic_stream()} if stream else {"json": anthropic_message()}
    if call.path.endswith("/responses"):
        return {"status": 404, "json": {"error": {"message": "no responses here", "type": "invalid_request_error"}}}
    if call.path.endswith("/chat/completions"):
        return {"sse": openai_stream()} if stream else {"json": openai_completion()}
    if call.path.endswith("/completions"):
        return {"json": {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "x", "choices": [
            {"index": i, "text": t, "finish_reason": "stop", "logprobs": None} for i, t in enumerate("abcd")],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}}
    return {"status": 404, "json": {"error": {"message": "nothing here", "type": "invalid_request_error"}}}


def anthropic_message():
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
            "content": [{"type": "text", "text": ANSWER_TEXT}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 6}}


def anthropic_stream():
    head = dict(anthropic_message(), content=[], stop_reason=None, usage={"input_tokens": 11, "output_tokens": 1})
    return [{"type": "message_start", "message": head},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER_TEXT}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 6}},
            {"type": "message_stop"}]


def openai_completion():
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-x", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": ANSWER_TEXT, "refusal": None}, "finish_reason": "stop",
         "logprobs": None}], "usage": {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}}


def openai_stream():
    def chunk(delta, finish=None):
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    usage = dict(chunk({}), choices=[], usage={"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17})
    return [chunk({"role": "assistant", "content": ""}), chunk({"content": ANSWER_TEXT}), chunk({}, "stop"), usage,
            "data: [DONE]\n\n"]


class Upstream:
    """Serves in a thread of its own."""

    def __init__(self, port=0, host="127.0.0.1"):
        self.host, self.port, self.trap_port = host, port, 0
        self.calls, self.trapped, self.script, self.pieces = [], [], None, "events"
        self._given, self._connections, self._writers = {}, 0, set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def start(self):
        self._thread.start()
        if not self._ready.wait(10) or not self.port:
            raise OSError(f"the scripted upstream cannot listen on port {self.port}")
        return self

    def _main(self):
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._serve())

    async def _serve(self):
        self._stop = asyncio.Event()
        wanted, self.port = self.port, 0
        try:
            server = await asyncio.start_server(self._connection, self.host, wanted, limit=1 << 26)
            trap = await asyncio.start_server(self._trapped, self.host, 0)
            self.port = server.sockets[0].getsockname()[1]
            self.trap_port = trap.sockets[0].getsockname()[1]
        finally:
            self._ready.set()
        await self._stop.wait()
        server.close()
        trap.close()
        for writer in list(self._writers):
            writer.transport.abort()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=3)

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def load(self, script, pieces="events"):
        """From now on calls are answered by this script; what was recorded is forgotten."""
        self.script, self.pieces = script, pieces
        self.calls, self.trapped, self._given = [], [], {}

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    async def _trapped(self, reader, writer):
        self.trapped.append((await reader.read(4096)).decode("latin-1"))
        writer.transport.abort()

    async def _connection(self, reader, writer):
        self._connections += 1
        number = self._connections
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the gateway has gone, which is its good right
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader, writer, number):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (li.partition(":") for li in lines if li)}
        call = Call(method, path.split("?")[0], headers, await self._body(reader, writer, headers), number)
        self.calls.append(call)
        return await self._answer(call, writer)

    @staticmethod
    async def _body(reader, writer, headers):
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body

    def _scripted(self, call):
        script = self.script or {}
        answers = script.get(call.kind) if call.path.startswith("/replicate") else script.get("answers")
        if not answers or call.kind == "other":
            return default_answer(call)
        nth = self._given.get(call.kind, 0)
        self._given[call.kind] = nth + 1
        return answers[min(nth, len(answers) - 1)]

    def _fill(self, raw):
        raw = raw.replace(b"{upstream}", self.url.encode()).replace(b"{trap}", f"http://{self.host}:{self.trap_port}".encode())
        return re.sub(rb"\{http_date\+(\d+)\}", lambda m: formatdate(time.time() + int(m[1]), usegmt=True).encode(), raw)

    async def _answer(self, call, writer):
        answer = self._scripted(call)
        if answer.get("after_ms"):
            await asyncio.sleep(int(answer["after_ms"]) / 1000)
        stream = "sse" in answer
        headers = {"content-type": "text/event-stream" if stream else "application/json"}
        headers.update({k.lower(): v for k, v in answer.get("headers", {}).items()})
        head = f"HTTP/1.1 {answer.get('status', 200)} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        if stream:
            writer.write(self._fill(head.encode()) + b"transfer-encoding: chunked\r\n\r\n")
            return await self._stream(call, answer, writer)
        body = self._fill((answer["text"] if "text" in answer else dumps(answer.get("json"))).encode("utf-8", "surrogateescape"))
        writer.write(self._fill(head.encode()) + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True

    async def _stream(self, call, answer, writer):
        frames = [self._fill(frame(item, call.provider)) for item in answer["sse"]]
        pieces = answer.get("pieces", self.pieces)
        try:
            for i, piece in enumerate(split(frames, int(pieces) if str(pieces).isdigit() else pieces)):
                if i and str(pieces).isdigit():
                    await asyncio.sleep(0.002)
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if i % 64 == 0 or len(piece) > 65536:
                    await writer.drain()
            await writer.drain()
        except ConnectionError:
            call.closed_early = True
            raise
        return await self._end(call, answer, writer)

    async def _end(self, call, answer, writer):
        end = answer.get("end", "clean")
        if end == "cut":
            return False
        if end == "open":  # says nothing more; the gateway should not need it to
            await asyncio.sleep(float(answer.get("open_s", 2)))
        trailers = "".join(f"{k}: {v}\r\n" for k, v in answer.get("trailers", {}).items())
        writer.write(f"0\r\n{trailers}\r\n".encode())
        await writer.drain()
        return True
