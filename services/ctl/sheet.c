#include "services/ctl/sheet.h"

#include <stdlib.h>

void sheet_init(struct sheet *s, const char *heads)
{
    struct span rest = span_str(heads);
    *s = (struct sheet){0};
    arena_init(&s->arena, 0);
    while (rest.len && s->columns < SHEET_COLUMNS_MAX) {
        struct span head = span_cut(&rest, '|');
        bool right = head.len && head.data[0] == '>';
        s->right[s->columns++] = right;
        sheet_cell(s, span_skip(head, right));
    }
}

void sheet_free(struct sheet *s)
{
    arena_free(&s->arena);
    free(s->cells);
    *s = (struct sheet){0};
}

void sheet_cell(struct sheet *s, struct span text)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct span *grown = realloc(s->cells, cap * sizeof *grown);
        if (!grown) {
            s->failed = true;
            return;
        }
        s->cells = grown;
        s->cap = cap;
    }
    struct span copy = arena_copy(&s->arena, text);
    s->failed |= text.len && !copy.data;
    s->cells[s->count++] = copy;
}

void sheet_str(struct sheet *s, const char *text)
{
    sheet_cell(s, span_str(text));
}

void sheet_u64(struct sheet *s, uint64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    sheet_cell(s, span_of(text, (size_t)len));
}

void sheet_dollars(struct sheet *s, uint64_t nano)
{
    char text[40];
    int len = snprintf(text, sizeof text, "%llu.%09llu", (unsigned long long)(nano / 1000000000),
                       (unsigned long long)(nano % 1000000000));
    sheet_cell(s, span_of(text, (size_t)len));
}

/* Code points, which is what columns mostly are. */
static size_t width(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return n;
}

static void pad(struct buf *out, size_t n)
{
    while (n--)
        buf_append_char(out, ' ');
}

static void put_text(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        buf_append_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

enum err sheet_write(const struct sheet *s, struct buf *out)
{
    size_t widest[SHEET_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < s->count; i++) {
        size_t w = width(s->cells[i]);
        if (w > widest[i % s->columns])
            widest[i % s->columns] = w;
    }
    for (size_t i = 0; i < s->count; i++) {
        size_t column = i % s->columns, space = widest[column] - width(s->cells[i]);
        bool last = column + 1 == s->columns;
        if (s->right[column])
            pad(out, space);
        put_text(out, s->cells[i]);
        if (!s->right[column] && !last)
            pad(out, space);
        buf_append_str(out, last ? "\n" : "  ");
    }
    return s->failed ? ERR_NOMEM : buf_check(out);
}
