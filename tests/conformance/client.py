"""What a client makes of a gateway's answer: the story of a stream, as the official SDKs would accumulate it."""
from jsontext import Number, join_halves, loads


def events_of(raw):
    """(name, data) of every event; comments left out. `raw` is the whole stream."""
    text = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if data or name:
            yield name, "\n".join(data) if data else None


def one_more(story, key):
    story[key] = Number(int(story[key]) + 1)


def parse(story, data):
    try:
        return loads(data)
    except ValueError:
        story["faults"].append(f"not JSON: {data[:80]}")
        return None


# ---- OpenAI chat ----

def chat_story(raw):
    story = {"role": None, "text": "", "refusal": None, "reasoning": "", "thinking_blocks": [], "tools": [], "finish": [],
             "usage": None, "error": None, "done": Number(0), "ids": [], "empty_choices": Number(0),
             "usage_members": Number(0), "other_choices": Number(0), "faults": []}
    for _, data in events_of(raw):
        if data is None:
            continue
        if int(story["done"]):
            story["faults"].append("event after [DONE]")
        if data.strip() == "[DONE]":
            one_more(story, "done")
            continue
        chunk = parse(story, data)
        if isinstance(chunk, dict):
            _chunk(story, chunk)
    story["text"] = join_halves(story["text"])
    story["ids"] = Number(len(set(story["ids"])))
    story["tools"] = [{k: v for k, v in t.items() if k != "index"} for t in sorted(story["tools"], key=lambda t: t["index"])]
    return story


def _chunk(story, chunk):
    if chunk.get("error") is not None:
        story["error"] = chunk["error"]
        return
    story["ids"].append(chunk.get("id"))
    if "usage" in chunk:
        one_more(story, "usage_members")
        story["usage"] = chunk["usage"] or story["usage"]
    if not chunk.get("choices"):
        one_more(story, "empty_choices")
    for choice in chunk.get("choices") or []:
        if str(choice.get("index", 0)) != "0":
            one_more(story, "other_choices")
            continue
        _delta(story, choice.get("delta") or {})
        if "text" in choice:  # legacy completions
            story["text"] += choice["text"] or ""
        if choice.get("finish_reason"):
            story["finish"].append(choice["finish_reason"])


def _delta(story, delta):
    story["role"] = delta.get("role") or story["role"]
    story["text"] += delta.get("content") or ""
    story["reasoning"] += delta.get("reasoning_content") or ""
    story["thinking_blocks"] += delta.get("thinking_blocks") or []
    if delta.get("refusal"):
        story["refusal"] = (story["refusal"] or "") + delta["refusal"]
    for call in delta.get("tool_calls") or []:
        index = int(call.get("index", 0))
        tool = next((t for t in story["tools"] if t["index"] == index), None)
        if tool is None:
            tool = {"index": index, "slot": Number(index), "id": "", "name": "", "arguments": ""}
            story["tools"].append(tool)
        function = call.get("function") or {}
        tool["id"] += call.get("id") or ""
        tool["name"] += function.get("name") or ""
        tool["arguments"] += function.get("arguments") or ""


# ---- Anthropic messages ----

def messages_story(raw):
    story = {"message": None, "blocks": [], "stop_reasons": [], "usage": {}, "error": None, "stopped": Number(0),
             "order": [], "faults": []}
    opened = {}
    for name, data in events_of(raw):
        event = parse(story, data) if data else None
        if not isinstance(event, dict):
            continue
        kind = event.get("type")
        if name != kind:
            story["faults"].append(f"event named {name} holds {kind}")
        if int(story["stopped"]) and kind != "ping":
            story["faults"].append(f"{kind} after message_stop")
        if not story["order"] or story["order"][-1] != kind:
            story["order"].append(kind)
        _message_event(story, opened, kind, event)
    for block in story["blocks"]:
        if block.get("type") == "text":
            block["text"] = join_halves(block["text"])
    if int(story["stopped"]) and opened:
        story["faults"].append("a block was never closed")
    return story


def _message_event(story, opened, kind, event):
    if kind == "message_start":
        story["message"] = event.get("message") or {}
        story["usage"].update(story["message"].get("usage") or {})
    elif kind == "content_block_start":
        _block_start(story, opened, event)
    elif kind == "content_block_delta":
        _block_delta(story, opened, event)
    elif kind == "content_block_stop":
        if opened.pop(event.get("index"), None) is None:
            story["faults"].append(f"block {event.get('index')} stopped but not started")
    elif kind == "message_delta":
        reason = (event.get("delta") or {}).get("stop_reason")
        story["stop_reasons"] += [reason] if reason else []
        story["usage"].update({k: v for k, v in (event.get("usage") or {}).items() if v is not None})
    elif kind == "message_stop":
        one_more(story, "stopped")
    elif kind == "error":
        story["error"] = event.get("error") or {}
    if story["message"] is None and kind not in ("ping", "error"):
        story["faults"].append(f"{kind} before message_start")


def _block_start(story, opened, event):
    if opened:
        story["faults"].append(f"block {event.get('index')} starts inside another one")
    if str(event.get("index")) != str(len(story["blocks"])):
        story["faults"].append(f"block index {event.get('index')}, expected {len(story['blocks'])}")
    block = dict(event.get("content_block") or {})
    if block.get("type") == "tool_use":
        block["json"] = ""
    opened[event.get("index")] = block
    story["blocks"].append(block)


def _block_delta(story, opened, event):
    block, delta = opened.get(event.get("index")), event.get("delta") or {}
    if block is None:
        story["faults"].append(f"delta for block {event.get('index')}, which is not open")
        return
    for kind, source, target in (("text_delta", "text", "text"), ("thinking_delta", "thinking", "thinking"),
                                 ("signature_delta", "signature", "signature"), ("input_json_delta", "partial_json", "json")):
        if delta.get("type") == kind:
            block[target] = block.get(target, "") + (delta.get(source) or "")


# ---- OpenAI responses ----

def responses_story(raw):
    story = {"items": [], "text": "", "status": None, "incomplete": None, "usage": None, "error": None, "done": Number(0),
             "order": [], "faults": []}
    said, number = [], 0
    for name, data in events_of(raw):
        event = parse(story, data) if data else None
        if not isinstance(event, dict):
            continue
        kind = event.get("type")
        if name != kind:
            story["faults"].append(f"event named {name} holds {kind}")
        if str(event.get("sequence_number")) != str(number):
            story["faults"].append(f"{kind} has the number {event.get('sequence_number')}, not {number}")
        if int(story["done"]) or story["error"]:
            story["faults"].append(f"{kind} after the end")
        number += 1
        if not story["order"] or story["order"][-1] != kind:
            story["order"].append(kind)
        _response_event(story, said, kind, event)
    story["text"] = join_halves("".join(p["text"] for i in story["items"] if i["type"] == "message"
                                        for p in i["content"] if p["type"] == "output_text"))
    return story


def _response_event(story, said, kind, event):
    if kind == "response.output_item.added":
        if str(event["output_index"]) != str(len(said)):
            story["faults"].append(f"output_index {event['output_index']}, expected {len(said)}")
        said.append({"id": event["item"]["id"], "deltas": "", "part": False, "done": None})
    elif kind in ("response.completed", "response.incomplete", "response.failed"):
        response = event["response"]
        one_more(story, "done")
        story.update(items=response["output"], status=response["status"], usage=response["usage"],
                     incomplete=(response["incomplete_details"] or {}).get("reason"))
        if [i["done"] for i in said] != response["output"]:
            story["faults"].append("the last event's output is not what the items were")
    elif kind == "error":
        story["error"] = {k: event.get(k) for k in ("type", "code", "message", "param")}
    elif "output_index" in event:
        _item_event(story, said[int(event["output_index"])], kind, event)


def _item_event(story, item, kind, event):
    if item["done"] is not None or event.get("item_id", item["id"]) != item["id"]:
        story["faults"].append(f"{kind} for an item that is over, or for another one")
    if kind == "response.output_item.done":
        item["done"] = event["item"]
        if item["part"]:
            story["faults"].append("an item ends within a part")
    elif kind.endswith("_part.added") or kind.endswith("_part.done"):
        if item["part"] == kind.endswith("added"):
            story["faults"].append(f"{kind} out of turn")
        item["part"], item["deltas"] = kind.endswith("added"), "" if kind.endswith("added") else item["deltas"]
    elif kind.endswith(".delta"):
        item["deltas"] += event["delta"]
    elif kind.endswith(".done"):
        whole = next(event[k] for k in ("text", "refusal", "arguments", "input") if k in event)
        if whole != item["deltas"]:
            story["faults"].append(f"{kind} is not the sum of its deltas")


# ---- what was sent upstream, in one form ----

def normal_request(body, provider):
    """The same request with the protocol's short forms written out, so that either form matches a pattern."""
    if not isinstance(body, dict):
        return body
    body = dict(body)
    if provider == "anthropic":
        if isinstance(body.get("system"), str):
            body["system"] = [{"type": "text", "text": body["system"]}]
        body["messages"] = [_blocks(m) for m in body.get("messages") or []]
    elif provider == "openai" and isinstance(body.get("messages"), list):
        body["messages"] = [_plain(m) for m in body["messages"]]
    return body


def _blocks(message):
    content = message.get("content")
    if isinstance(content, str):
        return dict(message, content=[{"type": "text", "text": content}])
    return dict(message, content=[_result(b) for b in content or []])


def _result(block):
    content = block.get("content") if isinstance(block, dict) else None
    if block.get("type") != "tool_result" or not isinstance(content, list):
        return block
    if len(content) == 1 and content[0].get("type") == "text":
        return dict(block, content=content[0]["text"])
    return block


def _plain(message):
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].get("type") == "text":
        return dict(message, content=content[0]["text"])
    return message
