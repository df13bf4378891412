/* Neutral events → OpenAI legacy completions (docs/wire.md, Completions). With several prompts the
 * events' slot says whose answer a text or a stop belongs to; there is one START, one USAGE and one
 * END for all of them. */
#include "services/worker/api/openai.h"
#include "services/worker/api/openai_answer.h"

struct choice {
    struct rope text; /* unary */
    bool echoed;      /* the prompt has been put in front */
    bool finished;    /* stream: its finish_reason has been sent */
    enum stop_reason stop;
};

struct completions_writer {
    struct answer_writer base;
    struct span prefix; /* streams: every chunk's bytes up to "choices" */
    struct choice *choices;
    size_t choice_count;
};

/* Tools never come here: a call that ends the turn is a plain stop. */
static const char *finish_word(enum stop_reason stop)
{
    return stop == STOP_TOOL ? "stop" : openai_finish_word(stop);
}

static void end_choice(struct json_writer *jw, size_t index, const char *finish)
{
    jw_key(jw, "index");
    jw_u64(jw, index);
    jw_key(jw, "logprobs");
    jw_null(jw);
    jw_key(jw, "finish_reason");
    if (finish)
        jw_str(jw, finish);
    else
        jw_null(jw);
    jw_object_end(jw);
}

static void stream_chunk(struct completions_writer *w, size_t index, struct span text,
                         const char *finish)
{
    struct json_writer jw = {.out = w->base.options.out};
    buf_append_str(jw.out, "data: ");
    buf_append(jw.out, w->prefix);
    buf_append_str(jw.out, ",\"choices\":[");
    jw_object(&jw);
    jw_key(&jw, "text");
    jw_text(&jw, text);
    end_choice(&jw, index, finish);
    buf_append_char(jw.out, ']');
    openai_end_chunk(&w->base);
}

static void put_text(struct completions_writer *w, size_t index, struct span text)
{
    if (!text.len)
        return;
    if (w->base.stream)
        stream_chunk(w, index, text, NULL);
    else
        writer_gather(&w->base, &w->choices[index].text, text);
}

/* The prompt goes in front of the first text, and comes even when no text does. */
static void put_echo(struct completions_writer *w, size_t index)
{
    const struct neutral_request *request = w->base.options.request;
    if (!request->echo || w->choices[index].echoed || index >= request->prompt_count)
        return;
    w->choices[index].echoed = true;
    put_text(w, index, request->prompts_text[index]);
}

static void finish_choice(struct completions_writer *w, size_t index)
{
    put_echo(w, index);
    if (w->choices[index].finished)
        return;
    w->choices[index].finished = true;
    if (w->base.stream)
        stream_chunk(w, index, SPAN(""), finish_word(w->choices[index].stop));
}

static void unary_end(struct completions_writer *w)
{
    struct json_writer jw = {.out = w->base.options.out};
    struct usage usage = writer_usage(&w->base);
    openai_write_head(&w->base, &jw, "text_completion");
    jw_key(&jw, "choices");
    jw_array(&jw);
    for (size_t i = 0; i < w->choice_count; i++) {
        jw_object(&jw);
        jw_key(&jw, "text");
        rope_write_string(&w->choices[i].text, &jw);
        end_choice(&jw, i, finish_word(w->choices[i].stop));
    }
    jw_array_end(&jw);
    jw_key(&jw, "usage");
    openai_write_usage(&jw, &usage);
    jw_object_end(&jw);
}

static void on_end(struct completions_writer *w)
{
    for (size_t i = 0; i < w->choice_count; i++)
        finish_choice(w, i);
    w->base.done = true;
    if (w->base.stream)
        openai_end_stream(&w->base, w->prefix);
    else
        unary_end(w);
}

static void ensure_started(struct completions_writer *w)
{
    static const char *const prefixes[] = {"cmpl-", NULL};
    if (w->base.started)
        return;
    if (span_starts(w->base.id_text, "chatcmpl-"))
        w->base.id_text = span_skip(w->base.id_text, 4);
    writer_settle_id(&w->base, prefixes);
    w->base.started = true;
    struct buf text = {0};
    struct json_writer jw = {.out = &text};
    openai_write_head(&w->base, &jw, "text_completion");
    w->prefix = writer_copy(&w->base, buf_span(&text));
    buf_free(&text);
}

struct answer_writer *openai_completions_writer_create(const struct answer_options *options)
{
    struct completions_writer *w = ARENA_NEW(options->arena, struct completions_writer);
    size_t count = options->request->prompt_count ? options->request->prompt_count : 1;
    struct choice *choices = ARENA_ARRAY(options->arena, struct choice, count);
    if (!w || !choices)
        return NULL;
    writer_init(&w->base, options);
    w->choices = choices;
    w->choice_count = count;
    return &w->base;
}

static void on_stop(struct completions_writer *w, size_t index, enum stop_reason stop)
{
    w->choices[index].stop = stop;
    /* Alone, it waits for the end: a provider may say more than one reason before it. */
    if (w->choice_count > 1)
        finish_choice(w, index);
}

void openai_completions_write(struct answer_writer *base, const struct neutral_event *e)
{
    struct completions_writer *w = (struct completions_writer *)base;
    size_t index = e->slot < w->choice_count ? e->slot : 0;
    if (base->done)
        return;
    writer_take(base, e);
    if (e->kind != EVENT_PING && e->kind != EVENT_ERROR && e->kind != EVENT_USAGE)
        ensure_started(w);
    switch (e->kind) {
    case EVENT_TEXT:
    case EVENT_REFUSAL: /* there is no other place for it */
        put_echo(w, index);
        put_text(w, index, e->text);
        break;
    case EVENT_STOP:
        on_stop(w, index, e->stop);
        break;
    case EVENT_PING:
        if (base->stream && base->started)
            buf_append_str(base->options.out, ": ping\n\n");
        break;
    case EVENT_END:
        on_end(w);
        break;
    case EVENT_ERROR:
        writer_error(base, &e->fault);
        break;
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_THINK:
    case EVENT_THINK_SIGNATURE:
    case EVENT_REDACTED:
    case EVENT_TOOL_BEGIN:
    case EVENT_TOOL_ARGS:
    case EVENT_TOOL_END:
        break;
    }
}
