/* A LiteLLM configuration being made into one of ours: what has been read, and what it becomes.
 * Nothing is contacted, and no environment read. */
#ifndef SERVICES_CTL_IMPORT_IMPORT_H
#define SERVICES_CTL_IMPORT_IMPORT_H

#include "services/ctl/import/draft.h"
#include "services/ctl/import/litellm_value.h"

enum {
    IMPORT_FILES_MAX = 32, /* with all that it includes */
    IMPORT_PROVIDERS_MAX = 500,
    IMPORT_KEYS_MAX = 1000, /* of one provider */
    IMPORT_MODELS_MAX = 5000,
    IMPORT_DEPLOYMENTS_MAX = 10000
};

enum litellm_kind { LITELLM_KNOWN, LITELLM_NEEDED, LITELLM_OLLAMA, LITELLM_AZURE, LITELLM_FOREIGN };

/* A row of litellm.def. */
struct litellm_row {
    const char *prefix, *name, *type, *base, *variable;
    enum litellm_kind kind;
};

/* A file of the import: the one named, or one that is included. */
struct import_file {
    const char *path;
    struct yaml *root;
};

struct import_provider {
    const char *name;
    const struct litellm_row *row;
    const char *base;          /* NULL = our own default */
    const char *organization;  /* as our file has it; NULL = none */
    const char *headers;       /* members of a map, as our file has them; "" = none */
    const char *only_key;      /* NULL: its keys serve all its models */
    const char **keys;         /* as our file has them: "${NAME}" */
    size_t key_count, unnamed; /* variables made up for keys and headers that stood in the file */
    const char **literals;     /* what these stand for; compared, never shown */
    bool private;
    struct import_place from;
};

/* One entry of model_list. */
struct deployment {
    const struct yaml *entry, *params, *credentials;
    const char *file;
    size_t index;
    const struct litellm_row *row; /* NULL = cannot be carried */
    struct import_provider *provider;
    const char *upstream;
    uint64_t weight;
    bool weighted;
};

struct import_model {
    const char *name;
    struct deployment **deployments;
    size_t count;
    struct import_model *alias_of;
    struct import_place from;
};

struct import {
    struct arena arena;
    struct report report;
    struct draft draft;
    struct import_file files[IMPORT_FILES_MAX];
    size_t file_count;
    struct import_provider *providers[IMPORT_PROVIDERS_MAX];
    size_t provider_count;
    struct deployment *deployments;
    size_t deployment_count;
    struct import_model *models;
    size_t model_count;
};

/* Reads FILE, and what it includes. ERR_INVALID, with a complaint in errors_out: it is no YAML, or
 * larger than we read. */
enum err import_read(struct import *im, const char *path, struct buf *errors_out) NODISCARD;
/* The same of a text; nothing is included. */
enum err import_read_text(struct import *im, const char *name, struct span text,
                          struct buf *errors_out) NODISCARD;
/* Our file, which our own check accepts, and the report. */
enum err import_write(struct import *im, struct buf *out, struct buf *errors_out) NODISCARD;
void import_init(struct import *im);
void import_free(struct import *im);

/* ---- for the parts of the import ---- */

/* "model_list[3].litellm_params.rpm"; `key` NULL: the node itself. */
struct import_place import_at(struct import *im, const char *file, const struct yaml *node,
                              const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The first file's that has it: of section `section`, or at the top (""). */
const struct yaml *import_member(const struct import *im, const char *section, const char *key,
                                 const char **file_out);
struct import_model *import_find_model(const struct import *im, const char *name);

/* ---- rows.c ---- */
/* Finds the row of what the deployment's model begins with, and the upstream's name of the model.
 * false: why it cannot be carried has been reported. */
bool provider_row(struct import *im, struct deployment *d);
/* A setting of a deployment: its own, or its credential's; NULL when there is none. */
const struct yaml *deployment_get(const struct deployment *d, const char *name);
/* api_base, or its other name. */
const struct yaml *deployment_base(const struct deployment *d);
struct import_place deployment_at(struct import *im, const struct deployment *d, const char *name);

/* ---- providers.c ---- */
/* Finds the provider of a deployment that has a row; by its key too when `by_key`. false as above.
 */
bool provider_find(struct import *im, struct deployment *d, bool by_key);
void providers_write(struct import *im);

/* ---- weights.c ---- */
enum { WEIGHT_MAX = 1000000 };
void weights_read(struct import *im, struct import_model *m);
/* Keys of one provider are used in turn, so those that have different shares need providers of
 * their own. */
bool weights_are_apart(const struct import_model *m);

/* ---- models.c ---- */
enum err models_read(struct import *im) NODISCARD;
void models_write(struct import *im);

/* ---- settings.c ---- */
/* The sections that are not about one model: into the draft, or the report. */
void settings_write(struct import *im);
/* Fallbacks of a model from LiteLLM's lists of this name; false when there are none. */
struct settings_list {
    const char *items[64];
    size_t count;
    struct import_place from;
};
bool settings_fallbacks(struct import *im, const char *list, const char *model,
                        struct settings_list *out);
/* router_settings' value, else litellm_settings'; NULL. */
const struct yaml *settings_get(const struct import *im, const char *key);
bool settings_enforce_rates(const struct import *im);

#endif
