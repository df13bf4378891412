#include "services/worker/api/data_url.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 0 to 63, or -1; the URL-safe letters too. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* How many leading bytes are base64 letters or padding. */
static size_t base64_run(struct span s)
{
    size_t i = 0;
    while (i < s.len && (sextet(s.data[i]) >= 0 || s.data[i] == '='))
        i++;
    return i;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A "%" that is no escape stands for itself. */
static enum err percent_decode(struct span s, struct arena *arena, struct span *out)
{
    char *at = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < s.len; i++) {
        int high = s.data[i] == '%' && i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.data[i + 2]) : -1;
        if (low >= 0) {
            at[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            at[n++] = s.data[i];
        }
    }
    *out = span_of(at, n);
    return OK;
}

enum err data_url_clean_base64(struct span data, struct arena *arena, struct span *out)
{
    *out = data;
    if (base64_run(data) == data.len)
        return OK;
    struct span decoded;
    enum err e = percent_decode(data, arena, &decoded);
    if (e)
        return e;
    char *at = arena_alloc(arena, decoded.len + 1);
    size_t n = 0;
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < decoded.len; i++) {
        char c = decoded.data[i];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            at[n++] = c;
    }
    *out = span_of(at, n);
    return base64_run(*out) == n ? OK : ERR_INVALID;
}

enum err data_url_encode_base64(struct span bytes, struct arena *arena, struct span *out)
{
    const unsigned char *s = (const unsigned char *)bytes.data;
    char *at = arena_alloc(arena, (bytes.len + 2) / 3 * 4 + 1);
    size_t n = 0;
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)s[i] << 16 | (left > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
                     (left > 2 ? s[i + 2] : 0);
        at[n++] = alphabet[v >> 18];
        at[n++] = alphabet[v >> 12 & 63];
        at[n++] = left > 1 ? alphabet[v >> 6 & 63] : '=';
        at[n++] = left > 2 ? alphabet[v & 63] : '=';
    }
    *out = span_of(at, n);
    return OK;
}

enum err data_url_decode_base64(struct span base64, struct arena *arena, struct span *out)
{
    char *at = arena_alloc(arena, base64.len + 1);
    size_t n = 0;
    uint32_t v = 0;
    unsigned bits = 0;
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < base64.len && base64.data[i] != '='; i++) {
        int six = sextet(base64.data[i]);
        if (six < 0)
            return ERR_INVALID;
        v = (v << 6 | (uint32_t)six) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            at[n++] = (char)(v >> bits & 0xff);
        }
    }
    *out = span_of(at, n);
    return OK;
}

static enum err media_type_of(struct span given, struct arena *arena, struct span *out)
{
    char *at = arena_strdup(arena, span_trim(given));
    if (!at)
        return ERR_NOMEM;
    size_t n = strlen(at);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]);
    *out = n ? span_of(at, n) : SPAN("text/plain"); /* RFC 2397's default */
    if (span_is(*out, "image/jpg"))
        *out = SPAN("image/jpeg");
    return OK;
}

enum err data_url_parse(struct span url, struct arena *arena, struct data_url *out)
{
    if (!span_is_nocase(span_first(url, 5), "data:"))
        return ERR_NOT_FOUND;
    struct span head = span_skip(url, 5);
    size_t comma = span_find(head, ',');
    if (comma == head.len)
        return ERR_INVALID;
    struct span data = span_skip(head, comma + 1);
    head = span_first(head, comma);
    enum err e = media_type_of(span_cut(&head, ';'), arena, &out->media_type);
    bool is_base64 = false;
    while (head.len)
        is_base64 = span_is_nocase(span_trim(span_cut(&head, ';')), "base64") || is_base64;
    if (e)
        return e;
    if (is_base64)
        return data_url_clean_base64(data, arena, &out->base64);
    struct span bytes;
    e = percent_decode(data, arena, &bytes);
    return e ? e : data_url_encode_base64(bytes, arena, &out->base64);
}
