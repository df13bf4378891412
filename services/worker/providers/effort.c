#include "services/worker/providers/effort.h"

struct span request_effort(const struct neutral_request *r)
{
    if (r->thinking == THINKING_OFF)
        return SPAN("none");
    if (r->effort_text.len || r->thinking != THINKING_BUDGET)
        return r->effort_text;
    if (r->thinking_budget < 4096)
        return SPAN("low");
    return r->thinking_budget < 16384 ? SPAN("medium") : SPAN("high");
}

void effort_drop(struct neutral_request *r)
{
    if (!api_is_anthropic(r->api)) {
        neutral_drop(r, r->api == API_OPENAI_RESPONSES ? "reasoning.effort" : "reasoning_effort");
        return;
    }
    if (r->thinking == THINKING_BUDGET || r->thinking == THINKING_ADAPTIVE)
        neutral_drop(r, "thinking");
    if (r->effort_text.len)
        neutral_drop(r, "output_config.effort");
}
