"""Tollgate with its providers pointing to the scripted upstream."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.suite import Suite  # noqa: E402

TARGETS = {"gpt-4o-mini": "openai", "gpt-3.5-turbo-instruct": "openai", "gpt-openai-itself": "openai-itself",
           "gpt-chat-only": "openai-chat", "claude-haiku-4-5": "anthropic", "claude-sonnet-4-5": "anthropic", "claude-opus-4-5": "anthropic",
           "claude-opus-4-6": "anthropic", "claude-opus-4-7": "anthropic", "mystery": "anthropic", "acme/text": "replicate",
           "meta/meta-llama-3-8b-instruct": "replicate"}

# Cases fail upstreams again and again on purpose: nothing may learn from it.
OPTIONS = {"broker": {"breaker_failures": 0, "retry_base": "1ms", "retry_max_wait": "0ms", "retry_floor": 100000},
           "worker": {"breaker_failures": 1000000}}


def provider(kind, upstream, name=None, compat=()):
    return {"type": kind, "api_keys": ["${SIM_KEY}"], "endpoints": [f"{upstream.url}/{name or kind}/v1"], "private": True,
            **({"compat": list(compat)} if compat else {})}


def tollgate(upstream, folder=None):
    """A Suite, to be entered."""
    providers = {"openai": provider("openai", upstream, compat=["many_stops"]),
                 "openai-itself": provider("openai", upstream, "openai-itself", ["openai"]),
                 "openai-chat": provider("openai", upstream, "openai-chat", ["chat_only"]),
                 "anthropic": provider("anthropic", upstream), "replicate": provider("replicate", upstream)}
    models = {name: {"targets": [{"provider": p}]} for name, p in TARGETS.items()}
    models["gpt-3.5-turbo-instruct"]["completions"] = "native"
    return Suite(folder, models=models, providers=providers, options=OPTIONS, workers={name: 1 for name in providers})
