#include "services/worker/neutral/answer_error.h"

static bool is_said(struct json v)
{
    switch (json_type(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return json_count(v) > 0;
    case JSON_STRING:
        return json_text(v).len > 0;
    case JSON_NUMBER:
        return true;
    case JSON_BOOL: {
        bool b = false;
        return json_bool(v, &b) && b;
    }
    case JSON_NONE:
    case JSON_NULL:
        break;
    }
    return false;
}

bool answer_is_error(struct json root)
{
    if (is_said(json_get(root, "error")))
        return true;
    if (json_type(json_get(root, "choices")) == JSON_ARRAY)
        return false;
    return json_is(json_get(root, "type"), "error") || json_is(json_get(root, "object"), "error") ||
           is_said(json_get(root, "detail")) || json_type(json_get(root, "message")) == JSON_STRING;
}
