#include "services/worker/neutral/fault.h"

enum { MAX_MESSAGE = 1024 };

void fault_set(struct fault *f, unsigned error_class, const char *message, const char *param)
{
    *f = (struct fault){
        .error_class = error_class, .message = span_str(message), .param = span_str(param)};
}

struct fault fault_copy(const struct fault *f, struct arena *arena)
{
    struct fault copy = *f;
    copy.message = arena_copy(arena, span_first(f->message, MAX_MESSAGE));
    copy.code = arena_copy(arena, span_first(f->code, MAX_MESSAGE));
    copy.param = arena_copy(arena, span_first(f->param, MAX_MESSAGE));
    copy.details_json = arena_copy(arena, f->details_json);
    return copy;
}
