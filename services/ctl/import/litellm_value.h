/* Values of a LiteLLM file, which is YAML 1.1 as Python reads it: 20_000 is a number, yes a
 * boolean, an empty value null, os.environ/NAME a reference. Texts live in the arena. */
#ifndef SERVICES_CTL_IMPORT_LITELLM_VALUE_H
#define SERVICES_CTL_IMPORT_LITELLM_VALUE_H

#include "common/base/arena.h"
#include "common/runtime/config/yaml.h"

/* NULL, or written as null. */
bool litellm_absent(const struct yaml *node);
/* The text of a scalar that is there; NULL for anything else. */
const char *litellm_text(const struct yaml *node);
/* NAME of os.environ/NAME; NULL when it is no such reference, or the name is none. */
const char *litellm_variable(const struct yaml *node);
/* Does it, or anything below it, refer to the environment? */
bool litellm_has_variable(const struct yaml *node);
/* A number that is not negative, as seconds or a count. */
bool litellm_number(const struct yaml *node, double *out);
bool litellm_bool(const struct yaml *node, bool *out);
/* As JSON; NULL without memory. */
const char *litellm_json(struct arena *arena, const struct yaml *node);
/* "\"a\\nb\"": a string that YAML and JSON read alike; "\"\"" without memory. */
const char *litellm_quoted(struct arena *arena, const char *text);
/* Dollars per token as dollars per million, without rounding: "3e-07" is "0.3". NULL when it is no
 * number, or one that long. */
const char *litellm_per_million(struct arena *arena, const struct yaml *node);

#endif
