#include "proto/codec.h"

#include <msgpack/pack.h>

static struct span field_span(const void *message, const struct field_info *f)
{
    return *(const struct span *)(const void *)((const char *)message + f->offset);
}

static uint64_t field_number(const void *message, const struct field_info *f)
{
    const void *at = (const char *)message + f->offset;
    switch (f->type) {
    case FIELD_BOOL:
        return *(const bool *)at;
    case FIELD_U32:
        return *(const uint32_t *)at;
    case FIELD_U64:
        return *(const uint64_t *)at;
    case FIELD_I64:
        return (uint64_t) * (const int64_t *)at;
    case FIELD_STR:
    case FIELD_BIN:
        break;
    }
    return 0;
}

/* ---- size ---- */

static size_t uint_size(uint64_t v)
{
    return v < 0x80 ? 1 : v <= 0xff ? 2 : v <= 0xffff ? 3 : v <= 0xffffffff ? 5 : 9;
}

static size_t int_size(int64_t v)
{
    if (v >= 0)
        return uint_size((uint64_t)v);
    return v >= -32 ? 1 : v >= INT8_MIN ? 2 : v >= INT16_MIN ? 3 : v >= INT32_MIN ? 5 : 9;
}

static size_t field_size(const void *message, const struct field_info *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return 1;
    case FIELD_U32:
    case FIELD_U64:
        return uint_size(field_number(message, f));
    case FIELD_I64:
        return int_size((int64_t)field_number(message, f));
    case FIELD_STR: {
        size_t n = field_span(message, f).len;
        return n + (n < 32 ? 1 : n <= 0xff ? 2 : n <= 0xffff ? 3 : 5);
    }
    case FIELD_BIN: {
        size_t n = field_span(message, f).len;
        return n + (n <= 0xff ? 2 : n <= 0xffff ? 3 : 5);
    }
    }
    return 0;
}

size_t codec_size(unsigned type, const void *message)
{
    const struct message_info *info = message_info(type);
    if (!info)
        return 0;
    size_t size = HEADER_BYTES + (info->field_count < 16 ? 1 : 3);
    for (unsigned i = 0; i < info->field_count; i++)
        size += field_size(message, &info->fields[i]);
    return size;
}

/* ---- encoding ---- */

static int append(void *cursor, const char *bytes, size_t n)
{
    char **at = cursor;
    memcpy(*at, bytes, n);
    *at += n;
    return 0;
}

static void encode_field(msgpack_packer *p, const void *message, const struct field_info *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        if (field_number(message, f))
            msgpack_pack_true(p);
        else
            msgpack_pack_false(p);
        return;
    case FIELD_U32:
    case FIELD_U64:
        msgpack_pack_uint64(p, field_number(message, f));
        return;
    case FIELD_I64:
        msgpack_pack_int64(p, (int64_t)field_number(message, f));
        return;
    case FIELD_STR: {
        struct span s = field_span(message, f);
        msgpack_pack_str(p, s.len);
        if (s.len)
            msgpack_pack_str_body(p, s.data, s.len);
        return;
    }
    case FIELD_BIN: {
        struct span s = field_span(message, f);
        msgpack_pack_bin(p, s.len);
        if (s.len)
            msgpack_pack_bin_body(p, s.data, s.len);
        return;
    }
    }
}

void codec_encode(const struct header *h, const void *message, void *out)
{
    const struct message_info *info = message_info(h->type);
    if (!info)
        return;
    header_write(h, out);
    char *at = (char *)out + HEADER_BYTES;
    msgpack_packer packer;
    msgpack_packer_init(&packer, &at, append);
    msgpack_pack_array(&packer, info->field_count);
    for (unsigned i = 0; i < info->field_count; i++)
        encode_field(&packer, message, &info->fields[i]);
}

/* ---- decoding ---- */

struct cursor {
    const uint8_t *at;
    size_t left;
};

/* One msgpack value that is not a container. */
struct value {
    enum {
        VALUE_NIL,
        VALUE_BOOL,
        VALUE_UINT,
        VALUE_NEGATIVE,
        VALUE_STR,
        VALUE_BIN,
        VALUE_OTHER
    } kind;
    uint64_t number; /* two's complement when negative */
    struct span bytes;
};

static bool take_be(struct cursor *c, unsigned n, uint64_t *out)
{
    if (c->left < n)
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | c->at[i];
    c->at += n;
    c->left -= n;
    *out = v;
    return true;
}

static enum err take_bytes(struct cursor *c, unsigned length_bytes, unsigned extra,
                           struct span *out)
{
    uint64_t n;
    if (!take_be(c, length_bytes, &n) || c->left < extra || n > c->left - extra)
        return ERR_TRUNCATED;
    *out = span_of(c->at, n + extra);
    c->at += n + extra;
    c->left -= n + extra;
    return OK;
}

static enum err take_uint(struct cursor *c, unsigned n, struct value *v)
{
    v->kind = VALUE_UINT;
    return take_be(c, n, &v->number) ? OK : ERR_TRUNCATED;
}

static enum err take_int(struct cursor *c, unsigned n, struct value *v)
{
    if (!take_be(c, n, &v->number))
        return ERR_TRUNCATED;
    if (n < 8 && v->number >> (8 * n - 1))
        v->number |= ~(uint64_t)0 << 8 * n;
    v->kind = v->number >> 63 ? VALUE_NEGATIVE : VALUE_UINT;
    return OK;
}

static enum err take_fixed(struct cursor *c, unsigned n, struct value *v)
{
    v->kind = VALUE_OTHER;
    if (c->left < n)
        return ERR_TRUNCATED;
    c->at += n;
    c->left -= n;
    return OK;
}

/* The msgpack format table, from 0xc0 on. */
static enum err take_tagged(struct cursor *c, uint8_t tag, struct value *v)
{
    switch (tag) {
    case 0xc0:
        v->kind = VALUE_NIL;
        return OK;
    case 0xc2:
    case 0xc3:
        v->kind = VALUE_BOOL;
        v->number = tag & 1;
        return OK;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        v->kind = VALUE_BIN;
        return take_bytes(c, 1u << (tag - 0xc4), 0, &v->bytes);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        v->kind = VALUE_OTHER; /* ext: one type byte more */
        return take_bytes(c, 1u << (tag - 0xc7), 1, &v->bytes);
    case 0xca:
        return take_fixed(c, 4, v);
    case 0xcb:
        return take_fixed(c, 8, v);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take_uint(c, 1u << (tag - 0xcc), v);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_int(c, 1u << (tag - 0xd0), v);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_fixed(c, 1 + (1u << (tag - 0xd4)), v);
    case 0xd9:
    case 0xda:
    case 0xdb:
        v->kind = VALUE_STR;
        return take_bytes(c, 1u << (tag - 0xd9), 0, &v->bytes);
    default:
        return ERR_INVALID; /* 0xc1, and nested arrays and maps: no message has any */
    }
}

static enum err take_value(struct cursor *c, struct value *v)
{
    *v = (struct value){VALUE_NIL, 0, SPAN_NONE};
    if (c->left == 0)
        return ERR_TRUNCATED;
    uint8_t tag = *c->at++;
    c->left--;
    if (tag < 0x80 || tag >= 0xe0) {
        v->kind = tag < 0x80 ? VALUE_UINT : VALUE_NEGATIVE;
        v->number = (uint64_t)(int64_t)(int8_t)tag;
        return OK;
    }
    if ((tag & 0xe0) == 0xa0) {
        size_t n = tag & 0x1f;
        if (n > c->left)
            return ERR_TRUNCATED;
        *v = (struct value){VALUE_STR, 0, span_of(c->at, n)};
        c->at += n;
        c->left -= n;
        return OK;
    }
    return tag < 0xc0 ? ERR_INVALID : take_tagged(c, tag, v);
}

static enum err take_array_header(struct cursor *c, uint64_t *count)
{
    if (c->left == 0)
        return ERR_TRUNCATED;
    uint8_t tag = *c->at++;
    c->left--;
    if ((tag & 0xf0) == 0x90)
        *count = tag & 0x0f;
    else if (tag != 0xdc)
        return ERR_INVALID;
    else if (!take_be(c, 2, count))
        return ERR_TRUNCATED;
    return *count <= CODEC_MAX_FIELDS ? OK : ERR_INVALID;
}

static enum err store(const struct field_info *f, const struct value *v, void *message)
{
    void *at = (char *)message + f->offset;
    if (v->kind == VALUE_NIL)
        return OK;
    switch (f->type) {
    case FIELD_BOOL:
        if (v->kind != VALUE_BOOL)
            return ERR_INVALID;
        *(bool *)at = v->number != 0;
        return OK;
    case FIELD_U32:
        if (v->kind != VALUE_UINT || v->number > UINT32_MAX)
            return ERR_INVALID;
        *(uint32_t *)at = (uint32_t)v->number;
        return OK;
    case FIELD_U64:
        if (v->kind != VALUE_UINT)
            return ERR_INVALID;
        *(uint64_t *)at = v->number;
        return OK;
    case FIELD_I64:
        if (v->kind != VALUE_NEGATIVE && (v->kind != VALUE_UINT || v->number > INT64_MAX))
            return ERR_INVALID;
        *(int64_t *)at = (int64_t)v->number;
        return OK;
    case FIELD_STR:
    case FIELD_BIN:
        if (v->kind != (f->type == FIELD_STR ? VALUE_STR : VALUE_BIN))
            return ERR_INVALID;
        *(struct span *)at = v->bytes;
        return OK;
    }
    return ERR_INVALID;
}

static void advance(struct cursor *c, size_t n)
{
    c->at += n;
    c->left -= n;
}

/* The usual forms of a field: short text, bytes below 256, small numbers, truth. false: nothing was
 * taken, whatever it is. */
static bool take_usual(struct cursor *c, const struct field_info *f, void *message)
{
    void *at = (char *)message + f->offset;
    uint8_t tag = c->left ? *c->at : 0xc1;
    switch (f->type) {
    case FIELD_BOOL:
        if (tag != 0xc2 && tag != 0xc3)
            return false;
        *(bool *)at = tag & 1;
        advance(c, 1);
        return true;
    case FIELD_U32:
        if (tag >= 0x80)
            return false;
        *(uint32_t *)at = tag;
        advance(c, 1);
        return true;
    case FIELD_U64:
    case FIELD_I64: /* the same bits */
        if (tag >= 0x80)
            return false;
        memcpy(at, &(uint64_t){tag}, sizeof(uint64_t));
        advance(c, 1);
        return true;
    case FIELD_STR: {
        size_t n = tag & 0x1f;
        if ((tag & 0xe0) != 0xa0 || n >= c->left)
            return false;
        *(struct span *)at = span_of(c->at + 1, n);
        advance(c, 1 + n);
        return true;
    }
    case FIELD_BIN: {
        size_t n = tag == 0xc4 && c->left > 1 ? c->at[1] : SIZE_MAX;
        if (n == SIZE_MAX || n > c->left - 2)
            return false;
        *(struct span *)at = span_of(c->at + 2, n);
        advance(c, 2 + n);
        return true;
    }
    }
    return false;
}

enum err codec_decode(unsigned type, struct span payload, void *message_out)
{
    const struct message_info *info = message_info(type);
    if (!info)
        return ERR_UNSUPPORTED;
    memset(message_out, 0, info->size);
    struct cursor c = {(const uint8_t *)payload.data, payload.len};
    uint64_t count = 0;
    enum err e = take_array_header(&c, &count);
    for (uint64_t i = 0; !e && i < count; i++) {
        struct value v;
        if (i < info->field_count && take_usual(&c, &info->fields[i], message_out))
            continue;
        e = take_value(&c, &v);
        if (!e && i < info->field_count)
            e = store(&info->fields[i], &v, message_out);
    }
    if (!e && c.left)
        e = ERR_INVALID;
    return e;
}
