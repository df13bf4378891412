/* tollgate keys: asks auth; a key's text is shown once, at its creation. */
#include <stdio.h>

#include "services/ctl/ask_auth.h"
#include "services/ctl/keys_edit.h"
#include "services/ctl/keys_print.h"

static struct json_writer begin(struct buf *line, const char *command)
{
    struct json_writer w = {.out = line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, command);
    return w;
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
    if (!text)
        return;
    jw_key(w, name);
    jw_str(w, text);
}

static int list(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    const char *state = NULL, *name = NULL, *tag = NULL;
    struct positionals rest;
    const struct arg args[] = {
        {"state", "STATE", "only these: valid, blocked, expired or revoked", &state, NULL},
        {"name", "PATTERN", "only those of such a name: team-*", &name, NULL},
        {"tag", "TAG", "only those with this tag", &tag, NULL},
        {"json", NULL, "print JSON", NULL, &json},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    struct buf line = {0};
    struct json_writer w = begin(&line, "key.list");
    put_text(&w, "state", state);
    put_text(&w, "name", name);
    put_text(&w, "tag", tag);
    jw_object_end(&w);
    struct answer a;
    code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    code = EXIT_DONE;
    if (json)
        printf("%.*s\n", SPAN_ARG(json_raw(json_get(a.root, "keys"))));
    else
        code = keys_print_all(json_get(a.root, "keys"));
    answer_free(&a);
    return code;
}

/* One key, by id or name. */
static int about_one(const struct command *self, const char *command, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    struct positionals rest;
    const struct arg args[] = {{"json", NULL, "print JSON", NULL, &json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "one key is needed, by its id or name");
    struct buf line = {0};
    struct json_writer w = begin(&line, command);
    put_text(&w, "key", rest.items[0]);
    jw_object_end(&w);
    struct answer a;
    code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    struct json key = json_get(a.root, "key");
    if (json)
        printf("%.*s\n", SPAN_ARG(json_raw(key)));
    else
        keys_print_one(key);
    answer_free(&a);
    return EXIT_DONE;
}

static int show(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.show", argc, argv);
}

static int revoke(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.revoke", argc, argv);
}

static int block(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.block", argc, argv);
}

static int unblock(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.unblock", argc, argv);
}

static int reset_limits(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.reset_limits", argc, argv);
}

static int delete (const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.delete", argc, argv);
}

static int keys(const struct command *self, int argc, char **argv)
{
    static const struct command table[] = {
        {"keys create", "Make a key, and show it once.", "[OPTION]... NAME", NULL, keys_create},
        {"keys list", "List all keys, revoked ones too.", "[OPTION]...", NULL, list},
        {"keys show", "Show one key's limits.", "[OPTION]... ID|NAME", NULL, show},
        {"keys update", "Change a key's limits, models, expiry, tags or name.",
         "[OPTION]... ID|NAME", "What is not given stays. A change holds at all edges within 5 s.",
         keys_update},
        {"keys rotate", "Give a key a new secret; the old one works on for a while.",
         "[OPTION]... ID|NAME",
         "Its id, limits and ledger stay. Of several rotations the last two secrets work.",
         keys_rotate},
        {"keys block", "Make a key useless until it is unblocked; its running requests end.",
         "[OPTION]... ID|NAME", NULL, block},
        {"keys unblock", "Let a blocked key work again.", "[OPTION]... ID|NAME", NULL, unblock},
        {"keys revoke", "Make a key useless, at once, for good.", "[OPTION]... ID|NAME", NULL,
         revoke},
        {"keys delete", "Forget a revoked key; what it used stays in the ledger.",
         "[OPTION]... ID|NAME", NULL, delete},
        {"keys reset-limits", "Let a key's limits begin anew: what it owes them is forgotten.",
         "[OPTION]... ID|NAME", NULL, reset_limits},
        {0}};
    (void)self;
    return dispatch("tollgate keys", table, NULL, argc, argv);
}

const struct command command_keys = {
    "keys", "Create, list, show, update, rotate, block, revoke and delete client keys.", "COMMAND",
    NULL, keys};
