/* SPDX-License-Identifier: MIT */
/* Logarithmic axes, points, lines, a legend, and labels that keep out of each other's way. */
#include "chart.h"

#include <math.h>
#include <string.h>

enum { LEFT = 80, RIGHT = 190, TOP = 50, BOTTOM = 60, MAX_BOXES = 256, LABEL_HEIGHT = 12 };

static const char *const colours[CHART_MAX_SERIES] = {"#0072b2", "#d55e00", "#009e73", "#444444",
                                                      "#cc79a7", "#e69f00", "#56b4e9", "#8b4513"};

/* Where labels and points are already. */
struct box {
    double x;
    double y;
    double width;
    double height;
};

struct drawing {
    FILE *out;
    double low[2]; /* Logarithms at the ends of the axes. */
    double high[2];
    struct box boxes[MAX_BOXES];
    size_t n_boxes;
};

static double place_x(const struct drawing *d, double x)
{
    return LEFT + (log10(x) - d->low[0]) / (d->high[0] - d->low[0]) * (CHART_WIDTH - LEFT - RIGHT);
}

static double place_y(const struct drawing *d, double y)
{
    return CHART_HEIGHT - BOTTOM - (log10(y) - d->low[1]) / (d->high[1] - d->low[1]) * (CHART_HEIGHT - TOP - BOTTOM);
}

static void write_text(FILE *out, double x, double y, const char *attributes, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
    fputs("</text>\n", out);
}

/* The ends of the axes: a little beyond the outermost points. */
static void set_range(struct drawing *d, const struct chart *chart)
{
    for (size_t axis = 0; axis < 2; axis++) {
        d->low[axis] = HUGE_VAL;
        d->high[axis] = -HUGE_VAL;
        for (size_t s = 0; s < chart->n_series; s++) {
            for (size_t i = 0; i < chart->series[s].n; i++) {
                const struct chart_point *point = &chart->series[s].points[i];
                const double value = log10(axis == 0 ? point->x : point->y);
                d->low[axis] = fmin(d->low[axis], value);
                d->high[axis] = fmax(d->high[axis], value);
            }
        }
        if (!(d->low[axis] <= d->high[axis])) { /* No points at all. */
            d->low[axis] = d->high[axis] = 0.0;
        }
        const double margin = 0.05 * (d->high[axis] - d->low[axis]) + 0.03;
        d->low[axis] -= margin;
        d->high[axis] += margin;
    }
}

static void draw_tick(const struct drawing *d, size_t axis, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    if (axis == 0) {
        const double x = place_x(d, value);
        fprintf(d->out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#ddd\"/>\n", x, TOP, x,
                CHART_HEIGHT - BOTTOM);
        write_text(d->out, x, CHART_HEIGHT - BOTTOM + 18, "text-anchor=\"middle\"", text);
    } else {
        const double y = place_y(d, value);
        fprintf(d->out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, y,
                CHART_WIDTH - RIGHT, y);
        write_text(d->out, LEFT - 8, y + 4, "text-anchor=\"end\"", text);
    }
}

/* Ticks at powers of ten, and at more places the fewer of them there are. */
static void draw_ticks(const struct drawing *d, size_t axis)
{
    static const double steps[] = {1.0, 2.0, 5.0, 3.0, 4.0, 7.0};
    const double decades = d->high[axis] - d->low[axis];
    const size_t n = decades > 3.0 ? 1 : decades > 1.0 ? 3 : 6;
    for (int decade = (int)floor(d->low[axis]); decade <= (int)floor(d->high[axis]); decade++) {
        for (size_t i = 0; i < n; i++) {
            const double value = steps[i] * pow(10.0, (double)decade);
            if (log10(value) >= d->low[axis] && log10(value) <= d->high[axis]) {
                draw_tick(d, axis, value);
            }
        }
    }
}

static void draw_frame(const struct drawing *d, const struct chart *chart)
{
    char turned[64];
    draw_ticks(d, 0);
    draw_ticks(d, 1);
    fprintf(d->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#888\"/>\n", LEFT, TOP,
            CHART_WIDTH - LEFT - RIGHT, CHART_HEIGHT - TOP - BOTTOM);
    write_text(d->out, LEFT, TOP - 20, "font-size=\"16\" font-weight=\"bold\"", chart->title);
    write_text(d->out, 0.5 * (LEFT + CHART_WIDTH - RIGHT), CHART_HEIGHT - 16, "text-anchor=\"middle\"", chart->x_label);
    snprintf(turned, sizeof turned, "text-anchor=\"middle\" transform=\"rotate(-90 20 %d)\"", CHART_HEIGHT / 2);
    write_text(d->out, 20, 0.5 * CHART_HEIGHT, turned, chart->y_label);
}

static void add_box(struct drawing *d, struct box box)
{
    if (d->n_boxes < MAX_BOXES) {
        d->boxes[d->n_boxes++] = box;
    }
}

static bool is_free(const struct drawing *d, const struct box *box)
{
    for (size_t i = 0; i < d->n_boxes; i++) {
        const struct box *other = &d->boxes[i];
        if (box->x < other->x + other->width && other->x < box->x + box->width && box->y < other->y + other->height &&
            other->y < box->y + box->height) {
            return false;
        }
    }
    return box->x > LEFT && box->x + box->width < CHART_WIDTH - RIGHT && box->y > TOP &&
           box->y + box->height < CHART_HEIGHT - BOTTOM;
}

/* Right of the point, left, above or below, and then further away. */
static void draw_label(struct drawing *d, double x, double y, const char *label, const char *colour)
{
    char attributes[64];
    const double width = 6.5 * (double)strlen(label); /* Nearly, in most fonts. */
    struct box box = {x + 7.0, y - 6.0, width, LABEL_HEIGHT};
    for (int step = 0; step < 6; step++) {
        const double away = 14.0 * step;
        const struct box places[] = {{x + 7.0, y - 6.0 - away, width, LABEL_HEIGHT},
                                     {x + 7.0, y - 6.0 + away, width, LABEL_HEIGHT},
                                     {x - 7.0 - width, y - 6.0 + away, width, LABEL_HEIGHT},
                                     {x - 7.0 - width, y - 6.0 - away, width, LABEL_HEIGHT}};
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            if (is_free(d, &places[i])) {
                box = places[i];
                step = 6;
                break;
            }
        }
    }
    add_box(d, box);
    if (fabs(box.y + 6.0 - y) > 15.0) { /* Far away: say whose it is. */
        const double end = box.x > x ? box.x - 1.0 : box.x + width + 1.0;
        fprintf(d->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"0.5\"/>\n",
                x, y, end, box.y + 6.0, colour);
    }
    snprintf(attributes, sizeof attributes, "font-size=\"11\" fill=\"%s\"", colour);
    write_text(d->out, box.x, box.y + 10.0, attributes, label);
}

static void draw_points(struct drawing *d, const struct chart_series *series, const char *colour)
{
    if (series->line && series->n > 1) {
        fprintf(d->out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
        for (size_t i = 0; i < series->n; i++) {
            fprintf(d->out, "%.1f,%.1f ", place_x(d, series->points[i].x), place_y(d, series->points[i].y));
        }
        fputs("\"/>\n", d->out);
    }
    for (size_t i = 0; i < series->n; i++) {
        const double x = place_x(d, series->points[i].x);
        const double y = place_y(d, series->points[i].y);
        fprintf(d->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y, colour);
        add_box(d, (struct box){x - 4.0, y - 4.0, 8.0, 8.0});
    }
}

static void draw_legend(const struct drawing *d, const struct chart *chart)
{
    const int x = CHART_WIDTH - RIGHT + 20;
    for (size_t s = 0; s < chart->n_series; s++) {
        const int y = CHART_HEIGHT - BOTTOM - 20 * (int)(chart->n_series - s) + 10;
        fprintf(d->out, "<circle cx=\"%d\" cy=\"%d\" r=\"5\" fill=\"%s\"/>\n", x, y, colours[s]);
        write_text(d->out, x + 12, y + 4, "", chart->series[s].name);
    }
}

void chart_write(FILE *out, const struct chart *chart, int top)
{
    struct drawing d = {.out = out, .n_boxes = 0};
    set_range(&d, chart);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            top, CHART_WIDTH, CHART_HEIGHT, CHART_WIDTH, CHART_HEIGHT);
    draw_frame(&d, chart);
    for (size_t s = 0; s < chart->n_series; s++) {
        draw_points(&d, &chart->series[s], colours[s]);
    }
    for (size_t s = 0; s < chart->n_series; s++) { /* After all points, which they must not cover. */
        for (size_t i = 0; i < chart->series[s].n; i++) {
            const struct chart_point *point = &chart->series[s].points[i];
            if (point->label != NULL) {
                draw_label(&d, place_x(&d, point->x), place_y(&d, point->y), point->label, colours[s]);
            }
        }
    }
    draw_legend(&d, chart);
    fputs("</svg>\n", out);
}
