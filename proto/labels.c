#include "proto/labels.h"

#include "common/base/utf8.h"

bool label_is_printable(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return utf8_valid(text);
}

static bool holds(const struct tag_list *t, struct span tag)
{
    for (size_t i = 0; i < t->count; i++) {
        if (span_equals(t->tags[i], tag))
            return true;
    }
    return false;
}

const char *tag_list_add(struct tag_list *t, struct span list, size_t most)
{
    while (list.len) {
        struct span tag = span_trim(span_cut(&list, ','));
        if (tag.len == 0 || holds(t, tag))
            continue;
        if (tag.len > TAG_MAX_BYTES)
            return "a tag is longer than 128 bytes";
        if (!label_is_printable(tag))
            return "a tag holds a control character, or is not UTF-8";
        if (t->count >= most)
            return "there are more than 16 tags";
        t->tags[t->count++] = tag;
    }
    return NULL;
}

size_t tag_list_write(const struct tag_list *t, char out[TAGS_TEXT_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            out[at++] = ',';
        memcpy(out + at, t->tags[i].data, t->tags[i].len);
        at += t->tags[i].len;
    }
    return at;
}

struct span tag_list_text(const struct tag_list *t, struct arena *arena)
{
    char text[TAGS_TEXT_MAX];
    return t->count ? arena_copy(arena, span_of(text, tag_list_write(t, text))) : SPAN_NONE;
}
