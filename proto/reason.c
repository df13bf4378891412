#include "proto/reason.h"

static const struct {
    const char *word, *text;
} reasons[REASON_COUNT] = {
#define REASON(name, word, text) [REASON_##name] = {word, text},
#include "proto/reasons.def"
#undef REASON
};

const char *reason_word(unsigned reason)
{
    return reasons[reason < REASON_COUNT ? reason : REASON_NONE].word;
}

const char *reason_text(struct span word)
{
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        if (span_is(word, reasons[i].word))
            return reasons[i].text;
    }
    return "";
}
