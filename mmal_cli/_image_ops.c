/* crop and operate of image_ops.py in C, for images on the CPU: the same pixels in less time.

   Built at installation where there is a C compiler; image_ops.py goes on without it. Each sample is done from end to
   end while it lies in the innermost cache. Magnitudes and affine maps come from image_ops.py; formulas and their
   rounding are those of its functions of the same names, which say where they are from. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    Py_ssize_t channels, height, width, area; /* area: values of a channel */
} Shape;

static int inside(int64_t at, Py_ssize_t size) { return at >= 0 && at < size; }

static uint8_t blend(float start, float end, float factor) { return (uint8_t)(int)(start + factor * (end - start)); }

static int32_t grey(const uint8_t *in, Shape s, Py_ssize_t at)
{
    if (s.channels == 1)
        return in[at];
    return (19595 * in[at] + 38470 * in[at + s.area] + 7471 * in[at + 2 * s.area] + 32768) >> 16;
}

static void look_up(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count, const uint8_t *table)
{
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = table[in[i]];
}

static void auto_contrast(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count)
{
    uint8_t low = 255, high = 0, table[256];
    for (Py_ssize_t i = 0; i < count; i++) {
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

static void equalize(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count)
{
    int64_t histogram[256] = {0}, brightest = 0;
    uint8_t table[256];
    for (Py_ssize_t i = 0; i < count; i++)
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
static void fade(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count, int64_t start, float factor)
{
    uint8_t table[256];
    for (int v = 0; v < 256; v++)
        table[v] = blend((float)start, (float)v, factor);
    look_up(in, out, count, table);
}

static int64_t mean_grey(const uint8_t *in, Shape s)
{
    int64_t total = 0;
    for (Py_ssize_t i = 0; i < s.area; i++)
        total += grey(in, s, i);
    return (int64_t)((double)total / s.area + 0.5);
}

static void posterize(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count, int bits)
{
    uint8_t kept = (uint8_t)(0xFF << (8 - bits));
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = in[i] & kept;
}

static void solarize(const uint8_t *restrict in, uint8_t *restrict out, Py_ssize_t count, int threshold)
{
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = in[i] < threshold ? in[i] : 255 - in[i];
}

static void color(const uint8_t *restrict in, uint8_t *restrict out, Shape s, float factor)
{
    for (Py_ssize_t i = 0; i < s.area; i++) {
        float start = (float)grey(in, s, i);
        for (Py_ssize_t at = i; at < s.channels * s.area; at += s.area)
            out[at] = blend(start, in[at], factor);
    }
}

static void sharpness(const uint8_t *restrict in, uint8_t *restrict out, Shape s, float factor)
{
    memcpy(out, in, s.area);
    for (Py_ssize_t y = 1; y < s.height - 1; y++)
        for (Py_ssize_t x = 1; x < s.width - 1; x++) {
            const uint8_t *p = in + y * s.width + x, *above = p - s.width, *below = p + s.width;
            int total = above[-1] + above[0] + above[1] + p[-1] + 5 * p[0] + p[1] + below[-1] + below[0] + below[1];
            out[y * s.width + x] = blend((float)((total + 6) / 13), p[0], factor);
        }
}

static void move(const uint8_t *restrict in, uint8_t *restrict out, Shape s, const int64_t *map)
{
    for (Py_ssize_t y = 0; y < s.height; y++)
        for (Py_ssize_t x = 0; x < s.width; x++) {
            int64_t column = (map[0] * x + map[1] * y + map[2]) >> 16, row = (map[3] * x + map[4] * y + map[5]) >> 16;
            int found = inside(column, s.width) && inside(row, s.height);
            for (Py_ssize_t c = 0; c < s.channels * s.area; c += s.area)
                out[c + y * s.width + x] = found ? in[c + row * s.width + column] : 0;
        }
}

/* Row and column of each pixel's source by themselves. */
static void crop_one(const uint8_t *restrict in, uint8_t *restrict out, Shape s, const int64_t *rows, const int64_t *columns)
{
    Py_ssize_t first = 0, stop; /* of the columns inside, which lie side by side */
    while (first < s.width && !inside(columns[first], s.width))
        first++;
    for (stop = first; stop < s.width && inside(columns[stop], s.width);)
        stop++;
    memset(out, 0, s.channels * s.area);
    for (Py_ssize_t c = 0; c < s.channels * s.area; c += s.area)
        for (Py_ssize_t y = 0; y < s.height; y++)
            if (inside(rows[y], s.height))
                for (Py_ssize_t x = first; x < stop; x++)
                    out[c + y * s.width + x] = in[c + rows[y] * s.width + columns[x]];
}

/* The number is a position in OPERATIONS of image_ops.py; the magnitude is the bits of Posterize, the threshold of Solarize. */
static void operate_one(const uint8_t *in, uint8_t *out, Shape s, int64_t number, float factor, int magnitude, const int64_t *map)
{
    const Py_ssize_t count = s.channels * s.area;
    switch (number) {
    case 0: for (Py_ssize_t c = 0; c < count; c += s.area) auto_contrast(in + c, out + c, s.area); break;
    case 1: for (Py_ssize_t c = 0; c < count; c += s.area) equalize(in + c, out + c, s.area); break;
    case 2: fade(in, out, count, 0, factor); break;
    case 3: fade(in, out, count, mean_grey(in, s), factor); break;
    case 4: posterize(in, out, count, magnitude); break;
    case 5: solarize(in, out, count, magnitude); break;
    case 6: case 7: case 8: case 9: case 10: move(in, out, s, map); break;
    case 11: color(in, out, s, factor); break;
    case 12: for (Py_ssize_t c = 0; c < count; c += s.area) sharpness(in + c, out + c, s, factor); break;
    default: memcpy(out, in, count); /* 13 */
    }
}

/* What Python gives: a shape (n, C, H, W), then arrays with something for each sample; `out` is written. */
enum { IMAGES, OUT, FIRST, SECOND, THIRD, FOURTH, ARRAYS };

typedef struct {
    Py_ssize_t samples;
    Shape shape;
    Py_buffer arrays[ARRAYS];
} Batch;

static int begin(Batch *b, PyObject *args)
{
    Shape *s = &b->shape;
    Py_buffer *a = b->arrays;
    memset(a, 0, sizeof b->arrays);
    if (!PyArg_ParseTuple(args, "(nnnn)y*w*y*y*|y*y*", &b->samples, &s->channels, &s->height, &s->width, &a[IMAGES], &a[OUT],
                          &a[FIRST], &a[SECOND], &a[THIRD], &a[FOURTH]))
        return 0;
    s->area = s->height * s->width;
    return 1;
}

static int fits(const Batch *b, int array, Py_ssize_t bytes) { return b->arrays[array].len == b->samples * bytes; }

static PyObject *end(Batch *b, int good)
{
    for (int i = 0; i < ARRAYS; i++)
        PyBuffer_Release(&b->arrays[i]); /* does nothing where none was given */
    if (!good)
        return PyErr_Format(PyExc_ValueError, "arrays that do not fit the shape of the images");
    Py_RETURN_NONE;
}

static PyObject *crop(PyObject *module, PyObject *args)
{
    Batch b;
    (void)module;
    if (!begin(&b, args))
        return NULL;
    Shape s = b.shape;
    Py_ssize_t count = s.channels * s.area;
    int good = fits(&b, IMAGES, count) && fits(&b, OUT, count) && fits(&b, FIRST, s.height * 8) && fits(&b, SECOND, s.width * 8);
    if (good) {
        const uint8_t *in = b.arrays[IMAGES].buf;
        uint8_t *out = b.arrays[OUT].buf;
        const int64_t *rows = b.arrays[FIRST].buf, *columns = b.arrays[SECOND].buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t n = 0; n < b.samples; n++)
            crop_one(in + n * count, out + n * count, s, rows + n * s.height, columns + n * s.width);
        Py_END_ALLOW_THREADS
    }
    return end(&b, good);
}

static PyObject *operate(PyObject *module, PyObject *args)
{
    Batch b;
    (void)module;
    if (!begin(&b, args))
        return NULL;
    Py_ssize_t count = b.shape.channels * b.shape.area;
    int good = fits(&b, IMAGES, count) && fits(&b, OUT, count) && fits(&b, FIRST, 8) && fits(&b, SECOND, 4) &&
               fits(&b, THIRD, 8) && fits(&b, FOURTH, 48) && (b.shape.channels == 1 || b.shape.channels == 3);
    if (good) {
        const uint8_t *in = b.arrays[IMAGES].buf;
        uint8_t *out = b.arrays[OUT].buf;
        const int64_t *number = b.arrays[FIRST].buf, *magnitude = b.arrays[THIRD].buf, *map = b.arrays[FOURTH].buf;
        const float *factor = b.arrays[SECOND].buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t n = 0; n < b.samples; n++)
            operate_one(in + n * count, out + n * count, b.shape, number[n], factor[n], (int)magnitude[n], map + n * 6);
        Py_END_ALLOW_THREADS
    }
    return end(&b, good);
}

static PyMethodDef methods[] = {
    {"crop", crop, METH_VARARGS,
     "crop((n, C, H, W), images, out, rows, columns): images and out uint8, rows (n, H) and columns (n, W) int64."},
    {"operate", operate, METH_VARARGS,
     "operate((n, C, H, W), images, out, operation, factor, magnitude, map): images and out uint8; operation, magnitude and\n"
     "map (n, 6) int64, factor float32."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_image_ops", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__image_ops(void) { return PyModule_Create(&definition); }
