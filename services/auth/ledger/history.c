#include "services/auth/ledger/history.h"

#include "common/base/json.h"

enum { CLASS_BYTES = 48, DEPTH = 8 };

void history_take(struct span text, struct store_op *op)
{
    struct json_doc doc = {0};
    if (!text.len || text.len > HISTORY_MAX)
        return;
    if (json_parse(&doc, text, DEPTH) == OK && json_type(json_root(&doc)) == JSON_OBJECT) {
        op->history = text;
        op->history_class = span_first(json_text(json_get(json_root(&doc), "class")), CLASS_BYTES);
    }
    json_doc_free(&doc);
}
