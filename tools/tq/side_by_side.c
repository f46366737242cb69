/* SPDX-License-Identifier: MIT */
/* Two texts in columns. A character is one column wide, which is wrong for some, and harmless. */
#include "side_by_side.h"

#include <stdbool.h>
#include <string.h>

#include "unicode.h"

enum { WIDTH = 58 };

struct column {
    const char *text;
    size_t size;
    size_t at; /* Where the next line begins. */
};

struct line {
    const char *text;
    size_t size;  /* Bytes. */
    size_t width; /* Characters. */
};

/* Up to a newline, or the words that fit; a word that is longer than a line is cut. */
static struct line next_line(struct column *column)
{
    struct line line = {column->text + column->at, 0, 0};
    struct line words = {line.text, 0, 0}; /* Up to the last blank. */
    while (column->at + line.size < column->size && line.width < WIDTH && line.text[line.size] != '\n') {
        size_t length;
        unicode_decode(line.text + line.size, column->size - column->at - line.size, &length);
        line.size += length;
        line.width++;
        if (line.text[line.size - 1] == ' ') {
            words = line;
        }
    }
    const bool full = line.width == WIDTH && column->at + line.size < column->size && line.text[line.size] != '\n';
    if (full && words.size > 0) {
        line = words;
    }
    column->at += line.size;
    column->at += !full && column->at < column->size; /* The newline. */
    return line;
}

/* What no terminal should see becomes '?'. */
static void print(FILE *out, const struct line *line)
{
    size_t length;
    for (size_t at = 0; at < line->size; at += length) {
        const uint32_t point = unicode_decode(line->text + at, line->size - at, &length);
        if (point == UNICODE_INVALID || point < ' ' || (point >= 0x7F && point < 0xA0)) {
            fputc(point == '\t' ? ' ' : '?', out);
        } else {
            fwrite(line->text + at, 1, length, out);
        }
    }
}

void side_by_side(FILE *out, const char *left_heading, const char *left, size_t left_size, const char *right_heading,
                  const char *right, size_t right_size)
{
    struct column columns[2] = {{left, left_size, 0}, {right, right_size, 0}};
    fprintf(out, "%-*s | %s\n", WIDTH, left_heading, right_heading);
    while (columns[0].at < left_size || columns[1].at < right_size) {
        const struct line a = next_line(&columns[0]);
        const struct line b = next_line(&columns[1]);
        const bool same = a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
        print(out, &a);
        fprintf(out, "%*s %c ", WIDTH - (int)a.width, "", same ? '|' : '*');
        print(out, &b);
        fputc('\n', out);
    }
}
