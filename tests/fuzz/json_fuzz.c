/* Any bytes: accepted or refused, never read outside; what is accepted stays JSON when compacted
 * and re-read. */
#include "common/base/json.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_doc doc, again;
    struct buf compact = {0};
    struct arena arena;
    if (json_parse(&doc, span_of(data, size), JSON_DEPTH_CLIENT) != OK) {
        REQUIRE(doc.error && doc.error_at <= size);
        return 0;
    }
    arena_init(&arena, 16 * size + 65536);
    struct json root = json_root(&doc);
    json_append_compact(&compact, root);
    REQUIRE(json_parse(&again, buf_span(&compact), JSON_DEPTH_CLIENT) == OK);
    REQUIRE(again.count == doc.count);
    for (uint32_t i = 0; i < doc.count; i++) {
        struct json v = {&doc, i};
        struct span text = json_string(v, &arena);
        REQUIRE(!text.data || utf8_valid(text));
        (void)json_is(v, "model");
        int64_t n;
        double d;
        (void)json_i64(v, &n);
        (void)json_double(v, &d);
    }
    arena_free(&arena);
    buf_free(&compact);
    return 0;
}
