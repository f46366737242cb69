/* SPDX-License-Identifier: MIT */
/* Hash tables with open addressing: a slot that is taken sends the search to the next one. At most half of the slots
 * are taken. */
#include "hash_table.h"

#include <stdlib.h>
#include <string.h>

struct string_slot {
    const char *bytes; /* Null: free. */
    size_t size;
    uint32_t value;
};

struct string_table {
    size_t mask;
    struct string_slot slots[];
};

struct merge_slot {
    bool taken;
    struct merge merge;
};

struct merge_table {
    size_t mask;
    struct merge_slot slots[];
};

/* A power of two that is at least twice the capacity. */
static size_t slots_for(size_t capacity)
{
    size_t slots = 16;
    while (slots / 2 < capacity) {
        slots *= 2;
    }
    return slots;
}

/* FNV-1a, and at the end the high bits over the low ones. */
static size_t hash_bytes(const char *bytes, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325U;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3U;
    }
    return (size_t)(hash ^ hash >> 32);
}

static size_t hash_pair(uint32_t left, uint32_t right)
{
    const uint64_t hash = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15U;
    return (size_t)(hash ^ hash >> 32);
}

struct string_table *string_table_create(size_t capacity)
{
    const size_t slots = slots_for(capacity);
    struct string_table *table = calloc(1, sizeof *table + slots * sizeof *table->slots);
    if (table != NULL) {
        table->mask = slots - 1;
    }
    return table;
}

void string_table_free(struct string_table *table)
{
    free(table);
}

/* The slot of a string: its own, or the free one where it would go. */
static size_t string_slot(const struct string_table *table, const char *bytes, size_t size)
{
    size_t i = hash_bytes(bytes, size) & table->mask;
    while (table->slots[i].bytes != NULL &&
           (table->slots[i].size != size || memcmp(table->slots[i].bytes, bytes, size) != 0)) {
        i = (i + 1) & table->mask;
    }
    return i;
}

void string_table_add(struct string_table *table, const char *bytes, size_t size, uint32_t value)
{
    struct string_slot *slot = &table->slots[string_slot(table, bytes, size)];
    if (slot->bytes == NULL) {
        *slot = (struct string_slot){bytes, size, value};
    }
}

bool string_table_find(const struct string_table *table, const char *bytes, size_t size, uint32_t *value)
{
    const struct string_slot *slot = &table->slots[string_slot(table, bytes, size)];
    if (slot->bytes == NULL) {
        return false;
    }
    *value = slot->value;
    return true;
}

struct merge_table *merge_table_create(size_t capacity)
{
    const size_t slots = slots_for(capacity);
    struct merge_table *table = calloc(1, sizeof *table + slots * sizeof *table->slots);
    if (table != NULL) {
        table->mask = slots - 1;
    }
    return table;
}

void merge_table_free(struct merge_table *table)
{
    free(table);
}

static size_t merge_slot(const struct merge_table *table, uint32_t left, uint32_t right)
{
    size_t i = hash_pair(left, right) & table->mask;
    while (table->slots[i].taken && (table->slots[i].merge.left != left || table->slots[i].merge.right != right)) {
        i = (i + 1) & table->mask;
    }
    return i;
}

void merge_table_add(struct merge_table *table, struct merge merge)
{
    struct merge_slot *slot = &table->slots[merge_slot(table, merge.left, merge.right)];
    if (!slot->taken) {
        *slot = (struct merge_slot){true, merge};
    }
}

const struct merge *merge_table_find(const struct merge_table *table, uint32_t left, uint32_t right)
{
    const struct merge_slot *slot = &table->slots[merge_slot(table, left, right)];
    return slot->taken ? &slot->merge : NULL;
}
