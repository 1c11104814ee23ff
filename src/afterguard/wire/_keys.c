/* Keys that stand twice, and depth, in one pass over the bytes of a JSON text.

   In: bytes that a strict reader has already accepted, and how deep they may be nested. Out: a sum of TWICE, DEEP and UNSURE (a key with an escape, or more than
   is kept here: the caller looks again, slower). Bytes that are no JSON give an answer without meaning and nothing worse: every read is within the text. The reference
   is in strict.py; a test holds the two together. It calls no Python while it works and therefore lets go of the interpreter lock. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TWICE = 1, DEEP = 2, UNSURE = 4 };
#define LEVELS 2048      /* open containers */
#define KEYS (1u << 20)  /* keys of open objects */
#define FEW 12           /* keys that are compared one with another; more are sorted */

typedef struct { const uint8_t *at; size_t size; } Key;
typedef struct { Key *rows; size_t count, room; } Keys;

static int order(const void *one, const void *other)
{
    const Key *a = one, *b = other;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return memcmp(a->at, b->at, a->size);
}

static int has_twice(Key *keys, size_t count)
{
    if (count <= FEW) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = 0; j < i; j++)
                if (keys[i].size == keys[j].size && !memcmp(keys[i].at, keys[j].at, keys[i].size)) return 1;
        return 0;
    }
    qsort(keys, count, sizeof *keys, order);
    for (size_t i = 1; i < count; i++)
        if (!order(&keys[i - 1], &keys[i])) return 1;
    return 0;
}

static int keep(Keys *keys, const uint8_t *at, size_t size)
{
    if (keys->count == keys->room) {
        size_t room = keys->room ? keys->room * 2 : 64;
        Key *rows = room > KEYS ? NULL : realloc(keys->rows, room * sizeof *rows);
        if (!rows) return 0;
        keys->rows = rows;
        keys->room = room;
    }
    keys->rows[keys->count++] = (Key){at, size};
    return 1;
}

/* The closing quote of a string that begins at `start`, or `end`. */
static const uint8_t *closed(const uint8_t *start, const uint8_t *end)
{
    for (const uint8_t *at = start; at < end; at++) {
        at = memchr(at, '"', (size_t)(end - at));
        if (!at) return end;
        const uint8_t *back = at;
        while (back > start && back[-1] == '\\') back--;
        if (((at - back) & 1) == 0) return at;
    }
    return end;
}

static int look(const uint8_t *at, const uint8_t *end, size_t depth, Keys *keys)
{
    size_t first[LEVELS];      /* where the keys of an open object begin */
    uint8_t is_object[LEVELS];
    size_t level = 0;
    int answer = 0, is_key = 0;
    for (; at < end; at++) {
        switch (*at) {
        case '{': case '[':
            if (level == LEVELS) return answer | DEEP | UNSURE;
            is_key = is_object[level] = *at == '{';
            first[level++] = keys->count;
            if (level > depth + 1) answer |= DEEP;
            break;
        case '}': case ']':
            if (!level) return answer | UNSURE;
            level--;
            if (!(answer & TWICE) && has_twice(keys->rows + first[level], keys->count - first[level])) answer |= TWICE;
            keys->count = first[level];
            is_key = 0;
            break;
        case ',':
            is_key = level && is_object[level - 1];
            break;
        case '"': {
            const uint8_t *last = closed(at + 1, end);
            if (is_key) {
                size_t size = (size_t)(last - at - 1);
                if (memchr(at + 1, '\\', size) || !keep(keys, at + 1, size)) return answer | UNSURE;
                is_key = 0;
            }
            at = last;
            if (at == end) return answer | UNSURE;
            break;
        }
        default: break;
        }
    }
    return answer;
}

/* odd(body, depth) -> sum of TWICE, DEEP, UNSURE */
static PyObject *odd(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer body; Py_ssize_t depth; int answer;
    if (!PyArg_ParseTuple(args, "y*n", &body, &depth)) return NULL;
    Keys keys = {0};
    Py_BEGIN_ALLOW_THREADS
    answer = look(body.buf, (const uint8_t *)body.buf + body.len, depth < 0 ? 0 : (size_t)depth, &keys);
    free(keys.rows);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&body);
    return PyLong_FromLong(answer);
}

static PyMethodDef methods[] = {{"odd", odd, METH_VARARGS, "Keys that stand twice, and depth."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_keys", "Keys of JSON in C.", -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__keys(void) { return PyModule_Create(&module); }
