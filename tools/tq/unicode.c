/* SPDX-License-Identifier: MIT */
/* UTF-8, and classes of characters. */
#include "unicode.h"

uint32_t unicode_decode(const char *text, size_t size, size_t *length)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char first = (unsigned char)text[0];
    const size_t rest = first < 0x80   ? 0
                        : first < 0xC2 ? 4
                        : first < 0xE0 ? 1
                        : first < 0xF0 ? 2
                        : first < 0xF5 ? 3
                                       : 4;
    *length = 1;
    if (rest == 0) {
        return first;
    }
    if (rest == 4 || rest >= size) {
        return UNICODE_INVALID;
    }
    uint32_t point = first & (0x3FU >> rest);
    for (size_t i = 1; i <= rest; i++) {
        const unsigned char next = (unsigned char)text[i];
        if ((next & 0xC0U) != 0x80U) {
            return UNICODE_INVALID;
        }
        point = point << 6 | (next & 0x3FU);
    }
    if (point < smallest[rest] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
        return UNICODE_INVALID;
    }
    *length = rest + 1;
    return point;
}

static bool in_ranges(const struct unicode_range *ranges, size_t count, uint32_t point)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (point > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && point >= ranges[low].first;
}

bool unicode_is_letter(uint32_t point)
{
    return in_ranges(unicode_letters, unicode_letters_count, point);
}

bool unicode_is_number(uint32_t point)
{
    return in_ranges(unicode_numbers, unicode_numbers_count, point);
}

bool unicode_is_space(uint32_t point)
{
    static const struct unicode_range spaces[] = {
        {0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
    return in_ranges(spaces, sizeof spaces / sizeof *spaces, point);
}
