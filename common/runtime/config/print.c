/* The tables for people: as a YAML file with comments, and as docs/configuration.md. */
#include "common/runtime/config/option.h"

/* ---- YAML ---- */

static void put_list(struct buf *out, const char *text)
{
    struct span rest = span_str(text);
    buf_append_char(out, '[');
    for (bool first = true; rest.len; first = false) {
        struct span item = span_cut(&rest, ',');
        buf_printf(out, "%s\"%.*s\"", first ? "" : ", ", SPAN_ARG(item));
    }
    buf_append_char(out, ']');
}

static bool has_default(const struct option_row *row)
{
    return row->def && *row->def != '=';
}

/* A default as the file would give it; "" when there is none. */
static void put_default(struct buf *out, const struct option_row *row)
{
    if (!has_default(row))
        return;
    if (row->type == OPTION_LIST)
        put_list(out, row->def);
    else if (row->type == OPTION_STR && (!*row->def || strpbrk(row->def, "{/.")))
        buf_printf(out, "\"%s\"", row->def);
    else
        buf_append_str(out, row->def);
}

static void put_comment(struct buf *out, const char *indent, const struct option_row *row)
{
    struct buf limits = {0};
    option_put_limits(row, &limits);
    buf_append_str(out, indent);
    buf_append_str(out, "# ");
    buf_append_str(out, row->help);
    if (limits.len)
        buf_printf(out, "%s%.*s%s", *row->help ? " (" : "", SPAN_ARG(buf_span(&limits)),
                   *row->help ? ")" : "");
    if (row->when == OPTION_START)
        buf_append_str(out, " [start]");
    buf_append_char(out, '\n');
    buf_free(&limits);
}

static void print_section(struct buf *out, const struct option_group *g)
{
    buf_printf(out, "\n# %s\n%s:\n", g->help, g->name);
    for (const struct option_row *row = option_first(g->name); row; row = option_next(row)) {
        put_comment(out, "  ", row);
        buf_printf(out, "  %s: ", row->name);
        put_default(out, row);
        buf_append_char(out, '\n');
    }
}

/* As comments: the file needs none of these. */
static void print_group(struct buf *out, const struct option_group *g)
{
    buf_printf(out, "\n# %s%s%s\n", g->path, *g->path ? ": " : "", g->help);
    for (const struct option_row *row = option_first(g->name); row; row = option_next(row)) {
        put_comment(out, "#   ", row);
        buf_printf(out, "#   %s: ", row->name);
        put_default(out, row);
        if (row->def && *row->def == '=')
            buf_printf(out, "(%s)", row->def + 1);
        buf_append_char(out, '\n');
    }
}

void config_print_defaults(struct buf *out)
{
    buf_append_str(out,
                   "# Every key of tollgate's configuration with its default. Sizes are powers "
                   "of 1024; durations need a unit.\n"
                   "# A reload (SIGHUP) takes all but those marked [start].\n");
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (g->is_section)
            print_section(out, g);
        else
            print_group(out, g);
    }
}

/* ---- Markdown ---- */

static const char intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Made by `tollgate check --defaults --markdown`; change common/runtime/config/options.def "
    "and entries.def. -->\n"
    "\n"
    "One YAML file, which every daemon reads. `tollgate check FILE` says what is wrong with one, "
    "with file, line and the\n"
    "values that are allowed; `tollgate check --defaults` prints all keys as such a file.\n"
    "\n"
    "* Durations are a number and `ms`, `s`, `m`, `h` or `d`; sizes may end in `KiB`, `MiB` or "
    "`GiB` (or `k`, `m`, `g`), powers of 1024.\n"
    "* Where 0 is allowed it switches something off, and the option says what.\n"
    "* On SIGHUP a daemon reads the file again. An option marked *start* keeps its value until the "
    "daemon starts again, and\n"
    "  a warning in the log says so. A file with an error is refused as a whole; the configuration "
    "in force stays.\n"
    "* `{run}` and `{state}` in the daemons' sections are the run and the state directory. "
    "`${NAME}` (or a whole\n"
    "  value `os.environ/NAME`) in a provider's `api_keys`, `endpoints`, `headers`, `organization` "
    "and `proxy` is a variable of its\n"
    "  worker's environment. Where it is not set, or a file that the section names can't be read, "
    "that worker offers nothing and\n"
    "  says why in `tollgate status`; the others serve.\n"
    "* An endpoint may be written with and without its `/v1`. A path that holds a version "
    "(`/v1beta/openai`), Azure's deployments, and\n"
    "  a path with a query are taken as they are; so is what stands before the route when the "
    "whole "
    "URL is given\n"
    "  (`https://host/api/chat/completions`). `tollgate check` notes what is asked when it is not "
    "what is written.\n"
    "* The file has 4 MiB, 16 levels, 10,000 keys in one place and 100,000 values at most. "
    "Anchors, "
    "aliases and merge keys\n"
    "  (`<<: *name`) are fine; what stands behind an alias counts each time it is used. A key at "
    "the "
    "top that begins with `x-` is\n"
    "  a place for anchors.\n";

/* A cell must not end at a bar of its text. */
static void put_cell(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '|')
            buf_append_char(out, '\\');
        buf_append_char(out, text.data[i]);
    }
}

static void put_allowed(struct buf *out, const struct option_row *row)
{
    struct buf text = {0};
    option_put_limits(row, &text);
    if (!text.len)
        buf_append_str(&text, row->type == OPTION_STR ? "text" : option_type_text(row->type));
    put_cell(out, buf_span(&text));
    buf_free(&text);
}

static void put_default_cell(struct buf *out, const struct option_row *row)
{
    struct buf text = {0};
    if (row->def && *row->def == '=') {
        buf_append_str(out, row->def + 1);
        return;
    }
    put_default(&text, row);
    if (text.len)
        buf_printf(out, "`%.*s`", SPAN_ARG(buf_span(&text)));
    buf_free(&text);
}

static void print_table(struct buf *out, const struct option_group *g)
{
    buf_printf(out, "\n## %s\n\n%s\n\n", *g->path ? g->path : "The file", g->help);
    buf_printf(out, g->is_section ? "| key | default | allowed | taken at | what it does |\n"
                                    "|---|---|---|---|---|\n"
                                  : "| key | default | allowed | what it does |\n"
                                    "|---|---|---|---|\n");
    for (const struct option_row *row = option_first(g->name); row; row = option_next(row)) {
        buf_printf(out, "| `%s` | ", row->name);
        put_default_cell(out, row);
        buf_append_str(out, " | ");
        put_allowed(out, row);
        if (g->is_section)
            buf_append_str(out, row->when == OPTION_START ? " | *start*" : " | reload");
        buf_append_str(out, " | ");
        put_cell(out, span_str(row->help));
        buf_append_str(out, " |\n");
    }
}

static void print_providers(struct buf *out)
{
    const struct provider_info *p;
    buf_append_str(out,
                   "\n## Known providers\n\n`NAME: {}` under `providers:` is enough for these "
                   "(proto/providers.def).\n\n| name | base URL | its key's variable | compat | "
                   "source |\n|---|---|---|---|---|\n");
    for (size_t i = 0; (p = provider_info_at(i)); i++) {
        buf_printf(out, "| `%s` | %s | `%s` |", p->name, p->base_url, p->key_variable);
        for (unsigned m = 0; m < COMPAT_COUNT; m++) {
            if (p->compat & 1u << m)
                buf_printf(out, " %s", compat_info((enum compat_mark)m)->word);
        }
        buf_printf(out, " | %s |\n", provider_source_text(p->source));
    }
}

void config_print_markdown(struct buf *out)
{
    buf_append_str(out, intro);
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (!g->is_section)
            print_table(out, g);
    }
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (g->is_section)
            print_table(out, g);
    }
    print_providers(out);
}
