#include "services/simulator/fault.h"

#include <stddef.h>

void fault_init(struct sim_fault *f)
{
    *f = (struct sim_fault){.stall_at = -1, .reset_at = -1, .cut_at = -1, .error_at = -1};
}

enum word_kind { WORD_U32, WORD_U64, WORD_FLAG, WORD_TEXT, WORD_MESSAGE, WORD_AT_OR_HEAD, WORD_AT };

static const struct {
    const char *word;
    enum word_kind kind;
    size_t at;
    size_t head; /* WORD_AT_OR_HEAD: the flag set when there is no number */
} words[] = {
    {"status", WORD_U32, offsetof(struct sim_fault, status), 0},
    {"delay", WORD_U32, offsetof(struct sim_fault, delay_ms), 0},
    {"ttft", WORD_U32, offsetof(struct sim_fault, ttft_ms), 0},
    {"pace", WORD_U32, offsetof(struct sim_fault, pace_ms), 0},
    {"drip", WORD_U32, offsetof(struct sim_fault, drip_ms), 0},
    {"chunks", WORD_U32, offsetof(struct sim_fault, chunks), 0},
    {"tokens", WORD_U32, offsetof(struct sim_fault, tokens), 0},
    {"cached", WORD_U32, offsetof(struct sim_fault, cached), 0},
    {"times", WORD_U32, offsetof(struct sim_fault, times), 0},
    {"flood", WORD_U64, offsetof(struct sim_fault, flood), 0},
    {"stall", WORD_AT_OR_HEAD, offsetof(struct sim_fault, stall_at),
     offsetof(struct sim_fault, stall_head)},
    {"reset", WORD_AT_OR_HEAD, offsetof(struct sim_fault, reset_at),
     offsetof(struct sim_fault, reset_head)},
    {"cut", WORD_AT_OR_HEAD, offsetof(struct sim_fault, cut_at),
     offsetof(struct sim_fault, close_head)},
    {"error", WORD_AT, offsetof(struct sim_fault, error_at), 0},
    {"garbage", WORD_FLAG, offsetof(struct sim_fault, garbage), 0},
    {"no-usage", WORD_FLAG, offsetof(struct sim_fault, no_usage), 0},
    {"no-done", WORD_FLAG, offsetof(struct sim_fault, no_done), 0},
    {"gzip", WORD_FLAG, offsetof(struct sim_fault, gzip), 0},
    {"reasoning", WORD_FLAG, offsetof(struct sim_fault, reasoning), 0},
    {"retry-after", WORD_TEXT, offsetof(struct sim_fault, retry_after), 0},
    {"type", WORD_TEXT, offsetof(struct sim_fault, type), 0},
    {"code", WORD_TEXT, offsetof(struct sim_fault, code), 0},
    {"finish", WORD_TEXT, offsetof(struct sim_fault, finish), 0},
    {"script", WORD_TEXT, offsetof(struct sim_fault, script), 0},
    {"message", WORD_MESSAGE, offsetof(struct sim_fault, message), 0},
};

static enum err put_text(char *to, size_t room, struct span value)
{
    if (value.len >= room)
        return ERR_TOO_BIG;
    if (value.len)
        memcpy(to, value.data, value.len);
    to[value.len] = '\0';
    return OK;
}

static enum err put(struct sim_fault *f, size_t i, struct span value)
{
    char *base = (char *)f + words[i].at;
    uint64_t n = 0;
    switch (words[i].kind) {
    case WORD_FLAG:
        *(bool *)(void *)base = !span_is(value, "0");
        return OK;
    case WORD_TEXT:
        return put_text(base, FAULT_WORD, value);
    case WORD_MESSAGE:
        return put_text(base, FAULT_MESSAGE, value);
    case WORD_AT_OR_HEAD:
        if (!value.len) {
            *((bool *)(void *)((char *)f + words[i].head)) = true;
            return OK;
        }
        break;
    case WORD_U32:
    case WORD_U64:
    case WORD_AT:
        break;
    }
    if (!span_to_u64(value, &n) || n > INT64_MAX || (words[i].kind == WORD_U32 && n > UINT32_MAX))
        return ERR_INVALID;
    if (words[i].kind == WORD_U32)
        *(uint32_t *)(void *)base = (uint32_t)n;
    else if (words[i].kind == WORD_U64)
        *(uint64_t *)(void *)base = n;
    else
        *(int64_t *)(void *)base = (int64_t)n;
    return OK;
}

enum err fault_set(struct sim_fault *f, struct span word, struct span value)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (span_is_nocase(word, words[i].word))
            return put(f, i, value);
    }
    return ERR_NOT_FOUND;
}

/* A value up to the next space, or up to the closing quote. */
static struct span take_value(struct span *rest)
{
    if (!span_starts(*rest, "'"))
        return span_cut(rest, ' ');
    *rest = span_skip(*rest, 1);
    return span_cut(rest, '\'');
}

enum err fault_parse(struct sim_fault *f, struct span text)
{
    struct span rest = span_trim(text);
    while (rest.len) {
        size_t end = 0;
        while (end < rest.len && rest.data[end] != '=' && rest.data[end] != ' ')
            end++;
        struct span word = span_first(rest, end), value = SPAN_NONE;
        bool has_value = end < rest.len && rest.data[end] == '=';
        rest = span_skip(rest, end + 1);
        if (has_value)
            value = take_value(&rest);
        enum err e = word.len ? fault_set(f, word, value) : OK;
        if (e)
            return e;
        rest = span_trim(rest);
    }
    return OK;
}

struct span fault_directive(struct span text)
{
    struct span found = SPAN_NONE;
    for (;;) {
        size_t at = span_find_span(text, SPAN("[[sim"));
        if (at == text.len)
            return found;
        text = span_skip(text, at + 5);
        size_t end = span_find_span(text, SPAN("]]"));
        if (end == text.len)
            return found;
        found = span_trim(span_first(text, end));
        text = span_skip(text, end + 2);
    }
}
