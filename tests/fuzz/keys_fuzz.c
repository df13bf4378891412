/* Any text as a list of keys or as a pair: what is taken can be written and is the same when it is
 * read again; no key stands twice, no service has more than two. */
#include <string.h>

#include "common/runtime/bus/keys.h"
#include "fuzz/fuzz.h"

static void check_entry(const struct key_list *list, size_t i)
{
    const struct listed_key *entry = &list->items[i];
    struct span service = span_str(entry->service);
    REQUIRE(service_is_known(service) && strlen(entry->key) == KEY_TEXT - 1);
    REQUIRE(key_list_find(list, span_str(entry->key)) == entry); /* the first is the only one */
    REQUIRE(key_list_count(list, entry->service) <= SERVICE_KEYS_MAX);
    REQUIRE(service_role(service).len > 0);
    REQUIRE((service_provider(service).len > 0) == span_is(service_role(service), "worker"));
}

static void check_list(const struct key_list *list)
{
    struct buf text = {0}, errors = {0};
    struct key_list again;
    REQUIRE(list->count <= KEY_LIST_MAX);
    for (size_t i = 0; i < list->count; i++)
        check_entry(list, i);
    key_list_write(list, &text);
    REQUIRE(buf_check(&text) == OK);
    REQUIRE(key_list_read(buf_span(&text), "again", &again, &errors) == OK);
    REQUIRE(again.count == list->count);
    for (size_t i = 0; i < list->count; i++)
        REQUIRE(strcmp(again.items[i].service, list->items[i].service) == 0 &&
                strcmp(again.items[i].key, list->items[i].key) == 0);
    key_list_free(&again);
    buf_free(&text);
    buf_free(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    struct buf errors = {0};
    struct key_list list;
    struct key_pair pair;
    enum err e = key_list_read(text, "list", &list, &errors);
    REQUIRE((e == OK) == (errors.len == 0));
    if (e == OK)
        check_list(&list);
    else
        REQUIRE(list.count == 0 && !list.items);
    if (key_pair_read(text, &pair) == OK) {
        struct buf written = {0};
        struct key_pair again;
        key_pair_write(&pair, "edge", &written);
        REQUIRE(key_pair_read(buf_span(&written), &again) == OK);
        REQUIRE(memcmp(&again, &pair, sizeof pair) == 0);
        buf_free(&written);
    }
    key_list_free(&list);
    buf_free(&errors);
    return 0;
}
