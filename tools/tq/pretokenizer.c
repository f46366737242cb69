/* SPDX-License-Identifier: MIT */
/* The pattern that qwen2 (max_digits 1) and llama-bpe (max_digits 3) share. The first alternative that matches wins,
 * and each takes as much as it can:
 *
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)           contraction
 *     [^\r\n\p{L}\p{N}]?\p{L}+               letters
 *     \p{N}{1,max_digits}                    digits
 *      ?[^\s\p{L}\p{N}]+[\r\n]*              symbols
 *     \s*[\r\n]+  |  \s+(?!\S)  |  \s+       space
 */
#include "pretokenizer.h"

#include "unicode.h"

enum kind { LETTER, NUMBER, LINE_END, SPACE, SYMBOL, END };

/* The character at `at`; its bytes go to `*length`. */
static enum kind kind_at(const char *text, size_t size, size_t at, size_t *length)
{
    if (at >= size) {
        *length = 0;
        return END;
    }
    const uint32_t point = unicode_decode(text + at, size - at, length);
    return unicode_is_letter(point)         ? LETTER
           : unicode_is_number(point)       ? NUMBER
           : point == '\r' || point == '\n' ? LINE_END
           : unicode_is_space(point)        ? SPACE
                                            : SYMBOL;
}

/* The end of a run of characters of kinds a and b, at most `limit` of them. */
static size_t skip(const char *text, size_t size, size_t at, enum kind a, enum kind b, size_t limit)
{
    size_t length;
    for (size_t i = 0; i < limit; i++) {
        const enum kind kind = kind_at(text, size, at, &length);
        if (kind != a && kind != b) {
            break;
        }
        at += length;
    }
    return at;
}

static int lower(const char *text, size_t size, size_t at)
{
    const int c = at < size ? (unsigned char)text[at] : 0;
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* The long s (U+017F) is an s to who ignores case. */
static size_t contraction(const char *text, size_t size)
{
    const int a = lower(text, size, 1);
    const int b = lower(text, size, 2);
    if (text[0] != '\'') {
        return 0;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    const int is_pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return is_pair || (a == 0xC5 && b == 0xBF) ? 3 : 0;
}

/* Space that ends a line takes all lines that follow; before a word, the last space is left to it. */
static size_t space(const char *text, size_t size)
{
    const size_t end = skip(text, size, 0, SPACE, LINE_END, SIZE_MAX);
    size_t line_end = 0;
    size_t last = 0;
    size_t length;
    for (size_t at = 0; at < end; at += length) {
        last = at;
        if (kind_at(text, size, at, &length) == LINE_END) {
            line_end = at + length;
        }
    }
    return line_end > 0 ? line_end : end < size && last > 0 ? last : end;
}

size_t pretokenizer_word(const char *text, size_t size, size_t max_digits)
{
    size_t length;
    size_t end = contraction(text, size);
    if (end > 0) {
        return end;
    }
    const enum kind first = kind_at(text, size, 0, &length);
    const size_t letters = first == SPACE || first == SYMBOL ? length : 0;
    end = skip(text, size, letters, LETTER, LETTER, SIZE_MAX);
    if (end > letters) {
        return end;
    }
    if (first == NUMBER) {
        return skip(text, size, 0, NUMBER, NUMBER, max_digits);
    }
    const size_t symbols = text[0] == ' ' ? 1 : 0;
    end = skip(text, size, symbols, SYMBOL, SYMBOL, SIZE_MAX);
    if (end > symbols) {
        return skip(text, size, end, LINE_END, LINE_END, SIZE_MAX);
    }
    return space(text, size);
}
