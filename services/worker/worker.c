#include "services/worker/worker.h"

#include <sys/resource.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/model_file.h"
#include "services/worker/batch/batch.h"
#include "services/worker/report.h"
#include "services/worker/providers/replicate/schema_cache.h"

enum { UPKEEP_MS = 100, OTHER_DESCRIPTORS = 64 };

/* ---- slots and upkeep, ten times a second ---- */

/* What the process may open beside its links, files and sockets of other daemons. */
static uint64_t free_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT32_MAX;
    return limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS
                                                  : limit.rlim_cur / 2 + 2;
}

static bool report_slots(void *ctx, size_t broker, const struct slot_share *share,
                         const struct slots_state *state)
{
    const struct worker *w = ctx;
    struct slots m = {.offered = share->offered,
                      .why = span_str(state->why ? state->why : ""),
                      .clock_ms = state->now_ms,
                      .running = share->running,
                      .free = state->free,
                      .grant_key =
                          span_of((const char *)w->links[broker].key, sizeof w->links[broker].key)};
    return bus_send(w->d->brokers[broker], (struct header){0}, MESSAGE_SLOTS, &m) == OK;
}

static const char *why_none(const struct worker *w)
{
    return w->d->draining             ? "draining"
           : settles_full(w->settles) ? "too many unacknowledged settlements"
                                      : endpoints_why(w->setup->endpoints);
}

/* Each attempt may need a connection of its own, and others are kept beside them. */
static uint32_t slots_of(const struct worker *w)
{
    uint32_t wanted = w->d->config->options.worker_slots;
    uint64_t room = w->descriptors * 3 / 4;
    return room < wanted ? (uint32_t)room : wanted;
}

static size_t broker_count(const struct worker *w)
{
    return w->d->broker_count < SLOTS_MAX_BROKERS ? w->d->broker_count : SLOTS_MAX_BROKERS;
}

void worker_offer_slots(struct worker *w)
{
    struct gate_offer offers[SLOTS_MAX_BROKERS] = {0};
    struct slot_share shares[SLOTS_MAX_BROKERS] = {0};
    size_t n = broker_count(w);
    struct slots_state state = {.now_ms = loop_now_ms(w->d->loop), .why = why_none(w)};
    gate_set_slots(w->gate, slots_of(w));
    gate_set_shut(w->gate, w->d->draining || settles_full(w->settles));
    for (size_t i = 0; i < n; i++) {
        offers[i].broker_epoch = w->links[i].epoch;
        offers[i].queued = w->links[i].epoch ? bus_peer_queued(w->d->brokers[i]) : 0;
    }
    w->uneven = gate_share(w->gate, offers, n, state.now_ms);
    state.free = gate_free(w->gate);
    w->said_full = !state.free;
    for (size_t i = 0; i < n; i++)
        shares[i] = (struct slot_share){.up = w->links[i].epoch != 0,
                                        .running = offers[i].running,
                                        .offered = offers[i].offered};
    slots_update(&w->offers, shares, n, &state, report_slots, w);
}

static void on_upkeep(void *ctx)
{
    struct worker *w = ctx;
    if (bus_peer_up(w->d->auth))
        settles_tick(w->settles, loop_now_ms(w->d->loop));
    gate_sweep(w->gate, loop_now_ms(w->d->loop));
    worker_offer_slots(w);
    report_gauges(w->d->metrics, w->setup, w->attempts, w->settles);
    loop_timer_start(w->d->loop, &w->upkeep, UPKEEP_MS, on_upkeep, w);
}

static enum err send_settle(void *ctx, struct header h, const struct settle *m)
{
    const struct worker *w = ctx;
    return bus_send_soon(w->d->auth, h, MESSAGE_SETTLE, m);
}

static enum err send_to_edge(void *ctx, struct bus_peer *to, struct header h,
                             enum message_type type, const void *message)
{
    (void)ctx;
    return bus_send(to, h, type, message);
}

/* ---- the provider's models ---- */

static void tell_models(void *ctx, struct span names)
{
    const struct worker *w = ctx;
    struct models m = {.provider = span_str(w->provider), .names = names};
    for (size_t i = 0; i < w->d->broker_count; i++) {
        if (bus_peer_up(w->d->brokers[i]) &&
            bus_send(w->d->brokers[i], (struct header){0}, MESSAGE_MODELS, &m) != OK)
            log_debug("models_undelivered", LSTR("peer", bus_peer_name(w->d->brokers[i])));
    }
}

/* ---- attempts ---- */

/* Whoever may wait for this slot hears of it now, not with the next upkeep. */
static void on_slot_free(struct worker *w, struct gate_grant *grant)
{
    if (gate_end(w->gate, grant, loop_now_ms(w->d->loop)) || w->uneven || w->said_full)
        worker_offer_slots(w);
}

static void on_attempt_over(void *ctx, struct attempt *attempt)
{
    on_slot_free(ctx, attempt_links(attempt)->grant);
}

static void refuse(struct worker *w, struct bus_peer *edge, const struct bus_message *m,
                   enum gate_verdict verdict)
{
    const char *reason = gate_verdict_name(verdict);
    struct span labels[] = {span_str(w->provider), span_str(reason)};
    metric_add(w->d->metrics, METRIC_DISPATCHES_REFUSED, labels, 1);
    log_write(verdict == GATE_BAD_SIGNATURE ? LEVEL_WARN : LEVEL_DEBUG, "dispatch_refused",
              LHEX("request", m->header.id.bytes, sizeof m->header.id.bytes), LSTR("why", reason),
              LSTR("edge", bus_peer_name(edge)), LOG_END_);
    attempts_refuse(w->attempts, edge, m, span_str(reason), gate_free(w->gate));
}

void worker_dispatch(struct worker *w, struct bus_peer *edge, const struct bus_message *m)
{
    struct gate_grant *grant;
    if (attempts_has(w->attempts, &m->header))
        return;
    enum gate_verdict verdict = gate_begin(w->gate, m->body->dispatch.grant, bus_peer_epoch(edge),
                                           loop_now_ms(w->d->loop), &grant);
    if (verdict != GATE_OK)
        refuse(w, edge, m, verdict);
    else if (!attempts_dispatch(w->attempts, w->setup, edge, m, grant))
        on_slot_free(w, grant);
}

/* ---- life ---- */

static void on_start_only_change(void *ctx, const char *section, const char *name)
{
    (void)ctx; /* the daemon has warned */
    (void)section;
    (void)name;
}

static enum err read_setup(const struct worker *w, const char *path, struct setup **out)
{
    struct config_paths paths = {w->d->run_dir, w->d->state_dir};
    return setup_create(out, path, &paths, w->provider);
}

/* It was read, or could not be. */
static enum err judge_setup(const struct worker *w, enum err err, struct setup **out)
{
    if (err == OK)
        err = config_keep_start_only((*out)->config, w->d->config, on_start_only_change, NULL);
    if (err != OK)
        setup_unref(out);
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
    if (w->attempts)
        attempts_stop(w->attempts);
    attempts_destroy(&w->attempts);
    gate_destroy(&w->gate);
    listing_stop(&w->listing);
    crypto_wipe(w->links, sizeof w->links);
    fetch_destroy(&w->fetch);
    setup_unref(&w->setup);
    setup_unref(&w->prepared);
    if (w->settles)
        settles_keep(w->settles);
    settles_destroy(&w->settles);
    model_table_destroy(&w->table);
    schema_cache_destroy(&w->schemas);
}

static enum err open_parts(struct worker *w)
{
    const struct config_options *o = &w->d->config->options;
    uint64_t kept = w->descriptors - slots_of(w);
    struct fetch_options up = {o->worker_shards,
                               kept < o->worker_max_connections ? (uint32_t)kept
                                                                : o->worker_max_connections,
                               o->worker_connect_timeout, o->worker_max_response};
    enum err err = load_table(w);
    if (err == OK)
        err = judge_setup(w, read_setup(w, w->d->config->path, &w->setup), &w->setup);
    if (err == OK)
        err = gate_create(&w->gate, bus_epoch(w->d->bus), slots_of(w));
    if (err == OK)
        err = fetch_create(&w->fetch, w->d->loop, &up);
    if (err == OK)
        err = settles_create(&w->settles, o->worker_max_pending_settles, send_settle, w);
    if (err == OK)
        settles_spool(w->settles, &(struct settles_of){w->d->state_dir, w->provider, w->d->name,
                                                       bus_epoch(w->d->bus)});
    struct attempt_env env = {.loop = w->d->loop,
                              .fetch = w->fetch,
                              .helper = w->d->helper,
                              .settles = w->settles,
                              .table = w->table,
                              .schemas = w->schemas,
                              .metrics = w->d->metrics,
                              .speeds = &w->speeds,
                              .ctx = w,
                              .send = send_to_edge,
                              .on_over = on_attempt_over,
                              .batching = &embeddings_batching};
    return err == OK ? attempts_create(&w->attempts, &env) : err;
}

enum err worker_open(struct worker *w, struct daemon *d)
{
    w->d = d;
    w->descriptors = free_descriptors();
    if (!w->provider || !*w->provider) {
        log_error("usage", LSTR("why", "--provider NAME is required"));
        return ERR_INVALID;
    }
    enum err err = open_parts(w);
    if (slots_of(w) < d->config->options.worker_slots)
        log_warn("slots_capped", LU64("slots", slots_of(w)),
                 LU64("wanted", d->config->options.worker_slots),
                 LSTR("why", "the limit of open files (RLIMIT_NOFILE)"));
    if (err == OK) {
        w->listing =
            (struct listing){.loop = d->loop, .fetch = w->fetch, .tell = tell_models, .ctx = w};
        listing_renew(&w->listing, w->setup);
        loop_timer_start(d->loop, &w->upkeep, 0, on_upkeep, w);
    } else
        worker_close(w);
    return err;
}

void worker_prepare(struct worker *w, const char *path)
{
    setup_unref(&w->prepared);
    w->prepared_err = read_setup(w, path, &w->prepared);
    w->is_prepared = true;
}

void worker_reload(struct worker *w)
{
    if (!w->is_prepared)
        worker_prepare(w, w->d->config->path);
    w->is_prepared = false;
    if (judge_setup(w, w->prepared_err, &w->prepared) != OK)
        return;
    setup_unref(&w->setup); /* running attempts hold the old one as long as they need it */
    w->setup = w->prepared;
    w->prepared = NULL;
    listing_renew(&w->listing, w->setup);
    w->offers = (struct offers){0};
    worker_offer_slots(w);
}

/* ---- brokers ---- */

static size_t number_of(const struct worker *w, const struct bus_peer *broker)
{
    size_t i = 0;
    while (i < broker_count(w) && w->d->brokers[i] != broker)
        i++;
    return i;
}

void worker_broker_up(struct worker *w, const struct bus_peer *broker)
{
    size_t i = number_of(w, broker);
    if (i == broker_count(w))
        return;
    struct broker_link *link = &w->links[i];
    crypto_random(link->key, sizeof link->key);
    if (gate_broker_up(w->gate, bus_peer_epoch(broker), link->key) == OK)
        link->epoch = bus_peer_epoch(broker);
    w->offers.last[i].reported = false;
    worker_offer_slots(w);
    if (listing_names(&w->listing).len)
        tell_models(w, listing_names(&w->listing));
}

void worker_broker_down(struct worker *w, const struct bus_peer *broker)
{
    size_t i = number_of(w, broker);
    if (i == broker_count(w))
        return;
    gate_broker_down(w->gate, w->links[i].epoch, loop_now_ms(w->d->loop));
    w->links[i].epoch = 0;
    worker_offer_slots(w);
}
