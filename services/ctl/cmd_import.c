/* tollgate import litellm FILE: our configuration from one of LiteLLM's, and what became of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "services/ctl/command.h"
#include "services/ctl/import/import.h"
#include "services/ctl/import/keys.h"

struct import_options {
    const char *out, *report, *keys;
    bool strict, json;
};

/* A new file of the user's alone; one that is there stays. */
static int write_new(const char *path, struct span text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failure("%s: %s", path, strerror(errno));
    ssize_t n = write(fd, text.data, text.len);
    bool whole = n == (ssize_t)text.len;
    if (close(fd) != 0 || !whole)
        return failure("%s: could not be written whole", path);
    return -1;
}

static int print_report(const struct import_options *o, struct report *r)
{
    struct buf text = {0};
    int code = -1;
    if (o->json)
        report_json(r, &text);
    else
        report_text(r, &text);
    if (buf_check(&text))
        code = failure("out of memory");
    else if (o->report)
        code = write_new(o->report, buf_span(&text));
    else
        (void)fwrite(text.data, 1, text.len, stderr);
    buf_free(&text);
    return code;
}

static int convert(struct import *im, const struct import_options *o, const char *path)
{
    struct buf out = {0}, errors = {0};
    int code = -1;
    enum err e = import_read(im, path, &errors);
    if (!e)
        e = import_write(im, &out, &errors);
    if (e) {
        (void)fwrite(errors.data ? errors.data : "", 1, errors.len, stderr);
        code = e == ERR_INVALID ? EXIT_CONFIG : failure("%s: %s", path, err_name(e));
    } else if (o->out) {
        code = write_new(o->out, buf_span(&out));
    } else {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    buf_free(&out);
    buf_free(&errors);
    return code;
}

static int litellm(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct import_options o = {0};
    struct positionals rest;
    const struct arg args[] = {
        {"out", "FILE", "write our configuration there (default: print it)", &o.out, NULL},
        {"report", "FILE", "write the report there (default: standard error)", &o.report, NULL},
        {"keys", "FILE", "take keys into the running suite: JSON, see below", &o.keys, NULL},
        {"strict", NULL, "exit with 1 when something is not carried", NULL, &o.strict},
        {"json", NULL, "the report as JSON", NULL, &o.json},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "LiteLLM's configuration file is needed");
    struct import im;
    import_init(&im);
    code = convert(&im, &o, rest.items[0]);
    if (code < 0 && o.keys)
        code = import_keys(&paths, o.keys, &im.report);
    bool left = report_count(&im.report, FATE_LEFT) > 0;
    int reported = code < 0 || im.report.count ? print_report(&o, &im.report) : -1;
    import_free(&im);
    if (code < 0)
        code = reported;
    if (code < 0)
        code = o.strict && left ? EXIT_FAILED : EXIT_DONE;
    return code;
}

static int import(const struct command *self, int argc, char **argv)
{
    static const struct command table[] = {
        {"import litellm", "Make a configuration of a LiteLLM proxy's.", "[OPTION]... FILE",
         "Nothing is contacted, and no secret is written or shown: each becomes ${VARIABLE}, and "
         "the\n"
         "report says which to set. --keys takes an array of rows of LiteLLM_VerificationToken, "
         "as\n"
         "psql -Atc 'select json_agg(t) from \"LiteLLM_VerificationToken\" t' or LiteLLM's\n"
         "/key/list?return_full_object=true gives it; the secrets that people have stay valid.",
         litellm},
        {0}};
    (void)self;
    return dispatch("tollgate import", table, NULL, argc, argv);
}

const struct command command_import = {"import", "Make a configuration of another gateway's.",
                                       "COMMAND", NULL, import};
