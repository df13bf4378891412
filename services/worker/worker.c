#include "services/worker/worker.h"

#include "common/base/log.h"
#include "common/base/model_file.h"
#include "services/worker/batch/batch.h"
#include "services/worker/report.h"
#include "services/worker/providers/replicate/schema_cache.h"

enum { UPKEEP_MS = 100 };

/* ---- slots and upkeep, ten times a second ---- */

static bool report_slots(void *ctx, size_t broker, uint32_t offered, const char *why)
{
    const struct worker *w = ctx;
    struct slots m = {.offered = offered, .why = span_str(why)};
    return bus_send(w->d->brokers[broker], (struct header){0}, MESSAGE_SLOTS, &m) == OK;
}

void worker_offer_slots(struct worker *w)
{
    struct slot_share shares[SLOTS_MAX_BROKERS] = {0};
    size_t n = w->d->broker_count < SLOTS_MAX_BROKERS ? w->d->broker_count : SLOTS_MAX_BROKERS;
    const char *why = w->d->draining             ? "draining"
                      : settles_full(w->settles) ? "too many unacknowledged settlements"
                                                 : endpoints_why(w->setup->endpoints);
    for (size_t i = 0; i < n; i++) {
        struct bus_peer *broker = w->d->brokers[i];
        shares[i].up = bus_peer_up(broker);
        shares[i].running = attempts_running_of(w->attempts, broker);
        shares[i].queued = shares[i].up ? bus_peer_queued(broker) : 0;
    }
    slots_update(&w->offers, shares, n, w->d->config->options.worker_slots, why, report_slots, w);
}

static void on_upkeep(void *ctx)
{
    struct worker *w = ctx;
    if (bus_peer_up(w->d->auth))
        settles_tick(w->settles, loop_now_ms(w->d->loop));
    worker_offer_slots(w);
    report_gauges(w->d->metrics, w->setup, w->attempts, w->settles);
    loop_timer_start(w->d->loop, &w->upkeep, UPKEEP_MS, on_upkeep, w);
}

static enum err send_settle(void *ctx, struct header h, const struct settle *m)
{
    const struct worker *w = ctx;
    return bus_send_soon(w->d->auth, h, MESSAGE_SETTLE, m);
}

static enum err send_to_broker(void *ctx, struct bus_peer *to, struct header h,
                               enum message_type type, const void *message)
{
    (void)ctx;
    return bus_send(to, h, type, message);
}

/* ---- life ---- */

static enum err load_setup(struct worker *w, struct setup **out)
{
    struct config_paths paths = {w->d->run_dir, w->d->state_dir};
    enum err err = setup_create(out, w->d->config->path, &paths, w->provider);
    if (err == OK && endpoints_why((*out)->endpoints))
        log_warn("no_slots_offered", LSTR("provider", w->provider),
                 LSTR("why", endpoints_why((*out)->endpoints)));
    return err;
}

/* Schemas that files give stand beside the table: share/tollgate/replicate/<owner>/<name>.json */
static enum err open_schemas(struct worker *w, const char *table_path)
{
    struct buf folder = {0};
    const char *slash = strrchr(table_path, '/');
    buf_append(&folder, span_of(table_path, slash ? (size_t)(slash + 1 - table_path) : 0));
    buf_append_str(&folder, protocol_info(PROTOCOL_REPLICATE)->name);
    buf_append_char(&folder, '\0');
    w->schemas = buf_check(&folder) == OK ? schema_cache_create(folder.data) : NULL;
    buf_free(&folder);
    return w->schemas ? OK : ERR_NOMEM;
}

static enum err load_table(struct worker *w)
{
    struct buf path = {0}, error = {0};
    enum err err = model_file_path(&path);
    if (err == OK)
        err = model_table_load(path.data, &w->table, &error);
    if (err != OK)
        log_error(
            "no_model_table", LSTR("why", err_name(err)), LSPAN("detail", buf_span(&error)),
            LSTR("hint", "models.json is looked for in $TOLLGATE_SHARE and ../share/tollgate"));
    if (err == OK)
        err = open_schemas(w, path.data);
    buf_free(&path);
    buf_free(&error);
    return err;
}

void worker_close(struct worker *w)
{
    loop_timer_stop(w->d->loop, &w->upkeep);
    attempts_destroy(&w->attempts);
    fetch_destroy(&w->fetch);
    setup_unref(&w->setup);
    settles_destroy(&w->settles);
    model_table_destroy(&w->table);
    schema_cache_destroy(&w->schemas);
}

static enum err open_parts(struct worker *w)
{
    const struct config_options *o = &w->d->config->options;
    struct fetch_options up = {o->worker_shards, o->worker_max_connections,
                               o->worker_connect_timeout, o->worker_max_response};
    enum err err = load_table(w);
    if (err == OK)
        err = load_setup(w, &w->setup);
    if (err == OK)
        err = fetch_create(&w->fetch, w->d->loop, &up);
    if (err == OK)
        err = settles_create(&w->settles, o->worker_max_pending_settles, send_settle, w);
    struct attempt_env env = {.loop = w->d->loop,
                              .fetch = w->fetch,
                              .settles = w->settles,
                              .table = w->table,
                              .schemas = w->schemas,
                              .metrics = w->d->metrics,
                              .ctx = w,
                              .send = send_to_broker,
                              .batching = &embeddings_batching};
    return err == OK ? attempts_create(&w->attempts, &env) : err;
}

enum err worker_open(struct worker *w, struct daemon *d)
{
    w->d = d;
    if (!w->provider || !*w->provider) {
        log_error("usage", LSTR("why", "--provider NAME is required"));
        return ERR_INVALID;
    }
    enum err err = open_parts(w);
    if (err == OK)
        loop_timer_start(d->loop, &w->upkeep, 0, on_upkeep, w);
    else
        worker_close(w);
    return err;
}

void worker_reload(struct worker *w)
{
    struct setup *fresh;
    if (load_setup(w, &fresh) != OK)
        return;
    setup_unref(&w->setup); /* running attempts hold the old one as long as they need it */
    w->setup = fresh;
    w->offers = (struct offers){0};
    worker_offer_slots(w);
}

void worker_broker_up(struct worker *w, const struct bus_peer *broker)
{
    for (size_t i = 0; i < w->d->broker_count && i < SLOTS_MAX_BROKERS; i++)
        if (w->d->brokers[i] == broker)
            w->offers.last[i].reported = false;
    worker_offer_slots(w);
}

uint32_t worker_attempt_limit(const struct worker *w)
{
    uint32_t slots = w->d->config->options.worker_slots;
    if (w->d->draining)
        return 0;
    /* Twice the slots: an offer that shrinks overtakes what was sent against the larger one. */
    return slots > UINT32_MAX / 2 ? slots : slots * 2;
}
