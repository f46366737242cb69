/* SPDX-License-Identifier: MIT */
/* What tq ppl measured, as text, JSON and charts. */
#ifndef TQ_TOOL_PERPLEXITY_REPORT_H
#define TQ_TOOL_PERPLEXITY_REPORT_H

#include "decode_speed.h"
#include "perplexity.h"

struct perplexity_report {
    const char *model;
    const char *text;
    struct perplexity perplexity;
    bool sweep;                /* Rows are sorted, and there may be a `speed`. */
    struct decode_speed speed; /* No contexts: not measured. */
};

void perplexity_report_text(FILE *out, const struct perplexity_report *report);
void perplexity_report_json(FILE *out, const struct perplexity_report *report);

/* One SVG of all charts, or a page that has them and the tables. */
bool perplexity_report_svg(FILE *out, const struct perplexity_report *report, struct error *error);
bool perplexity_report_html(FILE *out, const struct perplexity_report *report, struct error *error);

#endif /* TQ_TOOL_PERPLEXITY_REPORT_H */
