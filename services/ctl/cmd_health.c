/* tollgate health: does one daemon answer? For health checks of containers and monitors. */
#include <stdio.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "services/ctl/ask_metrics.h"
#include "services/ctl/knock.h"
#include "services/ctl/paths.h"

enum { HEALTH_TIMEOUT_MS = 3000 };

static int report(const char *what, enum err e)
{
    if (e)
        return failure("%s: unhealthy: %s", what, err_name(e));
    printf("%s: healthy\n", what);
    return EXIT_DONE;
}

static enum err check_http(const char *url)
{
    unsigned status = 0;
    enum err e = knock_http(url, HEALTH_TIMEOUT_MS, &status);
    return e ? e : status == 200 ? OK : ERR_INVALID;
}

static enum err check_edge(const struct config *c)
{
    char url[128];
    bool any = strcmp(c->options.edge_address, "0.0.0.0") == 0 ||
               strcmp(c->options.edge_address, "::") == 0;
    if (*c->options.edge_tls_cert) /* reachable is all that can be asked without a client
                                      certificate store */
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", c->options.edge_port);
    else
        (void)snprintf(url, sizeof url, "http://%s:%u/health/liveness",
                       any ? "127.0.0.1" : c->options.edge_address, c->options.edge_port);
    enum err e = check_http(url);
    return *c->options.edge_tls_cert && e != ERR_CLOSED ? OK : e;
}

/* A worker binds nothing: it is healthy when the metrics daemon hears from it. Its name ends in its
 * host's. */
static enum err check_worker(const struct config *c, const char *name)
{
    struct buf body = {0};
    struct json_doc doc = {0};
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    struct span wanted = span_str(name ? name : host);
    enum err e = ask_metrics(c->options.bus_metrics, c->options.bus_certs, "status",
                             HEALTH_TIMEOUT_MS, &body);
    if (!e)
        e = json_parse(&doc, buf_span(&body), JSON_DEPTH_CLIENT);
    if (!e)
        e = ERR_NOT_FOUND;
    for (struct json_iter i = json_iter(json_get(json_root(&doc), "daemons")); json_next(&i);) {
        struct span found = json_text(json_get(i.value, "name"));
        if (json_is(json_get(i.value, "role"), "worker") &&
            span_find_span(found, wanted) < found.len)
            e = OK;
    }
    json_doc_free(&doc);
    buf_free(&body);
    return e;
}

static enum err knock(const struct config *c, const char *role, const char *address)
{
    return knock_bus(role, address, c->options.bus_certs, HEALTH_TIMEOUT_MS);
}

static int check(const struct config *c, const struct command *self, const char *what,
                 const char *where)
{
    if (strcmp(what, "edge") == 0)
        return report(what, where ? check_http(where) : check_edge(c));
    if (strcmp(what, "http") == 0 && where)
        return report(where, check_http(where));
    if (strcmp(what, "worker") == 0)
        return report(what, check_worker(c, where));
    if (strcmp(what, "auth") == 0)
        return report(what, knock(c, what, where ? where : c->options.bus_auth));
    if (strcmp(what, "metrics") == 0)
        return report(what, knock(c, what, where ? where : c->options.bus_metrics));
    if (strcmp(what, "broker") == 0 && (where || c->options.bus_brokers.count))
        return report(what, knock(c, what, where ? where : c->options.bus_brokers.items[0]));
    return usage_error(self, "'%s' is none of edge, auth, broker, worker, metrics, http", what);
}

static int run(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct config *config = NULL;
    struct positionals rest;
    const struct arg args[] = {PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count < 1 || rest.count > 2)
        return usage_error(self, "name one daemon");
    if (paths_resolve(&paths))
        return failure("the run or state directory's path is too long");
    code = paths_load(&paths, &config);
    if (code >= 0)
        return code;
    log_setup(LEVEL_ERROR, LINES_TEXT, "tollgate", "health");
    code = check(config, self, rest.items[0], rest.count > 1 ? rest.items[1] : NULL);
    config_destroy(&config);
    return code;
}

const struct command command_health = {
    "health", "Say whether one daemon answers.",
    "[OPTION]... edge|auth|broker|worker|metrics|http [WHERE]",
    "WHERE is a bus address, a URL (edge, http) or part of a worker's name (this host's, unless "
    "given).\n"
    "Exits with 0 when it is healthy, 1 when not: made for health checks.\n",
    run};
