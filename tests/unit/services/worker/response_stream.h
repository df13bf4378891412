/* Is this a stream of OpenAI's responses? The whole grammar, for the tests of everything that
 * writes one: numbers without a gap, every item and part begun and ended once, texts the sum of
 * their deltas, and a last event that says all of it again. Header-only; needs no test library. */
#ifndef UNIT_SERVICES_WORKER_RESPONSE_STREAM_H
#define UNIT_SERVICES_WORKER_RESPONSE_STREAM_H

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/json.h"

enum { RESPONSE_ITEMS_MAX = 4096, RESPONSE_COMPLAINT_BYTES = 200 };

struct response_check_item {
    struct buf id, type;
    struct buf said, refused; /* deltas */
    struct buf whole;         /* the item of output_item.done */
    bool part, refusal, text_done, closed;
    unsigned parts;
};

struct response_check {
    struct json_doc doc;
    uint64_t events;
    bool created, ended;
    struct response_check_item *items;
    size_t count;
    char complaint[RESPONSE_COMPLAINT_BYTES];
};

static inline bool response_complain(struct response_check *c, const char *what, struct span type)
{
    if (!c->complaint[0])
        (void)snprintf(c->complaint, sizeof c->complaint, "event %llu (%.*s): %s",
                       (unsigned long long)c->events, SPAN_ARG(type), what);
    return false;
}

static inline bool response_buf_is(const struct buf *b, struct span s)
{
    return span_equals(buf_span(b), s);
}

/* The item that an event speaks of, which must be open. */
static inline struct response_check_item *response_item_of(struct response_check *c,
                                                           struct json event, struct span type)
{
    int64_t index;
    if (!json_i64(json_get(event, "output_index"), &index) || index < 0 ||
        (size_t)index >= c->count) {
        (void)response_complain(c, "output_index of no item", type);
        return NULL;
    }
    struct response_check_item *item = &c->items[index];
    struct json id = json_get(event, "item_id");
    if (item->closed)
        (void)response_complain(c, "the item has ended", type);
    else if (!json_absent(id) && !response_buf_is(&item->id, json_text(id)))
        (void)response_complain(c, "item_id of another item", type);
    else
        return item;
    return NULL;
}

static inline bool response_on_added(struct response_check *c, struct json event, struct span type)
{
    int64_t index;
    struct json item = json_get(event, "item"), id = json_get(item, "id");
    if (!json_i64(json_get(event, "output_index"), &index) || (size_t)index != c->count)
        return response_complain(c, "output_index is not the next one", type);
    if (json_type(id) != JSON_STRING || json_text(id).len == 0)
        return response_complain(c, "an item without id", type);
    for (size_t i = 0; i < c->count; i++) {
        if (response_buf_is(&c->items[i].id, json_text(id)))
            return response_complain(c, "an id for the second time", type);
    }
    if (c->count == RESPONSE_ITEMS_MAX)
        return response_complain(c, "more items than can be checked", type);
    struct response_check_item *made = &c->items[c->count++];
    buf_append(&made->id, json_text(id));
    buf_append(&made->type, json_text(json_get(item, "type")));
    return true;
}

/* What the whole item says must be what its deltas have said. */
static inline bool response_check_whole(struct response_check *c, struct response_check_item *made,
                                        struct json item, struct span type)
{
    struct json list = json_is(json_get(item, "type"), "reasoning") ? json_get(item, "summary")
                                                                    : json_get(item, "content");
    struct span said = SPAN_NONE, refused = SPAN_NONE;
    if (json_is(json_get(item, "type"), "function_call"))
        said = json_text(json_get(item, "arguments"));
    else if (json_is(json_get(item, "type"), "custom_tool_call"))
        said = json_text(json_get(item, "input"));
    for (struct json_iter i = json_iter(list); json_type(list) == JSON_ARRAY && json_next(&i);) {
        if (json_is(json_get(i.value, "type"), "refusal"))
            refused = json_text(json_get(i.value, "refusal"));
        else
            said = json_text(json_get(i.value, "text"));
    }
    if (!response_buf_is(&made->said, said) || !response_buf_is(&made->refused, refused))
        return response_complain(c, "the item is not the sum of its deltas", type);
    return true;
}

static inline bool response_on_done(struct response_check *c, struct json event, struct span type)
{
    struct response_check_item *made = response_item_of(c, event, type);
    struct json item = json_get(event, "item");
    if (!made)
        return false;
    if (!response_buf_is(&made->id, json_text(json_get(item, "id"))) ||
        !response_buf_is(&made->type, json_text(json_get(item, "type"))))
        return response_complain(c, "another item than was begun", type);
    if (made->part)
        return response_complain(c, "a part has not ended", type);
    json_append_compact(&made->whole, item);
    made->closed = true;
    return response_check_whole(c, made, item, type);
}

static inline bool response_on_part(struct response_check *c, struct json event, struct span type)
{
    struct response_check_item *made = response_item_of(c, event, type);
    struct json part = json_get(event, "part"), index = json_get(event, "content_index");
    bool refusal = json_is(json_get(part, "type"), "refusal");
    int64_t number;
    if (!made)
        return false;
    if (json_absent(index))
        index = json_get(event, "summary_index");
    if (span_ends(type, ".added")) {
        if (made->part || !json_i64(index, &number) || number != (int64_t)made->parts)
            return response_complain(c, "a part begins out of turn", type);
        made->part = true;
        made->refusal = refusal;
        made->text_done = false;
        made->parts++;
        return true;
    }
    struct span text = json_text(json_get(part, refusal ? "refusal" : "text"));
    if (!made->part || !made->text_done || made->refusal != refusal || !json_i64(index, &number) ||
        number != (int64_t)made->parts - 1)
        return response_complain(c, "a part ends out of turn", type);
    made->part = false;
    return response_buf_is(refusal ? &made->refused : &made->said, text)
               ? true
               : response_complain(c, "the part is not the sum of its deltas", type);
}

/* response.X.delta and response.X.done of texts, refusals, summaries and arguments. */
static inline bool response_on_text(struct response_check *c, struct json event, struct span type)
{
    struct response_check_item *made = response_item_of(c, event, type);
    bool call = span_find_span(type, SPAN("call_arguments")) < type.len ||
                span_find_span(type, SPAN("call_input")) < type.len;
    if (!made)
        return false;
    struct buf *into = made->part && made->refusal ? &made->refused : &made->said;
    if (!call && !made->part)
        return response_complain(c, "text outside of a part", type);
    if (made->text_done)
        return response_complain(c, "more text behind its end", type);
    if (span_ends(type, ".delta")) {
        if (json_type(json_get(event, "delta")) != JSON_STRING)
            return response_complain(c, "no delta", type);
        buf_append(into, json_text(json_get(event, "delta")));
        return true;
    }
    static const char *const names[] = {"text", "refusal", "arguments", "input"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_type(json_get(event, names[i])) != JSON_STRING)
            continue;
        made->text_done = true;
        return response_buf_is(into, json_text(json_get(event, names[i])))
                   ? true
                   : response_complain(c, "the text is not the sum of its deltas", type);
    }
    return response_complain(c, "an end without its text", type);
}

static inline bool response_on_end(struct response_check *c, struct json event, struct span type)
{
    struct json response = json_get(event, "response"), output = json_get(response, "output");
    struct buf compact = {0};
    size_t index = 0;
    bool same = json_count(output) == c->count;
    c->ended = true;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->items[i].closed)
            return response_complain(c, "an item has not ended", type);
    }
    for (struct json_iter i = json_iter(output); same && json_next(&i); index++) {
        buf_clear(&compact);
        json_append_compact(&compact, i.value);
        same = response_buf_is(&c->items[index].whole, buf_span(&compact));
    }
    buf_free(&compact);
    if (!same)
        return response_complain(c, "the output is not its items", type);
    if (json_type(json_get(json_get(response, "usage"), "total_tokens")) != JSON_NUMBER)
        return response_complain(c, "no usage", type);
    struct span status = json_text(json_get(response, "status"));
    return span_equals(status, span_skip(type, strlen("response.")))
               ? true
               : response_complain(c, "another status than the event's", type);
}

static inline bool response_on_event(struct response_check *c, struct json event, struct span type)
{
    int64_t number;
    bool first = span_is(type, "response.created"), second = span_is(type, "response.in_progress");
    if (c->ended)
        return response_complain(c, "something behind the end", type);
    if (!json_i64(json_get(event, "sequence_number"), &number) || (uint64_t)number != c->events)
        return response_complain(c, "sequence_number has a gap", type);
    if (span_is(type, "error")) {
        c->ended = true;
        return json_type(json_get(event, "message")) == JSON_STRING
                   ? true
                   : response_complain(c, "an error without words", type);
    }
    if (first != (c->events == 0) || second != (c->events == 1))
        return response_complain(c, "response.created and in_progress come first", type);
    if (first || second)
        return json_is(json_get(json_get(event, "response"), "status"), "in_progress")
                   ? true
                   : response_complain(c, "not in progress", type);
    if (span_is(type, "response.output_item.added"))
        return response_on_added(c, event, type);
    if (span_is(type, "response.output_item.done"))
        return response_on_done(c, event, type);
    if (span_is(type, "response.completed") || span_is(type, "response.incomplete"))
        return response_on_end(c, event, type);
    if (span_find_span(type, SPAN("_part.")) < type.len)
        return response_on_part(c, event, type);
    if (span_ends(type, ".delta") || span_ends(type, ".done"))
        return response_on_text(c, event, type);
    return response_complain(c, "an event of no known type", type);
}

static inline bool response_on_frame(struct response_check *c, struct span frame)
{
    struct span name = SPAN_NONE, data = SPAN_NONE;
    while (frame.len) {
        struct span line = span_cut(&frame, '\n');
        if (span_starts(line, "event: "))
            name = span_skip(line, strlen("event: "));
        else if (span_starts(line, "data: "))
            data = span_skip(line, strlen("data: "));
        else if (!span_starts(line, ":"))
            return response_complain(c, "a line of no known field", line);
    }
    if (!data.data)
        return name.data ? response_complain(c, "an event without data", name) : true;
    if (json_parse(&c->doc, data, JSON_DEPTH_UPSTREAM))
        return response_complain(c, "data that is not JSON", name);
    struct json event = json_root(&c->doc);
    if (!span_equals(json_text(json_get(event, "type")), name))
        return response_complain(c, "type and event name differ", name);
    bool fine = response_on_event(c, event, name);
    c->events++;
    return fine;
}

/* NULL when it is one (or, with may_break, the beginning of one); else what is wrong, in memory
 * that the next call takes again. */
static inline const char *response_stream_complaint(struct span stream, bool may_break)
{
    static char complaint[RESPONSE_COMPLAINT_BYTES];
    struct response_check c = {.items =
                                   calloc(RESPONSE_ITEMS_MAX, sizeof(struct response_check_item))};
    bool fine = c.items != NULL;
    for (struct span rest = stream; fine && rest.len;) {
        size_t end = span_find_span(rest, SPAN("\n\n"));
        fine = response_on_frame(&c, span_first(rest, end));
        rest = span_skip(rest, end == rest.len ? end : end + 2);
    }
    if (fine && !c.ended && !may_break)
        (void)response_complain(&c, "the stream has no end", SPAN_NONE);
    memcpy(complaint, c.complaint, sizeof complaint);
    for (size_t i = 0; c.items && i < c.count; i++) {
        struct response_check_item *item = &c.items[i];
        struct buf *const all[] = {&item->id, &item->type, &item->said, &item->refused,
                                   &item->whole};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            buf_free(all[k]);
    }
    free(c.items);
    json_doc_free(&c.doc);
    return complaint[0] ? complaint : NULL;
}

#endif
