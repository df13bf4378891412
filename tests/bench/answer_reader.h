/* Reads HTTP/1.1 answers as they come from a socket: status, end of the answer, and how many
 * server-sent events it held. Only as strict as a load generator needs. No memory of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer_phase {
    ANSWER_STATUS,
    ANSWER_HEADERS,
    ANSWER_BODY, /* by Content-Length, or to the connection's end */
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK_DATA,
    ANSWER_CHUNK_END,
    ANSWER_TRAILERS,
    ANSWER_DONE,
    ANSWER_BAD
};

struct answer_reader {
    enum answer_phase phase;
    int status;
    bool chunked, has_length, closes;
    uint64_t left;    /* bytes of the body or the chunk */
    uint64_t events;  /* lines of the body that begin with "data:" */
    unsigned matched; /* bytes of "data:" seen at a line's beginning; beyond = inside a line */
    size_t line_len;
    char line[200]; /* cut when longer */
};

void answer_reader_reset(struct answer_reader *r);

/* Takes up to `len` bytes and returns how many; fewer than `len` only when the answer is done or
 * bad. */
size_t answer_reader_feed(struct answer_reader *r, const char *bytes, size_t len);

/* The connection ended: is the answer whole? */
bool answer_reader_end(struct answer_reader *r);
