/* SPDX-License-Identifier: MIT */
/* Command lines. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The option that `argument` names, up to an "=". */
static const struct option *find(const struct option *options, const char *argument)
{
    const size_t length = strcspn(argument, "=");
    for (; options->name != NULL; options++) {
        if (strlen(options->name) == length && memcmp(options->name, argument, length) == 0) {
            return options;
        }
    }
    return NULL;
}

bool options_number(const char *text, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9') { /* strtoull would take a sign and blanks. */
        return false;
    }
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 0);
    *number = value;
    return errno == 0 && *end == '\0' && value <= UINT64_MAX;
}

bool options_parse(int argc, char **argv, int first, const struct option *options, char *error, size_t error_size)
{
    for (int i = first; i < argc; i++) {
        const struct option *option = find(options, argv[i]);
        const char *value = strchr(argv[i], '=');
        if (option == NULL) {
            snprintf(error, error_size, "%s is not an option (--help lists them)", argv[i]);
            return false;
        }
        if (option->flag != NULL) {
            if (value != NULL) {
                snprintf(error, error_size, "%s takes no value", option->name);
                return false;
            }
            *option->flag = true;
            continue;
        }
        if (value != NULL) {
            value++;
        } else if (++i < argc) {
            value = argv[i];
        } else {
            snprintf(error, error_size, "%s needs a value", option->name);
            return false;
        }
        if (option->text != NULL) {
            *option->text = value;
        } else if (!options_number(value, option->number)) {
            snprintf(error, error_size, "%s needs a number from 0 to 2^64-1, not '%s'", option->name, value);
            return false;
        }
    }
    return true;
}
