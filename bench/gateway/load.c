/* The load of the gateway benchmark: closed loop, open loop and streams at once, from one thread, and what each of them waited.
 *
 * In: a port, a path, a file of plain sentences (one a line, ASCII, without quotes or backslashes). Every body is put together from
 * sentences drawn anew, with a running number, so that no two are alike. Out: one line of JSON: counts, errors, latencies in
 * microseconds. Open-loop latencies count from when the request was due, not from when a connection was free.
 *
 *     load --port P --path /v1/chat/completions --text FILE [--closed N] [--rate R --pool N] [--streams N --pace MS --whole 0|1]
 *          [--size BYTES] [--big SHARE --big-size BYTES] [--seconds S] [--seed N] [--key TOKEN]
 *
 * --big is the share of open-loop requests that carry a prompt of --big-size; they are reported apart.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum kind { CLOSED, OPEN, STREAM };
struct series { uint32_t *us10; size_t n, cap; };
struct conn {
    int fd;
    enum kind kind;
    int busy, big, in_body, chunked, status, first;
    long left;
    char *in, *out, *line;
    size_t in_len, in_cap, out_len, out_cap, sent, line_len, line_cap;
    uint64_t began;
};

static int poller, port = 9300, pace = 20, whole, pool = 64, draining;
static const char *path = "/v1/chat/completions", *key = "sk-stand-in";
static char **sentences;
static size_t *sentence_len, sentence_count, size_small = 1500, size_big = 400000;
static uint64_t seed = 2463534242ull, serial, errors, bad_status, chunks, done_streams, sent_small, sent_big, late, closed_done, open_done;
static double big_share;
static struct series closed_us, open_us, big_us, chunk_us, first_us;

static uint64_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec; }

static void note(struct series *s, uint64_t ns) {
    if (s->n == s->cap) { s->cap = s->cap ? s->cap * 2 : 65536; s->us10 = realloc(s->us10, s->cap * sizeof *s->us10); }
    uint64_t v = ns / 100;
    s->us10[s->n++] = v > UINT32_MAX ? UINT32_MAX : v;
}

static int by_size(const void *a, const void *b) { uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b; return (x > y) - (x < y); }

static void print_series(const char *name, struct series *s) {
    if (!s->n) { printf("\"%s\":null,", name); return; }
    qsort(s->us10, s->n, sizeof *s->us10, by_size);
#define AT(q) (s->us10[(size_t)((s->n - 1) * (q))] / 10.0)
    printf("\"%s\":{\"n\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},", name, s->n, AT(.5), AT(.9), AT(.99), AT(.999), AT(1.0));
}

static void add(struct conn *c, const char *data, size_t len) {
    if (c->out_len + len > c->out_cap) { c->out_cap = (c->out_len + len) * 2; c->out = realloc(c->out, c->out_cap); }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void watch(struct conn *c, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(poller, op, c->fd, &e);
}

static void dial(struct conn *c) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (void *)&where, sizeof where)) { perror("load: connect"); exit(1); }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->in_len = c->line_len = 0;
    c->in_body = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void push(struct conn *c) {
    while (c->sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EAGAIN) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        c->sent += n;
    }
}

static void fire(struct conn *c, uint64_t due) {
    static char *body;
    static size_t cap;
    size_t want = c->big ? size_big : size_small, n;
    if (cap < want + 1024) { cap = want + 1024; body = realloc(body, cap); }
    if (c->kind == STREAM) n = snprintf(body, cap, "{\"model\":\"paced-%d%s\",\"stream\":true,", pace, whole ? "-whole" : "");
    else n = snprintf(body, cap, "{\"model\":\"m\",\"temperature\":0.7,");
    n += snprintf(body + n, cap - n, "\"messages\":[{\"role\":\"system\",\"content\":\"You answer questions of customers of branch %llu, briefly and politely.\"},{\"role\":\"user\",\"content\":\"Case %llu.",
                  (unsigned long long)(rnd() % 1000000000), (unsigned long long)(seed % 1000 + 1000 * ++serial));
    while (n + 4 < want) {
        size_t which = rnd() % sentence_count, len = sentence_len[which];
        if (n + len + 8 > cap) break;
        body[n++] = ' ';
        memcpy(body + n, sentences[which], len);
        n += len;
    }
    memcpy(body + n, "\"}]}", 4);
    n += 4;
    char head[512];
    c->out_len = c->sent = 0;
    int h = snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: load\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n", path, port, key, n);
    add(c, head, h);
    add(c, body, n);
    c->busy = 1;
    c->first = 1;
    c->in_body = 0;
    c->began = due;
    if (c->big) sent_big++; else sent_small++;
    push(c);
}

static void lines(struct conn *c, const char *data, size_t len) {
    if (c->line_len + len > c->line_cap) { c->line_cap = (c->line_len + len) * 2; c->line = realloc(c->line, c->line_cap); }
    memcpy(c->line + c->line_len, data, len);
    c->line_len += len;
    size_t at = 0;
    uint64_t t = now();
    for (;;) {
        char *eol = memchr(c->line + at, '\n', c->line_len - at);
        if (!eol) break;
        size_t size = eol - (c->line + at);
        if (size > 7 && !memcmp(c->line + at, "data: {", 7)) {
            chunks++;
            if (c->first) { c->first = 0; note(&first_us, t - c->began); }
            char *mark = memmem(c->line + at, size, "\"fp_", 4);
            if (mark) note(&chunk_us, t - strtoull(mark + 4, NULL, 10));
        }
        at += size + 1;
    }
    memmove(c->line, c->line + at, c->line_len - at);
    c->line_len -= at;
}

static void finished(struct conn *c) {
    uint64_t t = now();
    c->busy = 0;
    if (c->status != 200) bad_status++;
    if (c->kind == CLOSED) { note(&closed_us, t - c->began); closed_done++; }
    else if (c->kind == STREAM) done_streams++;
    else { note(c->big ? &big_us : &open_us, t - c->began); open_done++; }
    if (!draining && c->kind != OPEN) fire(c, now());
}

static void broken(struct conn *c) {
    errors++;
    close(c->fd);
    c->busy = 0;
    dial(c);
    if (!draining && c->kind != OPEN) fire(c, now());
}

/* Takes whole replies out of what has come. */
static void digest(struct conn *c) {
    for (;;) {
        if (!c->in_body) {
            char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
            if (!end) return;
            *end = 0;
            c->status = atoi(c->in + 9);
            char *length = strcasestr(c->in, "\r\ncontent-length:");
            c->chunked = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
            c->left = c->chunked ? -1 : length ? atol(length + 17) : 0;
            size_t head = end - c->in + 4;
            memmove(c->in, c->in + head, c->in_len - head);
            c->in_len -= head;
            c->in_body = 1;
        }
        if (!c->chunked) {
            if ((long)c->in_len < c->left) return;
            memmove(c->in, c->in + c->left, c->in_len - c->left);
            c->in_len -= c->left;
            c->in_body = 0;
            finished(c);
            return;
        }
        size_t at = 0;
        int over = 0;
        for (;;) {
            char *eol = memmem(c->in + at, c->in_len - at, "\r\n", 2);
            if (!eol) break;
            size_t size = strtoul(c->in + at, NULL, 16), start = eol - c->in + 2;
            if (start + size + 2 > c->in_len) break;
            if (size && c->kind == STREAM) lines(c, c->in + start, size);
            at = start + size + 2;
            if (!size) { over = 1; break; }
        }
        memmove(c->in, c->in + at, c->in_len - at);
        c->in_len -= at;
        if (!over) return;
        c->in_body = 0;
        finished(c);
        return;
    }
}

static void receive(struct conn *c) {
    if (c->in_cap - c->in_len < 65536) { c->in_cap = c->in_cap ? c->in_cap * 2 : 131072; c->in = realloc(c->in, c->in_cap); }
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len - 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        if (c->busy) broken(c);
        else { close(c->fd); dial(c); }
        return;
    }
    if (n < 0) return;
    c->in_len += n;
    c->in[c->in_len] = 0;
    if (c->busy) digest(c);
}

static void read_sentences(const char *file) {
    FILE *f = fopen(file, "r");
    if (!f) { perror(file); exit(1); }
    char line[4096];
    size_t cap = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line) continue;
        if (sentence_count == cap) {
            cap = cap ? cap * 2 : 1024;
            sentences = realloc(sentences, cap * sizeof *sentences);
            sentence_len = realloc(sentence_len, cap * sizeof *sentence_len);
        }
        sentence_len[sentence_count] = strlen(line);
        sentences[sentence_count++] = strdup(line);
    }
    fclose(f);
    if (!sentence_count) { fprintf(stderr, "load: no sentences\n"); exit(1); }
}

int main(int argc, char **argv) {
    int closed = 0, streams = 0;
    double rate = 0, seconds = 3;
    const char *text = NULL;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *o = argv[i], *v = argv[i + 1];
        if (!strcmp(o, "--port")) port = atoi(v);
        else if (!strcmp(o, "--path")) path = v;
        else if (!strcmp(o, "--text")) text = v;
        else if (!strcmp(o, "--closed")) closed = atoi(v);
        else if (!strcmp(o, "--rate")) rate = atof(v);
        else if (!strcmp(o, "--pool")) pool = atoi(v);
        else if (!strcmp(o, "--streams")) streams = atoi(v);
        else if (!strcmp(o, "--pace")) pace = atoi(v);
        else if (!strcmp(o, "--whole")) whole = atoi(v);
        else if (!strcmp(o, "--size")) size_small = atol(v);
        else if (!strcmp(o, "--big")) big_share = atof(v);
        else if (!strcmp(o, "--big-size")) size_big = atol(v);
        else if (!strcmp(o, "--seconds")) seconds = atof(v);
        else if (!strcmp(o, "--seed")) seed ^= strtoull(v, NULL, 10) * 0x9E3779B97F4A7C15ull;
        else if (!strcmp(o, "--key")) key = v;
        else { fprintf(stderr, "load: %s?\n", o); return 2; }
    }
    if (!text) { fprintf(stderr, "load: --text FILE is missing\n"); return 2; }
    read_sentences(text);
    struct rlimit files = {8192, 8192};
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    int opens = rate > 0 ? pool : 0, total = closed + streams + opens;
    struct conn *all = calloc(total, sizeof *all);
    for (int i = 0; i < total; i++) {
        all[i].kind = i < closed ? CLOSED : i < closed + streams ? STREAM : OPEN;
        dial(&all[i]);
    }
    uint64_t began = now(), end = began + (uint64_t)(seconds * 1e9), step = rate > 0 ? (uint64_t)(1e9 / rate) : 0, due = began, cursor = 0;
    for (int i = 0; i < closed + streams; i++) fire(&all[i], now());
    struct epoll_event got[256];
    uint64_t stopped = 0;
    for (;;) {
        uint64_t t = now();
        if (!draining && t >= end) { draining = 1; stopped = t; }
        if (draining) {
            int busy = 0;
            for (int i = 0; i < total; i++) busy += all[i].busy && all[i].kind != STREAM;
            if (!busy || t > end + 2000000000ull) break;
        }
        while (!draining && opens && due <= t) {
            struct conn *free_one = NULL;
            for (int i = 0; i < opens && !free_one; i++) {
                struct conn *c = &all[closed + streams + (cursor + i) % opens];
                if (!c->busy) { free_one = c; cursor = (cursor + i + 1) % opens; }
            }
            if (!free_one) { if (t - due > 1000000000ull) { late++; due += step; continue; } break; }
            free_one->big = big_share > 0 && (rnd() % 100000) < big_share * 100000;
            fire(free_one, due);
            due += step;
        }
        t = now();
        uint64_t until = draining ? t + 50000000ull : opens && due < end ? due : end;
        struct timespec wait = {0, 0};
        if (until > t) { wait.tv_sec = (until - t) / 1000000000ull; wait.tv_nsec = (until - t) % 1000000000ull; }
        int n = epoll_pwait2(poller, got, 256, &wait, NULL);
        for (int i = 0; i < n; i++) {
            struct conn *c = got[i].data.ptr;
            if (got[i].events & EPOLLOUT) { watch(c, EPOLL_CTL_MOD, EPOLLIN); push(c); }
            if (got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
        }
    }
    double took = (stopped - began) / 1e9;
    printf("{\"seconds\":%.3f,\"closed\":%llu,\"open\":%llu,\"small\":%llu,\"big\":%llu,\"streams\":%llu,\"chunks\":%llu,\"errors\":%llu,\"bad_status\":%llu,\"late\":%llu,",
           took, (unsigned long long)closed_done, (unsigned long long)open_done, (unsigned long long)sent_small, (unsigned long long)sent_big,
           (unsigned long long)done_streams, (unsigned long long)chunks, (unsigned long long)errors, (unsigned long long)bad_status, (unsigned long long)late);
    print_series("closed_us", &closed_us);
    print_series("open_us", &open_us);
    print_series("big_us", &big_us);
    print_series("chunk_us", &chunk_us);
    print_series("first_us", &first_us);
    printf("\"format\":\"afterguard.bench-load/1\"}\n");
    return 0;
}
