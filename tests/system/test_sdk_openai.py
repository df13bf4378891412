"""The official openai SDK by base URL only, streamed and not, against all three providers."""
import openai
import pytest

MODELS = ["gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct"]


@pytest.fixture(scope="module")
def client(suite, key):
    with openai.OpenAI(base_url=suite.url + "/v1", api_key=key, max_retries=0) as c:
        yield c


def ask(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", MODELS)
def test_a_chat_completion_echoes_its_own_prompt_with_usage(client, model):
    answer = client.chat.completions.create(model=model, messages=ask(f"marker-{model}-one"))
    assert f"marker-{model}-one" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.object == "chat.completion" and answer.id


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_chat_completion_is_whole_and_ends(client, model):
    text, finish, ids, usage = "", None, set(), None
    with client.chat.completions.create(model=model, messages=ask(f"marker-{model}-two"), stream=True,
                                        stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            ids.add(chunk.id)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    assert f"marker-{model}-two" in text
    assert finish == "stop"
    assert len(ids) == 1
    assert usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_usage_is_hidden_from_a_stream_that_did_not_ask(client, model):
    with client.chat.completions.create(model=model, messages=ask("x"), stream=True) as stream:
        for chunk in stream:
            assert len(chunk.choices) == 1
            assert chunk.usage is None


@pytest.mark.parametrize("model", MODELS)
def test_a_legacy_completion(client, model):
    answer = client.completions.create(model=model, prompt=f"marker-{model}-three", max_tokens=100)
    assert f"marker-{model}-three" in answer.choices[0].text
    assert answer.object == "text_completion"
    text = "".join(c.choices[0].text for c in client.completions.create(model=model, prompt="marker-four", stream=True,
                                                                        max_tokens=100) if c.choices)
    assert "marker-four" in text


def test_embeddings_in_both_encodings(client):
    floats = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    decoded = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])  # asks for base64
    assert [d.index for d in floats.data] == [0, 1]
    assert decoded.data[0].embedding == pytest.approx(floats.data[0].embedding, rel=1e-5)
    assert floats.usage.prompt_tokens > 0


def test_responses_unary_and_streamed(client):
    answer = client.responses.create(model="gpt-4o-mini", input="marker-five")
    assert "marker-five" in answer.output_text
    assert answer.status == "completed"
    kinds = []
    with client.responses.create(model="gpt-4o-mini", input="marker-six", stream=True) as stream:
        for event in stream:
            kinds.append(event.type)
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_models_are_listed_and_found(client):
    ids = [m.id for m in client.models.list()]
    assert "gpt-4o-mini" in ids and "meta/meta-llama-3-8b-instruct" in ids
    assert client.models.retrieve("meta/meta-llama-3-8b-instruct").id == "meta/meta-llama-3-8b-instruct"
    assert client.models.retrieve("gpt-4o-mini").object == "model"


def test_a_wrong_key_is_an_authentication_error(suite):
    client = openai.OpenAI(base_url=suite.url + "/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as e:
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("x"))
    assert e.value.code == "invalid_api_key"
    assert e.value.response.headers["x-should-retry"] == "false"


def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="no-such-model", messages=ask("x"))
    assert e.value.code == "model_not_found"


def test_a_model_outside_the_keys_list_is_a_permission_error(suite):
    key = suite.create_key(name="only-gpt", models="gpt-*")
    client = openai.OpenAI(base_url=suite.url + "/v1", api_key=key, max_retries=0)
    client.chat.completions.create(model="gpt-4o-mini", messages=ask("x"))
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="claude-haiku-4-5", messages=ask("x"))
    assert all(m.id.startswith("gpt-") for m in client.models.list())


def test_a_rate_limit_is_a_rate_limit_error_with_retry_after(suite):
    key = suite.create_key(name="slow", rpm=2)
    client = openai.OpenAI(base_url=suite.url + "/v1", api_key=key, max_retries=0)
    for _ in range(2):
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("x"))
    with pytest.raises(openai.RateLimitError) as e:
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("x"))
    assert 0 < int(e.value.response.headers["retry-after"]) <= 30
    assert 0 < int(e.value.response.headers["retry-after-ms"]) <= 30000
    assert e.value.response.headers["x-ratelimit-limit-requests"] == "2"
    assert e.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert e.value.response.headers["x-should-retry"] == "true"


def test_a_bad_request_names_the_field(client):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("x"), extra_body={"stream": "true"})
    assert e.value.param == "stream"


@pytest.mark.parametrize("status,error", [(500, openai.InternalServerError), (503, openai.InternalServerError)])
def test_an_upstream_failure_is_an_internal_server_error(client, status, error):
    with pytest.raises(error):
        client.chat.completions.create(model="gpt-4o-mini", messages=ask(f"[[sim status={status}]]"))


def test_an_upstream_failure_that_passes_is_retried_here(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini",
                                                           messages=ask("[[sim status=503 times=1]] marker-seven"))
    assert "marker-seven" in raw.parse().choices[0].message.content
    assert raw.headers["x-tollgate-attempts"] == "2"


def test_a_stream_cut_by_the_upstream_ends_with_an_error(client):
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="gpt-4o-mini", stream=True,
                                                messages=ask("[[sim cut=900 chunks=50 pace=1]]")):
            pass


def test_headers_tell_what_happened(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=ask("x"),
                                                           extra_headers={"x-request-id": "mine-1"})
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["x-tollgate-model"] == "gpt-4o-mini"
    assert raw.headers["x-tollgate-provider"] == "openai"
    assert float(raw.headers["x-tollgate-cost"]) > 0
    assert float(raw.headers["x-tollgate-overhead-ms"]) >= 0


async def test_the_async_client_runs_many_at_once(suite, key):
    import asyncio
    async with openai.AsyncOpenAI(base_url=suite.url + "/v1", api_key=key, max_retries=0) as client:
        answers = await asyncio.gather(*[
            client.chat.completions.create(model=MODELS[i % 3], messages=ask(f"marker-async-{i}-")) for i in range(30)])
    for i, answer in enumerate(answers):
        assert f"marker-async-{i}-" in answer.choices[0].message.content
