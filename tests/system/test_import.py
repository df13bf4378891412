"""`tollgate import litellm`: its files become ours, and requests by their model names reach the right upstream name."""
import hashlib
import json
import pathlib
import re
import subprocess

import httpx
import pytest
import yaml
from lib.suite import BIN, Suite
from lib.upstream import Upstream, chat

HERE = pathlib.Path(__file__).resolve().parent
OWN = sorted((HERE.parent / "fixtures/litellm").glob("router.yaml"))
PUBLIC = HERE.parents[2] / "shared/reference/litellm"  # files of others, which are not in this tree
ALL = OWN + sorted(PUBLIC.glob("*.yaml"))
SECRETS = re.compile(r"sk-literal-secret-\d|secret-header|sk-uj6F|sk-Imn|sk-bridge-noauth|fake-key")
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "a", "content": [{"type": "text", "text": "ok"}],
           "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}


def convert(path, folder, *more):
    out = folder / "tollgate.yaml"
    r = subprocess.run([BIN / "tollgate", "import", "litellm", path, "--out", out, "--json", *more],
                       capture_output=True, text=True, timeout=60)
    return r, out


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_an_imported_file_is_accepted_and_holds_no_secret(path, tmp_path):
    r, out = convert(path, tmp_path)
    assert r.returncode == 0, r.stderr
    report = json.loads(r.stderr)
    assert set(report) == {"carried", "changed", "not_carried"}
    assert not SECRETS.search(out.read_text() + r.stderr)
    checked = subprocess.run([BIN / "tollgate", "check", out], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    again = tmp_path / "again"
    again.mkdir()
    assert convert(path, again)[1].read_bytes() == out.read_bytes()
    said = {(e["file"], e["line"]) for entries in report.values() for e in entries}
    for line in lines_of_settings(path):
        assert (str(path), line) in said, f"line {line} is silently lost"


def lines_of_settings(path):
    """Of every member of the sections and of the carried entries' litellm_params."""
    root = yaml.compose(path.read_text())
    for key, value in root.value:
        if key.value in ("router_settings", "litellm_settings", "general_settings") and isinstance(value, yaml.MappingNode):
            for k, v in value.value:
                if "fallbacks" not in k.value and "alias" not in k.value:
                    yield k.start_mark.line + 1


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_requests_reach_the_upstream_name_that_the_file_gives(path, tmp_path):
    _, out = convert(path, tmp_path)
    config = yaml.safe_load(out.read_text())
    if not config or not config.get("models"):
        pytest.skip("a file without models")
    theirs = {}
    source = yaml.safe_load(path.read_text())
    included = [yaml.safe_load((path.parent / name).read_text()) for name in source.get("include", [])]
    for entry in sum((f.get("model_list") or [] for f in [source, *included]), []):
        theirs.setdefault(entry["model_name"], []).append(entry["litellm_params"]["model"])
    with Upstream() as up:
        for i, (name, p) in enumerate(config["providers"].items()):
            for route in ("chat/completions", "messages"):
                up.on(f"/{i}/v1/{route}", body=MESSAGE if route == "messages" else chat("ok"))
            kind = p.get("type") or (name if name in ("anthropic", "replicate") else "openai")
            config["providers"][name] = up.provider(f"/{i}", type=kind)
        with Suite(tmp_path, models=config["models"], providers=config["providers"],
                   workers={name: 1 for name in config["providers"]}) as suite:
            key = suite.create_key(name="import")
            listed = {m["id"] for m in httpx.get(suite.url + "/v1/models", headers={"authorization": f"Bearer {key}"},
                                                 timeout=30).json()["data"]}
            assert {m for m in config["models"] if "*" not in m} <= listed
            for model in config["models"]:
                asked = model.replace("*", "some-model")
                r = httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                               json={"model": asked, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]})
                assert r.status_code == 200, (model, r.text)
                sent = up.requests[-1].json()["model"]
                names = theirs.get(model) or theirs["chat"]
                assert any(sent in (n, n.split("/", 1)[-1], n.split("/", 1)[-1].replace("*", "some-model"),
                                    asked if n.endswith("/*") else None) for n in names), (model, sent, names)


def test_what_the_file_says_of_a_model_is_carried(tmp_path):
    r, out = convert(OWN[0], tmp_path)
    config = yaml.safe_load(out.read_text())
    report = json.loads(r.stderr)
    assert config["broker"] == {"max_attempts": 5, "breaker_failures": 7, "breaker_open": "30000ms"}
    assert config["log"] == {"format": "json"} and config["edge"] == {"max_body": "16MiB"}
    models = config["models"]
    assert [t["weight"] if "weight" in t else 1 for t in models["chat"]["targets"]] == [2, 1, 0]
    assert models["chat"]["targets"][0]["provider"] != models["chat"]["targets"][1]["provider"]
    assert models["chat"]["fallbacks"] == ["vendor/claude"] and models["chat"]["context_fallbacks"] == ["shared"]
    assert models["chat"]["defaults"] == {"temperature": 0.5}
    claude = models["vendor/claude"]
    assert claude["price"] == {"input": 0.3, "output": 1.5} and claude["deadline"] == "30s" and claude["timeout"] == "2500ms"
    assert claude["capabilities"] == {"vision": False, "max_output": 64000} and claude["fallbacks"] == ["chat"]
    assert "defaults" not in models["shared"]  # its only one is none of ours
    assert models["gpt-old"] == models["chat"] and models["embed"]["fallbacks"] == ["shared"]
    assert models["openai/*"]["targets"] == [{"provider": "openai", "model": "*"}]
    headers = config["providers"]["anthropic"]["headers"]
    assert headers == {"anthropic-beta": "context-1m", "x-team": "${IMPORTED_ANTHROPIC_HEADER_1}"}
    assert config["providers"]["ollama"]["endpoints"] == ["http://localhost:11434/v1"]
    own = config["providers"][models["own"]["targets"][0]["provider"]]
    assert own["endpoints"] == ["${OWN_URL}"] and own["organization"] == "${OWN_ORG}"
    left = {e["path"].rsplit(".", 1)[-1] for e in report["not_carried"]}
    assert {"master_key", "callbacks", "REDIS_PASSWORD", "lost", "model_list[5]", "id"} <= left
    assert "fake" not in models and "cloud" not in models
    assert all(e["line"] for entries in report.values() for e in entries)


@pytest.mark.parametrize("text, what", [
    ("model_list: [", "2"), ("- a\n", "in.yaml:1"), ("include: [nowhere.yaml]\n", "nowhere.yaml"),
    ("include: [in.yaml]\n", "too deeply"), ("a: &x [*x]\n", ""), ("\0", "")])
def test_what_is_no_file_of_litellm_is_refused_with_its_line(tmp_path, text, what):
    path = tmp_path / "in.yaml"
    path.write_text(text)
    r, out = convert(path, tmp_path)
    assert r.returncode == 78 and what in r.stderr, r.stderr
    assert not out.exists()


def test_strict_fails_when_something_is_left_and_an_old_file_stays(tmp_path):
    r, out = convert(OWN[0], tmp_path, "--strict")
    assert r.returncode == 1 and out.exists()
    before = out.read_bytes()
    assert convert(OWN[0], tmp_path)[0].returncode == 1 and out.read_bytes() == before


def test_keys_of_a_litellm_store_go_on_working(tmp_path):
    rows = [{"token": hashlib.sha256(f"sk-theirs-{i}".encode()).hexdigest(), "key_name": f"sk-...rs-{i}", **more}
            for i, more in enumerate([
                {"key_alias": "alice", "rpm_limit": 2, "tpm_limit": None, "models": [], "max_budget": 5.0,
                 "metadata": {"tags": ["blue"]}, "team_id": "t1", "expires": "2099-01-01T00:00:00.000Z"},
                {"key_alias": "bob", "blocked": True, "models": ["all-proxy-models"]},
                {"expires": "2001-01-01T00:00:00Z"}, {"token": "sk-plain"},
                {"rpm_limit": 0}, {"models": ["no-default-models"]}, {"expires": "soon"}])]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": rows}))
    with Upstream() as up:
        up.on("/v1/chat/completions", body=chat("ok"))
        with Suite(tmp_path / "suite", models={"m": {"targets": [{"provider": "openai"}]}},
                   providers={"openai": up.provider("")}, workers={"openai": 1}) as suite:
            r = suite.ctl("import", "litellm", str(OWN[0]), "--keys", str(tmp_path / "keys.json"), "--json", check=False)
            assert r.returncode == 0, r.stderr
            ask = [httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer sk-theirs-{i}"},
                              json={"model": "m", "messages": [{"role": "user", "content": "x"}]}, timeout=30).status_code
                   for i in (0, 0, 0, 1, 2, 4, 5, 6)]
            assert ask == [200, 200, 429, 401, 401, 401, 401, 401]  # the last three would open more than they did
            listed = {k["name"]: k for k in json.loads(suite.ctl("keys", "list", "--json").stdout)}
            assert listed["alice"]["tags"] == "blue,team:t1" and listed["bob"]["state"] == "blocked"
            report = json.loads(r.stderr[r.stderr.index("{"):])
            assert any("max_budget" in e["path"] for e in report["not_carried"])
