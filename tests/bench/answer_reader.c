/* See answer_reader.h. */
#include "bench/answer_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_reader_reset(struct answer_reader *r)
{
    *r = (struct answer_reader){.phase = ANSWER_STATUS};
}

static void count_events(struct answer_reader *r, const char *bytes, size_t len)
{
    static const char wanted[] = "data:";
    for (const char *p = bytes, *end = bytes + len; p < end;) {
        if (r->matched < 5 && *p == wanted[r->matched]) {
            r->events += ++r->matched == 5;
            p++;
            continue;
        }
        r->matched = 5;
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline)
            return;
        r->matched = 0;
        p = newline + 1;
    }
}

static void begin_body(struct answer_reader *r)
{
    if (r->chunked)
        r->phase = ANSWER_CHUNK_SIZE;
    else
        r->phase = r->has_length && r->left == 0 ? ANSWER_DONE : ANSWER_BODY;
}

static void take_header(struct answer_reader *r)
{
    if (strncasecmp(r->line, "content-length:", 15) == 0) {
        r->has_length = true;
        r->left = strtoull(r->line + 15, NULL, 10);
    } else if (strncasecmp(r->line, "transfer-encoding:", 18) == 0) {
        r->chunked = strcasestr(r->line, "chunked") != NULL;
    } else if (strncasecmp(r->line, "connection:", 11) == 0) {
        r->closes = strcasestr(r->line, "close") != NULL;
    }
}

static void take_line(struct answer_reader *r)
{
    switch (r->phase) {
    case ANSWER_STATUS:
        r->status = strncmp(r->line, "HTTP/1.", 7) == 0 ? atoi(r->line + 8) : 0;
        r->phase = r->status ? ANSWER_HEADERS : ANSWER_BAD;
        break;
    case ANSWER_HEADERS:
        if (r->line_len)
            take_header(r);
        else if (r->status < 200)
            r->phase = ANSWER_STATUS;
        else
            begin_body(r);
        break;
    case ANSWER_CHUNK_SIZE:
        r->left = strtoull(r->line, NULL, 16);
        r->phase = r->left ? ANSWER_CHUNK_DATA : ANSWER_TRAILERS;
        break;
    case ANSWER_CHUNK_END:
        r->phase = r->line_len ? ANSWER_BAD : ANSWER_CHUNK_SIZE;
        break;
    case ANSWER_TRAILERS:
        r->phase = r->line_len ? ANSWER_TRAILERS : ANSWER_DONE;
        break;
    case ANSWER_BODY:
    case ANSWER_CHUNK_DATA:
    case ANSWER_DONE:
    case ANSWER_BAD:
        break;
    }
}

static size_t feed_line(struct answer_reader *r, const char *bytes, size_t len)
{
    const char *newline = memchr(bytes, '\n', len);
    size_t used = newline ? (size_t)(newline - bytes) + 1 : len;
    for (size_t i = 0; i < used - (newline != NULL) && r->line_len < sizeof r->line - 1; i++)
        r->line[r->line_len++] = bytes[i];
    if (newline) {
        if (r->line_len && r->line[r->line_len - 1] == '\r')
            r->line_len--;
        r->line[r->line_len] = '\0';
        take_line(r);
        r->line_len = 0;
    }
    return used;
}

static size_t feed_body(struct answer_reader *r, const char *bytes, size_t len)
{
    bool bounded = r->phase == ANSWER_CHUNK_DATA || r->has_length;
    size_t used = bounded && r->left < len ? (size_t)r->left : len;
    count_events(r, bytes, used);
    if (bounded) {
        r->left -= used;
        if (r->left == 0)
            r->phase = r->phase == ANSWER_CHUNK_DATA ? ANSWER_CHUNK_END : ANSWER_DONE;
    }
    return used;
}

size_t answer_reader_feed(struct answer_reader *r, const char *bytes, size_t len)
{
    size_t used = 0;
    while (used < len && r->phase != ANSWER_DONE && r->phase != ANSWER_BAD) {
        bool in_body = r->phase == ANSWER_BODY || r->phase == ANSWER_CHUNK_DATA;
        used += (in_body ? feed_body : feed_line)(r, bytes + used, len - used);
    }
    return used;
}

bool answer_reader_end(struct answer_reader *r)
{
    if (r->phase == ANSWER_BODY && !r->has_length)
        r->phase = ANSWER_DONE;
    return r->phase == ANSWER_DONE;
}
