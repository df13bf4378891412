#include "services/worker/endpoints/breaker.h"

bool breaker_allows(const struct breaker *b, uint64_t now_ms)
{
    switch (b->state) {
    case BREAKER_CLOSED:
        return true;
    case BREAKER_OPEN:
        return now_ms >= b->until_ms;
    case BREAKER_PROBING:
        return false;
    }
    return false;
}

void breaker_start(struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_OPEN && now_ms >= b->until_ms)
        b->state = BREAKER_PROBING;
}

void breaker_success(struct breaker *b)
{
    *b = (struct breaker){.state = BREAKER_CLOSED};
}

static void open_for_longer(struct breaker *b, const struct breaker_options *options,
                            uint64_t now_ms)
{
    uint64_t longer = b->open_ms > options->max_ms / 2 ? options->max_ms : b->open_ms * 2;
    b->open_ms = b->open_ms == 0 ? options->open_ms : longer;
    if (b->open_ms > options->max_ms)
        b->open_ms = options->max_ms;
    b->until_ms = now_ms + b->open_ms;
    b->state = BREAKER_OPEN;
}

void breaker_failure(struct breaker *b, const struct breaker_options *options, uint64_t now_ms)
{
    if (b->failures < UINT32_MAX)
        b->failures++;
    switch (b->state) {
    case BREAKER_CLOSED:
        if (b->failures >= options->failures)
            open_for_longer(b, options, now_ms);
        return;
    case BREAKER_PROBING:
        open_for_longer(b, options, now_ms);
        return;
    case BREAKER_OPEN: /* a request from before it opened: says nothing new */
        return;
    }
}

void breaker_abandon(struct breaker *b, uint64_t now_ms)
{
    if (b->state != BREAKER_PROBING)
        return;
    b->state = BREAKER_OPEN;
    b->until_ms = now_ms;
}
