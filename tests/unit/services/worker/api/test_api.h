/* For the tests of api/: a request as readable lines, and an answer played from a list of events.
 */
#ifndef TESTS_UNIT_SERVICES_WORKER_API_TEST_API_H
#define TESTS_UNIT_SERVICES_WORKER_API_TEST_API_H

#include "services/worker/neutral/api_ops.h"

/* Reads a body with single quotes for double ones. *dump_out: the neutral form in lines, or "class
 * param". The caller frees it. */
char *test_read(const struct api_ops *api, const char *body);
/* The same for a body taken as it is. */
char *test_read_raw(const struct api_ops *api, struct span body);
/* Reads with every bound of the arena up to what the body needs: each time the request, or a fault.
 */
void test_read_bounded(const struct api_ops *api, const char *body);
/* The fault's message (caller frees); "" when the request was read. */
char *test_read_message(const struct api_ops *api, const char *body);

struct test_play {
    const struct api_ops *api;
    struct neutral_request request; /* api is set by test_play */
    uint64_t input_tokens;
    const char *request_id; /* NULL: "req_x" */
    const char *model;      /* NULL: "asked-model" */
    size_t arena_bytes;     /* bound; 0: none to speak of */
};

/* What the client gets (caller frees); "FAILED" when the output says it is not whole. created is 0.
 */
char *test_play(const struct test_play *p, const struct neutral_event *events, size_t count);
/* Plays with every bound of the arena up to what is needed: each time the same answer, or "FAILED".
 */
void test_play_bounded(const struct test_play *p, const struct neutral_event *events, size_t count);
/* `text` with ' for ". Caller frees. */
char *test_quoted(const char *text);
/* A golden file's bytes; JSON files compacted. Caller frees. */
char *test_golden(const char *name);

#define PLAY(p, ...)                                                                               \
    test_play((p), (const struct neutral_event[]){__VA_ARGS__},                                    \
              sizeof((const struct neutral_event[]){__VA_ARGS__}) / sizeof(struct neutral_event))

#define PLAY_BOUNDED(p, ...)                                                                       \
    test_play_bounded((p), (const struct neutral_event[]){__VA_ARGS__},                            \
                      sizeof((const struct neutral_event[]){__VA_ARGS__}) /                        \
                          sizeof(struct neutral_event))

#define E_START(id, model)                                                                         \
    {                                                                                              \
        .kind = EVENT_START, .id_text = SPAN(id), .model_text = SPAN(model), .usage = USAGE_NONE   \
    }
#define E_TEXT(t)                                                                                  \
    {                                                                                              \
        .kind = EVENT_TEXT, .text = SPAN(t)                                                        \
    }
#define E_SLOT_TEXT(s, t)                                                                          \
    {                                                                                              \
        .kind = EVENT_TEXT, .slot = (s), .text = SPAN(t)                                           \
    }
#define E_REFUSAL(t)                                                                               \
    {                                                                                              \
        .kind = EVENT_REFUSAL, .text = SPAN(t)                                                     \
    }
#define E_THINK(t)                                                                                 \
    {                                                                                              \
        .kind = EVENT_THINK, .text = SPAN(t)                                                       \
    }
#define E_SIGN(t)                                                                                  \
    {                                                                                              \
        .kind = EVENT_THINK_SIGNATURE, .text = SPAN(t)                                             \
    }
#define E_REDACTED(t)                                                                              \
    {                                                                                              \
        .kind = EVENT_REDACTED, .text = SPAN(t)                                                    \
    }
#define E_TOOL(s, id, name)                                                                        \
    {                                                                                              \
        .kind = EVENT_TOOL_BEGIN, .slot = (s), .id_text = SPAN(id), .name_text = SPAN(name)        \
    }
#define E_ARGS(s, t)                                                                               \
    {                                                                                              \
        .kind = EVENT_TOOL_ARGS, .slot = (s), .text = SPAN(t)                                      \
    }
#define E_TOOL_END(s)                                                                              \
    {                                                                                              \
        .kind = EVENT_TOOL_END, .slot = (s)                                                        \
    }
#define E_STOP(r)                                                                                  \
    {                                                                                              \
        .kind = EVENT_STOP, .stop = (r)                                                            \
    }
#define E_SLOT_STOP(s, r)                                                                          \
    {                                                                                              \
        .kind = EVENT_STOP, .slot = (s), .stop = (r)                                               \
    }
#define E_PING                                                                                     \
    {                                                                                              \
        .kind = EVENT_PING                                                                         \
    }
#define E_END                                                                                      \
    {                                                                                              \
        .kind = EVENT_END                                                                          \
    }
#define U_ USAGE_UNKNOWN
#define E_USAGE(i, c, w, o, r)                                                                     \
    {                                                                                              \
        .kind = EVENT_USAGE, .usage = {                                                            \
            .input = (i),                                                                          \
            .cached = (c),                                                                         \
            .cache_write = (w),                                                                    \
            .output = (o),                                                                         \
            .reasoning = (r),                                                                      \
            .cache_write_1h = USAGE_UNKNOWN                                                        \
        }                                                                                          \
    }
#define E_ERROR(c, m)                                                                              \
    {                                                                                              \
        .kind = EVENT_ERROR, .fault = {.error_class = (c), .message = SPAN(m) }                    \
    }

#endif
