/* tollgate models: what a configuration offers, by whom, for how much. Prices and capabilities are
 * the project's table, overridden by the configuration. */
#include <stdio.h>

#include "common/base/model_file.h"
#include "services/ctl/paths.h"
#include "services/ctl/sheet.h"

/* One target of one model. */
struct offer {
    const struct config_model *model;
    const struct config_target *target;
    struct json row;       /* of the table; JSON_NONE */
    struct json overrides; /* the configuration's capabilities; JSON_NONE */
};

static const char *const flags[] = {"vision",      "pdf",       "tools",
                                    "json_schema", "reasoning", "prefill"};

static bool price(const struct offer *o, const char *what, uint64_t *nano)
{
    const struct config_price *p = &o->model->price;
    if (!p->set)
        return model_row_price_nano(o->row, what, nano);
    *nano = strcmp(what, "input") == 0    ? p->input_nano
            : strcmp(what, "output") == 0 ? p->output_nano
            : strcmp(what, "cached") == 0 ? p->cached_nano
                                          : p->cache_write_nano;
    return *nano != UINT64_MAX;
}

static struct json capability(const struct offer *o, const char *name)
{
    struct json v = json_get(o->overrides, name);
    return json_type(v) != JSON_NONE ? v : json_get(json_get(o->row, "capabilities"), name);
}

static bool has_flag(const struct offer *o, const char *name)
{
    bool on = false;
    return json_bool(capability(o, name), &on) && on;
}

static struct span upstream_name(const struct offer *o)
{
    return span_str(o->target->model ? o->target->model : o->model->name);
}

/* Nano-dollars per token are dollars per million tokens × 1000. */
static void price_cell(struct sheet *s, const struct offer *o, const char *what)
{
    uint64_t nano;
    char text[32];
    if (!price(o, what, &nano)) {
        sheet_str(s, "-");
        return;
    }
    (void)snprintf(text, sizeof text, "%llu.%03llu", (unsigned long long)(nano / 1000),
                   (unsigned long long)(nano % 1000));
    sheet_str(s, text);
}

static void offer_row(struct sheet *s, const struct offer *o)
{
    struct buf words = {0};
    int64_t context = 0;
    sheet_str(s, o->model->name);
    sheet_str(s, o->target->provider->name);
    sheet_cell(s, o->target->model ? upstream_name(o) : SPAN("(as asked)"));
    price_cell(s, o, "input");
    price_cell(s, o, "cached");
    price_cell(s, o, "output");
    if (json_i64(json_get(o->row, "context"), &context) && context > 0)
        sheet_u64(s, (uint64_t)context);
    else
        sheet_str(s, "-");
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (has_flag(o, flags[i]))
            buf_printf(&words, "%s%s", words.len ? "," : "", flags[i]);
    }
    sheet_cell(s, buf_span(&words));
    buf_free(&words);
}

static void offer_json(struct json_writer *w, const struct offer *o)
{
    static const char *const parts[] = {"input", "cached", "cache_write", "output"};
    uint64_t nano;
    jw_object(w);
    jw_key(w, "model");
    jw_str(w, o->model->name);
    jw_key(w, "provider");
    jw_str(w, o->target->provider->name);
    jw_key(w, "type");
    jw_str(w, o->target->provider->type);
    jw_key(w, "upstream_model");
    if (o->target->model)
        jw_str(w, o->target->model);
    else
        jw_null(w);
    jw_key(w, "weight");
    jw_u64(w, o->target->weight);
    jw_key(w, "price");
    jw_object(w);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!price(o, parts[i], &nano))
            continue;
        jw_key(w, parts[i]);
        jw_double(w, (double)nano / 1000);
    }
    jw_object_end(w);
    jw_key(w, "context");
    if (json_absent(json_get(o->row, "context")))
        jw_null(w);
    else
        jw_value(w, json_get(o->row, "context"));
    jw_key(w, "capabilities");
    jw_array(w);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (has_flag(o, flags[i]))
            jw_str(w, flags[i]);
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void each_offer(const struct config *config, const struct model_file *table, struct sheet *s,
                       struct json_writer *w)
{
    for (size_t i = 0; i < config->model_count; i++) {
        const struct config_model *m = &config->models[i];
        struct json_doc overrides = {0};
        bool has_overrides = m->capabilities && json_parse(&overrides, span_str(m->capabilities),
                                                           JSON_DEPTH_CLIENT) == OK;
        for (size_t k = 0; k < m->target_count; k++) {
            struct offer o = {.model = m, .target = &m->targets[k]};
            o.overrides = has_overrides ? json_root(&overrides) : JSON_NOTHING;
            o.row = model_file_find(table, o.target->provider->type, upstream_name(&o));
            if (w)
                offer_json(w, &o);
            else
                offer_row(s, &o);
        }
        json_doc_free(&overrides);
    }
}

static int print(const struct config *config, const struct model_file *table, bool json)
{
    struct buf out = {0};
    struct sheet s;
    enum err e = OK;
    sheet_init(&s, "MODEL|PROVIDER|UPSTREAM|>IN $/M|>CACHED|>OUT $/M|>CONTEXT|CAPABILITIES");
    struct json_writer w = {.out = &out};
    if (json) {
        jw_array(&w);
        each_offer(config, table, NULL, &w);
        jw_array_end(&w);
        buf_append_char(&out, '\n');
    } else {
        each_offer(config, table, &s, NULL);
        e = sheet_write(&s, &out);
    }
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}

static void load_table(struct model_file *table)
{
    struct buf path = {0};
    *table = (struct model_file){0};
    enum err e = model_file_path(&path);
    if (!e)
        e = model_file_load(path.data, table);
    if (e)
        (void)fprintf(stderr, "note: no table of prices (models.json: %s)\n", err_name(e));
    buf_free(&path);
}

static int models(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    struct positionals rest;
    const struct arg args[] = {{"json", NULL, "print JSON", NULL, &json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
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
    struct model_file table;
    load_table(&table);
    code = print(config, &table, json);
    model_file_free(&table);
    config_destroy(&config);
    return code;
}

const struct command command_models = {"models", "List what a configuration offers, with prices.",
                                       "[OPTION]... [FILE]",
                                       "Prices are dollars per million tokens.", models};
