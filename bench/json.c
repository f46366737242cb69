/* SPDX-License-Identifier: MIT */
/* Pieces of JSON that several subcommands write. */
#include "json.h"

void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

void json_text(FILE *out, const char *indent, const char *key, const char *text)
{
    fprintf(out, "%s\"%s\": ", indent, key);
    json_string(out, text);
    fputs(",\n", out);
}

void json_machine(FILE *out, const char *indent, const struct machine *machine)
{
    fprintf(out, "%s\"machine\": {\"cpu\": ", indent);
    json_string(out, machine->cpu);
    fputs(", \"compiler\": ", out);
    json_string(out, machine->compiler);
    fputs(", \"flags\": ", out);
    json_string(out, machine->flags);
    fprintf(out, ", \"cores\": %ld},\n", machine->cores);
}
