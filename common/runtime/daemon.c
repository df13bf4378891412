#include "common/runtime/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/runtime/daemon_args.h"
#include "common/runtime/own_address.h"
#include "common/runtime/own_dir.h"
#include "common/runtime/process.h"
#include "common/runtime/secrecy.h"
#include "common/runtime/start_only.h"
#include "common/runtime/trust.h"
#include "common/runtime/watchdog.h"

enum { EXIT_BAD_CONFIG = 78, MAX_BROKERS = 16 };

/* A configuration that is read beside the loop, after SIGHUP. */
struct loading {
    struct helper_job job;
    struct life *life;
    struct config *fresh;
    struct buf errors;
    enum err err;
    bool running, again; /* … and there was another SIGHUP meanwhile */
};

struct life {
    const struct daemon_spec *spec;
    void *self;
    struct daemon d;
    struct config *config;
    struct config_paths paths;
    struct trust trust;
    struct daemon_args args;
    struct bus_peer *brokers[MAX_BROKERS];
    int signal_fd;
    struct loop_watch *signal_watch;
    struct loop_timer drain_timer;
    struct loop_hook drain_hook;
    struct start_only start_only;
    bool cut; /* the drain was cut short */
    struct loading loading;
};

/* ---- configuration ---- */

static void log_lines(const char *event, struct span lines)
{
    while (lines.len)
        log_error(event, LSPAN("problem", span_cut(&lines, '\n')));
}

static void log_warnings(const struct config *config)
{
    struct span lines = span_str(config->warnings);
    while (lines.len)
        log_warn("configuration_warning", LSPAN("problem", span_cut(&lines, '\n')));
}

static void setup_log(const struct life *life)
{
    const char *level = life->args.log_level ? life->args.log_level
                        : life->config       ? life->config->options.log_level
                                             : "info";
    const char *format = life->args.log_format ? life->args.log_format
                         : life->config        ? life->config->options.log_format
                                               : "text";
    log_setup(log_level_named(level), strcmp(format, "json") == 0 ? LINES_JSON : LINES_TEXT,
              life->spec->program, life->args.name);
}

static enum err load_config(struct life *life, struct config **out)
{
    struct buf errors = {0};
    enum err e = config_load(life->args.config_path, &life->paths, out, &errors);
    if (e && errors.len == 0)
        log_error("bad_configuration", LSTR("why", err_name(e)));
    else if (e)
        log_lines("bad_configuration", buf_span(&errors));
    else
        log_warnings(*out);
    buf_free(&errors);
    return e;
}

static void load_beside(struct helper_job *job)
{
    struct loading *l = (struct loading *)(void *)job;
    const struct life *life = l->life;
    l->err = config_load(life->args.config_path, &life->paths, &l->fresh, &l->errors);
    if (l->err == OK && life->spec->prepare)
        life->spec->prepare(life->self, l->fresh->path);
}

/* Other daemons' options are theirs to warn about. */
static void on_start_only_change(void *ctx, const char *section, const char *name)
{
    struct life *life = ctx;
    bool of_all = strcmp(section, "bus") == 0 || strcmp(section, "runtime") == 0;
    char option[96];
    if (!of_all && strcmp(section, life->spec->role) != 0)
        return;
    (void)snprintf(option, sizeof option, "%s.%s", section, name);
    log_warn("restart_needed", LSTR("option", option),
             LSTR("why", "only a start takes a changed value; the old one is kept"));
    start_only_note(&life->start_only, option);
}

/* For `tollgate status`. */
static void tell_start_only(void *ctx, const char *option, bool waits)
{
    const struct life *life = ctx;
    metric_set(life->d.metrics, METRIC_RESTART_NEEDED, METRIC_LABELS(span_str(option)),
               waits ? 1 : METRIC_GONE);
    if (life->spec->restart_needed)
        life->spec->restart_needed(life->self, option, waits);
}

static void take_config(struct life *life, struct config *fresh)
{
    struct config *old = life->config;
    start_only_begin(&life->start_only);
    if (config_keep_start_only(fresh, old, on_start_only_change, life) != OK) {
        log_error("reload_refused", LSTR("why", "out of memory"));
        config_destroy(&fresh);
        return;
    }
    start_only_end(&life->start_only, tell_start_only, life);
    life->config = fresh;
    life->d.config = fresh;
    setup_log(life);
    if (life->spec->reload)
        life->spec->reload(life->self);
    config_destroy(&old);
    log_info("reloaded", LSTR("config", life->args.config_path ? life->args.config_path : ""));
}

static void reload(struct life *life);

static void on_loaded(struct helper_job *job)
{
    struct loading *l = (struct loading *)(void *)job;
    struct life *life = l->life;
    l->running = false;
    if (l->err) {
        log_lines("bad_configuration", buf_span(&l->errors));
        log_error("reload_refused", LSTR("keeping", "the configuration in force"));
    } else {
        log_warnings(l->fresh);
        take_config(life, l->fresh);
    }
    buf_free(&l->errors);
    if (l->again)
        reload(life);
}

static void reload(struct life *life)
{
    struct loading *l = &life->loading;
    if (l->running) {
        l->again = true;
        return;
    }
    trust_reload(&life->trust, life->d.bus);
    *l = (struct loading){
        .job = {.run = load_beside, .done = on_loaded}, .life = life, .running = true};
    if (helper_do(life->d.helper, &l->job)) {
        load_beside(&l->job);
        on_loaded(&l->job);
    }
}

/* ---- draining ---- */

static void end_loop(void *ctx)
{
    struct life *life = ctx;
    loop_stop(life->d.loop);
}

/* The first time what runs is ended in words; a second time nobody is waited for. */
static void cut_short(struct life *life)
{
    if (life->cut || !life->spec->cut_short) {
        end_loop(life);
        return;
    }
    life->cut = true;
    life->spec->cut_short(life->self);
    loop_timer_start(life->d.loop, &life->drain_timer, DAEMON_LAST_WORDS_MS, end_loop, life);
}

static void on_drain_deadline(void *ctx)
{
    log_warn("drain_deadline", LSTR("why", "work was still running"));
    cut_short(ctx);
}

static void on_drain_turn(void *ctx)
{
    struct life *life = ctx;
    if (life->d.draining && (!life->spec->drained || life->spec->drained(life->self)))
        end_loop(life);
}

static void begin_drain(struct life *life)
{
    if (life->d.draining) {
        log_warn("stopping_now", LSTR("why", "asked again"));
        cut_short(life);
        return;
    }
    log_info("draining");
    life->d.draining = true;
    if (life->spec->drain)
        life->spec->drain(life->self);
    uint64_t extra_ms = life->spec->drain_extra_ms ? life->spec->drain_extra_ms(life->self) : 0;
    loop_timer_start(life->d.loop, &life->drain_timer,
                     life->config->options.runtime_drain_timeout + extra_ms, on_drain_deadline,
                     life);
    life->drain_hook = (struct loop_hook){.fn = on_drain_turn, .ctx = life};
    loop_hook_turn_end(life->d.loop, &life->drain_hook);
}

static void on_signal(void *ctx, uint32_t events)
{
    struct life *life = ctx;
    struct signalfd_siginfo info;
    (void)events;
    while (read(life->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(life);
        else
            begin_drain(life);
    }
}

/* Before any thread exists, so that all of them inherit the mask. */
static enum err block_signals(struct life *life)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return ERR_IO;
    life->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return life->signal_fd < 0 ? ERR_IO : OK;
}

/* ---- start ---- */

static enum err check_dir(const char *event, const char *path, enum own_dir_kind kind)
{
    const char *why;
    enum err e = own_dir(path, kind, &why);
    if (e)
        log_error(event, LSTR("dir", path), LSTR("why", why));
    return e;
}

/* Where others could put a socket or a store of their own in our place, nothing is safe. A state
 * directory that can't be made may be one that nobody needs. */
static enum err check_dirs(const struct life *life)
{
    enum err e = check_dir("run_dir", life->args.run_dir, OWN_DIR_RUN);
    if (!e && life->spec->keeps_state &&
        check_dir("state_dir", life->args.state_dir, OWN_DIR_STATE) == ERR_DENIED)
        e = ERR_DENIED;
    return e;
}

/* Where this daemon binds: told on the command line, else in the configuration, else where others
 * look for it. */
static const char *own_address(const struct life *life)
{
    const struct config_options *o = &life->config->options;
    if (life->args.bind && *life->args.bind)
        return life->args.bind;
    if (*o->bus_bind)
        return o->bus_bind;
    if (strcmp(life->spec->role, "auth") == 0)
        return o->bus_auth;
    if (strcmp(life->spec->role, "metrics") == 0)
        return o->bus_metrics;
    for (size_t i = 0; i < o->bus_brokers.count; i++) {
        struct span address = span_str(o->bus_brokers.items[i]);
        size_t n = strlen(life->args.name);
        if (address.len > n && span_ends(address, life->args.name) &&
            address.data[address.len - n - 1] == '/')
            return o->bus_brokers.items[i];
    }
    return o->bus_brokers.count ? o->bus_brokers.items[0] : "";
}

/* A worker's: any free one, beside its brokers. */
static enum err address_of_worker(const struct life *life, char out[OWN_ADDRESS_BYTES])
{
    const struct config_options *o = &life->config->options;
    const char *broker = o->bus_brokers.count ? o->bus_brokers.items[0] : "";
    if (strncmp(broker, "tcp://", 6) != 0)
        return own_address_below(life->args.run_dir, life->args.name, bus_epoch(life->d.bus), out);
    (void)snprintf(out, OWN_ADDRESS_BYTES, "%s",
                   trust_is_local(broker) ? "tcp://127.0.0.1:*" : "tcp://*:*");
    return OK;
}

/* Brokers and the like are where the configuration says; a worker anywhere, and tells. */
static enum err bind_bus(struct life *life)
{
    const struct config_options *o = &life->config->options;
    struct bus *bus = life->d.bus;
    char address[OWN_ADDRESS_BYTES];
    bool worker = strcmp(life->spec->role, "worker") == 0;
    bool given = (life->args.bind && *life->args.bind) || *o->bus_bind;
    enum err e = OK;
    if (worker && !given)
        e = address_of_worker(life, address);
    else
        (void)snprintf(address, sizeof address, "%s", own_address(life));
    if (e) {
        log_error("bind_failed", LSTR("dir", life->args.run_dir),
                  LSTR("why", "no socket can be made there, or its path is too long"));
        return e;
    }
    e = trust_check(&life->trust, o, address);
    if (!e)
        e = bus_bind(bus, address);
    if (!e && worker && *o->bus_worker_address)
        bus_advertise(bus, o->bus_worker_address);
    return e;
}

static enum err connect_to(const struct life *life, const char *role, const char *address,
                           struct bus_peer **out)
{
    enum err e = trust_check(&life->trust, &life->config->options, address);
    return e ? e : bus_connect(life->d.bus, role, address, out);
}

static enum err connect_peers(struct life *life)
{
    const struct config_options *o = &life->config->options;
    struct daemon *d = &life->d;
    enum err e = OK;
    if (life->spec->connects & LINK_BROKERS) {
        d->brokers = life->brokers;
        for (size_t i = 0; !e && i < o->bus_brokers.count && i < MAX_BROKERS; i++) {
            e = connect_to(life, "broker", o->bus_brokers.items[i], &life->brokers[i]);
            d->broker_count = i + 1;
        }
    }
    if (!e && life->spec->connects & LINK_AUTH)
        e = connect_to(life, "auth", o->bus_auth, &d->auth);
    if (!e && life->spec->connects & LINK_METRICS) {
        e = connect_to(life, "metrics", o->bus_metrics, &d->metrics_peer);
        if (!e)
            e = metric_client_create(&d->metrics, d->loop, d->bus, d->metrics_peer);
    }
    return e;
}

static enum err open_bus(struct life *life)
{
    const struct daemon_spec *spec = life->spec;
    enum err e = trust_open(&life->trust, &life->config->options, spec->role,
                            spec->provider ? *spec->provider : NULL);
    struct bus_spec bus = {.role = spec->role,
                           .name = life->args.name,
                           .provider = spec->provider ? *spec->provider : NULL,
                           .ctx = life->self,
                           .handlers = spec->handlers,
                           .keys = trust_keys(&life->trust),
                           .senders = spec->senders,
                           .callers = spec->callers,
                           .on_peer_up = spec->on_peer_up,
                           .on_peer_down = spec->on_peer_down,
                           .queued = spec->queued,
                           .max_message_bytes = spec->max_message_bytes,
                           .peer_timeout_ms = life->config->options.bus_peer_timeout};
    if (!e)
        e = check_dirs(life);
    if (!e)
        e = bus_create(&life->d.bus, life->d.loop, &bus);
    if (!e && spec->binds)
        e = bind_bus(life);
    if (!e)
        e = connect_peers(life);
    return e;
}

static void notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0) {
        (void)sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const struct sockaddr *)&address, len);
        (void)close(fd);
    }
}

/* Longer turns than this are told. */
enum { LONG_TURN_US = 10 * 1000, KEEP_ALIVE_MS = 10 * 1000 };

static void on_long_turn(void *ctx, uint64_t us)
{
    const struct life *life = ctx;
    metric_observe_us(life->d.metrics, METRIC_LOOP_BUSY, METRIC_LABELS(span_str(life->spec->role)),
                      us);
}

/* A turn may take as long as the watchdog lets it. */
static enum err watch_loop(struct life *life)
{
    struct daemon *d = &life->d;
    uint64_t limit_ms = life->config->options.runtime_watchdog;
    loop_on_long_turn(d->loop, LONG_TURN_US, on_long_turn, life);
    enum err e = bus_keep_alive(d->bus, limit_ms ? limit_ms : KEEP_ALIVE_MS);
    return e ? e : watchdog_start(d->loop, limit_ms);
}

static enum err start(struct life *life)
{
    struct daemon *d = &life->d;
    d->config = life->config;
    d->name = life->args.name;
    d->run_dir = life->args.run_dir;
    d->state_dir = life->args.state_dir;
    enum err e = process_prepare(&life->config->options);
    if (!e)
        e = loop_create(&d->loop, &clock_real);
    if (!e)
        e = loop_watch_add(d->loop, life->signal_fd, EPOLLIN, on_signal, life, &life->signal_watch);
    if (!e)
        e = helper_create(&d->helper, d->loop);
    if (!e)
        e = open_bus(life);
    if (!e)
        e = life->spec->start(life->self, d);
    if (!e)
        e = watch_loop(life);
    return e;
}

static void stop(struct life *life, bool started)
{
    struct daemon *d = &life->d;
    /* bus_destroy still turns the loop: nothing may ask the service any more */
    loop_watch_remove(&life->signal_watch);
    if (d->draining) {
        loop_timer_stop(d->loop, &life->drain_timer);
        loop_hook_remove(d->loop, &life->drain_hook);
    }
    helper_finish(d->helper); /* its jobs end where they belong */
    if (started)
        life->spec->stop(life->self);
    helper_destroy(&d->helper);
    if (d->loop)
        loop_on_long_turn(d->loop, 0, NULL, NULL);
    metric_client_destroy(&d->metrics);
    bus_destroy(&d->bus);
    trust_close(&life->trust);
    if (life->signal_fd >= 0)
        (void)close(life->signal_fd);
    config_destroy(&life->config);
}

int daemon_main(const struct daemon_spec *spec, void *self, int argc, char **argv)
{
    struct life life = {.spec = spec, .self = self, .signal_fd = -1};
    secrecy_begin();
    int code = daemon_args_read(&life.args, spec, argc, argv);
    if (code >= 0)
        return code;
    life.paths = (struct config_paths){life.args.run_dir, life.args.state_dir};
    setup_log(&life);
    if (load_config(&life, &life.config) != OK)
        return EXIT_BAD_CONFIG;
    setup_log(&life);
    secrecy_set(life.config->options.runtime_traceable);
    enum err e = block_signals(&life);
    bool started = false;
    if (!e) {
        e = start(&life);
        started = e == OK;
    }
    if (started) {
        log_info("ready", LSTR("version", TOLLGATE_VERSION), LU64("pid", getpid()));
        notify_ready();
        e = loop_run(life.d.loop);
    }
    if (e)
        log_error(started ? "loop_failed" : "start_failed", LSTR("why", err_name(e)));
    stop(&life, started);
    loop_destroy(&life.d.loop);
    log_info("stopped");
    return e ? 1 : 0;
}
