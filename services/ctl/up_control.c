#include "services/ctl/up.h"

static void write_text(struct json_writer *w, const char *key, const char *value)
{
    jw_key(w, key);
    jw_str(w, value);
}

static void write_number(struct json_writer *w, const char *key, uint64_t value)
{
    jw_key(w, key);
    jw_u64(w, value);
}

/* ---- children ---- */

static void write_child(const struct child *c, uint64_t now_ms, struct json_writer *w)
{
    char why[32] = "";
    if (c->has_ended)
        child_why(c, why);
    jw_object(w);
    write_text(w, "name", c->name);
    write_number(w, "pid", (uint64_t)c->pid);
    write_text(w, "state",
               c->next_pid ? child_state_name(CHILD_RESTARTING) : child_state_name(c->state));
    write_number(w, "up_s", c->pid ? (now_ms - c->started_ms) / 1000 : 0);
    write_number(w, "restarts", c->restarts);
    write_number(w, "failed_restarts", c->failed_restarts);
    write_text(w, "last_end", why);
    jw_object_end(w);
}

static void list_children(const struct up *u, struct json_writer *w)
{
    uint64_t now_ms = clock_mono_ms(loop_clock(supervisor_loop(u->supervisor)));
    const struct child *c;
    jw_key(w, "children");
    jw_array(w);
    for (size_t i = 0; (c = supervisor_child(u->supervisor, i)) != NULL; i++)
        write_child(c, now_ms, w);
    jw_array_end(w);
}

/* ---- restart ---- */

static const char *restart(struct up *u, struct span name)
{
    struct child *c = supervisor_find(u->supervisor, name);
    if (!c)
        return "there is no daemon of that name";
    const char *why = c->stage == STAGE_EDGE ? up_move_listener(u, c) : NULL;
    if (why)
        return why;
    enum err e = supervisor_restart(u->supervisor, c);
    return e == OK            ? NULL
           : e == ERR_AGAIN   ? "it is being started already"
           : e == ERR_CLOSED  ? "all daemons are being stopped"
           : e == ERR_TOO_BIG ? "too many daemons are ending still"
                              : "it could not be started";
}

void up_control(void *ctx, struct json request, struct json_writer *answer)
{
    struct up *u = ctx;
    struct json command = json_get(request, "command");
    if (json_is(command, "where")) {
        write_text(answer, "admin_socket", u->config->options.auth_admin_socket);
        write_text(answer, "metrics", u->config->options.bus_metrics);
        write_text(answer, "certs", u->config->options.bus_certs);
    } else if (json_is(command, "children")) {
        list_children(u, answer);
    } else if (json_is(command, "restart")) {
        struct buf name = {0};
        json_text_decode(json_text(json_get(request, "name")), &name);
        const char *why = restart(u, buf_span(&name));
        buf_free(&name);
        if (why)
            write_text(answer, "error", why);
    } else {
        write_text(answer, "error", "unknown command");
    }
}
