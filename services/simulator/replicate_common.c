/* What every Replicate answer shares: errors and faults. */
#include "services/simulator/replicate.h"

void replicate_error(struct ask *ask, unsigned status, const char *detail)
{
    struct json_writer w = reply_json(ask->reply, status);
    ask->reply->content_type = "application/problem+json";
    ask->reply->reports_usage = false;
    jw_object(&w);
    jw_key(&w, "title");
    jw_str(&w, status == 401   ? "Unauthenticated"
               : status == 422 ? "Input validation failed"
                               : "Simulated error");
    jw_key(&w, "detail");
    jw_str(&w, detail);
    jw_key(&w, "status");
    jw_u64(&w, status);
    jw_object_end(&w);
}

bool replicate_fault(struct ask *ask)
{
    const struct sim_fault *f = &ask->fault;
    if (!f->status || f->status == 200 || f->status == 201)
        return false;
    replicate_error(ask, f->status,
                    f->message[0] ? f->message
                    : f->status == 429
                        ? "Request was throttled. Your rate limit resets in ~30s. (simulated)"
                        : "simulated failure");
    return true;
}
