/* The functions of _image_ops.h for Python, on arrays of whole batches.

   setup.py builds this where there is a C compiler; image_ops.py goes on without it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_image_ops.h"

/* What Python gives: a shape (n, C, H, W), then arrays with something for each sample; the second is written. */
enum { IMAGES, OUT, FIRST, SECOND, THIRD, FOURTH, ARRAYS };

typedef struct {
    Py_ssize_t samples, count; /* count: values of a sample */
    Shape shape;
    Py_buffer arrays[ARRAYS];
} Batch;

static int begin(Batch *b, PyObject *args, const char *format)
{
    Shape *s = &b->shape;
    Py_buffer *a = b->arrays;
    memset(b, 0, sizeof *b);
    if (!PyArg_ParseTuple(args, format, &b->samples, &s->channels, &s->height, &s->width, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]))
        return 0;
    return 1;
}

static int fits(const Batch *b, int array, Py_ssize_t bytes)
{
    const Py_ssize_t expected = b->samples * bytes, found = b->arrays[array].len;
    if (found != expected)
        PyErr_Format(PyExc_ValueError, "array %d has %zd bytes, expected %zd for %zd images of %zd x %zd x %zd", array, found,
                     expected, b->samples, b->shape.channels, b->shape.height, b->shape.width);
    return found == expected;
}

/* Refuses sizes whose products could overflow, and forms the products of the others. */
static int is_shape(Batch *b)
{
    Shape *s = &b->shape;
    if (b->samples < 0 || b->samples >= 1 << 22 || s->channels < 1 || s->channels >= 1 << 10 || s->height < 1 ||
        s->height >= 1 << 15 || s->width < 1 || s->width >= 1 << 15) {
        PyErr_Format(PyExc_ValueError, "%zd images of %zd x %zd x %zd, expected sizes from 1 below 4194304, 1024, 32768 and 32768",
                     b->samples, s->channels, s->height, s->width);
        return 0;
    }
    s->area = s->height * s->width;
    b->count = s->channels * s->area;
    return 1;
}

static PyObject *end(Batch *b)
{
    for (int i = 0; i < ARRAYS; i++)
        PyBuffer_Release(&b->arrays[i]); /* does nothing where none was given */
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *crop(PyObject *module, PyObject *args)
{
    Batch b;
    (void)module;
    if (!begin(&b, args, "(nnnn)y*w*y*y*"))
        return NULL;
    if (is_shape(&b) && fits(&b, IMAGES, b.count) && fits(&b, OUT, b.count) && fits(&b, FIRST, b.shape.height * 8) &&
        fits(&b, SECOND, b.shape.width * 8)) {
        const uint8_t *in = b.arrays[IMAGES].buf;
        uint8_t *out = b.arrays[OUT].buf;
        const int64_t *rows = b.arrays[FIRST].buf, *columns = b.arrays[SECOND].buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t n = 0; n < b.samples; n++)
            crop_one(in + n * b.count, out + n * b.count, b.shape, rows + n * b.shape.height, columns + n * b.shape.width);
        Py_END_ALLOW_THREADS
    }
    return end(&b);
}

static int are_operations(const Batch *b)
{
    const int64_t *number = b->arrays[FIRST].buf;
    for (Py_ssize_t n = 0; n < b->samples; n++)
        if (!inside(number[n], 14)) {
            PyErr_Format(PyExc_ValueError, "operation %lld, expected 0 to 13", (long long)number[n]);
            return 0;
        }
    if (b->shape.channels != 1 && b->shape.channels != 3)
        PyErr_Format(PyExc_ValueError, "%zd channels, expected 1 or 3", b->shape.channels);
    return !PyErr_Occurred();
}

static PyObject *operate(PyObject *module, PyObject *args)
{
    Batch b;
    (void)module;
    if (!begin(&b, args, "(nnnn)y*w*y*y*y*y*"))
        return NULL;
    if (is_shape(&b) && fits(&b, IMAGES, b.count) && fits(&b, OUT, b.count) && fits(&b, FIRST, 8) && fits(&b, SECOND, 4) &&
        fits(&b, THIRD, 8) && fits(&b, FOURTH, 48) && are_operations(&b)) {
        const uint8_t *in = b.arrays[IMAGES].buf;
        uint8_t *out = b.arrays[OUT].buf;
        const int64_t *number = b.arrays[FIRST].buf, *magnitude = b.arrays[THIRD].buf, *map = b.arrays[FOURTH].buf;
        const float *factor = b.arrays[SECOND].buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t n = 0; n < b.samples; n++)
            operate_one(in + n * b.count, out + n * b.count, b.shape, number[n], factor[n], (int)magnitude[n], map + n * 6);
        Py_END_ALLOW_THREADS
    }
    return end(&b);
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

PyMODINIT_FUNC PyInit__image_ops(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module)
        PyModule_AddStringConstant(module, "SOURCES", SOURCES); /* the sha256 of the sources, by setup.py */
    return module;
}
