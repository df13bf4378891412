/* reasoning_effort → thinking and output_config.effort, by what the model can (docs/wire.md,
 * Reasoning). */
#include "services/worker/providers/anthropic/anthropic.h"

#include "services/worker/providers/effort.h"

enum { MIN_BUDGET = 1024 };

static const struct effort {
    const char *word;
    const char *adaptive; /* the word sent, where the model knows it */
    unsigned needs;       /* else "high" */
    int64_t budget;
} efforts[] = {
    {"none", NULL, 0, 0},
    {"minimal", "low", EFFORT_LOW, 1024},
    {"low", "low", EFFORT_LOW, 1024},
    {"medium", "medium", EFFORT_LOW, 4096},
    {"high", "high", EFFORT_LOW, 16384},
    {"xhigh", "xhigh", EFFORT_XHIGH, 32000},
    {"max", "max", EFFORT_MAX, 32000},
};

static const struct effort *find_effort(struct span word)
{
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
        if (span_is(word, efforts[i].word))
            return &efforts[i];
    }
    return NULL;
}

/* With budgets the API wants every turn that called tools to show its thoughts, as long as their
 * results are what it answers now: history from a client that keeps none can't have thinking.
 */
static bool has_thoughtless_calls(const struct conversation *c)
{
    if (c->count < 2 || c->messages[c->count - 1].assistant)
        return false;
    const struct message *last = &c->messages[c->count - 2];
    return last->calls && !last->thinks;
}

static void plan_budget(struct conversion *pc, const struct conversation *c,
                        const struct effort *effort, int64_t max_tokens, struct thinking_plan *out)
{
    int64_t budget = effort->budget < max_tokens ? effort->budget : max_tokens - 1;
    if (effort->budget == 0)
        return;
    if (budget < MIN_BUDGET || has_thoughtless_calls(c)) {
        effort_drop(pc->request);
        return;
    }
    out->kind = PLAN_BUDGET;
    out->budget = budget;
}

static void plan_adaptive(const struct model_row *row, const struct effort *effort,
                          bool forced_tool, struct thinking_plan *out)
{
    if (effort->adaptive == NULL) {
        out->kind = row->thinking_default_on ? PLAN_DISABLED : PLAN_NOTHING;
        return;
    }
    bool known = (row->efforts & effort->needs) != 0;
    if (row->efforts)
        out->effort = known ? effort->adaptive : "high";
    out->kind = PLAN_ADAPTIVE;
    if (!forced_tool)
        return;
    /* a forced tool excludes thinking; and disabled excludes the words above high */
    out->kind = row->thinking_default_on ? PLAN_DISABLED : PLAN_NOTHING;
    if (out->kind == PLAN_DISABLED && effort->needs != EFFORT_LOW && out->effort)
        out->effort = "high";
}

void anthropic_plan_thinking(struct conversion *pc, const struct conversation *c,
                             int64_t max_tokens, bool forced_tool, struct thinking_plan *out)
{
    *out = (struct thinking_plan){.kind = PLAN_NOTHING};
    struct span word = pc->request->effort_text;
    if (!word.len)
        return;
    const struct effort *effort = find_effort(word);
    if (!effort) { /* a hint that is newer than we are */
        effort_drop(pc->request);
        return;
    }
    switch (pc->row->thinking) {
    case THINKING_STYLE_NONE:
        if (effort->budget)
            effort_drop(pc->request);
        break;
    case THINKING_STYLE_BUDGET:
        if (forced_tool && effort->budget)
            effort_drop(pc->request);
        else
            plan_budget(pc, c, effort, max_tokens, out);
        break;
    case THINKING_STYLE_ADAPTIVE:
        plan_adaptive(pc->row, effort, forced_tool, out);
        break;
    }
}
