/* tollgate-simulator: stand-in OpenAI, Anthropic and Replicate for demos, tests and benchmarks.
 * Every answer says that it is simulated. Not a bus daemon: a plain HTTP server with options. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/log.h"
#include "services/simulator/sim.h"

static const char usage[] =
    "usage: tollgate-simulator [options]\n"
    "Stands in for OpenAI (/openai/v1), Anthropic (/anthropic/v1) and Replicate (/replicate/v1).\n"
    "  --address A          address to listen on (127.0.0.1)\n"
    "  --port N             port; 0 = any free one (0)\n"
    "  --script PATH        a rules file, a raw answer NAME.http, or a folder of both\n"
    "  --ttft-ms N          before a stream's first piece (0)\n"
    "  --chunk-ms N         between a stream's pieces (0)\n"
    "  --chunks N           pieces a text is cut into; 0 = by its length (0)\n"
    "  --tokens N           pad answers to this many tokens (0)\n"
    "  --latency-ms N       before every answer (0)\n"
    "  --keep N             received requests kept for /_sim/requests (200)\n"
    "  --max-connections N  connections at once (65536)\n"
    "  --quiet              don't print the address\n"
    "  --help, --version\n";

enum {
    OPT_ADDRESS = 256,
    OPT_PORT,
    OPT_SCRIPT,
    OPT_TTFT,
    OPT_CHUNK,
    OPT_CHUNKS,
    OPT_TOKENS,
    OPT_LATENCY,
    OPT_KEEP,
    OPT_CONNECTIONS,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"address", required_argument, NULL, OPT_ADDRESS},
    {"port", required_argument, NULL, OPT_PORT},
    {"script", required_argument, NULL, OPT_SCRIPT},
    {"ttft-ms", required_argument, NULL, OPT_TTFT},
    {"chunk-ms", required_argument, NULL, OPT_CHUNK},
    {"chunks", required_argument, NULL, OPT_CHUNKS},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"latency-ms", required_argument, NULL, OPT_LATENCY},
    {"keep", required_argument, NULL, OPT_KEEP},
    {"max-connections", required_argument, NULL, OPT_CONNECTIONS},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static uint32_t *number_option(struct sim_options *o, int opt)
{
    switch (opt) {
    case OPT_PORT:
        return &o->port;
    case OPT_TTFT:
        return &o->ttft_ms;
    case OPT_CHUNK:
        return &o->chunk_ms;
    case OPT_CHUNKS:
        return &o->chunks;
    case OPT_TOKENS:
        return &o->tokens;
    case OPT_LATENCY:
        return &o->latency_ms;
    case OPT_KEEP:
        return &o->keep;
    case OPT_CONNECTIONS:
        return &o->max_connections;
    default:
        return NULL;
    }
}

/* Exit code, or -1 to go on. */
static int take_option(struct sim_options *o, int opt)
{
    uint32_t *number = number_option(o, opt);
    uint64_t n = 0;
    if (number) {
        if (!span_to_u64(span_str(optarg), &n) || n > (opt == OPT_PORT ? 65535 : 100000000)) {
            fprintf(stderr, "tollgate-simulator: not a number in range: %s\n", optarg);
            return 2;
        }
        *number = (uint32_t)n;
        return -1;
    }
    switch (opt) {
    case OPT_ADDRESS:
        o->address = optarg;
        return -1;
    case OPT_SCRIPT:
        o->script = optarg;
        return -1;
    case OPT_QUIET:
        o->quiet = true;
        return -1;
    case OPT_HELP:
        fputs(usage, stdout);
        return 0;
    case OPT_VERSION:
        puts("tollgate-simulator " TOLLGATE_VERSION);
        return 0;
    default:
        fputs(usage, stderr);
        return 2;
    }
}

static void on_signal(void *ctx, uint32_t events)
{
    (void)events;
    loop_stop(ctx);
}

/* The loop ends on SIGTERM and SIGINT. */
static enum err watch_signals(struct loop *loop, int *fd, struct loop_watch **watch)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    *fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return *fd < 0 ? ERR_IO : loop_watch_add(loop, *fd, EPOLLIN, on_signal, loop, watch);
}

static enum err run(const struct sim_options *options)
{
    struct loop *loop = NULL;
    struct sim *sim = NULL;
    struct loop_watch *watch = NULL;
    int fd = -1;
    enum err e = loop_create(&loop, &clock_real);
    if (!e)
        e = watch_signals(loop, &fd, &watch);
    if (!e)
        e = sim_create(&sim, loop, options);
    if (!e && !options->quiet) {
        printf("listening on %s:%u\n", options->address, (unsigned)http_server_port(sim->http));
        (void)fflush(stdout);
    }
    if (!e)
        e = loop_run(loop);
    sim_destroy(&sim);
    loop_watch_remove(&watch);
    if (fd >= 0)
        (void)close(fd);
    loop_destroy(&loop);
    return e;
}

int main(int argc, char **argv)
{
    struct sim_options options = {.address = "127.0.0.1", .keep = 200, .max_connections = 65536};
    log_setup(LEVEL_INFO, LINES_TEXT, "tollgate-simulator", "simulator");
    int opt;
    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int code = take_option(&options, opt);
        if (code >= 0)
            return code;
    }
    enum err e = run(&options);
    if (e)
        fprintf(stderr, "tollgate-simulator: cannot run: %s\n", err_name(e));
    return e ? 1 : 0;
}
