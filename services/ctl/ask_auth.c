#include "services/ctl/ask_auth.h"

#include "services/ctl/places.h"

enum { ASK_TIMEOUT_MS = 30000 };

static int explain(enum err e, const char *path)
{
    if (e == ERR_NOT_FOUND)
        return failure(
            "no auth listens at %s (is the suite running? --run-dir or --config says where)", path);
    if (e == ERR_DENIED || e == ERR_CLOSED)
        return failure("auth does not talk to this user at %s (run as its user, or as root)", path);
    return failure("%s: %s", path, err_name(e));
}

int ask_auth(struct suite_paths *p, struct span line, struct answer *out)
{
    struct suite_places places;
    int code = places_find(p, &places);
    if (code >= 0)
        return code;
    enum err e = ask_socket(places.admin_socket, line, ASK_TIMEOUT_MS, out);
    if (e)
        code = explain(e, places.admin_socket);
    bool ok = false;
    if (!e && (!json_bool(json_get(out->root, "ok"), &ok) || !ok)) {
        struct buf why = {0};
        json_text_decode(json_text(json_get(out->root, "error")), &why);
        code = failure("%.*s", (int)why.len, why.data ? why.data : "");
        buf_free(&why);
        answer_free(out);
    }
    return code;
}
