/*
 * A small load generator for what redis-benchmark cannot do: memcached, a fixed rate, and a check of every answer.
 *
 *   load PORT redis|memcached|binary get|set|fill CLIENTS PIPELINE REQUESTS KEYS SIZE RATE
 *
 * One thread, epoll, CLIENTS connections to 127.0.0.1. A value is its key's number repeated up to SIZE, so the reply to
 * each request is known to the byte and is compared; the first difference ends the run with exit code 2. "binary" is
 * memcached's binary protocol, where the eight bytes of cas are the server's own and are left out.
 *
 * RATE 0: closed loop; each client sends PIPELINE requests, waits for all replies, sends the next. Latency is that of a
 * batch. RATE > 0 (PIPELINE 1): request i is due at i / RATE seconds whether or not earlier ones were answered, and its
 * latency counts from when it was due, so a stall is charged to every request it delays (no coordinated omission).
 *
 * Prints one line of JSON: {"rps":…,"p50":…,"p99":…,"p999":…,"max":…}, latencies in ms.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int fd;
    int busy;               /* requests in flight */
    double sent_at, due;    /* seconds; due: of this client's next request, with a rate */
    char *out;              /* requests of the batch */
    size_t out_len, out_done;
    char *want;             /* their replies, as they must come */
    size_t want_len, got;
    int polls_out;
};

static int redis, binary, filling, setting, pipeline, size;
static long keys, next_key;
static char *value;
static uint64_t seed = 88172645463325252ull;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long pick(void) {
    if (filling) return next_key++ % keys;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (long)(seed % (uint64_t)keys);
}

#define HEADER 24
#define CAS 16

/* A header of the binary protocol at `at`; returns what is behind it. */
static char *header(char *at, int magic, int key_len, int extras, int body) {
    memset(at, 0, HEADER);
    at[0] = (char)magic;
    at[1] = (char)setting;
    at[3] = (char)key_len;
    at[4] = (char)extras;
    for (int i = 0; i < 4; i++) at[8 + i] = (char)(body >> (24 - 8 * i));
    return at + HEADER;
}

/* The length of a reply of the binary protocol: all are as long. */
static size_t reply_size(void) {
    return setting ? HEADER : HEADER + 4 + (size_t)size;
}

/* Takes out of `bytes[0, len)`, which lie at `from` of all replies, what is the server's own. */
static void blank(char *bytes, size_t len, size_t from) {
    for (size_t i = 0; i < len; i++) {
        size_t at = (from + i) % reply_size();
        if (at >= CAS && at < HEADER) bytes[i] = 0;
    }
}

/* Writes one request to c->out and its reply to c->want. */
static void add(struct client *c) {
    char key[32];
    long k = pick();
    int key_len = sprintf(key, "load:%012ld", k);
    char *o = c->out + c->out_len, *w = c->want + c->want_len;
    for (int i = 0; i < size; i += 12) memcpy(value + i, key + 5, size - i < 12 ? size - i : 12);
    if (binary) {
        int extras = setting ? 8 : 0;
        o = header(o, 0x80, key_len, extras, extras + key_len + (setting ? size : 0));
        memset(o, 0, extras);
        o += extras;
        memcpy(o, key, key_len);
        o += key_len;
        if (setting) memcpy(o, value, size);
        o += setting ? size : 0;
        w = header(w, 0x81, 0, setting ? 0 : 4, setting ? 0 : 4 + size);
        if (!setting) {
            memset(w, 0, 4);
            memcpy(w + 4, value, size);
            w += 4 + size;
        }
    } else if (redis && setting) {
        o += sprintf(o, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", key_len, key, size);
        memcpy(o, value, size);
        o += size;
        o += sprintf(o, "\r\n");
        w += sprintf(w, "+OK\r\n");
    } else if (redis) {
        o += sprintf(o, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", key_len, key);
        w += sprintf(w, "$%d\r\n", size);
        memcpy(w, value, size);
        w += size;
        w += sprintf(w, "\r\n");
    } else if (setting) {
        o += sprintf(o, "set %s 0 0 %d\r\n", key, size);
        memcpy(o, value, size);
        o += size;
        o += sprintf(o, "\r\n");
        w += sprintf(w, "STORED\r\n");
    } else {
        o += sprintf(o, "get %s\r\n", key);
        w += sprintf(w, "VALUE %s 0 %d\r\n", key, size);
        memcpy(w, value, size);
        w += size;
        w += sprintf(w, "\r\nEND\r\n");
    }
    c->out_len = o - c->out;
    c->want_len = w - c->want;
    c->busy++;
}

static void watch(int ep, struct client *c, int out) {
    struct epoll_event e = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c };
    if (c->polls_out == out) return;
    c->polls_out = out;
    if (epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e) < 0) die("epoll_ctl");
}

static void push(int ep, struct client *c) {
    while (c->out_done < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) die("send");
        c->out_done += n;
    }
    watch(ep, c, c->out_done < c->out_len);
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: load PORT redis|memcached|binary get|set|fill CLIENTS PIPELINE REQUESTS KEYS SIZE RATE\n");
        return 1;
    }
    int port = atoi(argv[1]), clients = atoi(argv[4]);
    redis = argv[2][0] == 'r';
    binary = argv[2][0] == 'b';
    filling = argv[3][0] == 'f';
    setting = argv[3][0] != 'g';
    pipeline = atoi(argv[5]);
    long requests = atol(argv[6]);
    keys = atol(argv[7]);
    size = atoi(argv[8]);
    double rate = atof(argv[9]);
    if (rate > 0) pipeline = 1;
    if (filling) requests = keys;
    value = malloc(size + 12);

    int ep = epoll_create1(0);
    struct client *all = calloc(clients, sizeof *all);
    size_t room = (size_t)pipeline * (size + 128);
    for (int i = 0; i < clients; i++) {
        struct client *c = &all[i];
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        c->out = malloc(room);
        c->want = malloc(room);
        if (!c->out || !c->want) die("malloc");
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
    }

    float *took = malloc(sizeof *took * (requests + pipeline));
    char *buffer = malloc(1 << 20);
    long issued = 0, done = 0, samples = 0;
    double start = now();
    for (int i = 0; i < clients; i++) all[i].due = rate > 0 ? start + i / rate : start;

    while (done < requests) {
        /* Whoever is idle and due sends. */
        double t = now(), wake = t + 1;
        for (int i = 0; i < clients && issued < requests; i++) {
            struct client *c = &all[i];
            if (c->busy) continue;
            if (rate > 0 && c->due > t) {
                if (c->due < wake) wake = c->due;
                continue;
            }
            c->out_len = c->out_done = c->want_len = c->got = 0;
            for (int p = 0; p < pipeline && issued < requests; p++, issued++) add(c);
            c->sent_at = rate > 0 ? c->due : t;
            c->due += rate > 0 ? clients / rate : 0;
            push(ep, c);
        }
        struct epoll_event events[512];
        double wait = wake - now();
        if (wait < 0) wait = 0;
        struct timespec limit = { (time_t)wait, (long)((wait - (time_t)wait) * 1e9) };
        int n = epoll_pwait2(ep, events, 512, &limit, NULL);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) push(ep, c);
            if (!(events[i].events & ~EPOLLOUT)) continue;
            ssize_t got = recv(c->fd, buffer, 1 << 20, 0);
            if (got < 0 && errno == EAGAIN) continue;
            if (got < 0) die("recv");
            if (got == 0) {
                fprintf(stderr, "load: the proxy closed a connection after %ld of %ld replies\n", done, requests);
                return 2;
            }
            if (binary) blank(buffer, got, c->got);
            if (c->got + got > c->want_len || memcmp(buffer, c->want + c->got, got)) {
                fprintf(stderr, "load: wrong answer: expected \"%.200s\", got \"%.200s\"\n", c->want + c->got, buffer);
                return 2;
            }
            c->got += got;
            if (c->got < c->want_len) continue;
            double end = now();
            took[samples++] = (float)((end - c->sent_at) * 1e3);
            done += c->busy;
            c->busy = 0;
        }
    }
    double seconds = now() - start;
    qsort(took, samples, sizeof *took, by_value);
#define AT(q) took[(long)((samples - 1) * (q))]
    printf("{\"rps\":%.1f,\"p50\":%.4f,\"p99\":%.4f,\"p999\":%.4f,\"max\":%.4f}\n", done / seconds, AT(0.5), AT(0.99),
           AT(0.999), took[samples - 1]);
    return 0;
}
