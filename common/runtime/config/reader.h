/* Turns the YAML tree into a struct config, complaining as it goes. Private to config*.c. */
#ifndef COMMON_RUNTIME_CONFIG_READER_H
#define COMMON_RUNTIME_CONFIG_READER_H

#include "common/runtime/config/yaml.h"

struct config_reader {
    struct yaml_reader yaml;
    struct config *config;
    const struct config_paths *paths;
};

void reader_complain(struct config_reader *r, const struct yaml *at, const char *where,
                     const char *what);
/* "section.key", in the arena. */
const char *reader_place(struct config_reader *r, const char *section, const char *key);
/* The node's text; NULL, with a complaint unless the node is NULL, when it is none. */
const char *reader_text(struct config_reader *r, const struct yaml *node, const char *where);
/* One value is a list of one; an empty text is an empty list. */
struct config_list reader_list(struct config_reader *r, const struct yaml *node, const char *where);
/* Whether the NULL-ended list holds the word. */
bool reader_knows(const char *text, const char *const *words);
/* How many members a map has; an empty text has none. */
size_t reader_members(struct config_reader *r, const struct yaml *node, const char *where);

/* options.def: the daemons' sections. */
void read_option_defaults(struct config_reader *r);
bool is_option_section(const char *name);
void read_option_section(struct config_reader *r, const struct yaml *section);
/* The sections' names, NULL-ended, into out, which has room for them all (OPTION_SECTIONS_MAX). */
enum { OPTION_SECTIONS_MAX = 16 };
void option_sections(const char **out);

void read_providers(struct config_reader *r, const struct yaml *node);
void read_models(struct config_reader *r, const struct yaml *node);
/* default_model and fallbacks must name models; after read_models. */
void check_model_names(struct config_reader *r, const struct yaml *root);

#endif
