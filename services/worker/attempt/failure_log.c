#include "services/worker/attempt/failure_log.h"

#include "common/base/hash.h"

/* Never 0. */
static uint64_t kind_of(unsigned error_class, unsigned endpoint, struct span model)
{
    uint64_t hash = hash_number(hash_number(HASH_NOTHING, error_class), endpoint);
    hash = hash_bytes(hash, model);
    return hash ? hash : 1;
}

bool failure_log_admit(struct failure_log *log, unsigned error_class, unsigned endpoint,
                       struct span model, uint64_t now_ms, uint64_t *unsaid_out)
{
    uint64_t kind = kind_of(error_class, endpoint, model);
    unsigned at = 0;
    for (unsigned i = 0; i < FAILURE_LOG_ROWS; i++) {
        if (log->rows[i].kind == kind) {
            at = i;
            break;
        }
        if (log->rows[i].line_ms < log->rows[at].line_ms)
            at = i;
    }
    bool known = log->rows[at].kind == kind;
    *unsaid_out = known ? log->rows[at].unsaid : 0;
    if (known && now_ms < log->rows[at].line_ms + FAILURE_LOG_EVERY_MS) {
        log->rows[at].unsaid++;
        return false;
    }
    log->rows[at].kind = kind;
    log->rows[at].line_ms = now_ms;
    log->rows[at].unsaid = 0;
    return true;
}
