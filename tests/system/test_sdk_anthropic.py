"""The official anthropic SDK by base URL only, streamed and not, against all three providers."""
import anthropic
import pytest

MODELS = ["claude-haiku-4-5", "gpt-4o-mini", "meta/meta-llama-3-8b-instruct"]


@pytest.fixture(scope="module")
def client(suite, key):
    with anthropic.Anthropic(base_url=suite.url, api_key=key, max_retries=0) as c:
        yield c


def ask(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", MODELS)
def test_a_message_echoes_its_own_prompt_with_usage(client, model):
    answer = client.messages.create(model=model, max_tokens=200, messages=ask(f"marker-{model}-one"))
    assert f"marker-{model}-one" in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer.type == "message" and answer.role == "assistant" and answer.id.startswith("msg_")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_message_accumulates(client, model):
    with client.messages.stream(model=model, max_tokens=200, messages=ask(f"marker-{model}-two")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert f"marker-{model}-two" in text
    assert final.content[0].text == text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_system_prompt_is_taken(client, model):
    answer = client.messages.create(model=model, max_tokens=200, system="Be brief.", messages=ask("marker-three"))
    assert "marker-three" in answer.content[0].text


@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_counted(client, model):
    few = client.messages.count_tokens(model=model, messages=ask("a few words")).input_tokens
    many = client.messages.count_tokens(model=model, messages=ask("a few words " * 100)).input_tokens
    assert 0 < few < many


def test_bearer_tokens_are_taken_too(suite, key):
    client = anthropic.Anthropic(base_url=suite.url, auth_token=key, api_key=None, max_retries=0)
    answer = client.messages.create(model=MODELS[0], max_tokens=50, messages=ask("marker-four"))
    assert "marker-four" in answer.content[0].text


def test_models_have_anthropics_shape(client):
    models = client.models.list()
    assert "claude-haiku-4-5" in [m.id for m in models.data]
    assert models.data[0].type == "model"
    assert client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5"


def test_a_wrong_key_is_an_authentication_error(suite):
    client = anthropic.Anthropic(base_url=suite.url, api_key="sk-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as e:
        client.messages.create(model=MODELS[0], max_tokens=10, messages=ask("x"))
    assert e.value.body["error"]["type"] == "authentication_error"
    assert e.value.body["type"] == "error"
    assert e.value.request_id.startswith("req_")


def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        client.messages.create(model="no-such-model", max_tokens=10, messages=ask("x"))
    assert e.value.body["error"]["type"] == "not_found_error"


def test_a_rate_limit_is_a_rate_limit_error_with_retry_after(suite):
    key = suite.create_key(name="slow-a", rpm=1)
    client = anthropic.Anthropic(base_url=suite.url, api_key=key, max_retries=0)
    client.messages.create(model=MODELS[0], max_tokens=10, messages=ask("x"))
    with pytest.raises(anthropic.RateLimitError) as e:
        client.messages.create(model=MODELS[0], max_tokens=10, messages=ask("x"))
    assert 0 < int(e.value.response.headers["retry-after"]) <= 60
    assert e.value.body["error"]["type"] == "rate_limit_error"


def test_missing_max_tokens_is_a_bad_request(client):
    import httpx
    r = httpx.post(str(client.base_url).rstrip("/") + "/v1/messages", headers={"x-api-key": client.api_key},
                   json={"model": MODELS[0], "messages": ask("x")})
    assert r.status_code == 400
    assert r.json()["error"]["type"] == "invalid_request_error"


def test_an_overloaded_upstream_is_529(client):
    with pytest.raises(anthropic.APIStatusError) as e:
        client.messages.create(model=MODELS[0], max_tokens=10, messages=ask("[[sim status=529]]"))
    assert e.value.status_code == 529
    assert e.value.body["error"]["type"] == "overloaded_error"


def test_a_stream_cut_by_the_upstream_ends_with_an_error(client):
    for model in MODELS[:2]:
        with pytest.raises(anthropic.APIError):
            with client.messages.stream(model=model, max_tokens=500,
                                        messages=ask("[[sim cut=1500 chunks=50 pace=1]]")) as stream:
                stream.get_final_message()


async def test_the_async_client_runs_many_at_once(suite, key):
    import asyncio
    async with anthropic.AsyncAnthropic(base_url=suite.url, api_key=key, max_retries=0) as client:
        answers = await asyncio.gather(*[
            client.messages.create(model=MODELS[i % 3], max_tokens=200, messages=ask(f"marker-async-{i}-"))
            for i in range(30)])
    for i, answer in enumerate(answers):
        assert f"marker-async-{i}-" in answer.content[0].text
