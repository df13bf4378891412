/* The fixed routing header in front of every message on the bus: enough to route, order and expire
 * a message without looking inside. Little-endian, HEADER_BYTES long. */
#ifndef PROTO_HEADER_H
#define PROTO_HEADER_H

#include "common/base/err.h"
#include "common/base/span.h"

enum {
    HEADER_BYTES = 40,
    PROTO_MAJOR = 2, /* other majors are refused at HELLO */
    PROTO_MINOR = 0
};

/* Our own fresh 128-bit id of one request; a client's x-request-id never takes its place. It begins
 * with the time (milliseconds since 1970, 48 bits, big-endian) so that an index of ids grows at one
 * end; the other 80 bits are random. */
struct request_id {
    uint8_t bytes[16];
};

enum header_flags {
    HEADER_STREAM = 1, /* the client asked for a stream */
    HEADER_LAST = 2    /* no further frame of this request follows from this sender */
};

struct header {
    uint8_t version; /* PROTO_MAJOR */
    uint8_t type;    /* enum message_type */
    uint8_t attempt; /* 1 for the first dispatch of a request */
    uint8_t flags;
    uint32_t seq; /* of DATA within a stream, from 0 */
    struct request_id id;
    uint64_t epoch;       /* the sender's boot: random per process start */
    uint32_t deadline_ms; /* what is left, restamped per hop; 0 = none */
    uint32_t reserved;
};

void header_write(const struct header *h, uint8_t out[HEADER_BYTES]);
/* ERR_TRUNCATED below HEADER_BYTES, ERR_VERSION for another major. */
enum err header_read(struct span frame, struct header *out) NODISCARD;

/* Fresh: of now, and random. */
struct request_id request_id_new(void);
/* Makes a fresh id of 16 random bytes. */
void request_id_set_time(struct request_id *id, uint64_t wall_ms);
bool request_id_equals(const struct request_id *a, const struct request_id *b);
/* Random bits, for tables of ids. */
uint64_t request_id_hash(const struct request_id *id);
/* "req_" + 32 hex digits and a NUL: what clients, logs and the ledger show. */
enum { REQUEST_ID_TEXT = 37 };
void request_id_text(const struct request_id *id, char out[REQUEST_ID_TEXT]);
/* The same back; without "req_" too, as logs have it. false: it is none. */
bool request_id_read(struct span text, struct request_id *out);

#endif
