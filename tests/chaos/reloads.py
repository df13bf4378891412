"""Configurations that are wrong, torn or changed, one after the other, under load."""
import collections
import json
import signal

import httpx
from lib.suite import wait_for
from traffic import Load
from trial import test

TOKENS = ["{", "}", "[", "]", ":", ",", "\n", "  ", "\t", "#", "'", '"', "&a ", "*a", "!!int ", "|", ">", "- ", "null", "0", "-1", "1e999", "\x00", "é",
          "timeout: 5s", "weight: 99999999999", "provider: nobody", "price: {input: -1}", "fallbacks: [nobody]", "unknown: 1", "rate_limit: 10/fortnight"]


def lines_of(n):
    """What may be changed: models that nobody asks for. The first and the last tell which file is in force."""
    target = "targets: [{provider: openai, model: gpt-4o-mini}]"
    yield f"  first-{n}: {{{target}}}\n"
    yield f"  timed-{n}: {{{target}, timeout: 30s, total_timeout: 60s}}\n"
    yield f"  limited-{n}: {{{target}, rate_limit: 1000/hour, burst: 10}}\n"
    yield f"  priced-{n}: {{{target}, price: {{input: 30, output: 60}}, defaults: {{max_tokens: 100}}}}\n"
    yield f"  several-{n}: {{targets: [{{provider: openai, weight: 2}}, {{provider: openai, model: gpt-4o}}], fallbacks: [first-{n}]}}\n"
    yield f"  last-{n}: {{{target}}}\n"


def mutated(rng, n):
    """One to three things wrong with it, mostly; now and then nothing."""
    text = "".join(lines_of(n))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        at = rng.randrange(len(text))
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at] + chr(rng.randrange(32, 127)) + text[at + 1:]
        elif kind == 1:
            text = text[:at] + text[at + rng.randrange(1, 20):]
        elif kind == 2:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        else:
            lines = text.splitlines(keepends=True)
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 3:
                lines[i], lines[j] = lines[j], lines[i]
            elif kind == 4:
                lines.insert(i, lines[j])
            else:
                del lines[i]
            text = "".join(lines) or "\n"
    return text


class Reloader:
    def __init__(self, trial, key):
        self.trial, self.suite, self.key = trial, trial.suite, key
        self.names = [n for n in self.suite.daemons if not n.startswith("simulator")]
        self.done, self.wrong = collections.Counter(), []
        self.before = self.models()

    def models(self):
        """Of each edge."""
        return [sorted(m["id"] for m in httpx.get(self.suite.url_of(i) + "/v1/models", headers={"authorization": f"Bearer {self.key}"}, timeout=30)
                       .json()["data"]) for i in range(self.suite.edge_count)]

    def file(self, config, changed, torn):
        rest = {k: v for k, v in config.items() if k != "models"}
        text = "models:\n  gpt-4o-mini: {targets: [{provider: openai}]}\n" + changed + "".join(f"{k}: {json.dumps(v)}\n" for k, v in rest.items())
        return text[:torn] if torn else text

    def write(self, changed, torn):
        config = json.loads((self.suite.folder / "good.json").read_text())
        for i, name in enumerate(["tollgate.yaml", *(f"edge-{i + 2}.yaml" for i in range(self.suite.edge_count - 1))]):
            config["edge"]["port"] = self.suite.ports[i]
            (self.suite.folder / name).write_text(self.file(config, changed, torn), encoding="utf-8")

    def said(self, name, since):
        with open(self.suite.daemons[name].log_path, "rb") as f:
            f.seek(since)
            text = f.read()
        return "taken" if b"event=reloaded" in text else "refused" if b"event=bad_configuration" in text else None

    def one(self, n):
        rng = self.trial.rng
        torn = rng.randrange(1, 400) if rng.random() < 0.1 else None
        since = {name: self.suite.daemons[name].log_path.stat().st_size for name in self.names}
        changed = mutated(rng, n)
        self.write(changed, torn)
        for name in self.names:
            self.suite.daemons[name].signal(signal.SIGHUP)
        wait_for(lambda: all(self.said(name, since[name]) for name in self.names), f"all have read file {n}")
        verdicts = collections.Counter(self.said(name, since[name]) for name in self.names)
        now = self.models()
        taken = set(verdicts) == {"taken"}
        if len(verdicts) > 1:
            self.wrong.append(f"daemons disagree: {dict(verdicts)} over {changed!r}")
        elif len({tuple(m) for m in now}) > 1:
            self.wrong.append(f"edges have {now} after {changed!r}")
        elif not taken and now != self.before:
            self.wrong.append(f"refused, and yet {now} after {changed!r}")
        elif taken and any(f"-{n}" not in m and m != "gpt-4o-mini" and m in self.before[0] for m in now[0]):
            self.wrong.append(f"something of an older file is left: {now[0]}")
        self.before = now
        self.done["taken" if taken else "refused"] += 1


@test("T19", "1,000 mutated configurations under load", beside=True)
def t19(trial):
    trial.suite.folder.joinpath("good.json").write_text((trial.suite.folder / "tollgate.yaml").read_text())
    with Load(trial.suite, 4, 4) as load:
        reloader = Reloader(trial, load.key)
        for n in range(40 if trial.quick else 1000):
            reloader.one(n)
    trial.mark("files", sum(reloader.done.values()), least=40 if trial.quick else 1000)
    trial.facts.update(reloader.done)
    trial.none("partly applied", reloader.wrong)
    trial.no_failures(load)
    return load
