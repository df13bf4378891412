#include "services/ctl/up.h"

#include "common/base/log.h"

enum { DRAIN_SLACK_MS = 3000 };

unsigned up_stop_timeout(const struct config *config)
{
    const struct config_options *o = &config->options;
    return (unsigned)(o->runtime_drain_timeout + o->edge_lame_duck) + DRAIN_SLACK_MS;
}

static struct config *load(const struct up *u)
{
    const struct config_paths paths = {u->paths.run_dir, u->paths.state_dir};
    struct config *fresh = NULL;
    struct buf errors = {0};
    enum err e = config_load(u->paths.config_path, &paths, &fresh, &errors);
    for (struct span lines = buf_span(&errors); e && lines.len;)
        log_error("bad_configuration", LSPAN("problem", span_cut(&lines, '\n')));
    buf_free(&errors);
    return e ? NULL : fresh;
}

/* Each daemon names those that concern it. */
static void on_start_only_change(void *ctx, const char *section, const char *name)
{
    (void)ctx;
    (void)section;
    (void)name;
}

/* ---- workers ---- */

static bool is_wanted(const struct config *config, const struct child *c)
{
    char name[SUITE_NAME_BYTES];
    for (size_t i = 0; i < config->provider_count; i++) {
        suite_worker_name(&config->providers[i], name);
        if (strcmp(name, c->name) == 0)
            return true;
    }
    return false;
}

static void remove_workers(const struct up *u, const struct config *fresh)
{
    struct child *c;
    for (size_t i = 0; (c = supervisor_child(u->supervisor, i)) != NULL;) {
        if (c->stage != STAGE_WORKER || is_wanted(fresh, c)) {
            i++;
            continue;
        }
        if (supervisor_remove(u->supervisor, c)) {
            log_error("worker_not_removed", LSTR("child", c->name),
                      LSTR("why", "too many daemons are ending still; send SIGHUP again"));
            return;
        }
    }
}

/* A worker sees the variables it was started with. */
static void update_worker(const struct up *u, struct child *c, const struct config_provider *p)
{
    bool changed = false;
    enum err e = suite_update_worker(c, p, &changed);
    if (!e && changed)
        e = supervisor_restart(u->supervisor, c);
    if (e)
        log_warn("restart_needed", LSTR("child", c->name),
                 LSTR("why", "its provider's section names further variables"));
}

static void add_workers(const struct up *u, const struct config *fresh)
{
    const struct suite suite = {u->supervisor, &u->paths, &u->options};
    for (size_t i = 0; i < fresh->provider_count; i++) {
        const struct config_provider *p = &fresh->providers[i];
        char name[SUITE_NAME_BYTES];
        suite_worker_name(p, name);
        struct child *c = supervisor_find(u->supervisor, span_str(name));
        if (c)
            update_worker(u, c, p);
        else if (suite_add_worker(&suite, p))
            log_error("worker_not_added", LSTR("child", name),
                      LSTR("why", "too many daemons, or out of memory"));
        else
            log_info("added", LSTR("child", name));
    }
}

bool up_reload(void *ctx)
{
    struct up *u = ctx;
    struct config *fresh = load(u);
    if (fresh)
        up_want_listener(&u->listener, fresh);
    if (fresh && config_keep_start_only(fresh, u->config, on_start_only_change, u))
        config_destroy(&fresh);
    if (!fresh) {
        log_error("reload_refused", LSTR("keeping", "the configuration in force"));
        return false;
    }
    remove_workers(u, fresh);
    add_workers(u, fresh);
    config_destroy(&u->config);
    u->config = fresh;
    supervisor_set_stop_timeout(u->supervisor, up_stop_timeout(fresh));
    log_info("reloaded", LSTR("config", u->paths.config_path));
    return true;
}
