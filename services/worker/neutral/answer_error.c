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

/* One way through the members, for every event of every stream comes by. */
bool answer_is_error(struct json root)
{
    bool error = false, other = false, choices = false;
    if (json_type(root) != JSON_OBJECT)
        return false;
    for (struct json_iter i = json_iter(root); json_next(&i);) {
        struct span key = json_text(i.key);
        if (span_is(key, "error"))
            error = is_said(i.value);
        else if (span_is(key, "choices"))
            choices = json_type(i.value) == JSON_ARRAY;
        else if (span_is(key, "type") || span_is(key, "object"))
            other |= json_is(i.value, "error");
        else if (span_is(key, "detail"))
            other |= is_said(i.value);
        else if (span_is(key, "message"))
            other |= json_type(i.value) == JSON_STRING;
    }
    return error || (other && !choices);
}

bool answer_event_is_error(struct json event, struct span name)
{
    bool named = span_is(name, "error") && json_type(json_get(event, "type")) != JSON_STRING;
    return named || answer_is_error(event);
}
