#include "services/worker/providers/mask.h"

#include "common/base/buf.h"
#include "common/base/json.h"

/* How secrets and account ids begin, and how many letters behind that make one. */
static const struct {
    const char *prefix;
    size_t min;
} secrets[] = {
    {"sk-", 4},   {"sk_", 8},    {"r8_", 6},     {"org-", 8},  {"proj_", 8}, {"sess-", 8},
    {"gsk_", 8},  {"xai-", 8},   {"hf_", 8},     {"AIza", 16}, {"AKIA", 12}, {"ghp_", 16},
    {"pplx-", 8}, {"nvapi-", 8}, {"tgp_v1_", 8}, {"key-", 16}, {"eyJ", 24},
};

static bool is_key_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '*' || c == '.';
}

static size_t key_run(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_key_byte(s.data[n]))
        n++;
    /* the sentence's full stop is not part of it; "sk-abc...xyz" is */
    while (n > 0 && s.data[n - 1] == '.')
        n--;
    return n;
}

/* Where a secret begins at s: its first letters that may stay; 0 = none. *length: all of it. */
static size_t secret_at(struct span s, size_t *length)
{
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        size_t n = strlen(secrets[i].prefix);
        if (!span_starts(s, secrets[i].prefix))
            continue;
        *length = key_run(s);
        if (*length >= n + secrets[i].min)
            return n;
    }
    if (s.len > 7 && (strncasecmp(s.data, "bearer ", 7) == 0)) {
        *length = 7 + key_run(span_skip(s, 7));
        return *length >= 7 + 8 ? 7 : 0;
    }
    return 0;
}

static void mask(struct buf *out, struct span s)
{
    bool in_word = false;
    while (s.len) {
        size_t length = 0, keep = in_word ? 0 : secret_at(s, &length);
        if (keep) {
            buf_append(out, span_first(s, keep));
            buf_append_str(out, "***");
            s = span_skip(s, length);
            in_word = true;
            continue;
        }
        in_word = is_key_byte(s.data[0]) && s.data[0] != '.';
        buf_append_char(out, s.data[0]);
        s = span_skip(s, 1);
    }
}

struct span mask_message(struct span message, struct arena *arena)
{
    struct buf valid = {0}, masked = {0};
    /* a key that the cut would halve is still seen whole */
    utf8_repair(&valid, span_first(message, (size_t)MASK_MAX_BYTES * 2));
    mask(&masked, buf_span(&valid));
    size_t n = masked.len;
    if (n > MASK_MAX_BYTES) {
        n = MASK_MAX_BYTES;
        while (n > 0 && ((unsigned char)masked.data[n] & 0xc0) == 0x80)
            n--;
    }
    struct span out = arena_copy(arena, span_first(buf_span(&masked), n));
    buf_free(&valid);
    buf_free(&masked);
    return out;
}

struct span mask_secret(struct span message, const struct secret *secret, struct arena *arena)
{
    struct span token = secret_reveal(secret);
    struct buf out = {0};
    for (size_t at; (at = span_find(token, ' ')) < token.len;)
        token = span_skip(token, at + 1);
    while (token.len && message.len) {
        size_t at = span_find_span(message, token);
        buf_append(&out, span_first(message, at));
        if (at < message.len)
            buf_append_str(&out, "***");
        message = span_skip(message, at + token.len);
    }
    struct span masked = arena_copy(arena, buf_span(&out));
    buf_free(&out);
    return masked;
}
