#include "services/worker/api/anthropic.h"
#include "services/worker/api/openai.h"

const struct api_ops api_openai_chat = {
    .name = "openai_chat",
    .read_request = openai_chat_read,
    .writer_create = openai_chat_writer_create,
    .write = openai_chat_write,
};

const struct api_ops api_openai_completions = {
    .name = "openai_completions",
    .read_request = openai_completions_read,
    .writer_create = openai_completions_writer_create,
    .write = openai_completions_write,
};

const struct api_ops api_anthropic_messages = {
    .name = "anthropic_messages",
    .read_request = anthropic_messages_read,
    .writer_create = anthropic_messages_writer_create,
    .write = anthropic_messages_write,
};

const struct api_ops *api_find(enum api api)
{
    switch (api) {
    case API_OPENAI_CHAT:
        return &api_openai_chat;
    case API_OPENAI_COMPLETIONS:
        return &api_openai_completions;
    case API_ANTHROPIC_MESSAGES:
        return &api_anthropic_messages;
    case API_OPENAI_EMBEDDINGS:
    case API_OPENAI_RESPONSES:
    case API_ANTHROPIC_COUNT_TOKENS:
    case API_COUNT:
        break;
    }
    return NULL;
}
