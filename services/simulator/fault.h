/* What a request asks the simulator to do other than answer well: from script rules, x-sim-…
 * headers, and
 * [[sim …]] in the last user text. README.md lists the words. */
#ifndef SERVICES_SIMULATOR_FAULT_H
#define SERVICES_SIMULATOR_FAULT_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { FAULT_WORD = 64, FAULT_MESSAGE = 256 };

struct sim_fault {
    unsigned status;   /* answer with this instead; 0 = answer */
    uint32_t delay_ms; /* before the head */
    uint32_t ttft_ms;  /* before the first piece of a stream, or the body */
    uint32_t pace_ms;  /* between the pieces of a stream */
    uint32_t drip_ms;  /* one byte at a time, this far apart */
    uint32_t chunks;   /* pieces the text is cut into; 0 = by length */
    uint32_t tokens;   /* pad the text to this many; 0 = as it is */
    uint32_t cached;   /* cached input tokens to report */
    uint32_t times;    /* the first N requests with these very words; 0 = always */
    int64_t stall_at;  /* no byte of the body beyond this one; -1 = no stall */
    int64_t reset_at;  /* TCP reset behind this byte; -1 = never */
    int64_t cut_at;    /* connection closed behind this byte; -1 = never */
    int64_t error_at;  /* in-band error behind this many text pieces; -1 = never */
    uint64_t flood;    /* bytes of filler in the answer's text */
    bool stall_head;   /* not even the head */
    bool reset_head, close_head;
    bool garbage; /* 200 with bytes of no protocol */
    bool no_usage, no_done, gzip, reasoning;
    char retry_after[FAULT_WORD];
    char type[FAULT_WORD], code[FAULT_WORD]; /* of the error body */
    char message[FAULT_MESSAGE];
    char finish[FAULT_WORD]; /* finish or stop reason to report */
    char script[FAULT_WORD]; /* raw answer by this name */
};

void fault_init(struct sim_fault *f);
/* One word with its value (empty when it had none). ERR_NOT_FOUND for an unknown word, ERR_INVALID
 * for a bad value. */
enum err fault_set(struct sim_fault *f, struct span word, struct span value) NODISCARD;
/* "status=500 times=1": words apart by spaces; the first error stops. A value may stand in single
 * quotes. */
enum err fault_parse(struct sim_fault *f, struct span words) NODISCARD;
/* What stands between "[[sim" and "]]", the last such in the text; SPAN_NONE when there is none. */
struct span fault_directive(struct span text);

#endif
