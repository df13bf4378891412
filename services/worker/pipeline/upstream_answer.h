/* One upstream answer as it arrives: its head, then events or a whole body, bounded. */
#ifndef SERVICES_WORKER_PIPELINE_UPSTREAM_ANSWER_H
#define SERVICES_WORKER_PIPELINE_UPSTREAM_ANSWER_H

#include "services/worker/neutral/provider.h"

enum { ANSWER_MAX_ERROR_BODY = 64 << 10, ANSWER_MAX_HEADERS = 16 };

enum answer_mode {
    ANSWER_NONE,  /* no head yet */
    ANSWER_ERROR, /* not 2xx: gathered, what is over 64 KiB dropped */
    ANSWER_WHOLE, /* gathered up to the bound */
    ANSWER_EVENTS /* text/event-stream */
};

struct upstream_answer {
    enum answer_mode mode;
    unsigned status;
    struct {
        const char *name;
        struct span value;
    } headers[ANSWER_MAX_HEADERS]; /* the ones error mapping may want, kept behind the head */
    size_t header_count;
    struct sse_reader sse;
    struct buf body;
    uint64_t received_bytes;
};

/* Forgets the last answer, keeps what matters of this head in the arena. max_body: bytes of a whole
 * one. */
void upstream_answer_begin(struct upstream_answer *a, unsigned status,
                           const struct upstream_headers *headers, uint64_t max_body,
                           struct arena *arena);
/* Only for ERROR and WHOLE. ERR_TOO_BIG when a whole answer passes its bound. */
enum err upstream_answer_gather(struct upstream_answer *a, struct span bytes) NODISCARD;
/* The kept header fields, as map_error wants them. */
struct upstream_headers upstream_answer_headers(const struct upstream_answer *a);
/* Memory that it takes. */
size_t upstream_answer_bytes(const struct upstream_answer *a);
void upstream_answer_reset(struct upstream_answer *a);

#endif
