/* SPDX-License-Identifier: MIT */
/* Values of JSON. */
#include "json.h"

#include <math.h>
#include <string.h>

#include "unicode.h"

void json_text(FILE *out, const char *text, size_t size)
{
    size_t length;
    fputc('"', out);
    for (size_t at = 0; at < size; at += length) {
        const uint32_t point = unicode_decode(text + at, size - at, &length);
        if (point == UNICODE_INVALID) {
            fputs("\\ufffd", out);
        } else if (point == '"' || point == '\\') {
            fprintf(out, "\\%c", (int)point);
        } else if (point < 0x20) {
            fprintf(out, "\\u%04x", (unsigned)point);
        } else {
            fwrite(text + at, 1, length, out);
        }
    }
    fputc('"', out);
}

void json_string(FILE *out, const char *text)
{
    json_text(out, text, strlen(text));
}

void json_number(FILE *out, double number)
{
    if (isfinite(number)) {
        fprintf(out, "%.9g", number);
    } else {
        fputs("null", out);
    }
}
