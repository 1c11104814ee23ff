/* Tier one in one pass over a text: fold, cut into tokens, look up rows, convolve, pool, decide.

   In: characters as UTF-32 in native order, the weights, the origin. Out: the logits of the deciding window, log odds and place of every window, signs of encoded
   text. The reference, slower and in numpy, is tokens.py and tier_one.py; tests hold the two together. It allocates what the text needs and nothing more, calls
   no Python while it works and therefore lets go of the interpreter lock. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DROP, SPACE, NEWLINE, LETTER, DIGIT, SINGLE, MARK };
#define FOLDED 0x20000u
#define BEYOND 0xFFFDu
#define RUN 32
#define P 0x9E3779B97F4A7C15ull
#define MIX 0xD6E8FEB86659FD93ull
#define ROWS_WORD (1u << 15)
#define ROWS_SIDE (1u << 14)
#define ROWS_PAIR (1u << 15)
#define ROWS_TRIGRAM (1u << 13)
#define CHANNELS 48
#define BLOCK 16
#define WINDOW 2
#define AROUND 8
#define CLASSES 5
#define ORIGINS 5
#define UNITS 256   /* at most */

/* The two functions that do the work are compiled for AVX2 too where the loader can choose. AVX2 alone has no fused multiplication, so both give the same numbers. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((flatten, target_clones("avx2", "default")))
#else
#define FAST
#endif

static inline uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 32)) * MIX;
    return value ^ (value >> 32);
}

/* A sum of at most RUN rows, doubled, and five more fits 16 bits. */
typedef struct { int16_t sum[CHANNELS]; uint32_t own_side, start, end; } Token;

typedef struct {
    const uint16_t *fold; const uint8_t *kind;
    const int8_t *word, *before, *after, *pair, *trigram;
    float scale; const float *bias;
} Tables;

typedef struct { float *top; uint32_t *start, *end; size_t blocks; float mean[CHANNELS]; size_t tokens; long signs[7], lone; } Pooled;

static inline void add(int16_t *sum, const int8_t *row)
{
    for (int i = 0; i < CHANNELS; i++) sum[i] = (int16_t)(sum[i] + row[i]);
}

/* A row lies on one line of the cache or two. The tables are larger than what a core keeps near, so rows are asked for before they are needed. */
static inline void fetch(const int8_t *row)
{
#ifdef __GNUC__
    __builtin_prefetch(row);
    __builtin_prefetch(row + CHANNELS - 1);
#else
    (void)row;
#endif
}

/* A token is finished once its right neighbour is known. */
static void pool(Pooled *out, const Tables *t, const Token *token, const int8_t *right)
{
    size_t block = out->tokens / BLOCK;
    float *top = out->top + block * CHANNELS;
    if (out->tokens % BLOCK == 0) {
        memset(top, 0, CHANNELS * sizeof(float));
        out->start[block] = token->start;
        out->blocks = block + 1;
    }
    out->end[block] = token->end;
    for (int i = 0; i < CHANNELS; i++) {
        float x = (float)(token->sum[i] + right[i]) * t->scale + t->bias[i];
        x = x > 0 ? x : 0;
        out->mean[i] += x;
        top[i] = x > top[i] ? x : top[i];
    }
    out->tokens++;
}

static uint16_t spelt(uint16_t code, int kind, int is_number)
{
    if (kind != DIGIT) return code;
    if (is_number) return '0';
    switch (code) {
    case '0': return 'o'; case '1': return 'i'; case '3': return 'e';
    case '4': return 'a'; case '5': return 's'; case '7': return 't';
    default: return code;
    }
}

static int is_lower(uint32_t c) { return c >= 'a' && c <= 'z'; }
static int is_upper(uint32_t c) { return c >= 'A' && c <= 'Z'; }
static int is_digit(uint32_t c) { return c >= '0' && c <= '9'; }

typedef struct { long size, lower, upper, digits; } Run;

/* A run of base64 letters looks like code where it mixes cases and digits, or is a quarter digits as hex is; paths and identifiers seldom do. */
static void end_of_run(const Run *run, long *longest)
{
    if (((run->upper && run->lower && run->digits) || run->digits * 4 >= run->size) && run->size > *longest) *longest = run->size;
}

/* Signs that something is written in another way, all of them ASCII: the longest coded run; the longest chains of percent codes, numeric entities, escapes; words of one
   letter in a row (counted while walking); pairs of hex digits in a row; a chain of marks inside words. A chain's links are at most GAP characters apart. */
enum { CODED, PERCENT, ENTITY, ESCAPE, LONE, PAIRS, INSIDE, SIGNS };
#define GAP 24

typedef struct { long count, most; size_t last; } Chain;

static void link_up(Chain *chain, size_t at)
{
    chain->count = chain->count && at - chain->last <= GAP ? chain->count + 1 : 1;
    chain->last = at;
    if (chain->count > chain->most) chain->most = chain->count;
}

static int is_hex(uint32_t c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
static int is_letter(uint32_t c) { return is_lower(c) || is_upper(c); }

static void look_for_codes(const uint32_t *text, size_t size, long *signs)
{
    Run run = {0, 0, 0, 0};
    Chain percent = {0, 0, 0}, entity = {0, 0, 0}, escape = {0, 0, 0}, inside = {0, 0, 0};
    long word = 0, hex = 0, pairs = 0;
    for (size_t i = 0; i <= size; i++) {
        uint32_t c = i < size ? text[i] : 0;
        int lower = is_lower(c), upper = is_upper(c), digit = is_digit(c);
        if (lower || upper || digit) {
            word++;
            hex += is_hex(c);
        } else if (word) {
            pairs = word == 2 && hex == 2 ? pairs + 1 : 0;
            if (pairs > signs[PAIRS]) signs[PAIRS] = pairs;
            word = hex = 0;
        }
        if (lower || upper || digit || c == '+' || c == '/' || c == '-' || c == '_' || c == '=') {
            run.size++; run.lower += lower; run.upper += upper; run.digits += digit;
            continue;
        }
        if (run.size) {
            end_of_run(&run, &signs[CODED]);
            run.size = run.lower = run.upper = run.digits = 0;
        }
        if (i >= size) break;
        if (c == '%' && i + 2 < size && is_hex(text[i + 1]) && is_hex(text[i + 2])) link_up(&percent, i);
        if (c == '&' && i + 1 < size && text[i + 1] == '#') link_up(&entity, i);
        if (c == '\\' && i + 1 < size && (text[i + 1] == 'u' || text[i + 1] == 'x')) link_up(&escape, i);
        if ((c == '@' || c == '$' || c == '!' || c == '|') && i && i + 1 < size && is_letter(text[i - 1]) && is_letter(text[i + 1]))
            link_up(&inside, i);
    }
    signs[PERCENT] = percent.most; signs[ENTITY] = entity.most; signs[ESCAPE] = escape.most; signs[INSIDE] = inside.most;
}

FAST
static void walk(const uint32_t *text, size_t size, const Tables *t, Pooled *out)
{
    Token held = {{0}, 0, 0, 0}; int has_held = 0;
    uint64_t one = 0, two = 0;
    uint32_t one_side = 0;
    uint16_t run[RUN]; uint8_t kinds[RUN]; uint32_t offset[RUN];
    size_t i = 0;
    uint16_t last = 0; int last_kind = -1;   /* the character before, among those that are read */
    static const int8_t none[CHANNELS];
    while (i <= size) {
        int length = 0, wordy = 0, letters = 0;
        uint32_t end = 0;
        uint16_t code = 0; int kind = -1;
        /* One character, or a run of letters and digits. */
        while (i < size) {
            uint32_t point = text[i];
            if (point >= 0xE0020u && point <= 0xE007Eu) point -= 0xE0000u;
            code = point < FOLDED ? t->fold[point] : (point >= 0xE0000u ? 0 : BEYOND);
            if (!code) { i++; continue; }
            kind = t->kind[code];
            if (kind == LETTER || kind == DIGIT) {
                run[length] = code; kinds[length] = (uint8_t)kind; offset[length] = (uint32_t)i;
                letters += kind == LETTER; length++; wordy = 1; end = (uint32_t)i + 1; i++;
                last = code; last_kind = kind;
                if (length == RUN) break;
                continue;
            }
            if (wordy) break;
            i++;
            {
                int same = last_kind >= 0 && last == code && kind != SINGLE;
                last = code; last_kind = kind;
                if (kind == SPACE || same) continue;
            }
            run[0] = code; offset[0] = (uint32_t)i - 1; end = (uint32_t)i; length = 1;
            break;
        }
        if (!length) break;
        Token token;
        int is_number = wordy && !letters;
        uint64_t hash = 0, power = 1;
        for (int k = 0; k < length; k++) {
            if (wordy) run[k] = spelt(run[k], kinds[k], is_number);
            hash += ((uint64_t)run[k] + 1) * power; power *= P;
        }
        uint64_t own = mix(hash);
        memset(token.sum, 0, sizeof token.sum);
        token.own_side = (uint32_t)((own >> 20) & (ROWS_SIDE - 1));
        token.start = offset[0]; token.end = end;
        const int8_t *word = t->word + (own & (ROWS_WORD - 1)) * CHANNELS;
        const int8_t *pair = t->pair + (mix(one * 3 + hash) & (ROWS_PAIR - 1)) * CHANNELS;
        const int8_t *skip = t->pair + (mix(two * 5 + hash * 7) & (ROWS_PAIR - 1)) * CHANNELS;
        const int8_t *after = t->after + (size_t)token.own_side * CHANNELS;
        fetch(word); fetch(pair); fetch(skip); fetch(after);
        fetch(t->before + (size_t)token.own_side * CHANNELS);
        if (wordy && !is_number) {
            for (int k = 0; k < length; k++) {
                uint64_t left = k ? run[k - 1] : 1, right = k + 1 < length ? run[k + 1] : 1;
                uint64_t row = mix((left << 40) ^ ((uint64_t)run[k] << 20) ^ right) & (ROWS_TRIGRAM - 1);
                add(token.sum, t->trigram + row * CHANNELS);
            }
            /* Whole numbers are divided as floats, which processors do in one go for many: so small ones come out exactly. */
            for (int c = 0; c < CHANNELS; c++) token.sum[c] = (int16_t)(int32_t)((float)(token.sum[c] * 2) / (float)length);
        }
        add(token.sum, word);
        add(token.sum, pair);
        add(token.sum, skip);
        add(token.sum, t->before + (size_t)one_side * CHANNELS);
        if (wordy) {
            out->lone = length == 1 && !is_number ? out->lone + 1 : 0;
            if (out->lone > out->signs[LONE]) out->signs[LONE] = out->lone;
        }
        if (has_held) pool(out, t, &held, after);
        held = token; has_held = 1;
        two = one; one = hash; one_side = token.own_side;
    }
    if (has_held) pool(out, t, &held, none);
    if (out->tokens) for (int c = 0; c < CHANNELS; c++) out->mean[c] /= (float)out->tokens;
}

typedef struct { const float *hidden, *hidden_bias, *out, *out_bias; size_t units; int origin; } Head;

/* The network behind the pooled channels: margins of every window, logits of the one that decides. */
FAST
static size_t decide(const Pooled *pooled, const Head *head, float *margins, float *best_logits)
{
    float base[UNITS], hidden[UNITS], near[CHANNELS], wide[CHANNELS], logits[CLASSES];
    size_t best = 0, units = head->units;
    const float *row = head->hidden + (3 * CHANNELS + (size_t)head->origin) * units;
    for (size_t u = 0; u < units; u++) base[u] = head->hidden_bias[u] + row[u];
    for (int c = 0; c < CHANNELS; c++)
        for (size_t u = 0; u < units; u++) base[u] += pooled->mean[c] * head->hidden[(2 * CHANNELS + c) * units + u];
    for (size_t b = 0; b < pooled->blocks; b++) {
        memset(near, 0, sizeof near);
        memset(wide, 0, sizeof wide);
        for (size_t k = b; k < b + AROUND && k < pooled->blocks; k++)
            for (int c = 0; c < CHANNELS; c++) {
                float x = pooled->top[k * CHANNELS + c];
                wide[c] = x > wide[c] ? x : wide[c];
                if (k < b + WINDOW) near[c] = x > near[c] ? x : near[c];
            }
        memcpy(hidden, base, units * sizeof(float));
        for (int c = 0; c < CHANNELS; c++) {
            const float *first = head->hidden + (size_t)c * units, *second = head->hidden + (size_t)(CHANNELS + c) * units;
            for (size_t u = 0; u < units; u++) hidden[u] += near[c] * first[u] + wide[c] * second[u];
        }
        for (int k = 0; k < CLASSES; k++) logits[k] = head->out_bias[k];
        for (size_t u = 0; u < units; u++)
            if (hidden[u] > 0)
                for (int k = 0; k < CLASSES; k++) logits[k] += hidden[u] * head->out[u * CLASSES + k];
        float top = logits[1], sum = 0;
        for (int k = 2; k < CLASSES; k++) top = logits[k] > top ? logits[k] : top;
        for (int k = 1; k < CLASSES; k++) sum += expf(logits[k] - top);
        margins[b] = top + logf(sum) - logits[0];
        if (!b || margins[b] > margins[best]) {
            best = b;
            memcpy(best_logits, logits, sizeof logits);
        }
    }
    return best;
}

/* read(text, fold, kind, word, before, after, pair, trigram, bias, hidden, hidden_bias, out, out_bias, scale, origin)
   -> (logits, best, margins, start, end, signs), arrays as bytes; best is -1 where there is nothing to read. */
static PyObject *read_text(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PARTS = 13 };
    Py_buffer b[PARTS]; float scale; int origin; PyObject *answer = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*y*y*y*fi", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &b[10], &b[11], &b[12],
                          &scale, &origin)) return NULL;
    const Py_ssize_t units = b[10].len / 4;
    const Py_ssize_t want[PARTS] = {b[0].len, FOLDED * 2, 0x10000, (Py_ssize_t)ROWS_WORD * CHANNELS, (Py_ssize_t)ROWS_SIDE * CHANNELS,
                                    (Py_ssize_t)ROWS_SIDE * CHANNELS, (Py_ssize_t)ROWS_PAIR * CHANNELS, (Py_ssize_t)ROWS_TRIGRAM * CHANNELS, CHANNELS * 4,
                                    (3 * CHANNELS + ORIGINS) * units * 4, units * 4, units * CLASSES * 4, CLASSES * 4};
    int fits = b[0].len % 4 == 0 && b[0].len / 4 < 0x7FFFFFFF && units > 0 && units <= UNITS && origin >= 0 && origin < ORIGINS;
    for (int k = 0; k < PARTS; k++) fits &= b[k].len == want[k];
    if (!fits) { PyErr_SetString(PyExc_ValueError, "tables of another size"); goto done; }
    {
        size_t size = (size_t)b[0].len / 4, most = size / BLOCK + 2, best = 0;
        Tables t = {b[1].buf, b[2].buf, b[3].buf, b[4].buf, b[5].buf, b[6].buf, b[7].buf, scale, b[8].buf};
        Head head = {b[9].buf, b[10].buf, b[11].buf, b[12].buf, (size_t)units, origin};
        float logits[CLASSES] = {0};
        Pooled out; memset(&out, 0, sizeof out);
        out.top = malloc(most * CHANNELS * sizeof(float)); out.start = malloc(most * 4); out.end = malloc(most * 4);
        float *margins = malloc(most * sizeof(float));
        if (!out.top || !out.start || !out.end || !margins) PyErr_NoMemory();
        else {
            Py_BEGIN_ALLOW_THREADS
            look_for_codes(b[0].buf, size, out.signs);
            walk(b[0].buf, size, &t, &out);
            best = decide(&out, &head, margins, logits);
            Py_END_ALLOW_THREADS
            answer = Py_BuildValue("(y#ny#y#y#(lllllll))", (char *)logits, (Py_ssize_t)sizeof logits, out.blocks ? (Py_ssize_t)best : (Py_ssize_t)-1,
                                   (char *)margins, (Py_ssize_t)(out.blocks * sizeof(float)), (char *)out.start, (Py_ssize_t)(out.blocks * 4),
                                   (char *)out.end, (Py_ssize_t)(out.blocks * 4),
                                   out.signs[0], out.signs[1], out.signs[2], out.signs[3], out.signs[4], out.signs[5], out.signs[6]);
        }
        free(out.top); free(out.start); free(out.end); free(margins);
    }
done:
    for (int k = 0; k < PARTS; k++) PyBuffer_Release(&b[k]);
    return answer;
}

static PyMethodDef methods[] = {{"read", read_text, METH_VARARGS, "What tier one says of a text."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "Tier one of the judge in C.", -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }
