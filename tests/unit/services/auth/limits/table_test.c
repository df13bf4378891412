#include "unit/services/auth/test_support.h"

#include "services/auth/limits/table.h"

struct item {
    struct table_node node;
    int n;
};

enum { MANY = 1000 };

static struct item *find(const struct table *t, uint64_t hash, int n)
{
    for (struct table_node *at = table_first(t, hash); at; at = table_next(at)) {
        struct item *item = TABLE_OWNER(at, struct item, node);
        if (item->n == n)
            return item;
    }
    return NULL;
}

static void many_nodes_are_found_whatever_their_hashes(void **state)
{
    (void)state;
    static struct item items[MANY];
    for (uint64_t spread = 1; spread <= 100000; spread *= 100000) { /* clashing and not */
        struct table t = {0};
        for (int i = 0; i < MANY; i++) {
            items[i] = (struct item){.n = i};
            assert_int_equal(table_add(&t, &items[i].node, (uint64_t)i * spread % 977), OK);
        }
        assert_int_equal(t.count, MANY);
        for (int i = 0; i < MANY; i++)
            assert_ptr_equal(find(&t, (uint64_t)i * spread % 977, i), &items[i]);
        for (int i = 0; i < MANY; i += 2)
            table_remove(&t, &items[i].node);
        for (int i = 0; i < MANY; i++)
            assert_int_equal(find(&t, (uint64_t)i * spread % 977, i) != NULL, i % 2);
        table_free(&t);
    }
}

struct visit {
    struct table *table;
    int seen[MANY];
    bool remove;
};

static void on_visit(void *ctx, struct table_node *node)
{
    struct visit *v = ctx;
    v->seen[TABLE_OWNER(node, struct item, node)->n]++;
    if (v->remove)
        table_remove(v->table, node);
}

static void a_sweep_of_all_slots_sees_every_node_once_and_may_remove_it(void **state)
{
    (void)state;
    static struct item items[MANY];
    struct table t = {0};
    struct visit v = {.table = &t};
    size_t cursor = 12345;
    for (int i = 0; i < MANY; i++) {
        items[i] = (struct item){.n = i};
        assert_int_equal(table_add(&t, &items[i].node, table_hash(1, span_of(&i, sizeof i))), OK);
    }
    for (size_t done = 0; done < t.size; done += 64)
        table_sweep(&t, &cursor, 64, on_visit, &v);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(v.seen[i], 1);
    v.remove = true;
    table_sweep(&t, &cursor, t.size, on_visit, &v);
    assert_int_equal(t.count, 0);
    table_free(&t);
}

static void an_empty_table_answers_too(void **state)
{
    (void)state;
    struct table t = {0};
    struct table_node node = {0};
    size_t cursor = 0;
    assert_null(table_first(&t, 7));
    table_remove(&t, &node);
    table_sweep(&t, &cursor, 10, on_visit, NULL);
    table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_nodes_are_found_whatever_their_hashes),
        cmocka_unit_test(a_sweep_of_all_slots_sees_every_node_once_and_may_remove_it),
        cmocka_unit_test(an_empty_table_answers_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
