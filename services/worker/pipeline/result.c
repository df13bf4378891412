/* What a pipeline has come to: status, headers, usage, cost. */
#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/neutral/estimate.h"
#include "services/worker/neutral/usage_bound.h"

static void write_dropped(struct pipeline *c)
{
    size_t count = c->request ? c->request->dropped_count : 0;
    if (count == 0 && !c->dropped)
        return;
    struct buf *b = &c->result_headers;
    buf_append_str(b, "x-tollgate-dropped: ");
    for (size_t i = 0; i < count; i++) {
        buf_append_str(b, i ? ", " : "");
        buf_append_str(b, c->request->dropped[i]);
    }
    if (c->dropped) {
        buf_append_str(b, count ? ", " : "");
        buf_append_str(b, c->dropped);
    }
    buf_append_char(b, '\n');
}

/* Reading and estimating what was never answered would charge for refusals. */
static bool was_answered(const struct pipeline *c)
{
    return c->state == PIPELINE_DONE || c->committed || c->text_bytes ||
           c->usage.input != USAGE_UNKNOWN;
}

/* The operator's own price first, then what the provider says, then the table. */
static void fill_cost(const struct pipeline *c, struct pipeline_result *r)
{
    const struct usage *u = &r->usage;
    bool has_own_price = c->spec.model_config && c->spec.model_config->price.set;
    struct tariff_use use = {.input = u->input,
                             .cached = u->cached,
                             .cache_write = u->cache_write,
                             .cache_write_1h =
                                 u->cache_write_1h == USAGE_UNKNOWN ? 0 : u->cache_write_1h,
                             .output = u->output,
                             .tier = u->tier};
    memcpy(use.calls, u->calls, sizeof use.calls);
    use.calls[FEE_REQUEST] = u->input || u->output;
    r->cost_source = COST_COMPUTED;
    r->cost_nano = 0;
    if (u->stated && !has_own_price) {
        r->cost_source = COST_STATED;
        r->cost_nano = u->stated_nano;
    } else if (c->row->tariff) {
        r->cost_nano = tariff_cost_nano(c->row->tariff, &use);
    } else if (u->input || u->output) {
        r->cost_source = COST_UNPRICED;
    }
}

bool pipeline_bound_usage(const struct pipeline *c, struct usage *usage)
{
    const struct usage_facts facts = {.asked_bytes = c->spec.body.len,
                                      .context = c->row->context,
                                      .asked_output = c->spec.output_most,
                                      .model_output = c->row->max_out,
                                      .answer_bytes = c->text_bytes};
    return usage_bound(usage, &facts);
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

/* What the upstream may have made that nobody saw. */
static uint64_t unseen(const struct pipeline *c, uint64_t generated)
{
    if (!api_info(c->spec.api)->generates)
        return 0;
    uint64_t most = c->spec.output_most ? c->spec.output_most : c->row->max_out;
    return most ? at_most(generated, most) : generated;
}

/* cut: it broke off while the upstream worked on it. */
static void fill_usage(struct pipeline *c, bool cut, uint64_t generated)
{
    struct pipeline_result *r = &c->result;
    r->usage = c->usage;
    bool counts = cut || was_answered(c);
    uint64_t input =
        c->spec.input_tokens ? c->spec.input_tokens : estimate_tokens(c->spec.body.len);
    uint64_t output = estimate_tokens(c->text_bytes);
    if (c->unfinished)
        output = unseen(c, c->spec.output_most ? c->spec.output_most : PIPELINE_BACKGROUND_TOKENS);
    else if (cut && output == 0)
        output = unseen(c, generated);
    r->estimated = usage_complete(&r->usage, counts ? input : 0, output) && counts;
    if (cut && r->usage.output < output) { /* it was counted when less had come */
        r->usage.output = output;
        r->estimated = true;
    }
    r->estimated |= c->estimated;
    r->estimated |= pipeline_bound_usage(c, &r->usage);
    fill_cost(c, r);
}

static const struct pipeline_result *describe(struct pipeline *c)
{
    struct pipeline_result *r = &c->result;
    buf_clear(&c->result_headers);
    write_dropped(c);
    /* a stream's head has gone when its usage is known */
    if (r->estimated && c->state == PIPELINE_DONE && !c->stream)
        buf_append_str(&c->result_headers, "x-tollgate-usage: estimated\n");
    buf_append(&c->result_headers, buf_span(&c->upstream_headers));
    r->headers = buf_span(&c->result_headers);
    r->provider_request_id = c->provider_request_id;
    /* once there is content, a failure is told in-band, though it came in the same read */
    bool in_band = c->committed && !c->cancelled;
    r->status = c->state == PIPELINE_FAILED && !in_band
                    ? error_status(c->fault.error_class, c->spec.api)
                    : c->status;
    r->content_type =
        c->stream ? SPAN("text/event-stream; charset=utf-8") : SPAN("application/json");
    r->upstream_model = c->upstream_model.len ? c->upstream_model : c->spec.target_model;
    r->upstream_id = c->upstream_id;
    return r;
}

const struct pipeline_result *pipeline_result(struct pipeline *c)
{
    pipeline_look_up_answer(c);
    fill_usage(c, false, 0);
    return describe(c);
}

const struct pipeline_result *pipeline_result_cut(struct pipeline *c, uint64_t generated)
{
    fill_usage(c, true, generated);
    return describe(c);
}
