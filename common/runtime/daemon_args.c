#include "common/runtime/daemon_args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/crypto.h"

enum { EXIT_USAGE = 2, OPTIONS_MAX = 16 };

static void print_help(const struct daemon_spec *spec)
{
    printf("Usage: %s [OPTION]...\n%s\n\n"
           "  --config FILE      configuration (default: $TOLLGATE_CONFIG)\n"
           "  --name NAME        name in the suite, unique (default: role, host and process)\n"
           "  --run-dir DIR      sockets (default: $TOLLGATE_RUN_DIR or /run/tollgate)\n"
           "  --state-dir DIR    store (default: $TOLLGATE_STATE_DIR or /var/lib/tollgate)\n"
           "  --log-level LEVEL  error, warn, info or debug\n"
           "  --log-format FORM  text or json\n",
           spec->program, spec->summary);
    if (spec->binds)
        printf("  --bind ADDRESS     bus address to bind: ipc:///path or tcp://host:port\n");
    for (const struct daemon_option *o = spec->options; o && o->name; o++)
        printf("  --%-16s %s\n", o->name, o->help);
    printf("  --version, --help\n\n"
           "Exit codes: 0 stopped cleanly, 1 failed, 2 usage, 78 bad configuration.\n");
}

struct flag {
    const char *name;
    const char **value;
};

/* Returns -1 to go on, else an exit code. */
static int parse(struct daemon_args *a, const struct daemon_spec *spec, int argc, char **argv)
{
    const char *name = NULL, *run_dir = NULL, *state_dir = NULL, *none = NULL;
    struct flag flags[OPTIONS_MAX] = {{"config", &a->config_path},  {"name", &name},
                                      {"run-dir", &run_dir},        {"state-dir", &state_dir},
                                      {"log-level", &a->log_level}, {"log-format", &a->log_format},
                                      {"version", &none},           {"help", &none}};
    struct option longs[OPTIONS_MAX + 1] = {0};
    int n = 8;
    if (spec->binds)
        flags[n++] = (struct flag){"bind", &a->bind};
    for (const struct daemon_option *o = spec->options; o && o->name && n < OPTIONS_MAX; o++)
        flags[n++] = (struct flag){o->name, o->value};
    for (int i = 0; i < n; i++)
        longs[i] = (struct option){
            flags[i].name, flags[i].value == &none ? no_argument : required_argument, NULL, 0};
    int which = 0, c;
    while ((c = getopt_long(argc, argv, "", longs, &which)) == 0) {
        if (strcmp(flags[which].name, "help") == 0) {
            print_help(spec);
            return 0;
        }
        if (strcmp(flags[which].name, "version") == 0) {
            printf("%s %s\n", spec->program, TOLLGATE_VERSION);
            return 0;
        }
        *flags[which].value = optarg;
    }
    if (c != -1 || optind < argc) {
        if (c == -1)
            fprintf(stderr, "%s: unexpected argument '%s'\n", spec->program, argv[optind]);
        fprintf(stderr, "Try '%s --help'.\n", spec->program);
        return EXIT_USAGE;
    }
    (void)snprintf(a->name, sizeof a->name, "%s", name ? name : "");
    (void)snprintf(a->run_dir, sizeof a->run_dir, "%s", run_dir ? run_dir : "");
    (void)snprintf(a->state_dir, sizeof a->state_dir, "%s", state_dir ? state_dir : "");
    return -1;
}

/* What the command line left open comes from the environment, then from the system. */
static void fill_in(struct daemon_args *a, const struct daemon_spec *spec)
{
    const char *run = getenv("TOLLGATE_RUN_DIR"), *state = getenv("TOLLGATE_STATE_DIR");
    if (!a->config_path)
        a->config_path = getenv("TOLLGATE_CONFIG");
    if (!a->bind)
        a->bind = getenv("TOLLGATE_BIND");
    if (!a->name[0]) {
        char host[64] = "";
        uint16_t tail;
        (void)gethostname(host, sizeof host - 1);
        crypto_random(&tail, sizeof tail);
        const char *what = spec->provider && *spec->provider ? *spec->provider : "";
        (void)snprintf(a->name, sizeof a->name, "%s%s%.16s-%.32s-%04x", spec->role,
                       *what ? "-" : "", what, host, tail);
    }
    if (!a->run_dir[0])
        (void)snprintf(a->run_dir, sizeof a->run_dir, "%s", run && *run ? run : "/run/tollgate");
    if (!a->state_dir[0])
        (void)snprintf(a->state_dir, sizeof a->state_dir, "%s",
                       state && *state ? state : "/var/lib/tollgate");
}

int daemon_args_read(struct daemon_args *a, const struct daemon_spec *spec, int argc, char **argv)
{
    int code = parse(a, spec, argc, argv);
    if (code < 0)
        fill_in(a, spec);
    return code;
}
