/* SPDX-License-Identifier: MIT
 *
 * Formats: their names and frozen values, and the list of them. */
#include "support.h"

static const struct {
    const char *name;
    tq_format format;
    int32_t value;
} FORMATS[] = {
    {"f16", TQ_FORMAT_F16, 1},
    {"turbo1", TQ_FORMAT_TURBO1, 11},
    {"turbo2", TQ_FORMAT_TURBO2, 12},
    {"turbo3", TQ_FORMAT_TURBO3, 13},
    {"turbo4", TQ_FORMAT_TURBO4, 14},
    {"turbo8", TQ_FORMAT_TURBO8, 18},
    {"turbo2-prod", TQ_FORMAT_TURBO2_PROD, 22},
    {"turbo3-prod", TQ_FORMAT_TURBO3_PROD, 23},
    {"turbo4-prod", TQ_FORMAT_TURBO4_PROD, 24},
    {"turbo2t", TQ_FORMAT_TURBO2T, 32},
    {"turbo3t", TQ_FORMAT_TURBO3T, 33},
    {"turbo4t", TQ_FORMAT_TURBO4T, 34},
};
enum { N_FORMATS = sizeof FORMATS / sizeof FORMATS[0] };

static void test_list(void **state)
{
    (void)state;
    assert_int_equal(tq_format_count(), N_FORMATS);
    for (size_t i = 0; i < N_FORMATS; i++) {
        assert_int_equal(FORMATS[i].format, FORMATS[i].value);
        assert_int_equal(tq_format_at(i), FORMATS[i].value);
    }
    assert_int_equal(tq_format_at(N_FORMATS), TQ_FORMAT_DEFAULT);
    assert_int_equal(tq_format_at(SIZE_MAX), TQ_FORMAT_DEFAULT);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMATS; i++) {
        assert_string_equal(tq_format_name(FORMATS[i].format), FORMATS[i].name);
    }
    for (tq_format value = -300; value <= 300; value++) {
        int known = 0;
        for (size_t i = 0; i < N_FORMATS; i++) {
            known |= FORMATS[i].format == value;
        }
        if (!known) {
            assert_null(tq_format_name(value));
        }
    }
    assert_null(tq_format_name(INT32_MIN));
    assert_null(tq_format_name(INT32_MAX));
}

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMATS; i++) {
        tq_format format = 999;
        assert_status(tq_format_parse(FORMATS[i].name, &format), TQ_OK);
        assert_int_equal(format, FORMATS[i].format);
    }
    static const char *const unknown[] = {"",        "turbo",   "turbo5",  "Turbo4", "turbo4 ",
                                          " turbo4", "turbo4-", "default", "14"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        tq_format format = 999;
        assert_status(tq_format_parse(unknown[i], &format), TQ_ERR_UNSUPPORTED);
        assert_int_equal(format, 999);
    }
    tq_format format = 999;
    assert_status(tq_format_parse(NULL, &format), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(format, 999);
    assert_status(tq_format_parse("turbo4", NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_format_parse(NULL, NULL), TQ_ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
