/* Neutral turns → the strict order Anthropic asks for (docs/wire.md, Messages): system texts apart,
 * users and assistants in turn, tool results first and for every call, ids that fit its pattern and
 * come once. */
#include "services/worker/providers/anthropic/anthropic.h"

/* ---- ids that were used ---- */

struct id_set {
    struct span *slots;
    size_t cap, count;
};

static size_t hash(struct span id)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.data[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 29);
}

static struct span *probe(const struct id_set *set, struct span id)
{
    size_t at = hash(id) & (set->cap - 1);
    while (set->slots[at].data && !span_equals(set->slots[at], id))
        at = (at + 1) & (set->cap - 1);
    return &set->slots[at];
}

static bool set_init(struct id_set *set, struct arena *arena, size_t most)
{
    set->cap = 16;
    while (set->cap < most * 2)
        set->cap *= 2;
    set->slots = ARENA_ARRAY(arena, struct span, set->cap);
    return set->slots != NULL;
}

/* False when it was there already. */
static bool set_add(struct id_set *set, struct span id)
{
    struct span *slot = probe(set, id);
    if (slot->data)
        return false;
    *slot = id;
    set->count++;
    return true;
}

/* ---- the work ---- */

struct open_call {
    const struct part *part;
    struct span id; /* as sent */
    bool answered;
};

struct arranger {
    struct conversion *pc;
    struct arena *arena;
    struct conversation *out;
    struct api_error *fault;
    struct id_set used;
    struct open_call *open; /* calls of the last assistant turn */
    size_t open_count;
    unsigned made_up;
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

/* [A-Za-z0-9_-]+ and never the same twice. */
static enum err repair_id(struct arranger *a, const struct part *call, struct span *out)
{
    struct span id = call->id_text;
    if (!id.len)
        id = arena_printf(a->arena, "call_%u", a->made_up++);
    char *copy = arena_strdup(a->arena, id);
    if (!copy)
        return too_large(a);
    for (size_t i = 0; i < id.len; i++)
        copy[i] = is_id_byte(copy[i]) ? copy[i] : '_';
    *out = span_of(copy, id.len);
    for (unsigned n = 2; !set_add(&a->used, *out); n++) {
        *out = arena_printf(a->arena, "%s_%u", copy, n);
        if (!out->data)
            return too_large(a);
    }
    return OK;
}

/* Before anybody speaks after the calls: those without an answer get one (some clients cut their
 * history). */
static enum err close_calls(struct arranger *a, unsigned index)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < a->open_count; i++) {
        if (!a->open[i].answered)
            e = add_block(a, false, index, (struct block){.id = a->open[i].id, .no_result = true});
    }
    a->open_count = 0;
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
    struct block block = {.part = p};
    enum err e = repair_id(a, p, &block.id);
    if (e)
        return e;
    a->open[a->open_count++] = (struct open_call){.part = p, .id = block.id};
    e = add_block(a, true, turn->index, block);
    if (!e) {
        a->out->messages[a->out->count - 1].calls = true;
        a->out->calls = true;
    }
    return e;
}

/* Thoughts first, then text, then calls. */
static enum err add_assistant(struct arranger *a, const struct turn *turn)
{
    size_t calls = 0;
    enum err e = OK;
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        calls += p->kind == PART_TOOL_CALL;
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
    if (calls) {
        struct open_call *open = ARENA_ARRAY(a->arena, struct open_call, a->open_count + calls);
        if (!open)
            return too_large(a);
        if (a->open_count)
            memcpy(open, a->open, a->open_count * sizeof *open);
        a->open = open;
    }
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_CALL)
            e = add_call(a, turn, &turn->parts.items[i]);
    }
    return e;
}

/* ---- user and tool ---- */

/* The deprecated function results have got their call's id from the reader. */
static struct open_call *find_open(struct arranger *a, const struct part *result)
{
    for (size_t i = a->open_count; i-- > 0;) {
        struct open_call *call = &a->open[i];
        if (!call->answered && span_equals(call->part->id_text, result->id_text))
            return call;
    }
    return NULL;
}

static enum err add_result(struct arranger *a, const struct turn *turn, const struct part *p)
{
    struct open_call *call = find_open(a, p);
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
    call->answered = true;
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
    struct conversation *c = a->out;
    if (c->count == 0) {
        api_error_set(a->fault, ERROR_INVALID_VALUE,
                      "The messages hold no user or assistant turn with content.", "messages");
        return ERR_INVALID;
    }
    if (c->messages[c->count - 1].assistant && !a->pc->row->prefill) {
        api_error_set(a->fault, ERROR_INVALID_VALUE,
                      "This model does not continue an assistant message: end with a user's.",
                      "messages");
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
    if (!out->system || !set_init(&a.used, pc->arena, calls))
        return too_large(&a);
    add_system(&a, &r->system);
    enum err e = OK;
    for (size_t i = 0; !e && i < r->turn_count; i++)
        e = add_turn(&a, &r->turns[i]);
    if (!e)
        e = close_calls(&a, (unsigned)r->turn_count);
    if (!e)
        e = begin_with_user(&a);
    return e ? e : check_end(&a);
}
