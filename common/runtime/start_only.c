#include "common/runtime/start_only.h"

#include <stdio.h>
#include <string.h>

void start_only_begin(struct start_only *s)
{
    for (size_t i = 0; i < s->count; i++)
        s->all[i].seen = false;
}

void start_only_note(struct start_only *s, const char *option)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->all[i].name, option) == 0) {
            s->all[i].seen = true;
            return;
        }
    }
    if (s->count == START_ONLY_MAX)
        return;
    struct start_only_option *fresh = &s->all[s->count++];
    *fresh = (struct start_only_option){.seen = true};
    (void)snprintf(fresh->name, sizeof fresh->name, "%s", option);
}

void start_only_end(struct start_only *s, start_only_fn fn, void *ctx)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct start_only_option *o = &s->all[i];
        if (!o->seen || !o->told)
            fn(ctx, o->name, o->seen);
        o->told = true;
        if (o->seen)
            s->all[kept++] = *o;
    }
    s->count = kept;
}
