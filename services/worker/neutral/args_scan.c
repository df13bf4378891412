#include "services/worker/neutral/args_scan.h"

/* The character at text[*i], decoded, and *i moved behind it. Anything beyond ASCII is 'x': it
 * never matters. */
static char next_char(struct span text, size_t *i)
{
    static const char letters[] = "\"\\/bfnrt", decoded[] = "\"\\/\b\f\n\r\t";
    char c = text.data[(*i)++];
    if (c != '\\' || *i >= text.len)
        return c;
    c = text.data[(*i)++];
    if (c != 'u') {
        const char *which = strchr(letters, c);
        return which && *which ? decoded[which - letters] : 'x';
    }
    unsigned value = 0;
    for (size_t k = 0; k < 4 && *i < text.len; k++) {
        char digit = text.data[(*i)++];
        value = value << 4 | (unsigned)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return value < 0x80 ? (char)value : 'x';
}

static void step(struct args_scan *scan, char c)
{
    if (scan->escape) {
        scan->escape = false;
    } else if (scan->in_string) {
        scan->escape = c == '\\';
        scan->in_string = c != '"';
    } else if (c == '"') {
        scan->in_string = true;
    } else if (c == '{' || c == '[') {
        scan->depth++;
    } else if ((c == '}' || c == ']') && scan->depth > 0) {
        scan->depth--;
        scan->complete = scan->depth == 0;
    }
}

void args_scan_feed(struct args_scan *scan, struct span text)
{
    for (size_t i = 0; i < text.len && !scan->complete;)
        step(scan, next_char(text, &i));
}

bool args_is_blank(struct span text)
{
    for (size_t i = 0; i < text.len;) {
        char c = next_char(text, &i);
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return false;
    }
    return true;
}
