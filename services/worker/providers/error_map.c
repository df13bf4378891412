#include "services/worker/providers/error_map.h"

#include "services/worker/providers/mask.h"
#include "services/worker/providers/out.h"
#include "services/worker/providers/retry_after.h"

enum { MESSAGE_LOOKED_AT = 4096 }; /* bytes in which a known phrase is looked for */

/* What the body says; bytes in the arena, empty where it does not. */
struct upstream_error {
    struct span message;
    struct span type;
    struct span code;         /* a string, or the digits of a number */
    struct span detail;       /* error.details.error_code, or Azure's error.innererror.code */
    struct span details_json; /* that error.details or error.innererror, an object of moderate size
                                 without secrets */
    struct span param;
    bool is_json, is_azure;
};

/* ---- reading ---- */

static struct span scalar(struct json v, struct arena *arena)
{
    if (json_type(v) == JSON_NUMBER)
        return arena_copy(arena, json_raw(v));
    return arena_copy(arena, json_string(v, arena));
}

/* [{"loc":["body","input"],"msg":"field required"}, …] → "body.input: field required; …"
 * (FastAPI's) */
static struct span list_of_details(struct json list, struct arena *arena)
{
    struct buf text = {.max = (size_t)MASK_MAX_BYTES * 4};
    for (struct json_iter i = json_iter(list); json_next(&i);) {
        struct json loc = json_get(i.value, "loc"), msg = json_get(i.value, "msg");
        if (text.len)
            buf_append_str(&text, "; ");
        for (struct json_iter l = json_iter(loc); json_type(loc) == JSON_ARRAY && json_next(&l);) {
            buf_append(&text, scalar(l.value, arena));
            buf_append_char(&text, '.');
        }
        if (text.len && text.data[text.len - 1] == '.')
            text.data[text.len - 1] = ':';
        if (json_type(loc) == JSON_ARRAY)
            buf_append_char(&text, ' ');
        buf_append(&text, scalar(json_type(msg) == JSON_STRING ? msg : i.value, arena));
    }
    struct span out = arena_copy(arena, buf_span(&text));
    buf_free(&text);
    return out;
}

static struct span first_message(struct json at, struct arena *arena)
{
    static const char *const names[] = {"message", "detail", "title", "msg"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct json v = json_get(at, names[i]);
        if (json_type(v) == JSON_STRING && json_text(v).len)
            return scalar(v, arena);
        if (json_type(v) == JSON_ARRAY && json_count(v))
            return list_of_details(v, arena);
    }
    return SPAN_NONE;
}

/* What an Anthropic SDK decides by ("thread_unsupported_request"). Text that had to be masked would
 * no longer be JSON to trust: then none of it. */
static struct span details_of(struct json details, struct arena *arena)
{
    struct span raw = json_raw(details);
    if (json_type(details) != JSON_OBJECT || raw.len >= MASK_MAX_BYTES ||
        !span_equals(mask_message(raw, arena), raw))
        return SPAN_NONE;
    return arena_copy(arena, raw);
}

/* Every known shape: {"error":{…}}, {"error":"text"}, {"message":…}, {"detail":"text" or [{loc,
 * msg}]},
 * {"title":…}, {"object":"error",…}. */
static void read_error(struct conversion *pc, struct span body, struct upstream_error *out)
{
    struct buf repaired = {0};
    struct json root;
    *out = (struct upstream_error){0};
    if (!out_parse(pc, body, &repaired, &root) && json_type(root) == JSON_OBJECT) {
        struct json error = json_get(root, "error");
        struct json at = json_type(error) == JSON_OBJECT ? error : root;
        out->is_json = true;
        out->message = json_type(error) == JSON_STRING ? scalar(error, pc->arena)
                                                       : first_message(at, pc->arena);
        out->type = scalar(json_get(at, "type"), pc->arena);
        out->code = scalar(json_get(at, "code"), pc->arena);
        out->param = scalar(json_get(at, "param"), pc->arena);
        struct json details = json_get(at, "details"), inner = json_get(at, "innererror");
        bool azure = json_type(inner) == JSON_OBJECT;
        out->detail =
            scalar(azure ? json_get(inner, "code") : json_get(details, "error_code"), pc->arena);
        out->details_json = details_of(azure ? inner : details, pc->arena);
        out->is_azure = azure;
    }
    buf_free(&repaired);
}

/* ---- classing ---- */

struct word_class {
    const char *word;
    unsigned error_class;
};

/* Types and codes of both protocols; the more exact ones first. */
static const struct word_class words[] = {
    {"context_length_exceeded", ERROR_UPSTREAM_CONTEXT_LENGTH},
    {"exceed_context_size_error", ERROR_UPSTREAM_CONTEXT_LENGTH},
    {"ResponsibleAIPolicyViolation", ERROR_UPSTREAM_CONTENT_POLICY},
    {"content_filter", ERROR_UPSTREAM_CONTENT_POLICY},
    {"content_policy_violation", ERROR_UPSTREAM_CONTENT_POLICY},
    {"moderation_blocked", ERROR_UPSTREAM_CONTENT_POLICY},
    {"insufficient_quota", ERROR_UPSTREAM_QUOTA},
    {"credit_balance_exhausted", ERROR_UPSTREAM_QUOTA},
    {"billing_hard_limit_reached", ERROR_UPSTREAM_QUOTA},
    {"billing_error", ERROR_UPSTREAM_QUOTA},
    {"enforced_spend_limit_reached", ERROR_UPSTREAM_QUOTA},
    {"rate_limit_exceeded", ERROR_UPSTREAM_RATE_LIMITED},
    {"rate_limit_error", ERROR_UPSTREAM_RATE_LIMITED},
    {"overloaded_error", ERROR_UPSTREAM_OVERLOADED},
    {"server_is_overloaded", ERROR_UPSTREAM_OVERLOADED},
    {"slow_down", ERROR_UPSTREAM_OVERLOADED},
    {"service_unavailable_error", ERROR_UPSTREAM_OVERLOADED},
    {"invalid_api_key", ERROR_UPSTREAM_AUTH},
    {"authentication_error", ERROR_UPSTREAM_AUTH},
    {"permission_error", ERROR_UPSTREAM_AUTH},
    {"model_not_found", ERROR_UPSTREAM_NOT_FOUND},
    {"not_found_error", ERROR_UPSTREAM_NOT_FOUND},
    {"request_too_large", ERROR_UPSTREAM_TOO_LARGE},
    {"conflict_error", ERROR_UPSTREAM_CONFLICT},
    {"timeout_error", ERROR_UPSTREAM_TIMEOUT},
    {"invalid_request_error", ERROR_UPSTREAM_BAD_REQUEST},
    {"invalid_value", ERROR_UPSTREAM_BAD_REQUEST},
    {"api_error", ERROR_UPSTREAM_ERROR},
    {"server_error", ERROR_UPSTREAM_ERROR},
};

static unsigned class_of_word(struct span word)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (span_is(word, words[i].word))
            return words[i].error_class;
    }
    return ERROR_NONE;
}

static unsigned class_of_words(const struct upstream_error *e)
{
    const struct span said[] = {e->detail, e->code, e->type};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        unsigned error_class = class_of_word(said[i]);
        if (error_class)
            return error_class;
    }
    return ERROR_NONE;
}

static unsigned class_of_status(unsigned status)
{
    static const struct {
        unsigned status, error_class;
    } statuses[] = {
        {401, ERROR_UPSTREAM_AUTH},         {402, ERROR_UPSTREAM_QUOTA},
        {403, ERROR_UPSTREAM_AUTH},         {404, ERROR_UPSTREAM_NOT_FOUND},
        {408, ERROR_UPSTREAM_TIMEOUT},      {409, ERROR_UPSTREAM_CONFLICT},
        {413, ERROR_UPSTREAM_TOO_LARGE},    {422, ERROR_UPSTREAM_UNPROCESSABLE},
        {429, ERROR_UPSTREAM_RATE_LIMITED}, {502, ERROR_UPSTREAM_OVERLOADED},
        {503, ERROR_UPSTREAM_OVERLOADED},   {504, ERROR_UPSTREAM_TIMEOUT},
        {529, ERROR_UPSTREAM_OVERLOADED},
    };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].status == status)
            return statuses[i].error_class;
    }
    return status >= 400 && status < 500 ? ERROR_UPSTREAM_BAD_REQUEST : ERROR_UPSTREAM_ERROR;
}

bool error_message_has(struct span message, const char *const *phrases)
{
    message = span_first(message, MESSAGE_LOOKED_AT);
    for (; *phrases; phrases++) {
        size_t n = strlen(*phrases);
        for (size_t at = 0; at + n <= message.len; at++) {
            if (strncasecmp(message.data + at, *phrases, n) == 0)
                return true;
        }
    }
    return false;
}

/* Servers that know no code for it say it in words. */
static bool is_about_context(struct span message)
{
    static const char *const phrases[] = {"context length",
                                          "context window",
                                          "context size",
                                          "maximum context",
                                          "context_length_exceeded",
                                          "prompt is too long",
                                          "maximum prompt length",
                                          "too many input tokens",
                                          "input token count",
                                          "input is too long",
                                          "reduce the length of the messages",
                                          "`max_new_tokens` must be",
                                          NULL};
    return error_message_has(message, phrases);
}

static bool is_about_money(struct span message)
{
    static const char *const phrases[] = {"credit balance",
                                          "spend limit",
                                          "spending limit",
                                          "billing hard limit",
                                          "exceeded your current quota",
                                          "insufficient credit",
                                          NULL};
    return error_message_has(message, phrases);
}

/* The class for a status (200: the words decide) and what the body says. */
static unsigned classify(unsigned status, const struct upstream_error *e)
{
    unsigned said = class_of_words(e);
    uint64_t number;
    if (status < 300 && span_to_u64(e->code, &number) && number >= 400 && number < 600)
        status = (unsigned)number; /* {"error":{"code":429}} inside a 200 */
    if (status < 300 && said == ERROR_NONE)
        return ERROR_UPSTREAM_ERROR;
    unsigned error_class = status < 300 ? said : class_of_status(status);
    if (error_class == ERROR_UPSTREAM_UNPROCESSABLE && is_about_context(e->message))
        return ERROR_UPSTREAM_CONTEXT_LENGTH;
    if (error_class == ERROR_UPSTREAM_BAD_REQUEST) {
        if (said == ERROR_UPSTREAM_CONTENT_POLICY)
            return said;
        if (said == ERROR_UPSTREAM_CONTEXT_LENGTH || is_about_context(e->message))
            return ERROR_UPSTREAM_CONTEXT_LENGTH;
        if (said == ERROR_UPSTREAM_QUOTA || is_about_money(e->message))
            return ERROR_UPSTREAM_QUOTA;
    }
    if (error_class == ERROR_UPSTREAM_RATE_LIMITED && said == ERROR_UPSTREAM_QUOTA)
        return ERROR_UPSTREAM_QUOTA;
    return error_class;
}

/* ---- mapping ---- */

static struct span message_for(struct conversion *pc, unsigned status, unsigned error_class,
                               const struct upstream_error *e)
{
    /* whose key it is must be clear: a client told "incorrect key" changes its own good one
     */
    if (error_class == ERROR_UPSTREAM_AUTH)
        return SPAN("The provider refused the gateway's own key.");
    if (e->message.len)
        return mask_message(e->message, pc->arena);
    /* an HTML page or nothing: not for clients */
    if (status >= 300)
        return arena_printf(pc->arena, "The provider answered with status %u.", status);
    return SPAN("The provider answered with an error.");
}

void error_map(struct conversion *pc, unsigned status, const struct upstream_headers *headers,
               struct span body, struct api_error *fault_out)
{
    struct upstream_error e;
    read_error(pc, body, &e);
    unsigned error_class = classify(status, &e);
    uint64_t now_s = pc->now_s + pc->waited_ms / 1000;
    *fault_out = (struct api_error){
        .error_class = error_class,
        .message = message_for(pc, status, error_class, &e),
        .upstream_status = status,
        .retry_after_ms = retry_after_of(headers, now_s),
        .final = retry_is_forbidden(headers) || (status >= 300 && status < 400) ||
                 span_is(e.detail, "enforced_spend_limit_reached"),
    };
    /* only where the two protocols are one, and the fault is the client's to understand */
    if (api_is_anthropic(pc->request->api) != e.is_azure &&
        (pc->provider->native_apis & 1u << pc->request->api) &&
        error_class != ERROR_UPSTREAM_AUTH && error_class != ERROR_UPSTREAM_QUOTA)
        fault_out->details_json = e.details_json;
    if (error_class == ERROR_UPSTREAM_RATE_LIMITED && !fault_out->retry_after_ms)
        fault_out->retry_after_ms = retry_after_of_limits(headers, now_s);
    if (error_class == ERROR_UPSTREAM_RATE_LIMITED && !fault_out->retry_after_ms)
        fault_out->retry_after_ms = retry_after_of_text(e.message);
    bool own_code =
        error_class == ERROR_UPSTREAM_BAD_REQUEST || error_class == ERROR_UPSTREAM_CONTENT_POLICY;
    if (own_code || error_class == ERROR_UPSTREAM_CONTEXT_LENGTH) {
        uint64_t number;
        fault_out->param = span_first(e.param, 256);
        if (own_code && !span_to_u64(e.code, &number))
            fault_out->code = span_first(e.code, 128);
    }
}
