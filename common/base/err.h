/* Why a call failed. Every fallible function returns one; 0 is success. */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

enum err {
    OK = 0,
    ERR_NOMEM,       /* allocation failed */
    ERR_INVALID,     /* the input is not what its format says */
    ERR_TRUNCATED,   /* the input ends too early */
    ERR_TOO_BIG,     /* a bound would be passed */
    ERR_AGAIN,       /* not now; try when told */
    ERR_TIMEOUT,     /* a deadline passed */
    ERR_CLOSED,      /* the other side is gone */
    ERR_NOT_FOUND,   /* no such thing */
    ERR_EXISTS,      /* there is one already */
    ERR_DENIED,      /* not allowed */
    ERR_UNSUPPORTED, /* understood, but not offered */
    ERR_VERSION,     /* the peer speaks another major version */
    ERR_IO,          /* a system call failed; errno is in the log */
    ERR_COUNT
};

#define NODISCARD __attribute__((warn_unused_result))

/* A short lower-case name, for logs; never NULL. */
const char *err_name(enum err e);

#endif
