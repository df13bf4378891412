#include "services/worker/api/anthropic.h"
#include "services/worker/api/openai.h"
#include "services/worker/api/responses.h"

const struct api_ops api_openai_chat = {
    .read_request = openai_chat_read,
    .writer_create = openai_chat_writer_create,
    .write = openai_chat_write,
};

const struct api_ops api_openai_completions = {
    .read_request = openai_completions_read,
    .writer_create = openai_completions_writer_create,
    .write = openai_completions_write,
};

const struct api_ops api_anthropic_messages = {
    .read_request = anthropic_messages_read,
    .writer_create = anthropic_messages_writer_create,
    .write = anthropic_messages_write,
};

const struct api_ops api_openai_responses = {
    .read_request = responses_read,
    .writer_create = responses_writer_create,
    .write = responses_write,
};

static const struct api_ops *const table[API_COUNT] = {
    [API_OPENAI_CHAT] = &api_openai_chat,
    [API_OPENAI_COMPLETIONS] = &api_openai_completions,
    [API_OPENAI_RESPONSES] = &api_openai_responses,
    [API_ANTHROPIC_MESSAGES] = &api_anthropic_messages,
};

const struct api_ops *api_find(enum api api)
{
    return (unsigned)api < API_COUNT ? table[api] : NULL;
}
