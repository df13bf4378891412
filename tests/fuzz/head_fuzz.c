/* The head of an HTTP request as common/http and the edge read it: framing, fields, route, key; and
 * behind a blank line the body's few facts. What is believed must be unambiguous and bounded.
 *
 * Input: lines "METHOD TARGET VERSION", then "name: value", a blank line, the body. */
#include "common/http/framing.h"
#include "fuzz/fuzz.h"
#include "services/edge/http/cors.h"
#include "services/edge/http/headers.h"
#include "services/edge/http/routes.h"
#include "services/edge/request/body.h"

static struct span next_line(struct span *rest)
{
    return span_cut(rest, '\n');
}

/* Nothing that could end a line or a string: of control bytes a field's value may hold the tab. */
static bool is_visible(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f)
            return false;
    return true;
}

static void check_head(const struct request_head *h, struct arena *arena)
{
    struct span key, id = head_client_id(h), lines = head_passed_lines(h, arena);
    if (head_key(h, &key) == KEY_FOUND)
        REQUIRE(key.len && key.len <= KEY_MAX_BYTES && is_visible(key));
    REQUIRE(id.len <= CLIENT_ID_MAX_BYTES && is_visible(id));
    for (struct span line; lines.len;) {
        line = span_cut(&lines, '\n');
        REQUIRE(span_find(line, ':') < line.len && is_visible(line));
    }
    (void)head_patience_ms(h);
    (void)head_forwarded_address(h);
    (void)head_coding(h);
    (void)cors_headers_are_sane(h->access_headers);
}

static void check_route(struct span method, struct span path)
{
    struct route_match m = route_match(method, path);
    REQUIRE((m.found == ROUTE_FOUND) == (m.route != NULL));
    char *out = malloc(m.rest.len + 1);
    size_t n = 0;
    if (route_decode(m.rest, out, &n))
        REQUIRE(n <= m.rest.len && is_visible(span_of(out, n)));
    if (api_response_id_is_sane(m.rest))
        REQUIRE(m.rest.len <= 256);
    free(out);
}

static void check_body(struct span text, struct arena *arena)
{
    static const enum api apis[] = {API_OPENAI_CHAT, API_OPENAI_EMBEDDINGS, API_OPENAI_RESPONSES,
                                    API_ANTHROPIC_MESSAGES};
    struct json_doc doc = {0};
    for (size_t i = 0; i < sizeof apis / sizeof apis[0]; i++) {
        struct body b = {0};
        struct api_error fault = {0};
        if (body_check(apis[i], text, &doc, arena, &b, &fault) == OK) {
            REQUIRE(b.model.len <= MODEL_MAX_BYTES);
            REQUIRE(b.previous_response_id.len <= RESPONSE_ID_MAX_BYTES);
            REQUIRE(b.choices <= CHOICES_MAX && b.best_of <= CHOICES_MAX); /* 0: not given */
            REQUIRE(b.input_tokens <= text.len);
        } else {
            REQUIRE(fault.message.len > 0);
        }
    }
    json_doc_free(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size), line = next_line(&rest);
    struct span method = span_cut(&line, ' '), target = span_cut(&line, ' ');
    struct framing f = {0};
    struct request_head h = {0};
    struct arena arena;
    arena_init(&arena, 0);
    framing_begin(&f, method, target, line);
    while (rest.len && (line = next_line(&rest)).len) {
        struct span name = span_cut(&line, ':'), value = span_trim(line);
        framing_field(&f, name, value);
        if (!f.fault)
            head_field(&h, name, value);
    }
    framing_end(&f);
    if (!f.fault) {
        REQUIRE(!f.http11 || f.has_host);
        REQUIRE(!(f.has_length && f.chunked) && (f.http11 || !f.chunked));
        check_head(&h, &arena);
        check_route(method, span_cut(&target, '?'));
        check_body(rest, &arena);
    }
    arena_free(&arena);
    return 0;
}
