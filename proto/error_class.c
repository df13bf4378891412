#include "proto/error_class.h"

static const struct error_info infos[ERROR_CLASS_COUNT] = {
#define ERROR_CLASS(name, ostatus, otype, ocode, astatus, atype, retry)                            \
    [ERROR_##name] = {#name, ostatus, otype, ocode, astatus, atype, RETRY_##retry},
#include "proto/errors.def"
#undef ERROR_CLASS
};

const struct error_info *error_info(unsigned error_class)
{
    return &infos[error_class < ERROR_CLASS_COUNT ? error_class : ERROR_INTERNAL];
}

unsigned error_status(unsigned error_class, enum api api)
{
    const struct error_info *info = error_info(error_class);
    return api_is_anthropic(api) ? info->anthropic_status : info->openai_status;
}

bool error_should_retry(unsigned error_class)
{
    enum retry retry = error_info(error_class)->retry;
    return retry == RETRY_SAFE || retry == RETRY_AMBIGUOUS || retry == RETRY_CLIENT;
}
