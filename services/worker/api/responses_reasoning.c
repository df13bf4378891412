/* Reasoning items. What a provider thought must come back to it unchanged: it travels with the
 * client as the item's encrypted_content, which only we read. It is no secret (the client has seen
 * the words, or may not see them because the provider encrypts them itself), and the provider's
 * signature in it is what keeps a client from thinking for the model. */
#include "services/worker/api/data_url.h"
#include "services/worker/api/responses.h"

static const char mark[] = "tg1.";
enum { HIDDEN_MAX = 256 << 10 }; /* bytes; larger thoughts do not travel */

static struct span hide(struct arena *arena, struct buf *json)
{
    struct span base64 = SPAN_NONE, out = SPAN_NONE;
    if (!json->failed && json->len <= HIDDEN_MAX &&
        data_url_encode_base64(buf_span(json), arena, &base64) == OK)
        out = arena_printf(arena, "%s%.*s", mark, SPAN_ARG(base64));
    buf_free(json);
    return out;
}

struct span responses_hide_thinking(struct arena *arena, struct span thinking_text,
                                    struct span signature_text)
{
    struct buf json = {0};
    struct json_writer w = {.out = &json};
    jw_object(&w);
    jw_key(&w, "thinking");
    jw_text(&w, thinking_text);
    if (signature_text.len) {
        jw_key(&w, "signature");
        jw_text(&w, signature_text);
    }
    jw_object_end(&w);
    return hide(arena, &json);
}

struct span responses_hide_redacted(struct arena *arena, struct span data_text)
{
    struct buf json = {0};
    struct json_writer w = {.out = &json};
    jw_object(&w);
    jw_key(&w, "redacted");
    jw_text(&w, data_text);
    jw_object_end(&w);
    return hide(arena, &json);
}

static enum err invalid(struct reader *r, const struct where *at)
{
    enum err e = read_fault(r, at, ERROR_INVALID_VALUE,
                            "'encrypted_content' is not what this service has sent.");
    r->fault->code = SPAN("invalid_encrypted_content");
    return e;
}

/* What of it is found is a view of `bytes`, which live in the arena. */
static enum err read_block(struct reader *r, const struct where *at, struct json block,
                           struct part_list *parts)
{
    struct json thinking = json_get(block, "thinking"), redacted = json_get(block, "redacted");
    bool is_thought = json_type(thinking) == JSON_STRING;
    if (!is_thought && json_type(redacted) != JSON_STRING)
        return invalid(r, at);
    struct part *part = read_add_part(r, parts, is_thought ? PART_THINKING : PART_REDACTED);
    if (!part)
        return read_too_large(r);
    part->text = json_text(thinking);
    part->signature_text = json_text(json_get(block, "signature"));
    part->data_text = json_text(redacted);
    return OK;
}

static enum err read_hidden(struct reader *r, const struct where *at, struct span base64,
                            struct part_list *parts)
{
    struct span bytes;
    struct json_doc doc = {0};
    enum err e = data_url_decode_base64(base64, r->arena, &bytes);
    if (e)
        return e == ERR_NOMEM ? read_too_large(r) : invalid(r, at);
    e = json_parse(&doc, bytes, JSON_DEPTH_CLIENT) ? invalid(r, at)
                                                   : read_block(r, at, json_root(&doc), parts);
    json_doc_free(&doc);
    return e;
}

static enum err read_word(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct where text_at = {.up = at, .name = "text"};
    struct part *part = read_add_part(r, into, PART_THINKING);
    return part ? read_text(r, &text_at, json_get(v, "text"), &part->text) : read_too_large(r);
}

enum err responses_read_reasoning(struct reader *r, const struct where *at, struct json v,
                                  struct part_list *parts)
{
    struct json content = json_get(v, "content"), hidden = json_get(v, "encrypted_content");
    struct where hidden_at = {.up = at, .name = "encrypted_content"},
                 words_at = {.up = at, .name = json_count(content) ? "content" : "summary"};
    struct json words = json_count(content) ? content : json_get(v, "summary");
    struct span text = json_text(hidden);
    if (!json_absent(hidden) && json_type(hidden) != JSON_STRING)
        return read_wrong_type(r, &hidden_at, hidden, "a string");
    if (span_starts(text, mark))
        return read_hidden(r, &hidden_at, span_skip(text, sizeof mark - 1), parts);
    if (text.len)
        neutral_drop(r->out, "input.encrypted_content"); /* another provider's own */
    return json_absent(words) ? OK : read_array(r, &words_at, words, read_word, parts);
}
