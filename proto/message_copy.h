/* Owned copies of messages. A decoded message shows bytes of its frame and ends with its handler;
 * whoever keeps one longer copies it here, so that no string of it is forgotten: the field table
 * says which there are. */
#ifndef PROTO_MESSAGE_COPY_H
#define PROTO_MESSAGE_COPY_H

#include "common/base/outbox.h"
#include "proto/message.h"

/* Bytes of all its strings together. */
size_t message_text_bytes(unsigned type, const void *message);
/* Copies its strings behind each other into `text`, which has room for message_text_bytes() of
 * them, and makes the message show these copies. Returns the end of what was written. For a message
 * within a struct whose allocation has the strings behind it. */
char *message_own_text(unsigned type, void *message, char *text);
/* A copy in one allocation, struct and strings; free() it. NULL out of memory or for an unknown
 * type. */
void *message_copy(unsigned type, const void *message) NODISCARD;
/* A copy as an outbox's payload. NULL as above. */
struct outbox_item *message_item(unsigned type, const void *message) NODISCARD;

#endif
