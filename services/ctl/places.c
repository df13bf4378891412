#include "services/ctl/places.h"

#include <stdio.h>

#include "services/ctl/ask_socket.h"

enum { WHERE_TIMEOUT_MS = 2000 };

static enum err copy_text(char out[PATHS_BYTES], const char *text)
{
    int n = snprintf(out, PATHS_BYTES, "%s", text);
    return n >= 0 && n < PATHS_BYTES ? OK : ERR_TOO_BIG;
}

static enum err take(const struct config *config, struct suite_places *out)
{
    enum err e = copy_text(out->admin_socket, config->options.auth_admin_socket);
    if (!e)
        e = copy_text(out->certs, config->options.bus_certs);
    return e ? e : copy_text(out->metrics, config->options.bus_metrics);
}

static void take_member(struct json root, const char *name, char out[PATHS_BYTES])
{
    struct buf text = {0};
    json_text_decode(json_text(json_get(root, name)), &text);
    if (text.len && text.len < PATHS_BYTES)
        (void)snprintf(out, PATHS_BYTES, "%.*s", (int)text.len, text.data);
    buf_free(&text);
}

/* Leaves what it does not learn. */
static void ask_up(struct suite_places *out)
{
    struct answer a;
    if (ask_socket(out->up_socket, SPAN("{\"command\":\"where\"}"), WHERE_TIMEOUT_MS, &a))
        return;
    take_member(a.root, "admin_socket", out->admin_socket);
    take_member(a.root, "metrics", out->metrics);
    take_member(a.root, "certs", out->certs);
    answer_free(&a);
}

enum err places_up_socket(const struct suite_paths *p, char out[PATHS_BYTES])
{
    int n = snprintf(out, PATHS_BYTES, "%s/up.sock", p->run_dir);
    return n >= 0 && n < PATHS_BYTES ? OK : ERR_TOO_BIG;
}

int places_find(struct suite_paths *p, struct suite_places *out)
{
    struct config *config = NULL;
    if (paths_resolve(p) || places_up_socket(p, out->up_socket))
        return failure("the run or state directory's path is too long");
    bool bad = paths_load(p, &config) >= 0;
    if (bad) {
        struct suite_paths at = *p;
        at.config_path = NULL;
        int code = paths_load(&at, &config);
        if (code >= 0)
            return code;
        (void)fprintf(stderr, "tollgate: going by the suite that runs at %s\n", p->run_dir);
    }
    enum err e = take(config, out);
    config_destroy(&config);
    if (e)
        return failure("an address in the configuration is too long");
    if (bad)
        ask_up(out);
    return -1;
}
