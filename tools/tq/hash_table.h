/* SPDX-License-Identifier: MIT */
/* Two hash tables of fixed size, with open addressing: from bytes to a number, and from a pair of numbers to two. */
#ifndef TQ_TOOL_HASH_TABLE_H
#define TQ_TOOL_HASH_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_table;

/* Room for `capacity` strings; null if memory ran out. */
struct string_table *string_table_create(size_t capacity);
void string_table_free(struct string_table *table);

/* Does nothing if the string is there already. The bytes must outlive the table. */
void string_table_add(struct string_table *table, const char *bytes, size_t size, uint32_t value);
bool string_table_find(const struct string_table *table, const char *bytes, size_t size, uint32_t *value);

/* Two tokens that follow each other, and what becomes of them. */
struct merge {
    uint32_t left;
    uint32_t right;
    uint32_t rank; /* Lower ones come first. */
    uint32_t merged;
};

struct merge_table;

struct merge_table *merge_table_create(size_t capacity);
void merge_table_free(struct merge_table *table);
void merge_table_add(struct merge_table *table, struct merge merge);
const struct merge *merge_table_find(const struct merge_table *table, uint32_t left, uint32_t right);

#endif /* TQ_TOOL_HASH_TABLE_H */
