/* The provider of the gateway benchmark: a stand-in for a model that is far quicker than any proxy before it.
 *
 * In: HTTP/1.1 POST requests with a Content-Length or in chunks, any path, kept alive. Out: a chat completion of about 340 bytes, or,
 * where the body says "stream": true, 100 chunks and [DONE]; a model named paced-N sends a chunk every N milliseconds (paced-N-whole
 * with the blank behind the word and not before it, so that each chunk ends a word), any other
 * sends them at once. Every answer differs. `system_fingerprint` holds the nanosecond at which a chunk was written, so that the
 * loader can tell how long it was on its way. GET /count answers with the number of POST requests. One thread, epoll, plain HTTP.
 * It reads nothing but lengths, the model's name and that one word: it is for measuring, and for nothing else.
 *
 *     upstream PORT
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

#define CHUNKS 100
#define MAX_CONNS 8192

struct conn {
    int fd, streaming, left, pace_ms, whole;
    char *buf;
    size_t len, cap;
    char *out;
    size_t out_len, out_cap, out_sent;
    uint64_t due;
    char id[32];
};

static struct conn *conns[MAX_CONNS];
static int poller;
static uint64_t seed = 88172645463325252ull, served;
static const char *WORDS[] = {"harbour", "ticket", "refund", "window", "monday", "office", "letter", "delivery", "account", "garden",
                              "number", "invoice", "morning", "train", "weather", "bridge", "coffee", "market", "station", "museum",
                              "paper", "report", "season", "village", "kitchen", "teacher", "doctor", "summer", "library", "river",
                              "open", "closed", "early", "late", "small", "large", "quiet", "green", "blue", "next"};

static uint64_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec; }
static const char *word(void) { return WORDS[rnd() % (sizeof WORDS / sizeof *WORDS)]; }

static void drop(struct conn *c) {
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->buf); free(c->out); free(c);
}

static void put(struct conn *c, const char *data, size_t len) {
    if (c->out_len + len > c->out_cap) {
        c->out_cap = (c->out_len + len) * 2;
        c->out = realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

/* 0, or -1 when the other side is gone. */
static int flush_out(struct conn *c) {
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) return -1;
            struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.fd = c->fd};
            epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
            return 0;
        }
        c->out_sent += n;
    }
    c->out_len = c->out_sent = 0;
    return 0;
}

static void chunk(struct conn *c) {
    char body[512], head[16];
    int n;
    if (c->left > 0) {
        n = snprintf(body, sizeof body,
                     "data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\"system_fingerprint\":\"fp_%llu\","
                     "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"%s%s%s\"},\"finish_reason\":%s}]}\n\n",
                     c->id, (unsigned long long)now(), c->left == CHUNKS ? "\"role\":\"assistant\"," : "", c->whole ? "" : " ", word(), c->whole ? " " : "", c->left == 1 ? "\"stop\"" : "null");
    } else {
        n = snprintf(body, sizeof body, "data: [DONE]\n\n");
    }
    put(c, head, snprintf(head, sizeof head, "%x\r\n", n));
    put(c, body, n);
    put(c, "\r\n", 2);
    if (c->left-- == 0) {
        put(c, "0\r\n\r\n", 5);
        c->streaming = 0;
    }
}

static void answer(struct conn *c, char *body, size_t len) {
    static const char HEAD[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-stand-in: bench\r\ntransfer-encoding: chunked\r\n\r\n";
    served++;
    size_t look = len < 4096 ? len : 4096;
    char *tail = body + len - look, *at = memmem(body, look, "\"stream\"", 8);
    if (!at) at = memmem(tail, look, "\"stream\"", 8);
    int stream = 0;
    if (at) {
        at += 8;
        while (at < body + len && (*at == ' ' || *at == ':')) at++;
        stream = at < body + len && *at == 't';
    }
    snprintf(c->id, sizeof c->id, "%016llx", (unsigned long long)rnd());
    if (stream) {
        char *pace = memmem(body, look, "paced-", 6);
        if (!pace) pace = memmem(tail, look, "paced-", 6);
        c->pace_ms = pace ? atoi(pace + 6) : 0;
        c->whole = pace && !strncmp(pace + 6 + strspn(pace + 6, "0123456789"), "-whole", 6);
        c->streaming = 1;
        c->left = CHUNKS;
        put(c, HEAD, sizeof HEAD - 1);
        if (c->pace_ms) c->due = now() + rnd() % (c->pace_ms * 1000000ull);
        else while (c->streaming) chunk(c);
        return;
    }
    char json[1024], head[160], text[256];
    int n = 0;
    for (int i = 0; i < 18; i++) {
        const char *w = word();
        size_t size = strlen(w);
        memcpy(text + n, w, size);
        text[n + size] = i < 17 ? ' ' : 0;
        n += size + 1;
    }
    n = snprintf(json, sizeof json,
                 "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":"
                 "{\"role\":\"assistant\",\"content\":\"%s.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":360,\"completion_tokens\":20,\"total_tokens\":380}}",
                 c->id, text);
    put(c, head, snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-stand-in: bench\r\ncontent-length: %d\r\n\r\n", n));
    put(c, json, n);
}

/* Length of a whole chunked body and its payload moved to the front, 0 when more is to come. Nothing is moved before all is there. */
static size_t unchunk(char *data, size_t len, size_t *payload) {
    for (int pass = 0;; pass++) {
        size_t at = 0, out = 0;
        for (;;) {
            char *eol = memmem(data + at, len - at, "\r\n", 2);
            if (!eol) return 0;
            size_t size = strtoul(data + at, NULL, 16), start = eol - data + 2;
            if (start + size + 2 > len) return 0;
            at = start + size + 2;
            if (!size) break;
            if (pass) memmove(data + out, data + start, size);
            out += size;
        }
        *payload = out;
        if (pass) return at;
    }
}

static int receive(struct conn *c) {
    for (;;) {
        if (c->cap - c->len < 65536) { c->cap = c->cap ? c->cap * 2 : 131072; c->buf = realloc(c->buf, c->cap); }
        ssize_t n = recv(c->fd, c->buf + c->len, c->cap - c->len - 1, 0);
        if (n == 0) return -1;
        if (n < 0) { if (errno == EAGAIN) break; return -1; }
        c->len += n;
        if ((size_t)n < c->cap - c->len - 1) break;
    }
    for (;;) {
        c->buf[c->len] = 0;
        char *end = memmem(c->buf, c->len, "\r\n\r\n", 4);
        if (!end || c->streaming) return 0;
        size_t head = end - c->buf + 4, length = 0, taken = 0;
        *end = 0;
        char *has = strcasestr(c->buf, "\r\ncontent-length:"), *is_chunked = strcasestr(c->buf, "\r\ntransfer-encoding:");
        int get = c->buf[0] == 'G', close_after = strcasestr(c->buf, "\r\nconnection: close") != NULL;
        *end = '\r';
        if (is_chunked) {
            taken = unchunk(c->buf + head, c->len - head, &length);
            if (!taken) return 0;
        } else {
            if (has) length = strtoul(has + 17, NULL, 10);
            if (c->len < head + length) return 0;
            taken = length;
        }
        if (get) {
            char text[64], reply[200];
            int n = snprintf(text, sizeof text, "{\"served\":%llu}", (unsigned long long)served);
            put(c, reply, snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", n, text));
        } else {
            answer(c, c->buf + head, length);
        }
        memmove(c->buf, c->buf + head + taken, c->len - head - taken);
        c->len -= head + taken;
        if (flush_out(c)) return -1;
        if (close_after && !c->streaming) return -1;
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files = {MAX_CONNS, MAX_CONNS};
    setrlimit(RLIMIT_NOFILE, &files);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 9300), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(door, (void *)&where, sizeof where) || listen(door, 1024)) { perror("upstream"); return 1; }
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = door}, got[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &e);
    int top = 0;
    for (;;) {
        uint64_t t = now(), next = UINT64_MAX;
        for (int i = 0; i <= top; i++) {
            struct conn *c = conns[i];
            if (!c || !c->streaming || !c->due) continue;
            if (c->due <= t) {
                chunk(c);
                c->due = c->streaming ? c->due + c->pace_ms * 1000000ull : 0;
                if (flush_out(c)) { drop(c); continue; }
            }
            if (c->due && c->due < next) next = c->due;
        }
        t = now();
        struct timespec wait = {0, 0};
        if (next != UINT64_MAX && next > t) { wait.tv_sec = (next - t) / 1000000000ull; wait.tv_nsec = (next - t) % 1000000000ull; }
        int n = epoll_pwait2(poller, got, 256, next == UINT64_MAX ? NULL : &wait, NULL);
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            if (fd == door) {
                int in;
                while ((in = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (in >= MAX_CONNS) { close(in); continue; }
                    setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    conns[in] = calloc(1, sizeof **conns);
                    conns[in]->fd = in;
                    if (in > top) top = in;
                    struct epoll_event add = {.events = EPOLLIN, .data.fd = in};
                    epoll_ctl(poller, EPOLL_CTL_ADD, in, &add);
                }
                continue;
            }
            struct conn *c = conns[fd];
            if (!c) continue;
            if (got[i].events & EPOLLOUT) {
                struct epoll_event mod = {.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(poller, EPOLL_CTL_MOD, fd, &mod);
                if (flush_out(c)) { drop(c); continue; }
            }
            if ((got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && receive(c)) drop(c);
        }
    }
}
