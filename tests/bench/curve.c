/* curve.c -- rate against number of rows as SVG: fill.svg, read.svg; the numbers in curve.tsv. */
#include "bench.h"

#include <math.h>

enum { WIDTH = 640, HEIGHT = 400, LEFT = 80, RIGHT = 90, TOP = 40, BOTTOM = 50 };

static const struct line {
    engine engine;
    const char *colour;
} shown[] = {{FASTKV, "#c0392b"}, {NATIVE, "#2471a3"}, {LEVELDB, "#239b56"}};

enum { SHOWN = sizeof shown / sizeof shown[0] };

/* Both axes are logarithmic, over whole powers of ten. */
typedef struct axes {
    int x0, x1, y0, y1;
} axes;

static double place_x(const axes *a, double rows)
{
    return LEFT + (log10(rows) - a->x0) / (a->x1 - a->x0) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const axes *a, double rate)
{
    return HEIGHT - BOTTOM - (log10(rate) - a->y0) / (a->y1 - a->y0) * (HEIGHT - TOP - BOTTOM);
}

static const double *rates(const curve *c, int reads)
{
    return reads ? c->read : c->fill;
}

static axes fit(const bench_result *results, int reads)
{
    double least = INFINITY, most = 0, rows = 0;
    axes a = {.x0 = 4};

    for (size_t i = 0; i < SHOWN; i++) {
        const curve *c = &results[shown[i].engine].curve;
        for (size_t p = 0; p < c->points; p++) {
            least = fmin(least, rates(c, reads)[p]);
            most = fmax(most, rates(c, reads)[p]);
            rows = fmax(rows, c->rows[p]);
            if (c->rows[p] < 10000) a.x0 = (int)floor(log10(c->rows[p]));
        }
    }
    a.x1 = (int)ceil(log10(rows) - 1e-9);
    if (a.x1 <= a.x0) a.x1 = a.x0 + 1;
    a.y0 = (int)floor(log10(least));
    a.y1 = (int)ceil(log10(most));
    if (a.y1 <= a.y0) a.y1 = a.y0 + 1;
    return a;
}

/* 10^power in words: 10 k, 1 M. */
static const char *power_text(char text[32], int power)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    int unit = power / 3 > 4 ? 4 : power / 3;

    (void)snprintf(text, 32, "%.0f%s", pow(10, power - 3 * unit), units[unit]);
    return text;
}

static void draw_axes(FILE *f, const axes *a, const char *title, const char *unit)
{
    char text[32];

    (void)fprintf(f,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                  "<text x=\"%d\" y=\"24\" font-size=\"15\">%s</text>\n",
                  WIDTH, HEIGHT, LEFT, title);
    for (int power = a->x0; power <= a->x1; power++) {
        double x = place_x(a, pow(10, power));
        (void)fprintf(f,
                      "<path d=\"M%.1f %dV%d\" stroke=\"#ddd\"/>"
                      "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                      x, TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, power_text(text, power));
    }
    for (int power = a->y0; power <= a->y1; power++) {
        double y = place_y(a, pow(10, power));
        (void)fprintf(f,
                      "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>"
                      "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                      LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 4, power_text(text, power));
    }
    (void)fprintf(f,
                  "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">rows</text>\n"
                  "<text x=\"20\" y=\"%d\" text-anchor=\"middle\" "
                  "transform=\"rotate(-90 20 %d)\">%s</text>\n",
                  (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, (TOP + HEIGHT - BOTTOM) / 2,
                  (TOP + HEIGHT - BOTTOM) / 2, unit);
}

static void draw_line(FILE *f, const axes *a, const curve *c, int reads, const struct line *line)
{
    const double *y = rates(c, reads);

    (void)fprintf(f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"",
                  line->colour);
    for (size_t p = 0; p < c->points; p++)
        (void)fprintf(f, "%.1f,%.1f ", place_x(a, c->rows[p]), place_y(a, y[p]));
    (void)fprintf(f, "\"/>\n");
    for (size_t p = 0; p < c->points; p++)
        (void)fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                      place_x(a, c->rows[p]), place_y(a, y[p]), line->colour);
    (void)fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n",
                  place_x(a, c->rows[c->points - 1]) + 8, place_y(a, y[c->points - 1]) + 4,
                  line->colour, engines[line->engine].name);
}

static void draw(const bench_options *o, const bench_result *results, int reads)
{
    FILE *f = bench_create(o, reads ? "read.svg" : "fill.svg");
    axes a = fit(results, reads);

    draw_axes(f, &a, reads ? "Point reads in a transaction" : "Fill, keys at random",
              reads ? "reads/s" : "rows/s");
    for (size_t i = 0; i < SHOWN; i++) {
        const curve *c = &results[shown[i].engine].curve;
        if (c->points) draw_line(f, &a, c, reads, &shown[i]);
    }
    (void)fprintf(f, "</svg>\n");
    if (fclose(f)) bench_fail("%s: a plot was not written", o->out);
}

void curve_write(const bench_options *o, const bench_result *results)
{
    FILE *f = bench_create(o, "curve.tsv");
    size_t points = 0;

    (void)fprintf(f, "engine\trows\tfill, rows/s\tpoint reads, reads/s\n");
    for (int e = 0; e < ENGINES; e++) {
        const curve *c = &results[e].curve;
        points += c->points;
        for (size_t p = 0; p < c->points; p++)
            (void)fprintf(f, "%s\t%.0f\t%.0f\t%.0f\n", engines[e].name, c->rows[p], c->fill[p],
                          c->read[p]);
    }
    if (fclose(f)) bench_fail("%s: curve.tsv was not written", o->out);
    if (!points) return;
    draw(o, results, 0);
    draw(o, results, 1);
    (void)printf("\n%s: results.txt, results.tsv, curve.tsv, fill.svg, read.svg\n", o->out);
}
