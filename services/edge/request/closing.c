#include "services/edge/request/closing.h"

static void end(struct edge_request *r, unsigned error_class, const char *message)
{
    struct request_outcome o = {.settles = request_may_settle(r)};
    struct api_error f = {.error_class = error_class, .message = span_str(message)};
    request_fail(r, &f, &o);
}

void closing_end_all(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        end(r, ERROR_UNAVAILABLE, "The service is restarting. Try again shortly.");
    }
}

size_t closing_end_key(struct edge *e, struct span key_id)
{
    struct edge_request *r, *next;
    size_t ended = 0;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (!r->authorized || !span_equals(r->key_id, key_id))
            continue;
        end(r, ERROR_BAD_KEY, "This API key has been revoked.");
        ended++;
    }
    return ended;
}
