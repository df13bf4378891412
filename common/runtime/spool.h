/* What a daemon owes another and could not tell before its end: kept in the state directory, and
 * sent by whoever of its kind is there when the other one is (its next start, a replica). A record
 * is a message as it would be sent, known by id and attempt, so that one that arrives twice does no
 * harm. Nothing that is wrong with the directory or a file in it stops a daemon. */
#ifndef COMMON_RUNTIME_SPOOL_H
#define COMMON_RUNTIME_SPOOL_H

#include "common/base/outbox.h"
#include "common/base/spool_file.h"
#include "proto/message.h"

struct spool_spec {
    const char *state_dir; /* the files are in its folder "spool" */
    const char *role;
    const char *provider; /* NULL: the role has none; those of another are not touched */
    uint64_t epoch;       /* names this life's file */
    enum message_type type;
    struct outbox *outbox; /* of messages of that type, as message_item makes them */
    size_t most_pending;   /* with more in the outbox nothing is read */
    /* Before one is written: what another life of the daemon must know (strings live until the next
     * call). Before one that was read is sent: false drops it. Either may be NULL. */
    void (*on_keep)(void *ctx, void *message);
    bool (*on_return)(void *ctx, const void *message);
    void *ctx;
};

struct spool {
    struct spool_spec spec;
    char dir[256];
    char owner[SPOOL_OWNER_BYTES];
    struct spool_reader *reader; /* of the file whose messages are in the outbox */
    bool looked;                 /* there are no further files */
    bool read;                   /* the reader's file, to its end */
};

void spool_init(struct spool *s, const struct spool_spec *spec);
/* The other one is there (again): files may wait for it. */
void spool_look_again(struct spool *s);
/* Brings a bounded number of messages into the outbox, and removes a file when all of its messages
 * are acknowledged. Call it a few times a second while the other one is there. */
void spool_tick(struct spool *s);
/* The end: writes what the outbox holds. Logs how many were kept, and how many are lost. */
void spool_keep(struct spool *s);

#endif
