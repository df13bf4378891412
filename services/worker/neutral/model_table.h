/* Prices and capabilities by model: share/models.json (the project's own table; longest prefix
 * wins), overridden by a configuration entry's `price` and `capabilities`. */
#ifndef SERVICES_WORKER_NEUTRAL_MODEL_TABLE_H
#define SERVICES_WORKER_NEUTRAL_MODEL_TABLE_H

#include "common/base/err.h"
#include "common/runtime/config/config.h"

enum thinking_style { THINKING_STYLE_NONE, THINKING_STYLE_BUDGET, THINKING_STYLE_ADAPTIVE };

enum effort_words {
    EFFORT_LOW = 1, /* low, medium, high */
    EFFORT_XHIGH = 2,
    EFFORT_MAX = 4,
    EFFORT_NONE = 8,
    EFFORT_MINIMAL = 16
};

struct model_row {
    bool exact;                  /* nothing may follow the pattern */
    const char *pattern;         /* prefix it was found by; "" for the default row */
    const char *provider;        /* "openai", "groq", …: a name of proto/providers.def */
    const char *mode;            /* "chat", "completion", "embedding", "responses" */
    const struct tariff *tariff; /* the table's or the configuration's; NULL = nobody knows one */
    uint64_t context, max_out;
    /* capabilities */
    bool blind; /* known to take no images; where nothing is said nothing is refused */
    bool tools, json_schema, pdf, reasoning;
    bool sampling;          /* temperature, top_p, top_k may be sent */
    bool sampling_one_only; /* not temperature and top_p both */
    bool prefill;           /* a last assistant turn is allowed */
    bool thinking_default_on;
    bool system_in_place; /* role system in mid-list */
    enum thinking_style thinking;
    unsigned efforts; /* enum effort_words */
};

struct model_table;

/* Reads the JSON file. ERR_NOT_FOUND, ERR_IO, ERR_INVALID, ERR_NOMEM with one line about it in
 * *error_out, *out NULL. */
enum err model_table_load(const char *path, struct model_table **out,
                          struct buf *error_out) NODISCARD;
void model_table_destroy(struct model_table **t);
/* The row for the provider of that name ("groq"), or else for the protocol it speaks, and upstream
 * model: longest prefix that ends at a word's end ("gpt-4" is no prefix of "gpt-4.5"), else the
 * protocol's default row; with the configuration's overrides applied into *scratch when it has any
 * (the result then points there, and its tariff into `overrides`). Never NULL. */
const struct model_row *model_table_find(const struct model_table *t, const char *provider,
                                         const char *protocol, struct span model,
                                         const struct config_model *overrides,
                                         struct model_row *scratch);

#endif
