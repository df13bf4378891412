"""A peer on the bus that is played by hand: says what it likes to a daemon, with a key or without.

    with BusPeer(address, role="worker", name="worker-x", provider="openai", pair=pair, server_key=key) as peer:
        peer.greet()
        peer.send("SETTLE", id=b"…", key_id="key_1", provider="anthropic")
        peer.receive()   # ("SETTLED", …) or None when nothing comes
"""
import os
import pathlib
import re
import struct
import time

import zmq

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAJOR = int(re.search(r"PROTO_MAJOR = (\d+)", (ROOT / "proto/header.h").read_text()).group(1))
BUNDLE = 0xB0


def _messages():
    text = (ROOT / "proto/messages.def").read_text()
    numbers = {name: (int(n), s) for n, name, s in re.findall(r"^MESSAGE\((\d+), (\w+), (\w+)", text, re.M)}
    fields = {}
    for s, kind, field in re.findall(r"^FIELD\((\w+), (\w+), (\w+)\)", text, re.M):
        fields.setdefault(s, []).append((field, kind))
    return {name: (number, fields.get(s, [])) for name, (number, s) in numbers.items()}


MESSAGES = _messages()
NAMES = {number: name for name, (number, _) in MESSAGES.items()}


def _value(kind, v):
    if kind == "BOOL":
        return b"\xc3" if v else b"\xc2"
    if kind in ("U32", "U64"):
        return b"\xcf" + struct.pack(">Q", v or 0)
    if kind == "I64":
        return b"\xd3" + struct.pack(">q", v or 0)
    v = v.encode() if isinstance(v, str) else v or b""
    return (b"\xda" if kind == "STR" else b"\xc5") + struct.pack(">H", len(v)) + v


class BusPeer:
    def __init__(self, address, *, role, name, provider="", pair=None, server_key=None, identity=None):
        self.role, self.name, self.provider = role, name, provider
        self.epoch = int.from_bytes(os.urandom(8), "little") | 1
        self.came = []
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.IDENTITY, (identity or f"{name}-{self.epoch:016x}-0").encode())
        if pair:
            self.socket.curve_publickey, self.socket.curve_secretkey = (k.encode() for k in pair)
            self.socket.curve_serverkey = server_key.encode()
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close(0)
        self.context.term()

    def send(self, message, *, id=bytes(16), attempt=0, seq=0, more=False, **fields):
        number, order = MESSAGES[message]
        payload = b"\xdc" + struct.pack(">H", len(order)) + b"".join(_value(k, fields.get(f)) for f, k in order)
        head = struct.pack("<BBBBI16sQII", MAJOR, number, attempt, 0, seq, id, self.epoch, 0, 0)
        self.socket.send(head + payload, zmq.SNDMORE if more else 0)

    def receive(self, patience_s=5):
        """The name of the next message that is not about liveness; None when none comes."""
        until = time.monotonic() + patience_s
        while not self.came and self.socket.poll(max(0, until - time.monotonic()) * 1000):
            names = [NAMES.get(f[1]) for part in self.socket.recv_multipart() for f in self._frames(part)]
            if "PING" in names:
                self.send("PONG", greeted=True)
            self.came += [n for n in names if n not in ("PING", "PONG")]
        return self.came.pop(0) if self.came else None

    @staticmethod
    def _frames(part):
        if part[0] != BUNDLE:
            return [part]
        frames, rest = [], part[1:]
        while rest:
            n = struct.unpack("<I", rest[:4])[0]
            frames.append(rest[4:4 + n])
            rest = rest[4 + n:]
        return frames

    def greet(self, patience_s=5):
        """What HELLO brings: "WELCOME", "REFUSE" or None."""
        self.send("HELLO", role=self.role, name=self.name, version="test", major=MAJOR, provider=self.provider)
        return self.receive(patience_s)


def keys_of(folder, service):
    """(public, secret) of a service."""
    text = (pathlib.Path(folder) / f"{service}.secret").read_text()
    return tuple(re.search(rf'{kind}-key = "(.+)"', text).group(1) for kind in ("public", "secret"))
