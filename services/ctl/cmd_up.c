/* tollgate up: all daemons of a suite on this host, supervised, over ipc. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/runtime/own_dir.h"
#include "common/runtime/secrecy.h"
#include "services/ctl/ask_socket.h"
#include "services/ctl/places.h"
#include "services/ctl/up.h"

enum { DEFAULT_PORT = 4000, METRICS_PORT = 9464, ASK_MS = 5000 };

/* ---- directories and the demo's configuration ---- */

/* −1 to go on. */
static int prepare_dir(const char *path, enum own_dir_kind kind, const char *option)
{
    const char *why;
    enum err e = own_dir(path, kind, &why);
    if (e == ERR_DENIED)
        return failure("cannot use %s: %s (%s chooses another)", path, why, option);
    return e ? failure("cannot make %s: %s (%s chooses another)", path, why, option) : -1;
}

/* One `up` per run directory: another one would take its sockets. */
static int take_lock(struct up *u)
{
    char path[PATHS_BYTES + 16];
    (void)snprintf(path, sizeof path, "%s/up.lock", u->paths.run_dir);
    u->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (u->lock_fd < 0)
        return failure("cannot open %s: %s", path, strerror(errno));
    if (flock(u->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return failure("another `tollgate up` runs in %s (--run-dir chooses another)",
                       u->paths.run_dir);
    return -1;
}

static int prepare_dirs(struct up *u)
{
    if (paths_resolve(&u->paths))
        return failure("the run or state directory's path is too long");
    size_t n = strlen(u->paths.state_dir);
    if (u->demo && !u->paths.state_option) { /* a demo's keys don't mix with others */
        if (n + 6 >= sizeof u->paths.state_dir)
            return failure("the state directory's path is too long");
        memcpy(u->paths.state_dir + n, "/demo", 6);
    }
    int code = prepare_dir(u->paths.run_dir, OWN_DIR_RUN, "--run-dir");
    if (code < 0)
        code = prepare_dir(u->paths.state_dir, OWN_DIR_STATE, "--state-dir");
    return code < 0 ? take_lock(u) : code;
}

static int choose_ports(const struct command *self, struct up *u)
{
    uint64_t port = DEFAULT_PORT;
    if (u->port && (!span_to_u64(span_str(u->port), &port) || port == 0 || port > 65535))
        return usage_error(self, "--port takes a number from 1 to 65535");
    u->ports.edge = demo_free_port((unsigned)port);
    if (!u->ports.edge)
        return failure("port %u of 127.0.0.1 is in use (--port chooses another)", (unsigned)port);
    u->ports.metrics = demo_free_port(METRICS_PORT);
    if (!u->ports.metrics)
        u->ports.metrics = demo_free_port(0);
    u->ports.simulator = demo_free_port(0);
    return u->ports.simulator ? -1 : failure("no free port on 127.0.0.1");
}

static int write_demo_config(const struct command *self, struct up *u)
{
    struct buf text = {0};
    int code = choose_ports(self, u);
    if (code >= 0)
        return code;
    u->simulated = demo_config(&u->ports, getenv, &text);
    (void)snprintf(u->config_path, sizeof u->config_path, "%s/demo.yaml", u->paths.run_dir);
    FILE *f = fopen(u->config_path, "we");
    bool ok = f && fwrite(text.data, 1, text.len, f) == text.len;
    if (f && fclose(f) != 0)
        ok = false;
    buf_free(&text);
    u->paths.config_path = u->config_path;
    return ok ? -1 : failure("cannot write %s: %s", u->config_path, strerror(errno));
}

/* ---- when all is up ---- */

static void tell_caller(const struct up *u)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = u->notify ? strlen(u->notify) : 0;
    if (n == 0 || n >= sizeof at.sun_path)
        return;
    memcpy(at.sun_path, u->notify, n);
    if (at.sun_path[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const struct sockaddr *)&at,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)close(fd);
}

/* A fresh demo key; the one of an earlier demo ends. */
static enum err make_demo_key(const struct up *u, char out[128])
{
    const char *socket_path = u->config->options.auth_admin_socket;
    struct answer a;
    if (ask_socket(socket_path, SPAN("{\"command\":\"key.revoke\",\"key\":\"demo\"}"), ASK_MS,
                   &a) == OK)
        answer_free(&a); /* whether there was one does not matter */
    enum err e =
        ask_socket(socket_path, SPAN("{\"command\":\"key.create\",\"name\":\"demo\"}"), ASK_MS, &a);
    if (e)
        return e;
    struct span secret = json_text(json_get(a.root, "secret"));
    e = secret.len && secret.len < 128 ? OK : ERR_INVALID;
    (void)snprintf(out, 128, "%.*s", SPAN_ARG(secret));
    crypto_wipe(a.text.data, a.text.len);
    answer_free(&a);
    return e;
}

/* The first name without a wildcard. */
static const char *example_model(const struct config *config)
{
    if (config->default_model)
        return config->default_model;
    for (size_t i = 0; i < config->model_count; i++) {
        if (!strchr(config->models[i].name, '*'))
            return config->models[i].name;
    }
    return "gpt-4o-mini";
}

static void print_example(const struct up *u, const char *url)
{
    printf("Send a first request:\n\n"
           "  curl %s/v1/chat/completions \\\n"
           "    -H \"Authorization: Bearer $TOLLGATE_KEY\" -H 'Content-Type: application/json' \\\n"
           "    -d '{\"model\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": "
           "\"Hello\"}]}'\n\n",
           url, example_model(u->config));
}

static void print_simulated(const struct up *u)
{
    printf("simulated: %u of %d providers (set ", u->simulated, PROTOCOL_COUNT);
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++)
        printf("%s%s", i ? ", " : "",
               provider_info_find(protocol_info((enum protocol)i)->name)->key_variable);
    printf(" for the real ones)\n");
}

/* Whoever may reach the bus is believed; say so. */
static void print_trust(const struct up *u)
{
    const char *certs = u->config->options.bus_certs;
    if (*certs)
        printf("bus: by the keys in %s\n", certs);
    else
        printf("bus: plain, below %s: all processes of this user are one trust domain\n",
               u->paths.run_dir);
}

static void print_up(const struct up *u, const char *url, const char *key)
{
    printf("listening: %s\n", url);
    if (u->config->options.metrics_port)
        printf("metrics: http://127.0.0.1:%u/metrics\n", u->config->options.metrics_port);
    print_trust(u);
    if (key)
        printf("key: %s\n", key);
    if (u->simulated)
        print_simulated(u);
    printf("\n");
    if (key)
        printf("  export TOLLGATE_KEY=%s\n\n", key);
    else
        printf("Make a key if there is none yet:  tollgate keys create NAME\n\n");
    print_example(u, url);
    printf("Ctrl-C stops everything.\n");
    (void)fflush(stdout);
}

/* "1 edge, 2 brokers, 1 auth, 1 metrics, 3 workers" */
static void log_ready(const struct up *u)
{
    static const char *const names[STAGE_COUNT] = {
        [STAGE_EDGE] = "edge",       [STAGE_BROKER] = "broker", [STAGE_AUTH] = "auth",
        [STAGE_METRICS] = "metrics", [STAGE_WORKER] = "worker", [STAGE_SIMULATOR] = "simulator"};
    static const enum child_stage order[] = {STAGE_EDGE,    STAGE_BROKER, STAGE_AUTH,
                                             STAGE_METRICS, STAGE_WORKER, STAGE_SIMULATOR};
    unsigned counts[STAGE_COUNT] = {0};
    const struct child *c;
    struct buf text = {0};
    for (size_t i = 0; (c = supervisor_child(u->supervisor, i)) != NULL; i++)
        counts[c->stage]++;
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        unsigned n = counts[order[i]];
        if (n)
            buf_printf(&text, "%s%u %s%s", text.len ? ", " : "", n, names[order[i]],
                       n > 1 ? "s" : "");
    }
    log_info("ready", LSPAN("daemons", buf_span(&text)), LSTR("version", TOLLGATE_VERSION));
    buf_free(&text);
}

static void on_ready(void *ctx)
{
    struct up *u = ctx;
    struct buf url = {0};
    char key[128] = "";
    if (u->demo && make_demo_key(u, key)) {
        u->code = failure("auth did not make a demo key");
        supervisor_stop(u->supervisor);
        return;
    }
    suite_url(u->config, &url);
    buf_append_char(&url, '\0');
    log_ready(u);
    print_up(u, url.data ? url.data : "", u->demo ? key : NULL);
    crypto_wipe(key, sizeof key);
    buf_free(&url);
    tell_caller(u);
}

/* ---- the run ---- */

static enum err add_simulator(struct up *u)
{
    char port[16];
    struct child *c =
        supervisor_add(u->supervisor, "simulator", "tollgate-simulator", STAGE_SIMULATOR);
    if (!c)
        return ERR_TOO_BIG;
    (void)snprintf(port, sizeof port, "%u", u->ports.simulator);
    c->ready_port = u->ports.simulator;
    enum err e = child_add_arg(c, "--quiet");
    if (!e)
        e = child_add_arg(c, "--port");
    return e ? e : child_add_arg(c, port);
}

static enum err add_all(struct up *u)
{
    const struct suite suite = {u->supervisor, &u->paths, &u->options};
    char path[PATHS_BYTES];
    enum err e = places_up_socket(&u->paths, path);
    if (!e)
        e = control_create(&u->control, supervisor_loop(u->supervisor), path, up_control, u);
    if (!e && u->simulated)
        e = add_simulator(u);
    return e ? e : suite_add(&suite, u->config);
}

static int supervise(struct up *u)
{
    const struct supervisor_spec spec = {.run_dir = u->paths.run_dir,
                                         .stop_timeout_ms = up_stop_timeout(u->config),
                                         .on_ready = on_ready,
                                         .on_reload = up_reload,
                                         .on_stopping = up_close_listener,
                                         .ctx = u};
    enum err e = supervisor_create(&u->supervisor, &spec);
    if (e)
        return failure("cannot supervise in %s: %s", u->paths.run_dir, err_name(e));
    e = add_all(u);
    if (!e)
        e = supervisor_run(u->supervisor);
    control_destroy(&u->control);
    supervisor_destroy(&u->supervisor);
    if (e == ERR_INVALID)
        return EXIT_CONFIG;
    if (e == ERR_CLOSED)
        return EXIT_FAILED; /* said already */
    return e ? failure("%s", err_name(e)) : u->code;
}

static int load_and_supervise(struct up *u)
{
    int code = paths_load(&u->paths, &u->config);
    if (code >= 0)
        return code;
    const struct config_options *o = &u->config->options;
    log_setup(log_level_named(u->options.log_level ? u->options.log_level : o->log_level),
              strcmp(u->options.log_format ? u->options.log_format : o->log_format, "json") == 0
                  ? LINES_JSON
                  : LINES_TEXT,
              "tollgate", "up");
    code = up_listen(u);
    if (code < 0)
        code = supervise(u);
    up_close_listener(u);
    config_destroy(&u->config);
    return code;
}

static int up(const struct command *self, int argc, char **argv)
{
    secrecy_begin(); /* all providers' keys are in our environment */
    struct up u = {.notify = getenv("NOTIFY_SOCKET")};
    struct positionals rest;
    const struct arg args[] = {
        {"demo", NULL, "a configuration made for trying out: the simulator, and a demo key", NULL,
         &u.demo},
        {"port", "PORT", "with --demo: where to listen (default: 4000)", &u.port, NULL},
        {"log-level", "LEVEL",
         "error, warn, info or debug (default: as configured; with --demo: warn)",
         &u.options.log_level, NULL},
        {"log-format", "FORM", "text or json", &u.options.log_format, NULL},
        PATHS_ARGS(u.paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    if (u.demo && u.paths.config_path)
        return usage_error(self, "--demo makes its own configuration; leave --config out");
    if (!u.demo && u.port)
        return usage_error(self,
                           "--port goes with --demo; elsewhere the configuration says edge.port");
    code = prepare_dirs(&u);
    if (code >= 0)
        return code;
    if (!u.demo && !u.paths.config_path)
        return usage_error(self, "either --config FILE or --demo is needed");
    if (u.demo && !u.options.log_level)
        u.options.log_level = "warn";
    log_setup(LEVEL_WARN, LINES_TEXT, "tollgate", "up");
    if (u.demo)
        code = write_demo_config(self, &u);
    return code >= 0 ? code : load_and_supervise(&u);
}

const struct command command_up = {"up", "Start all daemons on this host and keep them running.",
                                   "--config FILE | --demo",
                                   "Prints where to send the first request once all daemons are "
                                   "ready; SIGHUP makes them read the configuration\n"
                                   "again (new providers get a worker, removed ones lose theirs); "
                                   "Ctrl-C or SIGTERM stops them in order, a second one ends what "
                                   "runs, a third kills.\nExit code 1 when a daemon cannot start.",
                                   up};
