/* crop and operate of image_ops.py in C: the same pixels in less time.

   An image is done with before the next begins, so that it lies in the innermost cache. Magnitudes and affine maps come
   from image_ops.py; formulas and their rounding are those of its functions, which say where they are from. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef _MSC_VER /* apart from their callers, in which gcc makes slower loops of them: half of the time */
#define APART __declspec(noinline)
#else
#define APART __attribute__((noinline))
#endif

typedef struct {
    ptrdiff_t channels, height, width, area; /* area: values of a channel */
} Shape;

static int inside(int64_t at, ptrdiff_t size) { return at >= 0 && at < size; }

static uint8_t blend(float start, float end, float factor) { return (uint8_t)(int)(start + factor * (end - start)); }

static int32_t grey(const uint8_t *in, Shape s, ptrdiff_t at)
{
    if (s.channels == 1)
        return in[at];
    return (19595 * in[at] + 38470 * in[at + s.area] + 7471 * in[at + 2 * s.area] + 32768) >> 16;
}

static void look_up(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count, const uint8_t *table)
{
    for (ptrdiff_t i = 0; i < count; i++)
        out[i] = table[in[i]];
}

static void auto_contrast(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count)
{
    uint8_t low = 255, high = 0, table[256];
    for (ptrdiff_t i = 0; i < count; i++) {
        low = in[i] < low ? in[i] : low;
        high = in[i] > high ? in[i] : high;
    }
    if (high <= low) {
        memcpy(out, in, count);
        return;
    }
    double scale = 255.0 / (high - low), offset = -(double)low * scale;
    for (int v = 0; v < 256; v++) {
        int64_t stretched = (int64_t)(v * scale + offset);
        table[v] = (uint8_t)(stretched < 0 ? 0 : stretched > 255 ? 255 : stretched);
    }
    look_up(in, out, count, table);
}

static void equalize(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count)
{
    int64_t histogram[256] = {0}, brightest = 0;
    uint8_t table[256];
    for (ptrdiff_t i = 0; i < count; i++)
        histogram[in[i]]++;
    for (int v = 0; v < 256; v++)
        brightest = histogram[v] ? histogram[v] : brightest;
    int64_t step = (count - brightest) / 255, reached = step / 2;
    if (step == 0) {
        memcpy(out, in, count);
        return;
    }
    for (int v = 0; v < 256; v++) {
        table[v] = (uint8_t)(reached / step > 255 ? 255 : reached / step);
        reached += histogram[v];
    }
    look_up(in, out, count, table);
}

/* Towards one value for the whole image: black for Brightness, the mean grey for Contrast. */
static void fade(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count, int64_t start, float factor)
{
    uint8_t table[256];
    for (int v = 0; v < 256; v++)
        table[v] = blend((float)start, (float)v, factor);
    look_up(in, out, count, table);
}

static int64_t mean_grey(const uint8_t *in, Shape s)
{
    int64_t total = 0;
    for (ptrdiff_t i = 0; i < s.area; i++)
        total += grey(in, s, i);
    return (int64_t)((double)total / s.area + 0.5);
}

static void posterize(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count, int bits)
{
    uint8_t kept = (uint8_t)(0xFF << (8 - bits));
    for (ptrdiff_t i = 0; i < count; i++)
        out[i] = in[i] & kept;
}

static void solarize(const uint8_t *restrict in, uint8_t *restrict out, ptrdiff_t count, int threshold)
{
    for (ptrdiff_t i = 0; i < count; i++)
        out[i] = in[i] < threshold ? in[i] : 255 - in[i];
}

static void color(const uint8_t *restrict in, uint8_t *restrict out, Shape s, float factor)
{
    for (ptrdiff_t i = 0; i < s.area; i++) {
        float start = (float)grey(in, s, i);
        for (ptrdiff_t at = i; at < s.channels * s.area; at += s.area)
            out[at] = blend(start, in[at], factor);
    }
}

static void sharpness(const uint8_t *restrict in, uint8_t *restrict out, Shape s, float factor)
{
    memcpy(out, in, s.area);
    for (ptrdiff_t y = 1; y < s.height - 1; y++)
        for (ptrdiff_t x = 1; x < s.width - 1; x++) {
            const uint8_t *p = in + y * s.width + x, *above = p - s.width, *below = p + s.width;
            int total = above[-1] + above[0] + above[1] + p[-1] + 5 * p[0] + p[1] + below[-1] + below[0] + below[1];
            out[y * s.width + x] = blend((float)((total + 6) / 13), p[0], factor);
        }
}

static void move(const uint8_t *restrict in, uint8_t *restrict out, Shape s, const int64_t *map)
{
    for (ptrdiff_t y = 0; y < s.height; y++)
        for (ptrdiff_t x = 0; x < s.width; x++) {
            int64_t column = (map[0] * x + map[1] * y + map[2]) >> 16, row = (map[3] * x + map[4] * y + map[5]) >> 16;
            int found = inside(column, s.width) && inside(row, s.height);
            for (ptrdiff_t c = 0; c < s.channels * s.area; c += s.area)
                out[c + y * s.width + x] = found ? in[c + row * s.width + column] : 0;
        }
}

/* Row and column of each pixel's source by themselves. */
APART static void crop_one(const uint8_t *restrict in, uint8_t *restrict out, Shape s, const int64_t *rows,
                           const int64_t *columns)
{
    ptrdiff_t first = 0, stop; /* of the columns inside, which lie side by side */
    while (first < s.width && !inside(columns[first], s.width))
        first++;
    for (stop = first; stop < s.width && inside(columns[stop], s.width);)
        stop++;
    memset(out, 0, s.channels * s.area);
    for (ptrdiff_t c = 0; c < s.channels * s.area; c += s.area)
        for (ptrdiff_t y = 0; y < s.height; y++)
            if (inside(rows[y], s.height))
                for (ptrdiff_t x = first; x < stop; x++)
                    out[c + y * s.width + x] = in[c + rows[y] * s.width + columns[x]];
}

/* The number is a position in OPERATIONS of image_ops.py; the magnitude is the bits of Posterize, the threshold of Solarize. */
APART static void operate_one(const uint8_t *restrict in, uint8_t *restrict out, Shape s, int64_t number, float factor,
                              int magnitude, const int64_t *map)
{
    const ptrdiff_t count = s.channels * s.area;
    switch (number) {
    case 0: for (ptrdiff_t c = 0; c < count; c += s.area) auto_contrast(in + c, out + c, s.area); break;
    case 1: for (ptrdiff_t c = 0; c < count; c += s.area) equalize(in + c, out + c, s.area); break;
    case 2: fade(in, out, count, 0, factor); break;
    case 3: fade(in, out, count, mean_grey(in, s), factor); break;
    case 4: posterize(in, out, count, magnitude); break;
    case 5: solarize(in, out, count, magnitude); break;
    case 6: case 7: case 8: case 9: case 10: move(in, out, s, map); break;
    case 11: color(in, out, s, factor); break;
    case 12: for (ptrdiff_t c = 0; c < count; c += s.area) sharpness(in + c, out + c, s, factor); break;
    default: memcpy(out, in, count); /* 13 */
    }
}
