/* tollgate check: is this configuration right, and what are the defaults? */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/crypto.h"
#include "services/ctl/offers.h"
#include "services/ctl/paths.h"

/* A key that is not in the environment here may well be in the worker's: a note, not an error. */
static void note_unset(const struct config_provider *p, const char *text)
{
    struct buf value = {0};
    struct span missing = SPAN_NONE;
    if (config_expand(text, &value, &missing) == ERR_NOT_FOUND)
        (void)fprintf(stderr, "note: ${%.*s} is not set here; the worker of provider %s needs it\n",
                      SPAN_ARG(missing), p->name);
    buf_free(&value);
}

static void note_keys(const struct config *config)
{
    for (size_t i = 0; i < config->provider_count; i++) {
        const struct config_provider *p = &config->providers[i];
        for (size_t k = 0; k < p->api_keys.count; k++)
            note_unset(p, p->api_keys.items[k]);
        if (p->api_keys.count == 0 && p->api_key_files.count == 0 && p->api_key_exec.count == 0 &&
            p->endpoints.count == 0)
            (void)fprintf(stderr, "note: provider %s has no api_keys\n", p->name);
    }
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
        note_keys(config);
        printf("%s: ok (%zu providers, %zu models)\n", rest.items[0], config->provider_count,
               config->model_count);
    }
    config_destroy(&config);
    return good ? EXIT_DONE : EXIT_CONFIG;
}

const struct command command_check = {
    "check", "Check a configuration, or print the defaults.", "[OPTION]... FILE|--defaults",
    "Problems are printed as FILE:LINE: what is wrong; the exit code is 78 then.", check};
