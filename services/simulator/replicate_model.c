/* GET /models/{owner}/{name}: the schema a model shows (docs/wire.md, Replicate). */
#include "services/simulator/replicate.h"

#define TEXT_OUTPUT                                                                                \
    "\"Output\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"title\":\"Output\",\"x-cog-" \
    "array-type\":"                                                                                \
    "\"iterator\",\"x-cog-array-display\":\"concatenate\"}"
#define COMMON_INPUT                                                                               \
    "\"prompt\":{\"type\":\"string\",\"title\":\"Prompt\",\"x-order\":0},"                         \
    "\"system_prompt\":{\"type\":\"string\",\"title\":\"System "                                   \
    "Prompt\",\"x-order\":1,\"default\":\"You are a helpful "                                      \
    "assistant.\"},"                                                                               \
    "\"top_p\":{\"type\":\"number\",\"title\":\"Top "                                              \
    "P\",\"x-order\":4,\"default\":0.9,\"minimum\":0,\"maximum\":1},"                              \
    "\"top_k\":{\"type\":\"integer\",\"title\":\"Top "                                             \
    "K\",\"x-order\":5,\"default\":50,\"minimum\":-1},"                                            \
    "\"seed\":{\"type\":\"integer\",\"title\":\"Seed\",\"x-order\":8},"                            \
    "\"stop_sequences\":{\"type\":\"string\",\"title\":\"Stop Sequences\",\"x-order\":6},"

static const char llama2_input[] = COMMON_INPUT
    "\"max_new_tokens\":{\"type\":\"integer\",\"x-order\":2,\"default\":128,\"minimum\":1},"
    "\"temperature\":{\"type\":\"number\",\"x-order\":3,\"default\":0.75,\"minimum\":0.01,"
    "\"maximum\":5},"
    "\"prompt_template\":{\"type\":\"string\",\"x-order\":7,\"default\":\"[INST] {prompt} "
    "[/INST]\"}";
static const char modern_input[] =
    COMMON_INPUT "\"max_tokens\":{\"type\":\"integer\",\"x-order\":2,\"default\":512,\"minimum\":1,"
                 "\"maximum\":8192},"
                 "\"min_tokens\":{\"type\":\"integer\",\"x-order\":9,\"default\":0},"
                 "\"temperature\":{\"type\":\"number\",\"x-order\":3,\"default\":0.6,\"minimum\":0,"
                 "\"maximum\":5},"
                 "\"presence_penalty\":{\"type\":\"number\",\"x-order\":10,\"default\":0},"
                 "\"frequency_penalty\":{\"type\":\"number\",\"x-order\":11,\"default\":0},"
                 "\"prompt_template\":{\"type\":\"string\",\"x-order\":7,\"default\":\"{prompt}\"}";
static const char plain_input[] =
    "\"prompt\":{\"type\":\"string\",\"title\":\"Prompt\",\"x-order\":0}";

static const char vision_input[] =
    "\"prompt\":{\"type\":\"string\",\"title\":\"Prompt\",\"x-order\":1},"
    "\"image\":{\"type\":\"string\",\"format\":\"uri\",\"title\":\"Image\",\"x-order\":0},"
    "\"max_tokens\":{\"type\":\"integer\",\"title\":\"Max Tokens\",\"x-order\":2,\"default\":1024,"
    "\"minimum\":1}";

bool replicate_name_has(struct span model, const char *word)
{
    return span_find_span(model, span_str(word)) < model.len;
}

void replicate_model(struct ask *ask, struct span name)
{
    struct buf *out = &ask->reply->body;
    ask->route = "replicate_model";
    ask->model = name;
    ask_gather_faults(ask);
    if (replicate_fault(ask))
        return;
    struct span full = name, owner = span_cut(&name, '/');
    if (span_starts(name, "missing") || span_starts(name, "unknown") || !name.len) {
        replicate_error(ask, 404, "The requested resource could not be found. (simulated)");
        return;
    }
    const char *input = replicate_name_has(full, "llama-2")  ? llama2_input
                        : replicate_name_has(full, "plain")  ? plain_input
                        : replicate_name_has(full, "vision") ? vision_input
                                                             : modern_input;
    (void)reply_json(ask->reply, 200);
    buf_printf(out,
               "{\"url\":\"https://simulated/"
               "%.*s\",\"owner\":\"%.*s\",\"name\":\"%.*s\",\"description\":\"simulated\","
               "\"visibility\":\"public\",\"latest_version\":{\"id\":\"%064x\",\"created_at\":"
               "\"2026-01-01T00:00:00Z\","
               "\"cog_version\":\"0.9.0\",\"openapi_schema\":{\"openapi\":\"3.0.2\",\"components\":"
               "{\"schemas\":{",
               SPAN_ARG(full), SPAN_ARG(owner), SPAN_ARG(name), 0x51au);
    buf_append_str(out, "\"Input\":{\"type\":\"object\",\"title\":\"Input\",\"required\":["
                        "\"prompt\"],\"properties\":{");
    buf_append_str(out, input);
    buf_append_str(out, "}},");
    buf_append_str(out, replicate_name_has(full, "string")
                            ? "\"Output\":{\"type\":\"string\",\"title\":\"Output\"}"
                            : TEXT_OUTPUT);
    buf_append_str(out, "}}}}}");
}
