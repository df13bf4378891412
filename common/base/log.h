/* Structured logs on stderr: an event name, then fields; as key=value or as JSON, one line an
 * event. error = act now, warn = degraded, info = lifecycle, debug = the rest. Never a body, never
 * a key. */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include "common/base/span.h"

/* not LOG_…: <syslog.h> has those */
enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };
enum log_format { LINES_TEXT, LINES_JSON };

struct log_field {
    struct span key; /* without data it ends the list */
    enum { LOG_FIELD_SPAN, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_HEX } kind;
    struct span text; /* bytes, for HEX */
    uint64_t number;
};

/* log_info("worker_up", LSTR("worker", name), LU64("slots", n)); */
#define LOG_FIELD_(key, kind, text, n)                                                             \
    ((struct log_field){span_str(key), LOG_FIELD_##kind, (text), (uint64_t)(n)})
#define LSTR(key, c_string) LOG_FIELD_(key, SPAN, span_str(c_string), 0)
#define LSPAN(key, span) LOG_FIELD_(key, SPAN, (span), 0)
#define LHEX(key, bytes, n) LOG_FIELD_(key, HEX, span_of((bytes), (n)), 0)
#define LU64(key, n) LOG_FIELD_(key, U64, SPAN_NONE, (n))
#define LI64(key, n) LOG_FIELD_(key, I64, SPAN_NONE, (int64_t)(n))
#define LOG_END_ ((struct log_field){SPAN_NONE, LOG_FIELD_SPAN, SPAN_NONE, 0})

/* Once, at start. `context` is attached to every line ("daemon=tollgate-edge name=edge-1"); both
 * strings are copied. */
void log_setup(enum log_level level, enum log_format format, const char *daemon, const char *name);
/* LEVEL_INFO for a word that is none. */
enum log_level log_level_named(const char *word);
bool log_enabled(enum log_level level);
/* Where lines go; 2 unless told. For tests. */
void log_set_fd(int fd);
void log_write(enum log_level level, const char *event, ...);
/* For a line per request: written with others of this thread, by log_flush at the latest. Only a
 * thread with a loop, which flushes before it sleeps, may use it. */
void log_write_soon(enum log_level level, const char *event, ...);
void log_flush(void);

#define log_error(...) log_write(LEVEL_ERROR, __VA_ARGS__, LOG_END_)
#define log_warn(...) log_write(LEVEL_WARN, __VA_ARGS__, LOG_END_)
#define log_info(...) log_write(LEVEL_INFO, __VA_ARGS__, LOG_END_)
#define log_info_soon(...) log_write_soon(LEVEL_INFO, __VA_ARGS__, LOG_END_)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LEVEL_DEBUG))                                                              \
            log_write(LEVEL_DEBUG, __VA_ARGS__, LOG_END_);                                         \
    } while (0)

#endif
