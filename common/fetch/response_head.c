#include "common/fetch/response_head.h"

/* A bit for each of !#$%&'*+-.^_`|~, digits and letters (RFC 9110 5.6.2). */
static bool is_token_char(unsigned char c)
{
    static const uint64_t yes[4] = {0x03ff6cfa00000000, 0x57ffffffc7fffffe, 0, 0};
    return yes[c >> 6] >> (c & 63) & 1;
}

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char((unsigned char)s.data[i]))
            return false;
    return s.len > 0;
}

static bool has_byte(struct span s, char c)
{
    return s.len && memchr(s.data, c, s.len);
}

/* Without its line end. */
static struct span next_line(struct span *text)
{
    struct span line = span_cut(text, '\n');
    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK"; the reason and the blank before it may be missing. */
static bool read_status_line(struct fetch_head *head, struct span line)
{
    if (line.len < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 || !is_digit(line.data[7]) ||
        line.data[8] != ' ' || (line.len > 12 && line.data[12] != ' '))
        return false;
    head->http10 = line.data[7] == '0';
    head->status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (!is_digit(line.data[i]))
            return false;
        head->status = head->status * 10 + (unsigned)(line.data[i] - '0');
    }
    return head->status >= 100 && !has_byte(line, '\r');
}

static struct span trim_blanks(struct span s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool read_field(struct fetch_field *f, struct span line)
{
    const char *colon = memchr(line.data, ':', line.len);
    if (!colon)
        return false;
    f->name = span_first(line, (size_t)(colon - line.data));
    f->value = trim_blanks(span_skip(line, f->name.len + 1));
    return is_token(f->name) && !has_byte(f->value, '\r');
}

bool fetch_head_read(struct fetch_head *head, struct span text)
{
    head->text = text;
    head->count = 0;
    if (has_byte(text, '\0') || !read_status_line(head, next_line(&text)))
        return false;
    for (struct span line; (line = next_line(&text)).len;)
        if (head->count == RESPONSE_MAX_FIELDS || !read_field(&head->fields[head->count++], line))
            return false;
    return true;
}

struct span fetch_head_get(const struct fetch_head *head, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < head->count; i++)
        if (head->fields[i].name.len == len &&
            strncasecmp(head->fields[i].name.data, name, len) == 0)
            return head->fields[i].value;
    return SPAN_NONE;
}
