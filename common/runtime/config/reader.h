/* Turns the YAML tree into a struct config, complaining as it goes. Private to this folder. */
#ifndef COMMON_RUNTIME_CONFIG_READER_H
#define COMMON_RUNTIME_CONFIG_READER_H

#include "common/runtime/config/option.h"
#include "common/runtime/config/yaml.h"

struct config_reader {
    struct yaml_reader yaml;
    struct config *config;
    const struct config_paths *paths;
};

/* "section.key", in the arena. */
const char *reader_place(struct config_reader *r, const char *section, const char *key);
/* The node's text; NULL, with a complaint unless the node is NULL, when it is none. */
const char *reader_text(struct config_reader *r, const struct yaml *node, const char *where);
/* How many children a list or a map has. */
size_t reader_count(const struct yaml *node);
/* Complains and returns false unless the node is a map; nothing or an empty text is one without
 * members. */
bool reader_is_map(struct config_reader *r, const struct yaml *node, const char *where);

/* The table's defaults of a group, into its struct. */
void reader_set_defaults(struct config_reader *r, const char *group, void *into);
/* The group's KEY and OPTION rows, into its struct, and a complaint about every key that has no
 * row. A row's struct member keeps what it holds when the file does not give it. */
void reader_read_group(struct config_reader *r, const struct yaml *map, const char *group,
                       const char *where, void *into);
/* A group of PASSED rows: checked as the JSON they will be sent as. Whether unknown keys are wrong,
 * or only draw a warning when they look like a misspelt one. */
void reader_check_passed(struct config_reader *r, const struct yaml *map, const char *group,
                         const char *where, bool strict);

void read_providers(struct config_reader *r, const struct yaml *node);
void read_models(struct config_reader *r, const struct yaml *node);
/* default_model and fallbacks must name models; after read_models. */
void check_model_names(struct config_reader *r, const struct yaml *root);

#endif
