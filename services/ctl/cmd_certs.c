/* tollgate certs create|list|rotate|hand-out: the keys of the bus, in a folder. Asks nobody. */
#include <stdio.h>

#include "services/ctl/certs.h"
#include "services/ctl/paths.h"

static int report(enum err e, struct buf *error)
{
    if (e && error->len)
        (void)fprintf(stderr, "%.*s", (int)error->len, error->data);
    else if (e)
        (void)failure("%s", err_name(e));
    buf_free(error);
    return e ? EXIT_FAILED : EXIT_DONE;
}

/* ---- create ---- */

static enum err make(struct certs *c, const char *service, struct buf *error)
{
    enum err e = certs_make(c, service, error);
    if (e && e != ERR_EXISTS)
        return e;
    printf("%s %s\n", e ? "kept" : "made", service);
    return OK;
}

static enum err make_all(struct certs *c, const struct config *config, struct buf *error)
{
    static const char *const always[] = {"edge", "auth", "broker", "metrics", "ctl"};
    enum err e = OK;
    for (size_t i = 0; !e && i < sizeof always / sizeof always[0]; i++)
        e = make(c, always[i], error);
    for (size_t i = 0; !e && i < config->provider_count; i++) {
        char service[SERVICE_BYTES];
        service_of("worker", config->providers[i].name, service);
        e = make(c, service, error);
    }
    return e;
}

static int make_for_configuration(struct certs *c, struct suite_paths *paths, struct buf *error)
{
    struct config *config = NULL;
    if (paths_resolve(paths))
        return failure("the run or state directory's path is too long");
    int code = paths_load(paths, &config);
    if (code >= 0)
        return code;
    code = report(make_all(c, config, error), error);
    config_destroy(&config);
    return code;
}

static int create(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct positionals rest;
    struct certs c = {0};
    struct buf error = {0};
    const struct arg args[] = {PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count < 1)
        return usage_error(self, "name the folder of the keys");
    enum err e = certs_open(&c, rest.items[0], &error);
    if (e)
        code = report(e, &error);
    else if (rest.count == 1)
        code = make_for_configuration(&c, &paths, &error);
    else {
        for (size_t i = 1; !e && i < rest.count; i++)
            e = make(&c, rest.items[i], &error);
        code = report(e, &error);
    }
    certs_close(&c);
    buf_free(&error);
    return code;
}

/* ---- the others ---- */

/* Opens the folder that is the first of `wanted` words; −1 to go on, else the exit code. */
static int begin(const struct command *self, int argc, char **argv, size_t wanted, const char *what,
                 struct positionals *rest, struct certs *c)
{
    struct buf error = {0};
    int code = args_parse(self, NULL, argc, argv, rest);
    if (code >= 0)
        return code;
    if (rest->count != wanted)
        return usage_error(self, "%s", what);
    enum err e = certs_open(c, rest->items[0], &error);
    if (!e)
        return -1;
    certs_close(c);
    return report(e, &error);
}

static int list(const struct command *self, int argc, char **argv)
{
    struct positionals rest;
    struct certs c = {0};
    int code = begin(self, argc, argv, 1, "name the folder of the keys", &rest, &c);
    if (code >= 0)
        return code;
    for (size_t i = 0; i < c.list.count; i++)
        printf("%-24s %s\n", c.list.items[i].service, c.list.items[i].key);
    certs_close(&c);
    return EXIT_DONE;
}

static int rotate(const struct command *self, int argc, char **argv)
{
    static const char *const next[] = {
        [CERTS_LISTED] = "1 of 3: a second key is listed. Next: bring public.keys to every daemon, "
                         "reload all (SIGHUP), then run this again.",
        [CERTS_SWITCHED] =
            "2 of 3: the secret is the new one. Next: bring it to the daemons of this service, "
            "restart them one by one, then run this again.",
        [CERTS_DROPPED] = "3 of 3: the old key is listed no more. Next: bring public.keys to every "
                          "daemon and reload all (SIGHUP)."};
    struct positionals rest;
    struct certs c = {0};
    struct buf error = {0};
    enum certs_step step = CERTS_LISTED;
    int code = begin(self, argc, argv, 2, "name the folder of the keys and a service", &rest, &c);
    if (code >= 0)
        return code;
    enum err e = certs_rotate(&c, rest.items[1], &step, &error);
    if (!e)
        printf("%s: %s\n", rest.items[1], next[step]);
    certs_close(&c);
    return report(e, &error);
}

static int hand_out(const struct command *self, int argc, char **argv)
{
    struct positionals rest;
    struct certs c = {0};
    struct buf error = {0};
    unsigned count = 0;
    int code =
        begin(self, argc, argv, 2,
              "name the folder of the keys and the one that has services' folders", &rest, &c);
    if (code >= 0)
        return code;
    enum err e = certs_hand_out(&c, rest.items[1], &count, &error);
    if (!e)
        printf("handed out to %u\n", count);
    certs_close(&c);
    return report(e, &error);
}

static int run(const struct command *self, int argc, char **argv)
{
    static const struct command table[] = {
        {"certs create", "Make the keys that are missing.", "[OPTION]... DIR [SERVICE]...",
         "Without a SERVICE: of every one that the configuration needs. What is there is kept.\n"
         "DIR gets public.keys, for all, and SERVICE.secret, for that service's daemons alone "
         "(bus.certs).\n"
         "As root a secret belongs to the user tollgate-ROLE (or tollgate) where there is one.\n",
         create},
        {"certs list", "Show whose keys are listed.", "DIR", NULL, list},
        {"certs rotate", "Change a service's key, in three steps.", "DIR SERVICE",
         "Run it three times; each tells what to do before the next. Nothing stands still "
         "meanwhile.\n",
         rotate},
        {"certs hand-out", "Give each service its own secret, and the list.", "DIR TO",
         "For every folder TO/SERVICE that is there; for containers, which mount only their own.\n",
         hand_out},
        {0},
    };
    (void)self;
    return dispatch("tollgate certs", table, NULL, argc, argv);
}

const struct command command_certs = {"certs", "Make and change the keys of the bus.",
                                      "create|list|rotate|hand-out", NULL, run};
