/* Neutral turns → the order Anthropic asks for (docs/wire.md, Messages): system texts apart, users
 * and assistants in turn, results first and for every call, ids that fit its pattern, once each. */
#include "services/worker/providers/anthropic/anthropic.h"

#include "common/base/span_groups.h"

/* A tool call of the history, in the order of all of them. */
struct call {
    struct span id;             /* as sent, once it is */
    size_t id_group, fit_group; /* of the client's id, and of that id as it fits the pattern */
    size_t below;               /* the open call of the same id before this one, from 1; 0 = none */
    bool answered;
};

/* Calls whose ids fit the pattern in the same way: all but the first get a number behind it. */
struct fit {
    bool used;
    unsigned number;
};

struct arranger {
    struct conversion *pc;
    struct arena *arena;
    struct conversation *out;
    struct api_error *fault;
    struct call *calls;
    size_t open_from, open_to; /* calls of the last assistant turn */
    struct span_groups ids, fits;
    size_t *latest; /* by id group: its latest open call, from 1; 0 = none */
    struct fit *fit;
};

static enum err too_large(struct arranger *a)
{
    api_error_set(a->fault, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.",
                  NULL);
    return ERR_INVALID;
}

static struct message *add_message(struct arranger *a, bool assistant, unsigned index)
{
    struct conversation *c = a->out;
    if (c->count && c->messages[c->count - 1].assistant == assistant)
        return &c->messages[c->count - 1];
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        struct message *grown = ARENA_ARRAY(a->arena, struct message, cap);
        if (!grown)
            return NULL;
        if (c->count)
            memcpy(grown, c->messages, c->count * sizeof *grown);
        c->messages = grown;
        c->cap = cap;
    }
    struct message *m = &c->messages[c->count++];
    m->assistant = assistant;
    m->index = index;
    return m;
}

static enum err add_block(struct arranger *a, bool assistant, unsigned index, struct block block)
{
    struct message *m = add_message(a, assistant, index);
    if (!m)
        return too_large(a);
    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 2;
        struct block *grown = ARENA_ARRAY(a->arena, struct block, cap);
        if (!grown)
            return too_large(a);
        if (m->count)
            memcpy(grown, m->blocks, m->count * sizeof *grown);
        m->blocks = grown;
        m->cap = cap;
    }
    m->blocks[m->count++] = block;
    return OK;
}

static bool is_id_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
}

/* [A-Za-z0-9_-]+; no data when the arena is full. */
static struct span fitting(struct arranger *a, struct span id, unsigned *made_up)
{
    if (!id.len)
        id = arena_printf(a->arena, "call_%u", (*made_up)++);
    char *copy = id.data ? arena_strdup(a->arena, id) : NULL;
    if (!copy)
        return SPAN_NONE;
    for (size_t i = 0; i < id.len; i++)
        copy[i] = is_id_byte(copy[i]) ? copy[i] : '_';
    return span_of(copy, id.len);
}

/* Never the same twice: a number behind it that makes none of the client's own. */
static enum err choose_id(struct arranger *a, struct call *call)
{
    struct span base = a->fits.texts[call->fit_group];
    struct fit *fit = &a->fit[call->fit_group];
    call->id = base;
    if (!fit->used) {
        fit->used = true;
        fit->number = 1;
        return OK;
    }
    do {
        call->id = arena_printf(a->arena, "%.*s_%u", SPAN_ARG(base), ++fit->number);
        if (!call->id.data)
            return too_large(a);
    } while (span_groups_find(&a->fits, call->id) != SPAN_GROUP_NONE);
    return OK;
}

/* Before anybody speaks after the calls: those without an answer get one (some clients cut their
 * history). */
static enum err close_calls(struct arranger *a, unsigned index)
{
    enum err e = OK;
    for (size_t i = a->open_from; !e && i < a->open_to; i++) {
        const struct call *call = &a->calls[i];
        if (!call->answered)
            e = add_block(a, false, index, (struct block){.id = call->id, .no_result = true});
        a->latest[call->id_group] = 0;
    }
    a->open_from = a->open_to;
    return e;
}

/* ---- assistant ---- */

static bool is_spoken(const struct part *p)
{
    return (p->kind == PART_TEXT || p->kind == PART_REFUSAL) && p->text.len;
}

static bool is_thought(const struct part *p)
{
    return (p->kind == PART_THINKING && p->signature_text.len) ||
           (p->kind == PART_REDACTED && p->data_text.len);
}

static enum err add_call(struct arranger *a, const struct turn *turn, const struct part *p)
{
    struct call *call = &a->calls[a->open_to];
    enum err e = choose_id(a, call);
    if (e)
        return e;
    call->below = a->latest[call->id_group];
    a->latest[call->id_group] = ++a->open_to;
    e = add_block(a, true, turn->index, (struct block){.part = p, .id = call->id});
    if (!e) {
        a->out->messages[a->out->count - 1].calls = true;
        a->out->calls = true;
    }
    return e;
}

static enum err add_in_order(struct arranger *a, const struct turn *turn)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        bool thought = is_thought(p);
        if (p->kind == PART_TOOL_CALL)
            e = add_call(a, turn, p);
        else if (thought || is_spoken(p))
            e = add_block(a, true, turn->index, (struct block){.part = p});
        if (!e && thought)
            a->out->messages[a->out->count - 1].thinks = true;
    }
    return e;
}

/* Thoughts first, then text, then calls: chat has no order of its own for them, items do. */
static enum err add_assistant(struct arranger *a, const struct turn *turn)
{
    enum err e = OK;
    if (a->pc->request->api == API_OPENAI_RESPONSES)
        return add_in_order(a, turn);
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        if (!is_thought(p))
            continue;
        e = add_block(a, true, turn->index, (struct block){.part = p});
        if (!e)
            a->out->messages[a->out->count - 1].thinks = true;
    }
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        if (is_spoken(&turn->parts.items[i]))
            e = add_block(a, true, turn->index, (struct block){.part = &turn->parts.items[i]});
    }
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_CALL)
            e = add_call(a, turn, &turn->parts.items[i]);
    }
    return e;
}

/* ---- user and tool ---- */

/* The latest without an answer. The deprecated function results have got their call's id from the
 * reader. */
static struct call *take_open(struct arranger *a, const struct part *result)
{
    size_t group = span_groups_find(&a->ids, result->id_text);
    if (group == SPAN_GROUP_NONE || !a->latest[group])
        return NULL;
    struct call *call = &a->calls[a->latest[group] - 1];
    a->latest[group] = call->below;
    call->answered = true;
    return call;
}

static enum err add_result(struct arranger *a, const struct turn *turn, const struct part *p)
{
    const struct call *call = take_open(a, p);
    if (!call) {
        struct span id = span_first(p->id_text, 200);
        *a->fault = (struct api_error){
            .error_class = ERROR_INVALID_VALUE,
            .message = arena_printf(a->arena,
                                    "No tool call with id '%.*s' precedes this tool message, or it "
                                    "is answered already.",
                                    SPAN_ARG(id)),
            .param = arena_printf(a->arena, "messages[%u].tool_call_id", turn->index),
        };
        return ERR_INVALID;
    }
    return add_block(a, false, turn->index,
                     (struct block){.part = p, .id = call->id, .plain = turn->plain});
}

static enum err add_user(struct arranger *a, const struct turn *turn)
{
    enum err e = OK;
    bool speaks = false;
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        if (p->kind == PART_TOOL_RESULT)
            e = add_result(a, turn, p);
        else
            speaks = true;
    }
    if (!e && speaks)
        e = close_calls(a, turn->index);
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        bool empty = p->kind == PART_TOOL_RESULT || (p->kind == PART_TEXT && !p->text.len);
        if (!empty)
            e = add_block(a, false, turn->index, (struct block){.part = p});
    }
    return e;
}

/* ---- all ---- */

static size_t count_calls(const struct neutral_request *r, size_t *texts)
{
    size_t calls = 0;
    *texts = r->system.count;
    for (size_t i = 0; i < r->turn_count; i++) {
        for (size_t k = 0; k < r->turns[i].parts.count; k++)
            calls += r->turns[i].parts.items[k].kind == PART_TOOL_CALL;
        *texts += r->turns[i].parts.count;
    }
    return calls;
}

/* Calls are told apart, and found again, by groups of equal ids: an assistant may say one id any
 * number of times. */
static enum err group_calls(struct arranger *a, const struct span *ids, const struct span *fits,
                            size_t count)
{
    size_t *group = ARENA_ARRAY(a->arena, size_t, count);
    if (!group || span_groups_build(&a->ids, a->arena, ids, count, group))
        return too_large(a);
    for (size_t i = 0; i < count; i++)
        a->calls[i].id_group = group[i];
    if (span_groups_build(&a->fits, a->arena, fits, count, group))
        return too_large(a);
    for (size_t i = 0; i < count; i++)
        a->calls[i].fit_group = group[i];
    a->latest = ARENA_ARRAY(a->arena, size_t, a->ids.count);
    a->fit = ARENA_ARRAY(a->arena, struct fit, a->fits.count);
    return a->latest && a->fit ? OK : too_large(a);
}

static enum err list_calls(struct arranger *a, const struct neutral_request *r, size_t count)
{
    struct span *ids = ARENA_ARRAY(a->arena, struct span, count),
                *fits = ARENA_ARRAY(a->arena, struct span, count);
    size_t n = 0;
    unsigned made_up = 0;
    a->calls = ARENA_ARRAY(a->arena, struct call, count);
    if (!ids || !fits || !a->calls)
        return too_large(a);
    for (size_t i = 0; i < r->turn_count; i++) {
        const struct part_list *parts = &r->turns[i].parts;
        for (size_t k = 0; r->turns[i].role == ROLE_ASSISTANT && k < parts->count; k++) {
            if (parts->items[k].kind != PART_TOOL_CALL)
                continue;
            ids[n] = parts->items[k].id_text;
            fits[n] = fitting(a, ids[n], &made_up);
            if (!fits[n].data)
                return too_large(a);
            n++;
        }
    }
    return group_calls(a, ids, fits, n);
}

static void add_system(struct arranger *a, const struct part_list *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        if (is_spoken(&parts->items[i]))
            a->out->system[a->out->system_count++] = &parts->items[i];
    }
}

static enum err add_turn(struct arranger *a, const struct turn *turn)
{
    switch (turn->role) {
    case ROLE_SYSTEM:
    case ROLE_DEVELOPER:
        add_system(a, &turn->parts);
        return OK;
    case ROLE_USER:
    case ROLE_TOOL:
        return add_user(a, turn);
    case ROLE_ASSISTANT: {
        /* two assistants in a row are one turn; its calls are answered behind it */
        bool follows = a->out->count && a->out->messages[a->out->count - 1].assistant;
        enum err e = follows ? OK : close_calls(a, turn->index);
        return e ? e : add_assistant(a, turn);
    }
    }
    return OK;
}

/* The API wants a user's turn first. */
static enum err begin_with_user(struct arranger *a)
{
    struct conversation *c = a->out;
    if (c->count == 0 || !c->messages[0].assistant)
        return OK;
    struct message *grown = ARENA_ARRAY(a->arena, struct message, c->count + 1);
    struct block *dot = ARENA_NEW(a->arena, struct block);
    if (!grown || !dot)
        return too_large(a);
    dot->dot = true;
    memcpy(grown + 1, c->messages, c->count * sizeof *grown);
    grown[0] = (struct message){.blocks = dot, .count = 1, .cap = 1};
    c->messages = grown;
    c->cap = ++c->count;
    return OK;
}

static enum err check_end(struct arranger *a)
{
    const struct conversation *c = a->out;
    const char *name = neutral_turns_name(a->pc->request);
    if (c->count == 0) {
        api_error_set(a->fault, ERROR_INVALID_VALUE,
                      "The messages hold no user or assistant turn with content.", name);
        return ERR_INVALID;
    }
    if (c->messages[c->count - 1].assistant && !a->pc->row->prefill) {
        api_error_set(a->fault, ERROR_INVALID_VALUE,
                      "This model does not continue an assistant message: end with a user's.",
                      name);
        return ERR_INVALID;
    }
    return OK;
}

enum err anthropic_arrange(struct conversion *pc, struct conversation *out,
                           struct api_error *fault_out)
{
    const struct neutral_request *r = pc->request;
    struct arranger a = {.pc = pc, .arena = pc->arena, .out = out, .fault = fault_out};
    size_t texts;
    size_t calls = count_calls(r, &texts);
    *out = (struct conversation){.system = ARENA_ARRAY(pc->arena, const struct part *, texts + 1)};
    if (!out->system)
        return too_large(&a);
    enum err e = list_calls(&a, r, calls);
    if (!e)
        add_system(&a, &r->system);
    for (size_t i = 0; !e && i < r->turn_count; i++)
        e = add_turn(&a, &r->turns[i]);
    if (!e)
        e = close_calls(&a, (unsigned)r->turn_count);
    if (!e)
        e = begin_with_user(&a);
    return e ? e : check_end(&a);
}
