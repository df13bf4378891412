#include "services/auth/admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/base/log.h"
#include "common/runtime/line_server.h"

/* One command in work. */
struct admin_work {
    struct line_client *from;
    struct admin_call call;
    struct buf answer;
    struct admin_work *prev, *next;
};

struct admin {
    struct loop *loop;
    struct admin_host host;
    struct line_server *server;
    struct admin_work *works; /* at the store */
};

static void free_work(struct admin_work *w)
{
    admin_call_reset(&w->call);
    if (w->answer.data)
        crypto_wipe(w->answer.data, w->answer.cap); /* a new key's text was in it */
    buf_free(&w->answer);
    free(w);
}

static void answer(struct admin_work *w)
{
    struct line_client *from = w->from;
    struct buf text = w->answer;
    w->answer = (struct buf){0};
    free_work(w);
    line_server_answer(from, buf_span(&text)); /* may bring the next line */
    if (text.data)
        crypto_wipe(text.data, text.cap);
    buf_free(&text);
}

static void on_line(void *ctx, struct line_client *from, struct span line)
{
    enum { ANSWER_BYTES = 4096 };
    struct admin *a = ctx;
    struct admin_work *w = calloc(1, sizeof *w);
    if (!w) {
        line_server_answer(from, SPAN("{\"ok\":false,\"error\":\"auth is out of memory\"}"));
        return;
    }

    w->from = from;
    w->call = (struct admin_call){.host = &a->host,
                                  .wall_ms = clock_wall_ms(loop_clock(a->loop)),
                                  .answer = &w->answer,
                                  .tag = w};
    (void)buf_reserve(&w->answer, ANSWER_BYTES); /* an answer with a secret is not moved about */
    DL_APPEND(a->works, w);
    if (!admin_begin(&w->call, line)) {
        buf_clear(&w->answer);
        return;
    }
    DL_DELETE(a->works, w);
    answer(w);
}

void admin_on_result(struct admin *a, struct store_op *op, enum err result)
{
    struct admin_work *w = op->tag;
    admin_finish(&w->call, op, result);
    DL_DELETE(a->works, w);
    answer(w);
}

enum err admin_create(struct admin **out, struct loop *loop, const char *path,
                      const struct admin_host *host)
{
    struct admin *a = calloc(1, sizeof *a);
    if (!a)
        return ERR_NOMEM;
    a->loop = loop;
    a->host = *host;
    const struct line_server_spec spec = {.path = path,
                                          .clients = ADMIN_CONNECTIONS_MAX,
                                          .line_bytes = ADMIN_LINE_MAX,
                                          .idle_ms = ADMIN_IDLE_MS,
                                          .ctx = a,
                                          .on_line = on_line};
    enum err e = line_server_create(&a->server, loop, &spec);
    if (e) {
        log_error("admin_socket_failed", LSTR("path", path),
                  LSTR("error", e == ERR_IO ? strerror(errno) : err_name(e)));
        admin_destroy(&a);
        return e;
    }
    *out = a;
    return OK;
}

void admin_destroy(struct admin **out)
{
    struct admin *a = *out;
    struct admin_work *w, *next;
    if (!a)
        return;
    *out = NULL;
    line_server_destroy(&a->server);
    DL_FOREACH_SAFE(a->works, w, next)
    free_work(w);
    free(a);
}
