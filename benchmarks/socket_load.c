/* A load generator for line protocols and HTTP/1.1: one process, one epoll loop.

   socket_load ADDRESS CONNECTIONS IN_FLIGHT SECONDS FILE        asks; prints one JSON object
   socket_load ADDRESS CONNECTIONS IN_FLIGHT SECONDS FILE http   likewise; FILE is one request
   socket_load --echo PATH                                       answers: sends back what comes

   ADDRESS is the path of a unix socket, or IPv4:PORT. An answer of HTTP is counted by the empty
   line after its head: bodies must have none, and a head may come in parts.

   Each connection keeps IN_FLIGHT requests under way: for each line that comes back one more is
   sent. Connections take the requests of the file LINE in turn. Latency is that of a request from
   its sending to its reply, in buckets of 1/64 of a power of two. `busy` is the share of its time
   for which this process worked: what is measured is the server as long as it is well below 1. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, READ_SIZE = 1 << 18, BUCKETS = 64 * 40, SAMPLE = 400 };

struct connection {
    int fd;
    unsigned head, tail; /* of the ring of times at which requests were sent */
    unsigned turn;       /* the next request of the file */
    unsigned matched;    /* bytes of the empty line that have come of HTTP's head */
    double *sent;
};

struct request {
    const char *text;
    size_t length;
};

static char buffer[READ_SIZE];
static uint64_t buckets[BUCKETS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static void note(double seconds) {
    double nanos = seconds * 1e9;
    int bucket = nanos < 1 ? 0 : (int)(log2(nanos) * 64);
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double quantile(uint64_t count, double part) {
    uint64_t seen = 0;
    for (int at = 0; at < BUCKETS; at++)
        if ((seen += buckets[at]) >= part * count)
            return exp2((at + 0.5) / 64) / 1e3;
    return 0;
}

static struct sockaddr_un address(const char *path) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof where.sun_path)
        fail("the path is too long");
    strcpy(where.sun_path, path);
    return where;
}

static int open_connection(const char *where) {
    const char *colon = strchr(where, '/') ? NULL : strrchr(where, ':');
    if (!colon) {
        struct sockaddr_un path = address(where);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&path, sizeof path))
            fail("connect");
        return fd;
    }
    char host[64] = "";
    if (colon - where >= (long)sizeof host)
        fail("the address is too long");
    memcpy(host, where, colon - where);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &peer.sin_addr) != 1)
        fail(where);
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer))
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* Counts the answers that end in what has come: lines, or heads of HTTP. */
static unsigned answers(struct connection *one, const char *from, ssize_t length, int http) {
    static const char ending[] = "\r\n\r\n";
    unsigned done = 0;
    for (const char *stop = from + length; from < stop; from++)
        if (!http)
            done += *from == '\n';
        else if (*from == ending[one->matched])
            one->matched = (one->matched + 1) % 4, done += !one->matched;
        else
            one->matched = *from == '\r';
    return done;
}

static void watch(int epoll, int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void send_whole(int fd, const char *text, size_t length) {
    while (length) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
        if (sent < 0)
            fail("send");
        text += sent;
        length -= sent;
    }
}

static void ask(struct connection *one, const struct request *requests, int known, int in_flight,
                unsigned count) {
    static char out[1 << 20];
    size_t length = 0;
    double at = now();
    while (count--) {
        const struct request *next = &requests[one->turn++ % known];
        if (length + next->length > sizeof out) {
            send_whole(one->fd, out, length);
            length = 0;
        }
        memcpy(out + length, next->text, next->length);
        length += next->length;
        one->sent[one->head++ % in_flight] = at;
    }
    send_whole(one->fd, out, length);
}

static double processor_time(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static int load(const char *path, int connections, int in_flight, double seconds,
                const struct request *requests, int known, int http) {
    int epoll = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    for (int at = 0; at < connections; at++) {
        struct connection *one = &all[at];
        one->fd = open_connection(path);
        one->sent = calloc(in_flight, sizeof *one->sent);
        one->turn = at;
        watch(epoll, one->fd, one);
    }
    char sample[SAMPLE + 1] = "";
    uint64_t count = 0;
    double cpu = processor_time(), begun = now(), end = begun + seconds, at = begun;
    for (int each = 0; each < connections; each++)
        ask(&all[each], requests, known, in_flight, in_flight);
    while (at < end) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 1000);
        for (int each = 0; each < ready; each++) {
            struct connection *one = events[each].data.ptr;
            ssize_t length = recv(one->fd, buffer, READ_SIZE, MSG_DONTWAIT);
            if (length == 0 || (length < 0 && errno != EAGAIN))
                fail("the server hung up");
            at = now();
            unsigned done = length > 0 ? answers(one, buffer, length, http) : 0;
            for (unsigned each = 0; each < done; each++)
                note(at - one->sent[one->tail++ % in_flight]);
            if (!*sample && done)
                for (int place = 0; place < SAMPLE && buffer[place] != '\n'; place++)
                    sample[place] = buffer[place] == '"'               ? '\''
                                    : buffer[place] == '\\'            ? '/'
                                    : (unsigned char)buffer[place] < ' ' ? ' '
                                                                         : buffer[place];
            count += done;
            if (done)
                ask(one, requests, known, in_flight, done);
        }
        if (!ready)
            at = now();
    }
    double took = at - begun;
    printf("{\"count\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"busy\": %.3f, \"sample\": \"%s\"}\n",
           (unsigned long long)count, took, count / took, quantile(count, 0.5),
           quantile(count, 0.99), (processor_time() - cpu) / took, sample);
    return 0;
}

static void echo(const char *path) {
    int epoll = epoll_create1(0), listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un where = address(path);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 256))
        fail("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int each = 0; each < ready; each++) {
            int fd = events[each].data.fd;
            if (fd == listener) {
                struct epoll_event one = {.events = EPOLLIN, .data.fd = accept(listener, 0, 0)};
                epoll_ctl(epoll, EPOLL_CTL_ADD, one.data.fd, &one);
                continue;
            }
            ssize_t length = recv(fd, buffer, READ_SIZE, 0);
            if (length <= 0)
                close(fd);
            else if (send(fd, buffer, length, MSG_NOSIGNAL) < 0)
                close(fd);
        }
    }
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "--echo"))
        echo(words[2]);
    int http = count == 7 && !strcmp(words[6], "http");
    if (count != 6 && !http) {
        fprintf(stderr, "usage: socket_load ADDRESS CONNECTIONS IN_FLIGHT SECONDS FILE [http]\n");
        return 2;
    }
    FILE *file = fopen(words[5], "r");
    if (!file)
        fail(words[5]);
    struct request *requests = NULL;
    int known = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = http ? getdelim(&line, &room, 0, file) : getline(&line, &room, file)) > 0) {
        requests = realloc(requests, (known + 1) * sizeof *requests);
        requests[known++] = (struct request){strdup(line), length};
    }
    if (!known)
        fail("no requests");
    return load(words[1], atoi(words[2]), atoi(words[3]), atof(words[4]), requests, known, http);
}
