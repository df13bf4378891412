#include "common/base/log.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/json.h"

enum { LINE_BYTES = 16384 };

/* The one piece of mutable state outside main.c: where this process logs, set once at start. */
static struct {
    enum log_level level;
    enum log_format format;
    char daemon[32];
    char name[64];
    int fd;
} sink = {.level = LEVEL_INFO, .fd = 2};

/* What log_write_soon has gathered in this thread; and the second that a line was last made in, as
 * text. No more than PIPE_BUF at once: lines of several writers to one pipe don't mix. */
static _Thread_local struct {
    struct buf lines;
    time_t second;
    char stamp[24];
} mine;

void log_setup(enum log_level level, enum log_format format, const char *daemon, const char *name)
{
    sink.level = level;
    sink.format = format;
    (void)snprintf(sink.daemon, sizeof sink.daemon, "%s", daemon ? daemon : "");
    (void)snprintf(sink.name, sizeof sink.name, "%s", name ? name : "");
}

enum log_level log_level_named(const char *word)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0)
            return (enum log_level)i;
    }
    return LEVEL_INFO;
}

bool log_enabled(enum log_level level)
{
    return level <= sink.level;
}

void log_set_fd(int fd)
{
    sink.fd = fd;
}

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static bool is_bare(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
}

/* Is each of the eight bytes bare? As in span.c, a no may be wrong. */
static bool are_bare(const char *eight)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t v;
    memcpy(&v, eight, sizeof v);
    uint64_t bad = v | (v - each * 0x21) | ((v ^ each * 0x7f) - each) | ((v ^ each * '"') - each) |
                   ((v ^ each * '=') - each) | ((v ^ each * '\\') - each);
    return !(bad & each * 0x80);
}

static bool needs_quotes(struct span s)
{
    size_t i = 0;
    while (s.len - i >= 8 && are_bare(s.data + i))
        i += 8;
    for (; i < s.len; i++) {
        if (!is_bare((unsigned char)s.data[i]))
            return true;
    }
    return s.len == 0;
}

static void put_hex(struct buf *line, struct span bytes)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        buf_append_char(line, hex[c >> 4]);
        buf_append_char(line, hex[c & 15]);
    }
}

static void put_value(struct buf *line, const struct log_field *f)
{
    bool json = sink.format == LINES_JSON;
    switch (f->kind) {
    case LOG_FIELD_U64:
        buf_append_u64(line, f->number);
        return;
    case LOG_FIELD_I64:
        buf_append_i64(line, (int64_t)f->number);
        return;
    case LOG_FIELD_HEX:
        buf_append_str(line, json ? "\"" : "");
        put_hex(line, f->text);
        buf_append_str(line, json ? "\"" : "");
        return;
    case LOG_FIELD_SPAN:
        if (json || needs_quotes(f->text))
            json_append_string(line, f->text);
        else
            buf_append(line, f->text);
        return;
    }
}

/* Every field but the first has one before it. */
static void put_field(struct buf *line, const struct log_field *f)
{
    if (sink.format == LINES_JSON) {
        buf_append_char(line, ',');
        json_append_string(line, f->key);
        buf_append_char(line, ':');
    } else {
        buf_append_char(line, ' ');
        buf_append(line, f->key);
        buf_append_char(line, '=');
    }
    put_value(line, f);
}

static void put_time(struct buf *line)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != mine.second || !mine.stamp[0]) {
        mine.second = now.tv_sec;
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(mine.stamp, sizeof mine.stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    }
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    char fraction[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                       (char)('0' + ms % 10), 'Z'};
    buf_append_str(line, sink.format == LINES_JSON ? "{\"time\":\"" : "time=");
    buf_append_str(line, mine.stamp);
    buf_append(line, span_of(fraction, sizeof fraction));
    buf_append_str(line, sink.format == LINES_JSON ? "\"" : "");
}

static void put_line(struct buf *line, enum log_level level, const char *event, va_list args)
{
    put_time(line);
    put_field(line, &LSTR("level", level_names[level]));
    put_field(line, &LSTR("event", event));
    if (sink.daemon[0])
        put_field(line, &LSTR("daemon", sink.daemon));
    if (sink.name[0])
        put_field(line, &LSTR("name", sink.name));
    for (;;) {
        struct log_field f = va_arg(args, struct log_field);
        if (!f.key.data)
            break;
        put_field(line, &f);
    }
    buf_append_str(line, sink.format == LINES_JSON ? "}\n" : "\n");
}

/* A full pipe loses lines, not the daemon. */
static void put_out(struct span lines)
{
    ssize_t written = lines.len ? write(sink.fd, lines.data, lines.len) : 0;
    (void)written;
}

void log_flush(void)
{
    put_out(buf_span(&mine.lines));
    buf_clear(&mine.lines);
}

void log_write(enum log_level level, const char *event, ...)
{
    va_list args;
    if (!log_enabled(level))
        return;
    struct buf line = {.max = LINE_BYTES};
    va_start(args, event);
    put_line(&line, level, event, args);
    va_end(args);
    log_flush(); /* what happened before */
    put_out(buf_span(&line));
    buf_free(&line);
}

void log_write_soon(enum log_level level, const char *event, ...)
{
    va_list args;
    if (!log_enabled(level))
        return;
    struct buf *lines = &mine.lines;
    size_t before = lines->len;
    lines->max = PIPE_BUF + LINE_BYTES;
    va_start(args, event);
    put_line(lines, level, event, args);
    va_end(args);
    if (lines->len <= PIPE_BUF)
        return;
    put_out(span_first(buf_span(lines), before));
    buf_consume(lines, before);
    if (lines->len > PIPE_BUF) /* by itself */
        log_flush();
}
