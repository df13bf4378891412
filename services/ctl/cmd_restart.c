/* tollgate restart: has `tollgate up` start one of its daemons anew, without a request lost. */
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "services/ctl/ask_socket.h"
#include "services/ctl/places.h"
#include "services/ctl/supervisor.h"

enum { RESTART_ASK_MS = 2000, RESTART_LOOK_MS = 100 };

struct restart {
    char socket_path[PATHS_BYTES];
    const char *name;
    uint64_t restarts, failed; /* before */
};

static uint64_t number_of(struct json object, const char *name)
{
    int64_t value = 0;
    return json_i64(json_get(object, name), &value) && value > 0 ? (uint64_t)value : 0;
}

/* Its entry in the answer; JSON_NOTHING when there is none. */
static struct json entry_of(const struct answer *a, const char *name)
{
    for (struct json_iter i = json_iter(json_get(a->root, "children")); json_next(&i);) {
        if (json_is(json_get(i.value, "name"), name))
            return i.value;
    }
    return JSON_NOTHING;
}

static int ask_children(const struct restart *r, struct answer *out)
{
    enum err e =
        ask_socket(r->socket_path, SPAN("{\"command\":\"children\"}"), RESTART_ASK_MS, out);
    if (e == ERR_NOT_FOUND)
        return failure("no `tollgate up` listens at %s (--run-dir says where)", r->socket_path);
    if (e == ERR_DENIED || e == ERR_CLOSED)
        return failure("`tollgate up` does not talk to this user at %s", r->socket_path);
    return e ? failure("%s: %s", r->socket_path, err_name(e)) : -1;
}

static int begin(struct restart *r)
{
    struct answer a;
    struct buf line = {0};
    struct json_writer w = {.out = &line};
    int code = ask_children(r, &a);
    if (code >= 0)
        return code;
    struct json entry = entry_of(&a, r->name);
    r->restarts = number_of(entry, "restarts");
    r->failed = number_of(entry, "failed_restarts");
    answer_free(&a);
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, "restart");
    jw_key(&w, "name");
    jw_str(&w, r->name);
    jw_object_end(&w);
    enum err e = ask_socket(r->socket_path, buf_span(&line), RESTART_ASK_MS, &a);
    buf_free(&line);
    if (e)
        return failure("%s: %s", r->socket_path, err_name(e));
    struct span why = json_text(json_get(a.root, "error"));
    code = why.len ? failure("%s: %.*s", r->name, SPAN_ARG(why)) : -1;
    answer_free(&a);
    return code;
}

/* −1: not yet. */
static int look(const struct restart *r)
{
    struct answer a;
    int code = ask_children(r, &a);
    if (code >= 0)
        return code;
    struct json entry = entry_of(&a, r->name);
    if (json_absent(entry))
        code = failure("%s: it was taken out of the configuration", r->name);
    else if (number_of(entry, "failed_restarts") > r->failed)
        code = failure("%s: the new one could not start; the old one goes on", r->name);
    else if (number_of(entry, "restarts") > r->restarts &&
             json_is(json_get(entry, "state"), "ready"))
        code = EXIT_DONE;
    if (code == EXIT_DONE)
        printf("%s: ready, pid %llu\n", r->name, (unsigned long long)number_of(entry, "pid"));
    answer_free(&a);
    return code;
}

/* Until the new one is ready. What the old one still does may take as long as it may take to drain.
 */
static int await(const struct restart *r)
{
    const struct timespec pause = {0, RESTART_LOOK_MS * 1000000L};
    uint64_t until_ms = clock_mono_ms(&clock_real) + 60000 + START_TIMEOUT_MS;
    while (clock_mono_ms(&clock_real) < until_ms) {
        int code = look(r);
        if (code >= 0)
            return code;
        (void)nanosleep(&pause, NULL);
    }
    return failure("%s: not ready yet; `tollgate status` shows more", r->name);
}

static int restart(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct positionals rest;
    struct restart r = {0};
    const struct arg args[] = {PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count == 0)
        return usage_error(self, "which daemon? `tollgate status` lists them");
    if (paths_resolve(&paths) || places_up_socket(&paths, r.socket_path))
        return failure("the run or state directory's path is too long");
    for (size_t i = 0; i < rest.count; i++) {
        r.name = rest.items[i];
        code = begin(&r);
        if (code < 0)
            code = await(&r);
        if (code != EXIT_DONE)
            return code;
    }
    return EXIT_DONE;
}

const struct command command_restart = {
    "restart", "Start daemons of `tollgate up` anew, one after the other.", "[OPTION]... NAME...",
    "An edge or a worker is replaced: the new one is ready before the old one stops taking work, "
    "and "
    "that one ends what it has.\n"
    "Returns when the new one is ready. Exit code 1 when it could not start; then the old one goes "
    "on.",
    restart};
