/* tollgate check: is this configuration right, and what are the defaults? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "services/ctl/offers.h"
#include "services/ctl/paths.h"

/* What lies outside the file may be otherwise where the worker runs: a note, not an error. Without
 * it that worker offers nothing, and the others serve. */
static bool note_unset(const struct config_provider *p, const char *text)
{
    struct buf value = {0};
    struct span missing = SPAN_NONE;
    bool unset = text && config_expand(text, &value, &missing) == ERR_NOT_FOUND;
    if (unset)
        (void)fprintf(stderr, "note: ${%.*s} is not set here; the worker of provider %s needs it\n",
                      SPAN_ARG(missing), p->name);
    buf_free(&value);
    return unset;
}

static void note_unreadable(const struct config_provider *p, const char *key, const char *path)
{
    if (path && *path && access(path, R_OK) != 0)
        (void)fprintf(stderr, "note: %s %s: %s; the worker of provider %s needs it\n", key, path,
                      strerror(errno), p->name);
}

/* Where requests go when that is not what is written. */
static void note_endpoint(const struct config_provider *p, const char *text)
{
    struct buf written = {0}, asked = {0};
    struct span missing;
    if (note_unset(p, text))
        return;
    const char *fault = config_expand(text, &written, &missing) == OK
                            ? config_endpoint_fault(p, span_trim(buf_span(&written)))
                            : NULL;
    enum err e = config_endpoint(p->protocol, span_trim(buf_span(&written)), &asked);
    if (fault)
        (void)fprintf(stderr, "note: provider %s: endpoint %s: %s\n", p->name, text, fault);
    else if (e == OK && !span_equals(buf_span(&written), buf_span(&asked)))
        (void)fprintf(stderr, "note: provider %s: endpoint %s is asked as %.*s\n", p->name, text,
                      SPAN_ARG(buf_span(&asked)));
    buf_free(&written);
    buf_free(&asked);
}

static void note_provider(const struct config_provider *p)
{
    for (size_t k = 0; k < p->api_keys.count; k++)
        (void)note_unset(p, p->api_keys.items[k]);
    for (size_t k = 0; k < p->api_key_files.count; k++)
        note_unreadable(p, "api_key_files:", p->api_key_files.items[k]);
    for (size_t k = 0; k < p->endpoints.count; k++)
        note_endpoint(p, p->endpoints.items[k]);
    for (size_t k = 0; k < p->header_count; k++)
        (void)note_unset(p, p->headers[k].value);
    (void)note_unset(p, p->organization);
    (void)note_unset(p, p->proxy);
    if (config_key_count(p) + p->endpoints.count == 0 && !config_takes_client_auth(p))
        (void)fprintf(stderr, "note: provider %s has no api_keys\n", p->name);
}

/* A file that a provider needs and that can't be what it should be: none of its requests would ever
 * get through. */
static bool check_files(const struct config *config)
{
    bool good = true;
    for (size_t i = 0; i < config->provider_count; i++) {
        const struct config_provider *p = &config->providers[i];
        const char *why = p->ca_file && *p->ca_file ? crypto_certificates_fault(p->ca_file) : NULL;
        if (why)
            (void)fprintf(stderr, "%s: providers.%s.ca_file: %s: %s\n", config->path, p->name,
                          p->ca_file, why);
        good &= !why;
    }
    return good;
}

/* What may be meant as it stands, so the exit code is that of a good file. */
static void print_warnings(const struct config *config)
{
    struct span lines = span_str(config->warnings);
    while (lines.len) {
        struct span line = span_cut(&lines, '\n');
        (void)fprintf(stderr, "warning: %.*s\n", SPAN_ARG(line));
    }
}

static void warn_unpriced(const struct config *config)
{
    struct model_file table;
    struct buf names = {0};
    offers_load_table(&table);
    offers_without_price(config, &table, &names);
    if (names.len)
        (void)fprintf(stderr,
                      "warning: no price is known of %.*s: what they use is booked at no cost "
                      "unless the provider states one; give models.NAME.price\n",
                      (int)names.len, names.data);
    buf_free(&names);
    model_file_free(&table);
}

static int print_defaults(bool markdown)
{
    struct buf out = {0};
    if (markdown)
        config_print_markdown(&out);
    else
        config_print_defaults(&out);
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    buf_free(&out);
    return EXIT_DONE;
}

static int check(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool defaults = false, markdown = false, quiet = false;
    struct positionals rest;
    const struct arg args[] = {
        {"defaults", NULL, "print every key with its default, bounds and meaning", NULL, &defaults},
        {"markdown", NULL, "with --defaults: as docs/configuration.md has them", NULL, &markdown},
        {"quiet", NULL, "say nothing when all is well", NULL, &quiet},
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (defaults && rest.count == 0)
        return print_defaults(markdown);
    if (defaults || markdown || rest.count != 1)
        return usage_error(self, "either a FILE or --defaults is needed");
    paths.config_path = rest.items[0];
    if (paths_resolve(&paths))
        return failure("the run or state directory's path is too long");
    struct config *config = NULL;
    code = paths_load(&paths, &config);
    if (code >= 0)
        return code;
    print_warnings(config);
    warn_unpriced(config);
    bool good = check_files(config);
    if (!quiet && good) {
        for (size_t i = 0; i < config->provider_count; i++)
            note_provider(&config->providers[i]);
        printf("%s: ok (%zu providers, %zu models)\n", rest.items[0], config->provider_count,
               config->model_count);
    }
    config_destroy(&config);
    return good ? EXIT_DONE : EXIT_CONFIG;
}

const struct command command_check = {
    "check", "Check a configuration, or print the defaults.", "[OPTION]... FILE|--defaults",
    "Problems are printed as FILE:LINE: what is wrong; the exit code is 78 then.", check};
