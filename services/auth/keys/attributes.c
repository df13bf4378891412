#include "services/auth/keys/attributes.h"

#include "proto/labels.h"

enum { RULE_PATTERN_MAX = 80 };

bool pattern_matches(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.data[p] == text.data[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

static bool printable(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

bool key_rule_parse(struct span text, struct span *pattern_out, struct gcra_rate *rate_out)
{
    *pattern_out = span_trim(span_cut(&text, '='));
    return pattern_out->len > 0 && gcra_rate_parse(text, rate_out);
}

static bool rules_are_valid(struct span list)
{
    size_t count = 0;
    while (list.len) {
        struct span pattern;
        struct gcra_rate rate;
        if (!key_rule_parse(span_cut(&list, ','), &pattern, &rate) || ++count > KEY_RULES_MAX ||
            pattern.len > RULE_PATTERN_MAX)
            return false;
    }
    return true;
}

static bool tags_are_valid(struct span list)
{
    struct tag_list tags = {0};
    return tag_list_add(&tags, list, TAGS_MAX) == NULL;
}

enum err keys_check(const struct key_attributes *a, const char **why_out)
{
    *why_out = NULL;
    if (a->name.len == 0 || a->name.len > KEY_NAME_MAX || !printable(a->name))
        *why_out = "a name of 1 to 64 printable bytes is needed";
    else if (a->models.len > KEY_MODELS_MAX || !printable(a->models))
        *why_out = "the list of models is too long or not printable";
    else if (a->model_limits.len > KEY_MODELS_MAX || !rules_are_valid(a->model_limits))
        *why_out = "model limits are up to four of MODEL=COUNT/PERIOD, for example gpt-4=100/hour";
    else if (!tags_are_valid(a->tags))
        *why_out = "tags are up to 16, of 128 printable bytes at most, comma-separated";
    return *why_out ? ERR_INVALID : OK;
}

void key_attributes_merge(struct key_attributes *a, const struct key_attributes *change,
                          unsigned fields)
{
    struct key_attributes old = *a;
    if (fields & KEY_NAME)
        a->name = change->name;
    if (fields & KEY_MODELS)
        a->models = change->models;
    if (fields & KEY_MODEL_LIMITS)
        a->model_limits = change->model_limits;
    if (fields & KEY_PER_MINUTE)
        a->requests_per_minute = change->requests_per_minute;
    if (fields & KEY_PER_HOUR)
        a->requests_per_hour = change->requests_per_hour;
    if (fields & KEY_TOKENS)
        a->tokens_per_minute = change->tokens_per_minute;
    if (fields & KEY_CONCURRENT)
        a->concurrent = change->concurrent;
    if (fields & KEY_EXPIRES)
        a->expires_ms = change->expires_ms;
    if (fields & KEY_TAGS)
        a->tags = change->tags;
    if (fields & KEY_BLOCKED)
        a->blocked_ms = change->blocked_ms;
    if (fields & KEY_REVOKED)
        a->revoked_ms = change->revoked_ms;
    if (fields & KEY_SECRET) {
        memcpy(a->before, old.stored, SHA256_BYTES);
        a->before_until_ms = change->before_until_ms;
        memcpy(a->stored, change->stored, SHA256_BYTES);
        a->hint = change->hint;
    }
    a->changed_ms = change->changed_ms;
}
