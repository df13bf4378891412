/* FNV-1a: places in a table, and whether anything has changed. Whoever chooses the bytes can find
 * others of the same hash; where that would help him, begin with a secret. */
#ifndef COMMON_BASE_HASH_H
#define COMMON_BASE_HASH_H

#include "common/base/span.h"

#define HASH_NOTHING ((uint64_t)14695981039346656037u)

/* What has been hashed before, HASH_NOTHING at first, and a number or bytes behind it. */
static inline uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return (hash ^ number) * 1099511628211u;
}

static inline uint64_t hash_bytes(uint64_t hash, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = hash_number(hash, (unsigned char)bytes.data[i]);
    return hash;
}

#endif
