/*
 * The floor: what a request costs a program that only reads it and answers. No proxy can cost less than this on the same kernel.
 *
 *   floor PORT BYTES     answers +OK to what begins with "*3", else a bulk string of BYTES bytes
 *   floor 0 BYTES        on a free port; prints "listening PORT"
 *
 * One thread, edge-triggered epoll; each turn reads from all sockets that are ready, then writes to them, as the proxy does. It
 * takes what one recv brings for one request: for clients that do not pipeline, and requests that fit into a packet.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, INBOUND = 64 * 1024 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 1024)) die("listen");
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("listening %d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int epoll, int fd, uint32_t events) {
    struct epoll_event event = { .events = events, .data.fd = fd };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT BYTES\n");
        return 2;
    }
    int listener = listen_on(atoi(argv[1])), bytes = atoi(argv[2]), epoll = epoll_create1(0);
    static char inbound[INBOUND];
    char *bulk = malloc(bytes + 32);
    int head = sprintf(bulk, "$%d\r\n", bytes), bulk_size = head + bytes + 2;
    memset(bulk + head, 'v', bytes);
    memcpy(bulk + head + bytes, "\r\n", 2);
    watch(epoll, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        int to[EVENTS], is_set[EVENTS], count = 0;
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (client >= 0) watch(epoll, client, EPOLLIN | EPOLLRDHUP | EPOLLET);
                continue;
            }
            if (recv(fd, inbound, INBOUND, 0) <= 0) {
                close(fd);
                continue;
            }
            is_set[count] = inbound[1] == '3';
            to[count++] = fd;
        }
        for (int i = 0; i < count; i++) {
            if (is_set[i]) send(to[i], "+OK\r\n", 5, MSG_NOSIGNAL);
            else send(to[i], bulk, bulk_size, MSG_NOSIGNAL);
        }
    }
}
