/* SPDX-License-Identifier: MIT */
/* How subcommands complain. */
#include "commands.h"

#include <stdio.h>

int complain(const char *sentence, int exit_code)
{
    fprintf(stderr, "tq_bench: %s\n", sentence);
    return exit_code;
}

static void keep_sentence(void *user, tq_status status, const char *sentence)
{
    struct message *message = user;
    (void)status;
    snprintf(message->text, sizeof message->text, "%s", sentence);
}

tq_log message_log(struct message *message)
{
    return (tq_log){keep_sentence, message};
}
