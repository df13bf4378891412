#include "services/ctl/changes.h"

#include <stdio.h>

void changes_begin(struct changes *c)
{
    for (size_t i = 0; i < c->count; i++)
        c->all[i].seen = false;
}

void changes_note(struct changes *c, const char *section, const char *name, uint64_t now_ms)
{
    struct change fresh = {.since_ms = now_ms, .seen = true};
    (void)snprintf(fresh.option, sizeof fresh.option, "%s.%s", section, name);
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->all[i].option, fresh.option) == 0) {
            c->all[i].seen = true;
            return;
        }
    }
    if (c->count < CHANGES_MAX)
        c->all[c->count++] = fresh;
}

void changes_end(struct changes *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->all[i].seen)
            c->all[kept++] = c->all[i];
    }
    c->count = kept;
}

/* "tollgate-edge" takes edge.…; all take bus.… and runtime.… */
static bool concerns(const struct change *change, const struct child *child)
{
    struct span rest = span_str(change->option), section = span_cut(&rest, '.');
    struct span role = span_skip(span_str(child->program), strlen("tollgate-"));
    return span_is(section, "bus") || span_is(section, "runtime") || span_equals(section, role);
}

void changes_put(const struct changes *c, const struct child *child, struct buf *out)
{
    size_t before = out->len;
    for (size_t i = 0; i < c->count; i++) {
        const struct change *change = &c->all[i];
        if (child->started_ms > change->since_ms || child->stage == STAGE_SIMULATOR ||
            !concerns(change, child))
            continue;
        buf_append_str(out, out->len > before ? ", " : "");
        buf_append_str(out, change->option);
    }
}
