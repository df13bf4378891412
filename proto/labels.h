/* What a request is labelled with in the ledger: its end user, and tags. Bounds and forms, for the
 * edge that reads them and auth that keeps them. */
#ifndef PROTO_LABELS_H
#define PROTO_LABELS_H

#include "common/base/arena.h"

enum {
    END_USER_MAX_BYTES = 512,
    TAG_MAX_BYTES = 128,
    TAGS_MAX = 16,                  /* of a request, and of a key */
    TAGS_OF_ROW_MAX = 2 * TAGS_MAX, /* of both together */
    TAGS_TEXT_MAX = TAGS_OF_ROW_MAX * (TAG_MAX_BYTES + 1)
};

/* Each once, in the order in which they came; views. {0} is an empty one. */
struct tag_list {
    struct span tags[TAGS_OF_ROW_MAX];
    size_t count;
};

/* UTF-8 without control characters. */
bool label_is_printable(struct span text);
/* Adds those of a comma-separated list that are not there yet; blanks around a tag, and empty ones,
 * are ignored. NULL, or what is wrong (a sentence without its full stop). `most`: so many there may
 * be in all. */
const char *tag_list_add(struct tag_list *t, struct span list, size_t most);
/* Writes the list, comma-separated; returns its bytes. */
size_t tag_list_write(const struct tag_list *t, char out[TAGS_TEXT_MAX]);
/* The same in the arena; empty without memory. */
struct span tag_list_text(const struct tag_list *t, struct arena *arena);

#endif
