#include "services/edge/edge.h"

#include "common/base/log.h"
#include "common/runtime/listening.h"
#include "services/edge/request/authorize.h"
#include "services/edge/request/closing.h"
#include "services/edge/handlers.h"
#include "services/edge/request/dispatch.h"
#include "services/edge/request/key_check.h"
#include "services/edge/request/relay.h"
#include "services/edge/status/status.h"

enum { TICK_MS = 250 };

static enum err send_release(void *ctx, struct header h, const struct release *r)
{
    const struct edge *e = ctx;
    return bus_send(e->d->auth, h, MESSAGE_RELEASE, r);
}

static void tell_slots(void *ctx, const uint8_t key[SHA256_BYTES], uint64_t given,
                       uint64_t returned)
{
    struct edge *e = ctx;
    struct slots_held m = {
        .key_digest = span_of(key, SHA256_BYTES), .given = given, .returned = returned};
    if (bus_peer_up(e->d->auth) && bus_send(e->d->auth, (struct header){0}, MESSAGE_SLOTS_HELD, &m))
        log_debug("slots_not_told"); /* auth asks */
}

static bool tell_lease(void *ctx, const struct lease_used *m)
{
    const struct edge *e = ctx;
    return bus_peer_up(e->d->auth) &&
           bus_send(e->d->auth, (struct header){0}, MESSAGE_LEASE_USED, m) == OK;
}

static void on_gathered(void *ctx)
{
    struct edge *e = ctx;
    if (bus_peer_up(e->d->auth))
        releases_tick(e->releases, edge_now_ms(e));
}

static void gather_releases(void *ctx)
{
    struct edge *e = ctx;
    if (!loop_timer_running(&e->gather_timer))
        loop_timer_start(e->d->loop, &e->gather_timer, RELEASE_GATHER_MS, on_gathered, e);
}

/* ---- configuration ---- */

static void read_config(struct edge *e)
{
    const struct config_list *allow = &edge_options(e)->edge_metrics_allow;
    const char *bad;
    cidr_list_free(&e->metrics_allow);
    if (cidr_list_parse(&e->metrics_allow, allow->items, allow->count, &bad) == ERR_INVALID)
        log_warn("bad_range", LSTR("option", "edge.metrics_allow"), LSTR("range", bad));
    e->config_read_ms = clock_wall_ms(loop_clock(e->d->loop));
}

/* Where there is little memory for bodies, large ones get half of it still. */
static uint64_t small_body_reserve(const struct config_options *o)
{
    uint64_t most = o->edge_max_body_memory / 2;
    return o->edge_small_body_reserve < most ? o->edge_small_body_reserve : most;
}

static enum err open_http(struct edge *e)
{
    const struct config_options *o = edge_options(e);
    struct http_config config = {
        .address = o->edge_address,
        .port = (uint16_t)o->edge_port,
        .tls_cert = o->edge_tls_cert,
        .tls_key = o->edge_tls_key,
        .shards = o->edge_shards,
        .max_connections = o->edge_max_connections,
        .max_connections_per_address =
            o->edge_max_connections_per_address ? o->edge_max_connections_per_address : UINT32_MAX,
        .max_header_bytes = o->edge_max_header,
        .max_body_bytes = o->edge_max_body,
        .takes_codings = true,
        .max_body_memory_bytes = o->edge_max_body_memory,
        .max_address_body_bytes = o->edge_max_body_memory_per_address,
        .max_owner_body_bytes = o->edge_max_body_memory_per_key,
        .small_body_reserve_bytes = small_body_reserve(o),
        .header_timeout_ms = o->edge_header_timeout,
        .body_timeout_ms = o->edge_body_timeout,
        .body_min_rate = o->edge_body_min_rate,
        .idle_timeout_ms = o->edge_idle_timeout,
        .send_timeout_ms = o->edge_send_timeout,
    };
    struct http_handler handler = edge_handler;
    handler.ctx = e;
    enum err error = listening_handed(LISTENING_HTTP, &config.listen_fd);
    bool handed = error == OK && config.listen_fd != LISTENING_NONE;
    if (error == OK)
        error = http_server_create(&e->http, e->d->loop, &config, &handler);
    else
        log_error("bad_socket",
                  LSTR("why", "what was handed over by LISTEN_FDS is no listening "
                              "TCP socket, or none of several is named " LISTENING_HTTP));
    char why[LISTENING_FAULT_BYTES];
    if (error != OK)
        log_error("cannot_listen", LSTR("address", o->edge_address), LU64("port", o->edge_port),
                  LSTR("why", listening_fault(error, (uint16_t)o->edge_port, why)));
    else
        log_info("listening", LSTR("address", o->edge_address),
                 LU64("port", http_server_port(e->http)), LU64("tls", *o->edge_tls_cert != 0),
                 LU64("handed", handed));
    return error;
}

/* ---- several times a second ---- */

/* What others count, as far as it has grown. */
static void report_totals(struct edge *e, const struct http_stats *now)
{
    struct metric_client *m = e->d->metrics;
    struct http_stats *last = &e->last_reported;
    metric_add_total(m, METRIC_CONNECTIONS_REFUSED, METRIC_LABELS(SPAN("limit")),
                     now->refused_limit, &last->refused_limit);
    metric_add_total(m, METRIC_CONNECTIONS_REFUSED, METRIC_LABELS(SPAN("address")),
                     now->refused_address, &last->refused_address);
    metric_add_total(m, METRIC_CONNECTIONS_REFUSED, METRIC_LABELS(SPAN("framing")),
                     now->refused_framing, &last->refused_framing);
    metric_add_total(m, METRIC_HEADERS_DROPPED, NULL, now->bad_headers, &last->bad_headers);
    metric_add_total(m, METRIC_RELEASES_DROPPED, NULL, releases_dropped(e->releases),
                     &e->releases_dropped_reported);
}

static void on_tick(void *ctx)
{
    struct edge *e = ctx;
    struct http_stats stats = http_server_stats(e->http);
    struct metric_client *m = e->d->metrics;
    metric_set(m, METRIC_IN_FLIGHT, NULL, (int64_t)e->request_count);
    metric_set(m, METRIC_CONNECTIONS, NULL, (int64_t)stats.connections);
    report_totals(e, &stats);
    if (bus_peer_up(e->d->auth)) {
        leases_tick(e->leases, edge_now_ms(e));
        releases_tick(e->releases, edge_now_ms(e));
    } else {
        authorize_without_auth(e);
    }
    links_tick(&e->links, edge_now_ms(e));
    slot_book_tick(e->slots, edge_now_ms(e));
    key_check_tick(e);
    loop_timer_start(e->d->loop, &e->gauge_timer, TICK_MS, on_tick, e);
}

static void on_turn_end(void *ctx)
{
    struct edge *e = ctx;
    if (e->grants)
        dispatch_report(e);
}

/* ---- life ---- */

enum err edge_start(struct edge *e, struct daemon *d)
{
    e->d = d;
    e->auth_down_ms = e->brokers_down_ms = edge_now_ms(e);
    read_config(e);
    enum err error = leases_create(&e->leases, EDGE_MAX_LEASES, tell_lease, e);
    if (error == OK)
        error = slot_book_create(&e->slots, EDGE_MAX_LEASES, tell_slots, e);
    if (error == OK)
        error = known_keys_create(&e->known_keys, EDGE_MAX_KNOWN_KEYS, EDGE_MAX_UNKNOWN_KEYS);
    if (error == OK)
        error =
            releases_create(&e->releases, RELEASE_MAX_PENDING, send_release, gather_releases, e);
    if (error == OK)
        releases_spool(e->releases, d->state_dir, bus_epoch(d->bus));
    if (error == OK)
        error = grants_create(&e->grants);
    e->grants_hook = (struct loop_hook){.fn = on_turn_end, .ctx = e};
    loop_hook_turn_end(d->loop, &e->grants_hook);
    if (error == OK)
        error = open_http(e);
    if (error == OK)
        on_tick(e);
    else
        edge_stop(e); /* the daemon stops only what has started */
    return error;
}

void edge_reload(struct edge *e)
{
    read_config(e);
    enum err error = http_server_reload_tls(e->http);
    if (error != OK)
        log_error("tls_not_renewed", LSTR("why", err_name(error)));
}

static void close_the_door(void *ctx)
{
    struct edge *e = ctx;
    loop_timer_stop(e->d->loop, &e->lame_duck_timer);
    http_server_drain(e->http);
    slot_book_end_all(e->slots);
}

uint64_t edge_lame_duck_ms(const struct edge *e)
{
    return edge_options(e)->edge_lame_duck;
}

/* Whoever shares the listening socket takes those who come from here on. */
void edge_drain(struct edge *e)
{
    uint64_t wait_ms = edge_lame_duck_ms(e);
    http_server_retire(e->http);
    if (wait_ms)
        loop_timer_start(e->d->loop, &e->lame_duck_timer, wait_ms, close_the_door, e);
    else
        close_the_door(e);
}

/* Waits for releases to be acknowledged as long as auth is there. */
bool edge_drained(struct edge *e)
{
    bool all_released = releases_pending(e->releases) == 0 || !bus_peer_up(e->d->auth);
    return !loop_timer_running(&e->lame_duck_timer) && e->request_count == 0 && all_released &&
           http_server_stats(e->http).connections == 0;
}

void edge_cut_short(struct edge *e)
{
    close_the_door(e);
    closing_end_all(e);
}

void edge_stop(struct edge *e)
{
    helper_finish(e->d->helper); /* bodies that are being read */
    loop_timer_stop(e->d->loop, &e->gauge_timer);
    loop_timer_stop(e->d->loop, &e->gather_timer);
    loop_timer_stop(e->d->loop, &e->lame_duck_timer);
    if (e->slots) {
        requests_free(e);
        slot_book_end_all(e->slots);
    }
    if (e->leases)
        leases_end_all(e->leases);
    if (e->releases)
        releases_keep(e->releases);
    loop_timer_stop(e->d->loop, &e->grants_timer);
    loop_hook_remove(e->d->loop, &e->grants_hook);
    links_close_all(&e->links);
    grants_destroy(&e->grants);
    http_server_destroy(&e->http);
    key_checks_free(e);
    known_keys_destroy(&e->known_keys);
    releases_destroy(&e->releases);
    slot_book_destroy(&e->slots);
    leases_destroy(&e->leases);
    cidr_list_free(&e->metrics_allow);
    catalog_free(&e->catalog);
    json_doc_free(&e->doc);
    buf_free(&e->scratch);
}

/* ---- peers ---- */

static bool is_broker(const struct edge *e, const struct bus_peer *peer)
{
    for (size_t i = 0; i < e->d->broker_count; i++)
        if (e->d->brokers[i] == peer)
            return true;
    return false;
}

void edge_on_peer_up(struct edge *e, struct bus_peer *peer)
{
    if (peer == e->d->auth) {
        e->auth_down_ms = 0;
        authorize_on_auth_up(e);
        releases_due_now(e->releases);
        key_check_on_auth_up(e);
    } else if (is_broker(e, peer)) {
        e->brokers_down_ms = 0;
        dispatch_on_broker_up(e);
    } else {
        struct worker_link *link = links_of(&e->links, peer);
        if (link)
            dispatch_on_link_up(e, link);
    }
    if (bus_peer_up(e->d->auth) && edge_has_broker(e))
        e->was_ready = true;
}

void edge_on_peer_down(struct edge *e, struct bus_peer *peer)
{
    if (peer == e->d->auth) {
        e->auth_down_ms = edge_now_ms(e);
        authorize_without_auth(e);
    } else if (peer == e->d->metrics_peer) {
        status_on_metrics_down(e);
    } else if (is_broker(e, peer)) {
        if (!edge_has_broker(e))
            e->brokers_down_ms = edge_now_ms(e);
        dispatch_on_broker_down(e, peer, true);
    } else {
        struct worker_link *link = links_of(&e->links, peer);
        if (link)
            dispatch_on_link_down(e, link, bus_peer_stopped(peer));
    }
}

void edge_on_models(struct edge *e, const struct models *m)
{
    enum err error = catalog_put(&e->catalog, m->provider, m->names);
    if (error)
        log_warn("models_not_kept", LSPAN("provider", m->provider), LSTR("why", err_name(error)));
}

/* The bus clears a peer's user pointer when it goes down. */
void edge_on_drain(struct edge *e, struct bus_peer *peer)
{
    bus_peer_set_user(peer, e);
    if (!is_broker(e, peer))
        return;
    if (!edge_has_broker(e))
        e->brokers_down_ms = edge_now_ms(e);
    dispatch_on_broker_down(e, peer, false);
}
