/* tollgate models: what a configuration offers, by whom, for how much. Prices and capabilities are
 * the project's table, overridden by the configuration. */
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "services/ctl/ask_metrics.h"
#include "services/ctl/offer_views.h"
#include "services/ctl/paths.h"

enum { METRICS_TIMEOUT_MS = 3000, STALE_DAYS = 180 };

struct models_options {
    bool json, check_prices, compare;
};

/* Days since 1970 of "2026-08-21". */
static bool read_day(struct span text, uint64_t *out)
{
    struct tm day = {0};
    char copy[11] = "";
    if (text.len != sizeof copy - 1)
        return false;
    memcpy(copy, text.data, text.len);
    const char *end = strptime(copy, "%Y-%m-%d", &day);
    time_t seconds = end && !*end ? timegm(&day) : -1;
    *out = seconds > 0 ? (uint64_t)seconds / 86400 : 0;
    return seconds > 0;
}

static void note_age(const struct model_file *table)
{
    uint64_t day, today = clock_wall_ms(&clock_real) / 86400000;
    struct span updated = json_text(json_get(json_root(&table->doc), "updated"));
    if (!read_day(updated, &day))
        return;
    (void)fprintf(stderr, "note: the table's prices are of %.*s\n", SPAN_ARG(updated));
    if (today > day + STALE_DAYS)
        (void)fprintf(stderr, "warning: that is %llu days ago\n",
                      (unsigned long long)(today - day));
}

static void note_unpriced(const struct config *config, const struct model_file *table)
{
    struct buf names = {0};
    offers_without_price(config, table, &names);
    if (names.len)
        (void)fprintf(stderr,
                      "warning: no price is known of %.*s: what they use is booked at no cost "
                      "unless the provider states one\n",
                      (int)names.len, names.data);
    buf_free(&names);
}

static int print(const struct config *config, const struct model_file *table,
                 const struct offer_view *view, struct offer_listing *l, bool json)
{
    struct buf out = {0};
    struct sheet s;
    enum err e = OK;
    struct json_writer w = {.out = &out};
    sheet_init(&s, view->heads);
    l->sheet = &s;
    l->json = json ? &w : NULL;
    if (json)
        jw_array(&w);
    offers_each(config, table, view->row, l);
    if (json) {
        jw_array_end(&w);
        buf_append_char(&out, '\n');
    } else {
        e = sheet_write(&s, &out);
    }
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}

static void ask_measured(const struct config *config, struct buf *out)
{
    log_setup(LEVEL_ERROR, LINES_TEXT, "tollgate", "");
    enum err e = ask_metrics(config->options.bus_metrics, config->options.bus_certs, "metrics",
                             METRICS_TIMEOUT_MS, out);
    if (e)
        (void)fprintf(stderr, "note: nothing measured: no metrics daemon answers (%s)\n",
                      err_name(e));
}

static int show(const struct config *config, const struct models_options *o)
{
    struct model_file table;
    struct buf metrics = {0};
    const struct offer_view *view = o->check_prices ? &offer_prices_view
                                    : o->compare    ? &offer_compare_view
                                                    : &offer_list_view;
    offers_load_table(&table);
    if (o->compare)
        ask_measured(config, &metrics);
    struct offer_listing l = {.metrics = buf_span(&metrics)};
    int code = print(config, &table, view, &l, o->json);
    note_unpriced(config, &table);
    if (o->check_prices)
        note_age(&table);
    model_file_free(&table);
    buf_free(&metrics);
    return code == EXIT_DONE && l.unpriced ? failure("%zu without a price", l.unpriced) : code;
}

static int models(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct models_options o = {0};
    struct positionals rest;
    const struct arg args[] = {
        {"json", NULL, "print JSON", NULL, &o.json},
        {"check-prices", NULL, "where each price comes from; exit code 1 where one is missing",
         NULL, &o.check_prices},
        {"compare", NULL, "price, measured latency and errors, limits and features side by side",
         NULL, &o.compare},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (o.check_prices && o.compare)
        return usage_error(self, "either --check-prices or --compare");
    if (rest.count == 1 && !paths.config_path)
        paths.config_path = rest.items[0];
    else if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    if (paths_resolve(&paths))
        return failure("the run or state directory's path is too long");
    if (!paths.config_path)
        return usage_error(self, "which configuration? Give a FILE, --config or $TOLLGATE_CONFIG");
    struct config *config = NULL;
    code = paths_load(&paths, &config);
    if (code >= 0)
        return code;
    code = show(config, &o);
    config_destroy(&config);
    return code;
}

const struct command command_models = {"models", "List what a configuration offers, with prices.",
                                       "[OPTION]... [FILE]",
                                       "Prices are dollars per million tokens.", models};
