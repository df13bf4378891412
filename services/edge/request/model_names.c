#include "services/edge/request/model_names.h"

#include "common/base/hash.h"

static bool is_usual(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !(c && strchr("-._/:@+", c)))
            return false;
    }
    return name.len && name.len <= MODEL_NAME_BYTES;
}

bool model_names_take(struct model_names *m, struct span name)
{
    if (!is_usual(name))
        return false;
    uint64_t hash = hash_bytes(HASH_NOTHING, name);
    for (unsigned i = 0; i < m->count; i++)
        if (m->rows[i].hash == hash && span_equals(span_of(m->rows[i].text, m->rows[i].len), name))
            return true;
    if (m->count == MODEL_NAMES_MAX)
        return false;
    m->rows[m->count].hash = hash;
    m->rows[m->count].len = (uint8_t)name.len;
    memcpy(m->rows[m->count].text, name.data, name.len);
    m->count++;
    return true;
}
