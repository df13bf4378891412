#include "services/ctl/control.h"

#include <stdlib.h>

#include "common/runtime/line_server.h"

struct control {
    struct line_server *server;
    control_fn fn;
    void *ctx;
};

static void on_line(void *ctx, struct line_client *from, struct span line)
{
    const struct control *c = ctx;
    struct json_doc doc = {0};
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    jw_object(&w);
    if (json_parse(&doc, line, JSON_DEPTH_CLIENT) == OK) {
        c->fn(c->ctx, json_root(&doc), &w);
    } else {
        jw_key(&w, "error");
        jw_str(&w, "that is no JSON");
    }
    jw_object_end(&w);
    line_server_answer(from, buf_span(&out));
    buf_free(&out);
    json_doc_free(&doc);
}

enum err control_create(struct control **out, struct loop *loop, const char *path, control_fn fn,
                        void *ctx)
{
    struct control *c = calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return ERR_NOMEM;
    c->fn = fn;
    c->ctx = ctx;
    const struct line_server_spec spec = {.path = path,
                                          .clients = CONTROL_CLIENTS_MAX,
                                          .line_bytes = CONTROL_LINE_MAX,
                                          .idle_ms = CONTROL_IDLE_MS,
                                          .once = true,
                                          .ctx = c,
                                          .on_line = on_line};
    enum err e = line_server_create(&c->server, loop, &spec);
    if (e)
        control_destroy(out);
    return e;
}

void control_destroy(struct control **out)
{
    struct control *c = *out;
    if (!c)
        return;
    line_server_destroy(&c->server);
    free(c);
    *out = NULL;
}
