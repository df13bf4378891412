/* The members that a model's input has, by its schema. */
#include "services/worker/providers/replicate/replicate.h"

enum err replicate_refuse(struct replicate_builder *b, unsigned error_class, const char *message,
                          const char *param)
{
    api_error_set(b->fault, error_class, message, param);
    return ERR_INVALID;
}

struct json replicate_property(const struct replicate_builder *b, const char *name)
{
    return json_get(b->properties, name);
}

bool replicate_has(const struct replicate_builder *b, const char *name)
{
    return json_type(replicate_property(b, name)) == JSON_OBJECT;
}

const char *replicate_first_of(const struct replicate_builder *b, const char *const *names)
{
    for (; *names; names++) {
        if (replicate_has(b, *names))
            return *names;
    }
    return NULL;
}
