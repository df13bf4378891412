#include "services/auth/admin/command.h"

bool admin_refuse(struct admin_call *c, const char *why)
{
    buf_clear(c->answer);
    struct json_writer w = {.out = c->answer};
    jw_object(&w);
    jw_key(&w, "ok");
    jw_bool(&w, false);
    jw_key(&w, "error");
    jw_str(&w, why);
    jw_object_end(&w);
    return true;
}

struct json_writer admin_begin_answer(struct admin_call *c)
{
    buf_clear(c->answer);
    struct json_writer w = {.out = c->answer};
    jw_object(&w);
    jw_key(&w, "ok");
    jw_bool(&w, true);
    return w;
}

bool admin_submit(struct admin_call *c, const struct store_op *op)
{
    if (c->host->submit(c->host->ctx, op))
        return admin_refuse(c, "auth is too busy; try again");
    return false;
}

bool admin_read_count(struct json request, const char *name, uint64_t max, uint64_t *out)
{
    struct json v = json_get(request, name);
    int64_t n = 0;
    *out = 0;
    if (json_absent(v))
        return true;
    if (!json_i64(v, &n) || n < 0 || (uint64_t)n > max)
        return false;
    *out = (uint64_t)n;
    return true;
}
