#include "proto/message_copy.h"

#include <stdlib.h>

static struct span *text_of(const struct field_info *f, void *message)
{
    if (f->type != FIELD_STR && f->type != FIELD_BIN)
        return NULL;
    return (struct span *)(void *)((char *)message + f->offset);
}

size_t message_text_bytes(unsigned type, const void *message)
{
    const struct message_info *info = message_info(type);
    size_t bytes = 0;
    for (unsigned i = 0; info && i < info->field_count; i++) {
        const struct field_info *f = &info->fields[i];
        if (f->type == FIELD_STR || f->type == FIELD_BIN)
            bytes += ((const struct span *)(const void *)((const char *)message + f->offset))->len;
    }
    return bytes;
}

char *message_own_text(unsigned type, void *message, char *text)
{
    const struct message_info *info = message_info(type);
    for (unsigned i = 0; info && i < info->field_count; i++) {
        struct span *s = text_of(&info->fields[i], message);
        if (!s)
            continue;
        if (s->len)
            memcpy(text, s->data, s->len);
        s->data = text;
        text += s->len;
    }
    return text;
}

void *message_copy(unsigned type, const void *message)
{
    const struct message_info *info = message_info(type);
    char *copy = info ? malloc(info->size + message_text_bytes(type, message)) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, message, info->size);
    (void)message_own_text(type, copy, copy + info->size);
    return copy;
}

struct outbox_item *message_item(unsigned type, const void *message)
{
    const struct message_info *info = message_info(type);
    struct outbox_item *item =
        info ? outbox_item_create(info->size + message_text_bytes(type, message)) : NULL;
    if (!item)
        return NULL;
    char *copy = outbox_item_payload(item);
    memcpy(copy, message, info->size);
    (void)message_own_text(type, copy, copy + info->size);
    return item;
}
