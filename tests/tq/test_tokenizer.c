/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer MODEL CASES: words and tokens against those of tokenizer_reference.py, and the way back. */
#include "tq_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pretokenizer.h"

enum { LINE_SIZE = 1 << 16, N_RANDOM = 2000, MAX_RANDOM = 64 };

static const char *model_path;
static const char *cases_path;
static struct gguf gguf;
static struct tokenizer tokenizer;

/* Bytes of the hexadecimal digits at *at, which moves behind them and the blank that follows. */
static size_t read_hex(char **at, char *bytes)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(*at, "%2x", &byte) == 1 && **at != ' '; *at += 2) {
        bytes[n++] = (char)(unsigned char)byte;
    }
    *at += **at == ' ';
    return n;
}

static void check_tokens(char *at)
{
    static char text[LINE_SIZE];
    struct tokens tokens = {NULL, 0, 0};
    struct error error;
    const size_t size = read_hex(&at, text);
    assert_ok(tokenizer_encode(&tokenizer, text, size, &tokens, &error), &error);
    for (size_t i = 0; i < tokens.n; i++) {
        assert_int_equal(strtoul(at, &at, 10), tokens.ids[i]);
    }
    assert_int_equal(strspn(at, " \n"), strlen(at)); /* No more. */
    tokens_free(&tokens);
}

static void check_words(char *at)
{
    static char text[LINE_SIZE];
    const size_t max_digits = strtoul(at, &at, 10);
    at++;
    const size_t size = read_hex(&at, text);
    for (size_t done = 0; done < size;) {
        const size_t word = pretokenizer_word(text + done, size - done, max_digits);
        assert_int_equal(strtoul(at, &at, 10), word);
        done += word;
    }
    assert_int_equal(strspn(at, " \n"), strlen(at));
}

static void cases_agree(void **state)
{
    (void)state;
    static char line[LINE_SIZE];
    size_t n = 0;
    FILE *file = fopen(cases_path, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file) != NULL; n++) {
        if (strncmp(line, "tokens ", 7) == 0) {
            check_tokens(line + 7);
        } else {
            assert_int_equal(strncmp(line, "words ", 6), 0);
            check_words(line + 6);
        }
    }
    fclose(file);
    assert_true(n > 100);
}

static void check_round_trip(const char *text, size_t size)
{
    struct tokens tokens = {NULL, 0, 0};
    struct error error;
    size_t at = 0;
    assert_ok(tokenizer_encode(&tokenizer, text, size, &tokens, &error), &error);
    for (size_t i = 0; i < tokens.n; i++) {
        const struct tokenizer_piece *piece = tokenizer_decode(&tokenizer, tokens.ids[i]);
        assert_true(piece->size <= size - at);
        assert_memory_equal(text + at, piece->bytes, piece->size);
        at += piece->size;
    }
    assert_int_equal(at, size);
    tokens_free(&tokens);
}

/* Any bytes come back, UTF-8 or not. */
static void bytes_come_back(void **state)
{
    (void)state;
    static const char alphabet[] = "ab 1\n\t'<|endoftext|>\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xFF\xC0\x80\xED\xA0\x80";
    char text[MAX_RANDOM];
    srand(1);
    for (size_t i = 0; i < N_RANDOM; i++) {
        const size_t size = (size_t)rand() % MAX_RANDOM;
        for (size_t j = 0; j < size; j++) {
            text[j] = i % 2 == 0 ? (char)(unsigned char)(rand() >> 8) : alphabet[(size_t)rand() % sizeof alphabet];
        }
        check_round_trip(text, size);
    }
}

static void model_file_comes_back(void **state)
{
    (void)state;
    check_round_trip((const char *)gguf.bytes, 50000);
}

/* A word of many letters takes passes, not forever. */
static void long_words(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++) {
        text[i] = "etaoins"[i % 7];
    }
    check_round_trip(text, SIZE);
    memset(text, 'a', SIZE);
    check_round_trip(text, SIZE);
    free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_agree),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(model_file_comes_back),
        cmocka_unit_test(long_words),
    };
    struct error error;
    if (argc != 3) {
        fprintf(stderr, "usage: test_tokenizer MODEL CASES\n");
        return 2;
    }
    model_path = argv[1];
    cases_path = argv[2];
    if (!gguf_open(&gguf, model_path, &error) || !tokenizer_load(&tokenizer, &gguf, &error)) {
        return error_report(&error);
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(&tokenizer);
    gguf_close(&gguf);
    return failed;
}
