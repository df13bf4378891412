"""JSON that keeps the text of its numbers, and patterns to compare it with.

A pattern is JSON: an object matches when each of its members does (others are free), an array matches an array of the
same length, "*" matches anything, numbers match by value (by text when `exact`), and an object whose only member is an
operator matches by it (OPERATORS).
"""
import json
import re
from decimal import Decimal, InvalidOperation

ABSENT = object()


class Number(str):
    """A number as it was written."""


def loads(text):
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("utf-8", "surrogateescape")
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse, strict=True)


def _refuse(word):
    raise ValueError(f"{word} is not JSON")


def dumps(value):
    """Compact; ASCII only, so that halves of surrogate pairs survive."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dumps(v) for v in value) + "]"
    return json.dumps(value)


def is_number(value):
    return isinstance(value, Number) or (isinstance(value, (int, float)) and not isinstance(value, bool))


def decimal(value):
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def join_halves(text):
    """Surrogate pairs that came as two halves become one character; lone halves stay."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class Mismatch(Exception):
    pass


class Matcher:
    def __init__(self, exact=False):
        self.exact = exact
        self.bound = {}

    def check(self, pattern, value, where="$"):
        """Raises Mismatch saying where and why."""
        if isinstance(pattern, dict) and len(pattern) == 1 and next(iter(pattern)) in OPERATORS:
            name, argument = next(iter(pattern.items()))
            return OPERATORS[name](self, argument, value, where)
        if value is ABSENT:
            raise Mismatch(f"{where}: nothing there, expected {show(pattern)}")
        if pattern == "*" and not isinstance(pattern, Number):
            return None
        if isinstance(pattern, dict):
            return self._object(pattern, value, where)
        if isinstance(pattern, list):
            return self._array(pattern, value, where)
        if not self._equal(pattern, value):
            raise Mismatch(f"{where}: {show(value)}, expected {show(pattern)}")
        return None

    def _object(self, pattern, value, where):
        if not isinstance(value, dict):
            raise Mismatch(f"{where}: {show(value)}, expected an object like {show(pattern)}")
        for key, inner in pattern.items():
            self.check(inner, value.get(key, ABSENT), f"{where}.{key}")

    def _array(self, pattern, value, where):
        if not isinstance(value, list) or len(value) != len(pattern):
            raise Mismatch(f"{where}: {show(value)}, expected {show(pattern)}")
        for i, inner in enumerate(pattern):
            self.check(inner, value[i], f"{where}[{i}]")

    def _equal(self, pattern, value):
        if is_number(pattern) and is_number(value):
            return str(pattern) == str(value) if self.exact else decimal(pattern) == decimal(value)
        if is_number(pattern) or is_number(value) or isinstance(pattern, bool) != isinstance(value, bool):
            return False
        return pattern == value

    def matches(self, pattern, value):
        try:
            self.check(pattern, value)
            return True
        except Mismatch:
            return False


def show(value):
    text = "nothing" if value is ABSENT else dumps(value)
    return text if len(text) <= 300 else text[:300] + "…"


def _need(condition, where, value, wanted):
    if not condition:
        raise Mismatch(f"{where}: {show(value)}, expected {wanted}")


def _text(value):
    return value if isinstance(value, str) and not isinstance(value, Number) else ("" if value in (ABSENT, None) else dumps(value))


def _any(m, options, value, where):
    _need(any(m.matches(o, value) for o in options), where, value, "one of " + show(options))


def _json(m, pattern, value, where, exact=False):
    _need(isinstance(value, str), where, value, "JSON text")
    try:
        inner = loads(value)
    except ValueError as e:
        raise Mismatch(f"{where}: {show(value)} is not JSON ({e})") from None
    Matcher(exact or m.exact).check(pattern, inner, where + "(json)")


def _keys(_m, keys, value, where):
    _need(isinstance(value, dict) and list(value) == keys, where, list(value) if isinstance(value, dict) else value,
          "keys in this order: " + show(keys))


def _between(_m, ends, value, where):
    _need(is_number(value) or (isinstance(value, str) and decimal(value) is not None), where, value, "a number")
    _need(decimal(ends[0]) <= decimal(value) <= decimal(ends[1]), where, value, f"{ends[0]} to {ends[1]}")


def _same(m, name, value, where):
    _need(value is not ABSENT and m.bound.setdefault(name, value) == value, where, value, show(m.bound.get(name)))


OPERATORS = {
    "$absent": lambda m, _a, v, w: _need(v is ABSENT or v is None, w, v, "nothing"),
    "$opt": lambda m, p, v, w: None if v is ABSENT or v is None else m.check(p, v, w),
    "$any": _any,
    "$all": lambda m, ps, v, w: [m.check(p, v, w) for p in ps] and None,
    "$not": lambda m, p, v, w: _need(not m.matches(p, v), w, v, "not " + show(p)),
    "$has": lambda m, t, v, w: _need(t in _text(v), w, v, "text with " + show(t)),
    "$lacks": lambda m, t, v, w: _need(t not in _text(v), w, v, "no " + show(t)),
    "$re": lambda m, r, v, w: _need(isinstance(v, str) and re.fullmatch(r, v, re.S), w, v, "/" + r + "/"),
    "$between": _between,
    "$json": lambda m, p, v, w: _json(m, p, v, w),
    "$json_exact": lambda m, p, v, w: _json(m, p, v, w, exact=True),
    "$exact": lambda m, p, v, w: Matcher(True).check(p, v, w),
    "$keys": _keys,
    "$length": lambda m, n, v, w: _need(isinstance(v, (list, str)) and len(v) == int(n), w, v, f"{n} elements"),
    "$some": lambda m, p, v, w: _need(isinstance(v, list) and any(m.matches(p, i) for i in v), w, v, "some element like " + show(p)),
    "$same": _same,
}
