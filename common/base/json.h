/* JSON as a tape of slices: one pass checks the whole text (RFC 8259, UTF-8, depth) and notes where
 * each value stands. Nothing is converted or copied, so number text, escapes, key order and white
 * space survive, and a member can be replaced by splicing at its byte range (docs/wire.md,
 * Requests).
 *
 * Why not yyjson here: it refuses lone surrogates, unescapes strings and
 * keeps no offsets. It is the oracle of tests/unit/common/base/json_test.c. */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/utf8.h"

enum json_type {
    JSON_NONE, /* no such value */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

enum { JSON_DEPTH_CLIENT = 128, JSON_DEPTH_UPSTREAM = 512, JSON_DEPTH_MAX = 512 };
/* A tape takes 16 bytes a value, also of a text that is nothing but "1,1,1": more is in no prompt
 * and no answer, and in no event of a stream, which is read on the loop. */
enum { JSON_MAX_VALUES = 8 << 20, JSON_MAX_EVENT_VALUES = 512 << 10 };

struct json_node {
    uint32_t start; /* offset of the value's first byte; of the opening quote for a string */
    uint32_t end;   /* offset behind its last byte */
    uint32_t next;  /* tape index behind the value and all inside it */
    uint8_t type;
    uint8_t escaped; /* a string that holds a backslash */
};

/* A parsed text; reusable: parse again into the same one to keep its memory. {0} is a fresh one. */
struct json_doc {
    struct span text; /* borrowed: must outlive every struct json made from it */
    struct json_node *nodes;
    uint32_t count;
    uint32_t cap;
    uint32_t most;     /* values; 0 = JSON_MAX_VALUES */
    const char *error; /* after a failed parse: what is wrong, a literal */
    size_t error_at;   /* and at which byte */
};

/* One value; pass by value. {NULL, 0} is JSON_NONE, and every accessor accepts it. */
struct json {
    const struct json_doc *doc;
    uint32_t at;
};

#define JSON_NOTHING ((struct json){NULL, 0})

/* Text below 4 GiB. ERR_INVALID with doc->error set; ERR_TOO_BIG when nested deeper than max_depth,
 * too long or of too many values. Iterative: no stack depth depends on the input. */
enum err json_parse(struct json_doc *doc, struct span text, unsigned max_depth) NODISCARD;
void json_doc_free(struct json_doc *doc);

struct json json_root(const struct json_doc *doc);
enum json_type json_type(struct json v);
/* true for JSON_NONE and null: an optional member that is null means absent. */
bool json_absent(struct json v);
/* The value's own bytes, quotes included. */
struct span json_raw(struct json v);
/* Offset of json_raw's first byte in the text; for splicing. */
size_t json_offset(struct json v);

/* Member of an object by unescaped name; the last one wins. JSON_NONE when absent or not an object.
 */
struct json json_member(struct json object, struct span name);
/* The same; a literal's length is known where it stands. */
static inline struct json json_get(struct json object, const char *name)
{
    return json_member(object, span_str(name));
}
/* How many members have this unescaped name. */
unsigned json_count_named(struct json object, const char *name);
/* Element of an array; JSON_NONE when out of range. */
struct json json_at(struct json array, size_t index);
/* Elements of an array or members of an object. */
size_t json_count(struct json v);

/* for (struct json_iter i = json_iter(v); json_next(&i);) … i.value; for objects also i.key (a
 * string). */
struct json_iter {
    struct json container;
    struct json key;
    struct json value;
    uint32_t next_;
};
struct json_iter json_iter(struct json container);
bool json_next(struct json_iter *i);

/* The bytes between the quotes, still escaped ("json text"). SPAN_NONE when v is no string. */
struct span json_text(struct json v);
/* The decoded bytes: a view when nothing is escaped, else a copy in the arena. A lone surrogate
 * becomes U+FFFD. SPAN_NONE with data NULL when v is no string or the arena is full. */
struct span json_string(struct json v, struct arena *arena);
/* Decodes json text ("between the quotes") and appends it to out. */
void json_text_decode(struct span text, struct buf *out);
/* true when v is a string whose decoded bytes are these. */
bool json_equals(struct json v, struct span wanted);
static inline bool json_is(struct json v, const char *string)
{
    return json_equals(v, span_str(string));
}
bool json_bool(struct json v, bool *out);
/* Integers, and floats without a fraction ("1.0", "1e2"), within the range; false otherwise. */
bool json_i64(struct json v, int64_t *out);
bool json_double(struct json v, double *out);

/* ---- writing ---- */

/* Appends compact JSON to a buf, commas by itself; failure is the buf's. {.out = &b} is ready. */
struct json_writer {
    struct buf *out;
    bool comma_; /* the next value or key needs one before it */
};

void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *name);      /* name needs no escape */
void jw_key_text(struct json_writer *w, struct span text); /* json text, as json_text gives it */
void jw_raw(struct json_writer *w, struct span json);      /* a whole value, verbatim */
void jw_value(struct json_writer *w, struct json v);       /* jw_raw of its bytes */
void jw_string(struct json_writer *w,
               struct span bytes); /* escaped here; invalid UTF-8 becomes U+FFFD */
void jw_text(struct json_writer *w, struct span text); /* json text, quoted, not escaped again */
void jw_str(struct json_writer *w, const char *c_string);
void jw_u64(struct json_writer *w, uint64_t v);
void jw_i64(struct json_writer *w, int64_t v);
void jw_double(struct json_writer *w,
               double v); /* shortest text that reads back the same; null if not finite */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* A string put together from pieces: begin, any number of parts, end. */
void jw_string_begin(struct json_writer *w);
void jw_string_part(struct json_writer *w, struct span bytes); /* escaped here */
void jw_string_text(struct json_writer *w, struct span text);  /* json text */
void jw_string_end(struct json_writer *w);

/* Quoted and escaped. */
void json_append_string(struct buf *out, struct span bytes);
/* Escaped, without quotes: bytes → json text. Invalid UTF-8 becomes U+FFFD. */
void json_append_text(struct buf *out, struct span bytes);
/* A value without the white space outside its strings, nothing else touched. */
void json_append_compact(struct buf *out, struct json v);

#endif
