#include "services/ctl/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* First of: the option, the environment, under `base` (when set and not empty), the last resort. */
static enum err pick(char out[PATHS_BYTES], const char *option, const char *variable,
                     const char *base, const char *under, const char *last)
{
    const char *from_env = getenv(variable);
    int n;
    if (option)
        n = snprintf(out, PATHS_BYTES, "%s", option);
    else if (from_env && *from_env)
        n = snprintf(out, PATHS_BYTES, "%s", from_env);
    else if (base && *base)
        n = snprintf(out, PATHS_BYTES, "%s/%s", base, under);
    else
        n = snprintf(out, PATHS_BYTES, "%s", last);
    return n > 0 && n < PATHS_BYTES ? OK : ERR_TOO_BIG;
}

enum err paths_resolve(struct suite_paths *p)
{
    const char *config = getenv("TOLLGATE_CONFIG"), *home = getenv("HOME"),
               *state = getenv("XDG_STATE_HOME");
    char tmp[64];
    (void)snprintf(tmp, sizeof tmp, "/tmp/tollgate-%u", (unsigned)geteuid());
    if (!p->config_path && config && *config)
        p->config_path = config;
    if (geteuid() == 0) {
        enum err e = pick(p->run_dir, p->run_option, "TOLLGATE_RUN_DIR", NULL, "", "/run/tollgate");
        return e ? e
                 : pick(p->state_dir, p->state_option, "TOLLGATE_STATE_DIR", NULL, "",
                        "/var/lib/tollgate");
    }
    enum err e = pick(p->run_dir, p->run_option, "TOLLGATE_RUN_DIR", getenv("XDG_RUNTIME_DIR"),
                      "tollgate", tmp);
    if (e)
        return e;
    bool by_state = state && *state;
    return pick(p->state_dir, p->state_option, "TOLLGATE_STATE_DIR", by_state ? state : home,
                by_state ? "tollgate" : ".local/state/tollgate", tmp);
}

int paths_load(const struct suite_paths *p, struct config **out)
{
    struct buf errors = {0};
    const struct config_paths paths = {p->run_dir, p->state_dir};
    enum err e = config_load(p->config_path, &paths, out, &errors);
    if (e)
        (void)fprintf(stderr, "%.*s%s", (int)errors.len, errors.data ? errors.data : "",
                      errors.len && errors.data[errors.len - 1] != '\n' ? "\n" : "");
    if (e && errors.len == 0)
        (void)failure("%s: %s", p->config_path ? p->config_path : "defaults", err_name(e));
    buf_free(&errors);
    return e ? EXIT_CONFIG : -1;
}
