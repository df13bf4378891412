/* A thread beside the loop, for work that would hold the loop up: reading a large body, translating
 * it, reading the configuration. Jobs run there one after the other, those of different owners in
 * turns; each ends on the loop. */
#ifndef COMMON_RUNTIME_HELPER_H
#define COMMON_RUNTIME_HELPER_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/runtime/loop.h"

/* Work on so many bytes of JSON is worth the way there and back; less is done at once. */
enum { HELPER_WORTH_BYTES = 256 << 10 };

struct helper;

/* Lives inside its owner, from helper_do until `done` is called. */
struct helper_job {
    void (*run)(struct helper_job *job);  /* in the thread: touches nothing that others touch */
    void (*done)(struct helper_job *job); /* on the loop; may free the job */
    uint64_t owner; /* a hash of whose work it is: who has much of it waits behind himself */
    struct helper_job *next, *behind; /* the next owner's first; the owner's own next */
};

/* The thread begins with the first job. */
enum err helper_create(struct helper **out, struct loop *loop) NODISCARD;
/* Finishes what it has. Takes NULL, nulls. */
void helper_destroy(struct helper **helper);
/* ERR_IO when there can be no thread: then the caller does it himself. helper may be NULL, which
 * is the same. */
enum err helper_do(struct helper *helper, struct helper_job *job) NODISCARD;
/* Waits until all jobs are done, and calls their `done`. For ends that cannot wait for the loop. */
void helper_finish(struct helper *helper);

#endif
