/* SPDX-License-Identifier: MIT */
/* Charts as SVG, with nothing outside of the file. */
#ifndef TQ_TOOL_CHART_H
#define TQ_TOOL_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct chart_point {
    double x;
    double y;
    const char *label; /* Beside the point, or null. */
};

struct chart_series {
    const char *name; /* In the legend. */
    bool line;        /* Between the points, in the order given. */
    size_t n;
    struct chart_point *points;
};

enum { CHART_WIDTH = 960, CHART_HEIGHT = 560, CHART_MAX_SERIES = 8 };

/* Both axes are logarithmic; all coordinates must be above 0. */
struct chart {
    const char *title;
    const char *x_label;
    const char *y_label;
    size_t n_series; /* At most CHART_MAX_SERIES. */
    const struct chart_series *series;
};

/* An <svg> element whose upper end is `top` units down, so that several can stand in one file. */
void chart_write(FILE *out, const struct chart *chart, int top);

#endif /* TQ_TOOL_CHART_H */
