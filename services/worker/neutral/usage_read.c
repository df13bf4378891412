#include "services/worker/neutral/usage_read.h"

#include "services/worker/neutral/usage_bound.h"

#include <math.h>

/* A cost beyond this is no price of an answer. */
static const double most_dollars = 1e5;
static const double nano = 1e9;

static void take_count(struct json object, const char *name, uint64_t *into)
{
    int64_t n;
    if (json_i64(json_get(object, name), &n) && n >= 0)
        *into = (uint64_t)n < USAGE_COUNT_MAX ? (uint64_t)n : USAGE_COUNT_MAX;
}

static uint64_t known(uint64_t n)
{
    return n == USAGE_UNKNOWN ? 0 : n;
}

/* ---- a cost that the provider states ---- */

static void take_dollars(struct usage *u, struct json v, double factor)
{
    double dollars;
    if (!json_double(v, &dollars) || !(dollars >= 0 && dollars * factor <= most_dollars))
        return;
    u->stated = true;
    u->stated_nano = (uint64_t)llround(dollars * factor * nano);
}

/* OpenRouter under a key of one's own (is_byok): `cost` is its fee alone, and beside it stands what
 * the provider behind it takes. */
static void add_upstream_cost(struct usage *u, struct json usage)
{
    bool own_key = false;
    double dollars = 0;
    struct json upstream = json_get(json_get(usage, "cost_details"), "upstream_inference_cost");
    if (u->stated && json_bool(json_get(usage, "is_byok"), &own_key) && own_key &&
        json_double(upstream, &dollars) && dollars >= 0 && dollars <= most_dollars)
        u->stated_nano += (uint64_t)llround(dollars * nano);
}

static void take_cost(struct usage *u, struct json usage)
{
    const double tick = 1e-10;
    struct json cost = json_get(usage, "cost");
    take_dollars(u, json_get(usage, "estimated_cost"), 1);       /* DeepInfra */
    take_dollars(u, json_get(usage, "cost_in_usd_ticks"), tick); /* xAI */
    take_dollars(u, json_get(cost, "total_cost"), 1);            /* Perplexity */
    if (json_type(cost) == JSON_NUMBER) {
        take_dollars(u, cost, 1); /* OpenRouter */
        add_upstream_cost(u, usage);
    }
}

/* Members beyond the counts of tokens, which few servers have. */
static bool says_more(struct json usage)
{
    for (struct json_iter i = json_iter(usage); json_next(&i);) {
        struct span key = json_text(i.key);
        if (span_starts(key, "cost") || span_is(key, "estimated_cost") ||
            span_is(key, "num_sources_used") || span_is(key, "server_tool_use"))
            return true;
    }
    return false;
}

static void take_more(struct usage *u, struct json usage)
{
    if (!says_more(usage))
        return;
    take_count(usage, "num_sources_used", &u->calls[FEE_WEB_SEARCH]); /* xAI */
    take_count(json_get(usage, "server_tool_use"), "web_search_requests",
               &u->calls[FEE_WEB_SEARCH]); /* OpenRouter */
    take_cost(u, usage);
}

/* ---- OpenAI ---- */

/* Counted beside the output by some servers (xAI), inside of it by others: the total tells. */
static bool is_beside(struct json usage, uint64_t input, uint64_t output, uint64_t reasoning)
{
    uint64_t total = USAGE_UNKNOWN, sum;
    if (reasoning == 0)
        return false;
    take_count(usage, "total_tokens", &total);
    return !__builtin_add_overflow(known(input), output, &sum) &&
           !__builtin_add_overflow(sum, reasoning, &sum) && sum == total;
}

static void take_output(struct usage *u, struct json usage, uint64_t input, uint64_t output,
                        struct json details)
{
    uint64_t reasoning = USAGE_UNKNOWN;
    take_count(details, "reasoning_tokens", &reasoning);
    if (reasoning == USAGE_UNKNOWN)
        reasoning = 0;
    else
        u->reasoning = reasoning;
    if (output != USAGE_UNKNOWN)
        u->output = is_beside(usage, input, output, reasoning) ? output + reasoning : output;
}

static void take_cached(struct usage *u, struct json details)
{
    take_count(details, "cached_tokens", &u->cached);
    take_count(details, "cache_write_tokens", &u->cache_write);
    take_count(json_get(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens",
               &u->cache_write_1h);
}

void usage_read_chat(struct usage *u, struct json usage)
{
    uint64_t input = USAGE_UNKNOWN, output = USAGE_UNKNOWN;
    if (json_type(usage) != JSON_OBJECT)
        return;
    take_count(usage, "prompt_tokens", &input);
    take_count(usage, "completion_tokens", &output);
    if (input != USAGE_UNKNOWN)
        u->input = input;
    take_count(usage, "prompt_cache_hit_tokens", &u->cached); /* DeepSeek's word */
    take_cached(u, json_get(usage, "prompt_tokens_details"));
    take_output(u, usage, input, output, json_get(usage, "completion_tokens_details"));
    take_more(u, usage);
}

void usage_read_responses(struct usage *u, struct json usage)
{
    uint64_t input = USAGE_UNKNOWN, output = USAGE_UNKNOWN;
    if (json_type(usage) != JSON_OBJECT)
        return;
    take_count(usage, "input_tokens", &input);
    take_count(usage, "output_tokens", &output);
    if (input != USAGE_UNKNOWN)
        u->input = input;
    take_cached(u, json_get(usage, "input_tokens_details"));
    take_output(u, usage, input, output, json_get(usage, "output_tokens_details"));
    take_more(u, usage);
}

void usage_read_groq(struct usage *u, struct json chunk)
{
    usage_read_chat(u, json_get(json_get(chunk, "x_groq"), "usage"));
}

/* ---- Anthropic ---- */

const struct usage_messages usage_messages_none = {.input = USAGE_UNKNOWN,
                                                   .written = USAGE_UNKNOWN,
                                                   .read = USAGE_UNKNOWN,
                                                   .output = USAGE_UNKNOWN,
                                                   .thinking = USAGE_UNKNOWN,
                                                   .written_1h = USAGE_UNKNOWN};

static void take_tier(struct json usage, enum service_tier *tier)
{
    struct json word = json_get(usage, "service_tier");
    if (json_type(word) == JSON_STRING)
        *tier = service_tier_of(json_text(word));
    if (json_is(json_get(usage, "speed"), "fast"))
        *tier = TIER_FAST;
}

void usage_read_messages(struct usage_messages *u, struct json usage)
{
    take_count(usage, "input_tokens", &u->input);
    take_count(usage, "cache_creation_input_tokens", &u->written);
    take_count(usage, "cache_read_input_tokens", &u->read);
    take_count(usage, "output_tokens", &u->output);
    take_count(json_get(usage, "cache_creation"), "ephemeral_1h_input_tokens", &u->written_1h);
    take_count(json_get(usage, "output_tokens_details"), "thinking_tokens", &u->thinking);
    take_count(json_get(usage, "server_tool_use"), "web_search_requests", &u->searches);
    take_tier(usage, &u->tier);
}

struct usage usage_of_messages(const struct usage_messages *u)
{
    struct usage usage = {.input = USAGE_UNKNOWN,
                          .cached = u->read,
                          .cache_write = u->written,
                          .cache_write_1h = u->written_1h,
                          .output = u->output,
                          .reasoning = u->thinking,
                          .calls = {[FEE_WEB_SEARCH] = u->searches},
                          .tier = u->tier};
    if (u->input != USAGE_UNKNOWN)
        usage.input = u->input + known(u->written) + known(u->read);
    return usage;
}
