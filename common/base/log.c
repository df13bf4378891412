#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/json.h"

/* The one piece of mutable state outside main.c: where this process logs, set once at start. */
static struct {
    enum log_level level;
    enum log_format format;
    char daemon[32];
    char name[64];
    int fd;
} sink = {.level = LEVEL_INFO, .fd = 2};

void log_setup(enum log_level level, enum log_format format, const char *daemon, const char *name)
{
    sink.level = level;
    sink.format = format;
    (void)snprintf(sink.daemon, sizeof sink.daemon, "%s", daemon ? daemon : "");
    (void)snprintf(sink.name, sizeof sink.name, "%s", name ? name : "");
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

static bool needs_quotes(struct span s)
{
    if (s.len == 0)
        return true;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return true;
    }
    return false;
}

static void put_value(struct buf *line, const struct log_field *f)
{
    static const char hex[] = "0123456789abcdef";
    switch (f->kind) {
    case LOG_FIELD_U64:
        buf_append_u64(line, f->number);
        return;
    case LOG_FIELD_I64:
        buf_append_i64(line, (int64_t)f->number);
        return;
    case LOG_FIELD_HEX:
        if (sink.format == LINES_JSON)
            buf_append_char(line, '"');
        for (size_t i = 0; i < f->text.len; i++) {
            unsigned char c = (unsigned char)f->text.data[i];
            buf_append_char(line, hex[c >> 4]);
            buf_append_char(line, hex[c & 15]);
        }
        if (sink.format == LINES_JSON)
            buf_append_char(line, '"');
        return;
    case LOG_FIELD_SPAN:
        if (sink.format == LINES_JSON || needs_quotes(f->text))
            json_append_string(line, f->text);
        else
            buf_append(line, f->text);
        return;
    }
}

static void put_field(struct buf *line, const struct log_field *f)
{
    if (sink.format == LINES_JSON) {
        buf_append_str(line, line->len > 1 ? "," : "");
        json_append_string(line, span_str(f->key));
        buf_append_char(line, ':');
    } else {
        buf_append_str(line, line->len ? " " : "");
        buf_append_str(line, f->key);
        buf_append_char(line, '=');
    }
    put_value(line, f);
}

static void put_head(struct buf *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    char stamp[40];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(stamp + n, sizeof stamp - n, ".%03ldZ", now.tv_nsec / 1000000);
    put_field(line, &LSTR("time", stamp));
    put_field(line, &LSTR("level", level_names[level]));
    put_field(line, &LSTR("event", event));
    if (sink.daemon[0])
        put_field(line, &LSTR("daemon", sink.daemon));
    if (sink.name[0])
        put_field(line, &LSTR("name", sink.name));
}

void log_write(enum log_level level, const char *event, ...)
{
    if (!log_enabled(level))
        return;
    struct buf line;
    buf_init(&line, 16384);
    if (sink.format == LINES_JSON)
        buf_append_char(&line, '{');
    put_head(&line, level, event);
    va_list args;
    va_start(args, event);
    for (;;) {
        struct log_field f = va_arg(args, struct log_field);
        if (!f.key)
            break;
        put_field(&line, &f);
    }
    va_end(args);
    buf_append_str(&line, sink.format == LINES_JSON ? "}\n" : "\n");
    /* One write a line, so that lines of several threads don't mix; a full pipe loses the line, not
     * the daemon. */
    ssize_t written = write(sink.fd, line.data, line.len);
    (void)written;
    buf_free(&line);
}
