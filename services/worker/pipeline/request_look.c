/* What stands in a client's messages, whatever its protocol: looked for without reading them. */
#include "services/worker/pipeline/request_look.h"

/* Messages hold parts, a tool's result among them holds parts again. */
enum { MAX_LEVELS = 4 };

static bool is_image(struct json v)
{
    struct json type = json_get(v, "type");
    return json_is(type, "image_url") || json_is(type, "input_image") || json_is(type, "image");
}

static bool list_has_image(struct json list, unsigned level)
{
    if (json_type(list) != JSON_ARRAY || level == MAX_LEVELS)
        return false;
    for (struct json_iter i = json_iter(list); json_next(&i);) {
        if (is_image(i.value) || list_has_image(json_get(i.value, "content"), level + 1) ||
            list_has_image(json_get(i.value, "output"), level + 1))
            return true;
    }
    return false;
}

const char *request_image_member(struct json body)
{
    static const char *const members[] = {"messages", "input"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (list_has_image(json_get(body, members[i]), 0))
            return members[i];
    }
    return NULL;
}
