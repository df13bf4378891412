#include "services/edge/request/flow.h"

/* What a delta event of either protocol weighs beside its text, and the bytes of one token. */
enum { EVENT_BYTES = 160, TOKEN_BYTES = 4 };

/* A worker may pass its window by the rest of one read; several windows are a fault that memory
 * must not pay for. */
enum { OVERRUN = 4 };

static void scan(struct flow *f, struct span bytes)
{
    const char *at = bytes.data;
    const char *end = bytes.data + bytes.len;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end) {
            f->line_ends = 0;
            return;
        }
        bool blank = line_end == at || (line_end == at + 1 && *at == '\r');
        f->line_ends = blank ? f->line_ends + 1 : 1;
        if (f->line_ends == 2)
            f->events++;
        at = line_end + 1;
    }
}

enum err flow_receive(struct flow *f, uint32_t seq, struct span bytes)
{
    if (seq != f->next_seq)
        return ERR_INVALID;
    uint64_t most = f->returned_bytes + (uint64_t)OVERRUN * f->window_bytes;
    if (f->window_bytes > 0 && f->received_bytes + bytes.len > most)
        return ERR_TOO_BIG;
    f->next_seq++;
    f->received_bytes += bytes.len;
    scan(f, bytes);
    return OK;
}

uint32_t flow_credit(struct flow *f, uint64_t pending_bytes)
{
    uint64_t taken = f->received_bytes > pending_bytes ? f->received_bytes - pending_bytes : 0;
    if (taken <= f->returned_bytes)
        return 0;
    uint64_t due = taken - f->returned_bytes;
    if (f->window_bytes == 0 || due < f->window_bytes / 2)
        return 0;
    f->returned_bytes += due;
    return (uint32_t)due;
}

bool flow_between_events(const struct flow *f)
{
    return f->received_bytes == 0 || f->line_ends >= 2;
}

uint64_t flow_tokens(const struct flow *f)
{
    uint64_t overhead = f->events * EVENT_BYTES;
    uint64_t by_bytes =
        f->received_bytes > overhead ? (f->received_bytes - overhead) / TOKEN_BYTES : 0;
    return by_bytes > f->events ? by_bytes : f->events;
}
