#include "services/edge/http/headers.h"

#include "common/base/buf.h"

/* Fields that an upstream may see; a list may come in several of them. */
static const struct {
    struct span name;
    bool is_list;
} passed_fields[] = {
    {{"anthropic-beta", 14}, true},
    {{"anthropic-version", 17}, false},
    {{"anthropic-user-profile-id", 25}, false},
    {{"anthropic-workspace-id", 22}, false},
    {{"openai-beta", 11}, true},
    {{"openai-project", 14}, false},
    {{"idempotency-key", 15}, false},
    {{"x-client-request-id", 19}, false},
    {{"traceparent", 11}, false},
    {{"tracestate", 10}, true},
};
enum { PASSED_COUNT = sizeof passed_fields / sizeof passed_fields[0] };

static void note_key(struct span *slot, struct span value, bool *differ)
{
    if (slot->data && !span_equals(*slot, value))
        *differ = true;
    *slot = value;
}

static bool is_passed(const struct request_head *h, unsigned which)
{
    for (size_t i = 0; i < h->passed_count; i++) {
        if (h->passed[i].which == which)
            return true;
    }
    return false;
}

static void note_passed(struct request_head *h, struct span name, struct span value)
{
    for (unsigned i = 0; i < PASSED_COUNT; i++) {
        struct span known = passed_fields[i].name;
        if (known.len != name.len || strncasecmp(known.data, name.data, name.len) != 0)
            continue;
        if (value.len && h->passed_count < PASSED_MAX &&
            (passed_fields[i].is_list || !is_passed(h, i)))
            h->passed[h->passed_count++] = (struct passed_field){i, value};
        return;
    }
}

static void note_x_field(struct request_head *h, struct span name, struct span value)
{
    if (span_is_nocase(name, "x-api-key"))
        note_key(&h->x_api_key, value, &h->keys_differ);
    else if (span_is_nocase(name, "x-goog-api-key"))
        note_key(&h->goog_api_key, value, &h->keys_differ);
    else if (span_is_nocase(name, "x-tollgate-key") || span_is_nocase(name, "x-litellm-api-key"))
        note_key(&h->own_key, value, &h->own_keys_differ);
    else if (span_is_nocase(name, "x-request-id"))
        h->request_id = value;
    else if (span_is_nocase(name, "x-forwarded-for"))
        h->forwarded_for = value;
    else if (span_is_nocase(name, "x-stainless-read-timeout"))
        h->patience = value;
    else if (span_is_nocase(name, "x-stainless-timeout") && !h->patience.data)
        h->patience = value;
    else if (span_is_nocase(name, "x-client-request-id"))
        note_passed(h, name, value);
    else if (span_is_nocase(name, "x-stainless-retry-count"))
        h->repeats = value;
    else if ((span_is_nocase(name, "x-tollgate-tags") || span_is_nocase(name, "x-litellm-tags")) &&
             h->tags_count < TAG_FIELDS_MAX)
        h->tags[h->tags_count++] = value;
}

static void note_a_field(struct request_head *h, struct span name, struct span value)
{
    if (span_is_nocase(name, "authorization")) {
        note_key(&h->authorization, value, &h->keys_differ);
    } else if (span_is_nocase(name, "api-key")) {
        note_key(&h->api_key, value, &h->keys_differ);
    } else if (span_is_nocase(name, "access-control-request-headers")) {
        h->access_headers = value;
    } else {
        if (span_is_nocase(name, "anthropic-version"))
            h->has_anthropic_version = true;
        note_passed(h, name, value);
    }
}

void head_field(void *ctx, struct span name, struct span value)
{
    struct request_head *h = ctx;
    if (name.len == 0)
        return;
    switch (name.data[0] | 0x20) {
    case 'a':
        note_a_field(h, name, value);
        break;
    case 'x':
        note_x_field(h, name, value);
        break;
    case 'o':
        if (span_is_nocase(name, "origin"))
            h->origin = value;
        else
            note_passed(h, name, value);
        break;
    case 'c':
        if (span_is_nocase(name, "content-encoding")) {
            h->content_encoding = span_trim(value);
            h->content_encodings++;
        }
        break;
    case 'i':
    case 't':
        note_passed(h, name, value);
        break;
    default:
        break;
    }
}

/* Empty for another scheme. */
static struct span bearer_token(struct span authorization)
{
    struct span a = span_trim(authorization);
    if (a.len < 7 || strncasecmp(a.data, "bearer", 6) != 0 ||
        (a.data[6] != ' ' && a.data[6] != '\t'))
        return SPAN_NONE;
    return span_trim(span_skip(a, 7));
}

static bool key_is_sane(struct span key)
{
    return key.len <= KEY_MAX_BYTES && span_is_graphic(key);
}

/* The one key that all fields agree about; false when they don't. */
static bool agree(const struct request_head *h, struct span *key_out)
{
    const struct span keys[] = {bearer_token(h->authorization), span_trim(h->x_api_key),
                                span_trim(h->api_key), span_trim(h->goog_api_key)};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (keys[i].len && key_out->len && !span_equals(keys[i], *key_out))
            return false;
        if (keys[i].len)
            *key_out = keys[i];
    }
    return !h->keys_differ;
}

enum key_found head_key(const struct request_head *h, struct span *key_out)
{
    struct span bearer = bearer_token(h->own_key);
    struct span key = bearer.len ? bearer : span_trim(h->own_key);
    *key_out = SPAN_NONE;
    if (key.len ? h->own_keys_differ : !agree(h, &key))
        return KEY_AMBIGUOUS;
    if (key.len == 0)
        return KEY_MISSING;
    if (!key_is_sane(key))
        return KEY_MALFORMED;
    *key_out = key;
    return KEY_FOUND;
}

struct secret *head_credential(const struct request_head *h)
{
    bool bearer = span_trim(h->authorization).len > 0;
    struct span value = span_trim(bearer ? h->authorization : h->x_api_key);
    struct secret *credential = NULL;
    if (!span_trim(h->own_key).len || h->keys_differ ||
        secret_create(bearer ? SPAN("Authorization: ") : SPAN("x-api-key: "), value, &credential) !=
            OK)
        return NULL;
    return credential;
}

struct span head_client_id(const struct request_head *h)
{
    struct span id = h->request_id;
    if (id.len == 0 || id.len > CLIENT_ID_MAX_BYTES)
        return SPAN_NONE;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                    (c != 0 && strchr("-_.:/+=@", c));
        if (!fine)
            return SPAN_NONE;
    }
    return id;
}

uint64_t head_patience_ms(const struct request_head *h)
{
    struct span whole = span_trim(h->patience);
    struct span fraction = whole;
    whole = span_cut(&fraction, '.');
    uint64_t seconds = 0;
    if (!span_to_u64(whole, &seconds) || seconds > 86400)
        return 0;
    uint64_t ms = seconds * 1000;
    uint64_t digit_ms = 100;
    for (size_t i = 0; i < fraction.len && digit_ms > 0; i++, digit_ms /= 10) {
        if (fraction.data[i] < '0' || fraction.data[i] > '9')
            return 0;
        ms += (uint64_t)(fraction.data[i] - '0') * digit_ms;
    }
    return ms;
}

unsigned head_repeats(const struct request_head *h)
{
    enum { MOST = 100 };
    uint64_t n = 0;
    if (!span_to_u64(span_trim(h->repeats), &n))
        return 0;
    return n < MOST ? (unsigned)n : MOST;
}

/* All values of one field, as one line; nothing when there is none. */
static void add_passed(struct buf *lines, const struct request_head *h, unsigned which)
{
    bool any = false;
    for (size_t i = 0; i < h->passed_count; i++) {
        if (h->passed[i].which != which)
            continue;
        if (!any) {
            buf_append(lines, passed_fields[which].name);
            buf_append_str(lines, ": ");
        } else {
            buf_append_str(lines, ",");
        }
        buf_append(lines, h->passed[i].value);
        any = true;
    }
    if (any)
        buf_append_char(lines, '\n');
}

struct span head_passed_lines(const struct request_head *h, struct arena *arena)
{
    size_t bytes = 0;
    for (size_t i = 0; i < h->passed_count; i++)
        bytes += passed_fields[h->passed[i].which].name.len + 2 + h->passed[i].value.len + 1;
    if (bytes == 0)
        return SPAN_NONE;
    char *out = arena_alloc(arena, bytes);
    if (!out)
        return SPAN_NONE;
    struct buf lines = {.data = out, .cap = bytes, .max = bytes};
    for (unsigned i = 0; i < PASSED_COUNT; i++)
        add_passed(&lines, h, i);
    return span_of(out, lines.len);
}

struct span head_forwarded_address(const struct request_head *h)
{
    struct span last = SPAN_NONE;
    for (struct span rest = h->forwarded_for; rest.len;)
        last = span_trim(span_cut(&rest, ','));
    return last.len ? last : SPAN_NONE;
}

enum coding head_coding(const struct request_head *h)
{
    return h->content_encodings > 1 ? CODING_UNKNOWN : coding_of(h->content_encoding);
}
