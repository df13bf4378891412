/* Conversations as one prompt (docs/wire.md, Replicate): families of models with their turn
 * markers, as data. */
#include "services/worker/providers/replicate/replicate.h"

enum { MAX_TOKENS = 10, MAX_NAMES = 4 };

static const struct family {
    const char *names[MAX_NAMES]; /* parts of a model's name, lower case */
    const char *begin;
    const char *system_before,
        *system_after; /* NULL: the system text stands in the first user's turn */
    const char *user_before, *user_after;
    const char *assistant_before, *assistant_after;
    const char *tokens[MAX_TOKENS]; /* never left in a client's text */
} families[] = {
    {{"llama-3", "llama-4", "llama3"},
     "<|begin_of_text|>",
     "<|start_header_id|>system<|end_header_id|>\n\n",
     "<|eot_id|>",
     "<|start_header_id|>user<|end_header_id|>\n\n",
     "<|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|eot_id|>",
     {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
      "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"}},
    {{"llama-2", "codellama", "llama2"},
     "",
     NULL,
     NULL,
     "<s>[INST] ",
     " [/INST]",
     " ",
     " </s>",
     {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"}},
    {{"mistral", "mixtral"},
     "<s>",
     NULL,
     NULL,
     "[INST] ",
     " [/INST]",
     " ",
     "</s>",
     {"[INST]", "[/INST]", "<s>", "</s>"}},
    {{"qwen", "hermes", "dolphin", "yi-"},
     "",
     "<|im_start|>system\n",
     "<|im_end|>\n",
     "<|im_start|>user\n",
     "<|im_end|>\n",
     "<|im_start|>assistant\n",
     "<|im_end|>\n",
     {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}},
    {{"gemma"},
     "<bos>",
     NULL,
     NULL,
     "<start_of_turn>user\n",
     "<end_of_turn>\n",
     "<start_of_turn>model\n",
     "<end_of_turn>\n",
     {"<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"}},
    {{"granite"},
     "",
     "<|start_of_role|>system<|end_of_role|>",
     "<|end_of_text|>\n",
     "<|start_of_role|>user<|end_of_role|>",
     "<|end_of_text|>\n",
     "<|start_of_role|>assistant<|end_of_role|>",
     "<|end_of_text|>\n",
     {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>"}},
    {{"deepseek"},
     "<\xef\xbd\x9c"
     "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     "",
     "",
     "<\xef\xbd\x9cUser\xef\xbd\x9c>",
     "",
     "<\xef\xbd\x9c"
     "Assistant\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     {"<\xef\xbd\x9c"
      "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      "<\xef\xbd\x9c"
      "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      "<\xef\xbd\x9cUser\xef\xbd\x9c>",
      "<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>"}},
};

static const struct family plain = {
    .begin = "",
    .system_before = "",
    .system_after = "\n\n",
    .user_before = "User: ",
    .user_after = "\n",
    .assistant_before = "Assistant: ",
    .assistant_after = "\n",
};

static bool contains_nocase(struct span s, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.len; i++) {
        if (strncasecmp(s.data + i, part, n) == 0)
            return true;
    }
    return false;
}

static const struct family *family_of(struct span model)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (size_t k = 0; k < MAX_NAMES && families[i].names[k]; k++) {
            if (contains_nocase(model, families[i].names[k]))
                return &families[i];
        }
    }
    return &plain;
}

/* Takes away the tokens at the end of what stands behind `from`. */
static void take_tokens(struct buf *out, const struct family *family, size_t from)
{
    for (size_t k = 0; k < MAX_TOKENS && family->tokens[k] && !out->failed; k++) {
        if (span_ends(span_of(out->data + from, out->len - from), family->tokens[k]))
            out->len -= strlen(family->tokens[k]);
    }
}

/* Looks wherever a token may have ended, so that one put together by another's removal goes too. */
static void append_clean(struct buf *out, const struct family *family, struct span text)
{
    bool ends_token[256] = {false};
    size_t from = out->len;
    for (size_t k = 0; k < MAX_TOKENS && family->tokens[k]; k++)
        ends_token[(unsigned char)family->tokens[k][strlen(family->tokens[k]) - 1]] = true;
    while (text.len) {
        size_t n = 0;
        while (n < text.len && !ends_token[(unsigned char)text.data[n]])
            n++;
        n += n < text.len;
        buf_append(out, span_first(text, n));
        text = span_skip(text, n);
        take_tokens(out, family, from);
    }
}

void replicate_append_clean(struct buf *out, struct span model, struct span text)
{
    append_clean(out, family_of(model), text);
}

/* Llama-2 has words of its own around the system text, others just put it first. */
static void append_system_inside(struct buf *out, const struct family *family, struct span system)
{
    bool llama2 = family->tokens[2] && strcmp(family->tokens[2], "<<SYS>>") == 0;
    buf_append_str(out, llama2 ? "<<SYS>>\n" : "");
    append_clean(out, family, system);
    buf_append_str(out, llama2 ? "\n<</SYS>>\n\n" : "\n\n");
}

static void append_turns(struct buf *out, const struct family *family,
                         const struct replicate_talk *talk, bool with_system)
{
    struct span system = arena_text_span(&talk->system);
    bool inside = with_system && system.len && !family->system_before;
    buf_append_str(out, family->begin);
    if (with_system && system.len && !inside) {
        buf_append_str(out, family->system_before);
        append_clean(out, family, system);
        buf_append_str(out, family->system_after);
    }
    for (size_t i = 0; i < talk->count; i++) {
        const struct replicate_turn *turn = &talk->turns[i];
        bool last = i + 1 == talk->count;
        buf_append_str(out, turn->assistant ? family->assistant_before : family->user_before);
        if (inside && !turn->assistant)
            append_system_inside(out, family, system);
        inside = inside && turn->assistant;
        append_clean(out, family, arena_text_span(&turn->text));
        /* a last word of the assistant is left open, to be continued */
        if (!(last && turn->assistant))
            buf_append_str(out, turn->assistant ? family->assistant_after : family->user_after);
    }
    if (talk->count && !talk->turns[talk->count - 1].assistant) {
        struct span before = span_str(family->assistant_before);
        while (span_ends(before, " "))
            before.len--;
        buf_append(out, before);
    }
}

void replicate_write_prompt(struct conversion *pc, const struct replicate_talk *talk,
                            bool takes_system, bool takes_template, struct replicate_prompt *out)
{
    const struct family *family = family_of(pc->target_model);
    struct span system = arena_text_span(&talk->system);
    *out = (struct replicate_prompt){.system_inside = !takes_system};
    if (talk->count == 1 && !talk->turns[0].assistant) {
        /* the server puts its own template around one turn */
        if (!takes_system && system.len) {
            append_clean(&out->prompt, family, system);
            buf_append_str(&out->prompt, "\n\n");
        }
        append_clean(&out->prompt, family, arena_text_span(&talk->turns[0].text));
        return;
    }
    if (takes_template && family != &plain) {
        out->templated = true;
        out->system_inside = true;
        append_turns(&out->prompt, family, talk, true);
        return;
    }
    append_turns(&out->prompt, &plain, talk, !takes_system);
}

/* ---- the conversation as texts ---- */

struct reading {
    struct conversion *pc;
    struct replicate_talk *talk;
    struct api_error *fault;
};

static enum err not_text(struct reading *r, const struct turn *turn, const char *what, bool tools)
{
    api_error_set(r->fault, ERROR_UNSUPPORTED_PARAMETER, what, tools ? "tools" : NULL);
    if (!tools)
        r->fault->param = arena_printf(r->pc->arena, "%s[%u].content",
                                       neutral_turns_name(r->pc->request), turn->index);
    return ERR_INVALID;
}

static bool append_text(struct reading *r, struct arena_text *to, struct span text,
                        const char *between)
{
    struct buf bytes = {0};
    if (to->len)
        buf_append_str(&bytes, between);
    json_text_decode(text, &bytes);
    bool ok = buf_check(&bytes) == OK && arena_text_append(to, r->pc->arena, buf_span(&bytes));
    buf_free(&bytes);
    return ok;
}

static bool append_system(struct reading *r, const struct part_list *parts)
{
    bool ok = true;
    for (size_t i = 0; ok && i < parts->count; i++) {
        if (parts->items[i].text.len)
            ok = append_text(r, &r->talk->system, parts->items[i].text, "\n\n");
    }
    return ok;
}

static enum err read_part(struct reading *r, const struct turn *turn, const struct part *p,
                          struct replicate_turn *to, const char *between, bool last)
{
    switch (p->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
    case PART_SEARCH:
        if (p->text.len == 0)
            return OK;
        return append_text(r, &to->text, p->text, between) ? OK : ERR_NOMEM;
    case PART_IMAGE:
        if (!last)
            return not_text(r, turn, "Only the last message may hold images for this model.",
                            false);
        r->talk->images[r->talk->image_count++] = p;
        return OK;
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
        return not_text(r, turn, "This model knows no tools.", true);
    case PART_THINKING:
    case PART_REDACTED:
        return OK;
    case PART_DOCUMENT:
    case PART_OPAQUE:
        return not_text(r, turn, "This kind of content is not supported by this model.", false);
    }
    return OK;
}

static enum err read_turn(struct reading *r, const struct turn *turn, bool last)
{
    struct replicate_talk *talk = r->talk;
    bool assistant = turn->role == ROLE_ASSISTANT;
    if (turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER)
        return append_system(r, &turn->parts) ? OK : ERR_NOMEM;
    struct replicate_turn *to = talk->count ? &talk->turns[talk->count - 1] : NULL;
    if (!to || to->assistant != assistant) {
        to = &talk->turns[talk->count++];
        *to = (struct replicate_turn){.assistant = assistant};
    }
    size_t before = to->text.len;
    enum err e = OK;
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const char *between = to->text.len == before ? "\n\n" : "";
        e = read_part(r, turn, &turn->parts.items[i], to, between, last && !assistant);
    }
    if (!e && to->text.len == 0 && talk->image_count == 0)
        talk->count--;
    return e;
}

static size_t count_images(const struct neutral_request *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->turn_count; i++) {
        for (size_t k = 0; k < r->turns[i].parts.count; k++)
            n += r->turns[i].parts.items[k].kind == PART_IMAGE;
    }
    return n;
}

enum err replicate_read_talk(struct conversion *pc, struct replicate_talk *out,
                             struct api_error *fault_out)
{
    const struct neutral_request *req = pc->request;
    struct reading r = {.pc = pc, .talk = out, .fault = fault_out};
    *out = (struct replicate_talk){
        .turns = ARENA_ARRAY(pc->arena, struct replicate_turn, req->turn_count + 1),
        .images = ARENA_ARRAY(pc->arena, const struct part *, count_images(req) + 1),
    };
    enum err e = out->turns && out->images && append_system(&r, &req->system) ? OK : ERR_NOMEM;
    for (size_t i = 0; !e && i < req->turn_count; i++)
        e = read_turn(&r, &req->turns[i], i + 1 == req->turn_count);
    if (e == ERR_NOMEM)
        api_error_set(fault_out, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.",
                      NULL);
    if (e)
        return ERR_INVALID;
    if (out->count == 0) {
        api_error_set(fault_out, ERROR_INVALID_VALUE, "The messages hold no text for the model.",
                      "messages");
        return ERR_INVALID;
    }
    return OK;
}
