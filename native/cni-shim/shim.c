/*
 * weft-cni-shim: the CNI plugin executable.
 *
 * It carries one CNI call to the node agent over a Unix socket and prints the answer. All work is done by the agent;
 * this program exists because a runtime starts an executable for every call, and starting a JavaScript runtime each
 * time costs a hundred times as much.
 *
 * Request:  "WCNI", u32 length of the rest, "KEY=VALUE\0" ..., "\0", standard input
 * Answer:   u32 exit status, u32 length of stdout, u32 length of stderr, stdout, stderr       (numbers big endian)
 *
 * The socket's path: "agentSocket" of the configuration, else WEFT_AGENT_SOCKET, else the text of the file
 * "<this executable>.socket".
 *
 * Without an agent the plugins of the reference set work by themselves: the command in the file
 * "<this executable>.standalone" (one word a line) is started in this program's place, with the plugin's name behind it.
 * Not so where the configuration names the agent's socket: what it describes is the agent's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MARK "weft-cni-shim 1"
#define LIMIT (8u << 20)
#define CALL_TIMEOUT_MS 60000
#define CONNECT_TIMEOUT_MS 3000

extern char **environ;

struct buffer {
  char *bytes;
  size_t length, size;
};

static const char *command = "";
static char version[32];

static void append(struct buffer *b, const void *bytes, size_t length) {
  if (b->length + length + 1 > b->size) {
    b->size = (b->length + length + 1) * 2 + 4096;
    b->bytes = realloc(b->bytes, b->size);
    if (b->bytes == NULL) _exit(1);
  }
  memcpy(b->bytes + b->length, bytes, length);
  b->length += length;
  b->bytes[b->length] = '\0';
}

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes += n;
    length -= (size_t)n;
  }
}

static void append_quoted(struct buffer *b, const char *text) {
  append(b, "\"", 1);
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    char escaped[8];
    if (c == '"' || c == '\\') {
      escaped[0] = '\\';
      escaped[1] = (char)c;
      append(b, escaped, 2);
    } else if (c < 0x20) {
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      append(b, escaped, 6);
    } else {
      append(b, text, 1);
    }
  }
  append(b, "\"", 1);
}

/* A CNI error on stdout, exit status 1. */
static void fail(int code, const char *message, const char *details) {
  struct buffer out = {0};
  char number[48];
  append(&out, "{\n    ", 6);
  if (version[0] != '\0') {
    append(&out, "\"cniVersion\": ", 14);
    append_quoted(&out, version);
    append(&out, ",\n    ", 6);
  }
  append(&out, number, (size_t)snprintf(number, sizeof number, "\"code\": %d,\n    \"msg\": ", code));
  append_quoted(&out, message);
  if (details != NULL) {
    append(&out, ",\n    \"details\": ", 17);
    append_quoted(&out, details);
  }
  append(&out, "\n}", 2);
  write_all(1, out.bytes, out.length);
  _exit(1);
}

static void defer_removal(const char *path, int error);

/* The agent cannot be reached: "try again later", or for STATUS "not available". DEL is left for it to do. */
static void away(const char *what, const char *path, int error) {
  char message[512];
  defer_removal(path, error);
  snprintf(message, sizeof message, "%s %s: %s", what, path, error == 0 ? "connection closed" : strerror(error));
  fail(strcmp(command, "STATUS") == 0 ? 50 : 11, message, "is the weft agent of this node running?");
}

static const char *skip_string(const char *p, const char *end) {
  for (p++; p < end && *p != '"'; p++)
    if (*p == '\\') p++;
  return p < end ? p + 1 : end;
}

static const char *skip_blank(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
  return p;
}

/* Text member `key` of the outermost JSON object, letter case ignored. The agent does the real parsing. */
static int find_text(const struct buffer *json, const char *key, char *out, size_t size) {
  const char *p = json->bytes, *end = json->bytes + json->length;
  size_t key_length = strlen(key);
  int depth = 0;
  if (p == NULL) return 0;
  while (p < end) {
    if (*p == '{' || *p == '[') depth++, p++;
    else if (*p == '}' || *p == ']') depth--, p++;
    else if (*p != '"') p++;
    else {
      const char *name = p + 1;
      const char *after = skip_string(p, end);
      const char *colon = skip_blank(after, end);
      int match = depth == 1 && colon < end && *colon == ':' && (size_t)(after - name) == key_length + 1 &&
                  strncasecmp(name, key, key_length) == 0;
      p = after;
      if (!match) continue;
      p = skip_blank(colon + 1, end);
      if (p >= end || *p != '"') return 0;
      size_t n = 0;
      for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < end) p++;
        if (n + 1 >= size) return 0;
        out[n++] = *p;
      }
      out[n] = '\0';
      return n > 0;
    }
  }
  return 0;
}

static void read_input(struct buffer *in) {
  char chunk[16384];
  for (;;) {
    ssize_t n = read(0, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(5, "cannot read the network configuration from standard input", strerror(errno));
    if (n == 0) return;
    append(in, chunk, (size_t)n);
    if (in->length > LIMIT) fail(6, "the network configuration on standard input is too large", NULL);
  }
}

/* Reads the file with this suffix beside the executable, or beside what it is a symbolic link to. */
static ssize_t beside_executable(const char *suffix, char *out, size_t size) {
  const char *self = (const char *)getauxval(AT_EXECFN);
  char path[4096 + 16];
  ssize_t n;
  int fd;
  if (self == NULL) return 0;
  snprintf(path, sizeof path, "%s%s", self, suffix);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    char target[4096];
    n = readlink("/proc/self/exe", target, sizeof target - 1);
    if (n <= 0) return 0;
    target[n] = '\0';
    snprintf(path, sizeof path, "%s%s", target, suffix);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
  }
  n = read(fd, out, size - 1);
  close(fd);
  if (n <= 0) return 0;
  out[n] = '\0';
  return n;
}

static int socket_beside_executable(char *out, size_t size) {
  if (beside_executable(".socket", out, size) <= 0) return 0;
  out[strcspn(out, "\r\n")] = '\0';
  return out[0] != '\0';
}

/* What was read from standard input, for as long as the call may be answered without an agent. */
static const struct buffer *alone;
static const char *plugin = "weft";

/* Becomes the plugin that works without an agent. Returns when there is none. */
static void run_alone(void) {
  static char words[4096];
  char *argv[16];
  size_t argc = 0;
  int fd;
  /* What these keep is the agent's. */
  if (alone == NULL || strncmp(plugin, "weft", 4) == 0 || strcmp(plugin, "multus") == 0) return;
  if (beside_executable(".standalone", words, sizeof words) <= 0) return;
  for (char *word = strtok(words, "\r\n"); word != NULL && argc < 14; word = strtok(NULL, "\r\n")) argv[argc++] = word;
  if (argc == 0 || access(argv[0], X_OK) != 0) return;
  argv[argc++] = (char *)plugin;
  argv[argc] = NULL;
  fd = memfd_create("cni", 0);
  if (fd < 0) return;
  write_all(fd, alone->bytes == NULL ? "" : alone->bytes, alone->length);
  if (lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, 0) == 0) execv(argv[0], argv);
}

/* `dhcp daemon`, as which the units of the reference plugins start their daemon: another program of ours is it. */
static int run_daemon(int count, char **args) {
  static char words[4096];
  char *argv[64];
  int argc = 0;
  if (beside_executable(".standalone", words, sizeof words) > 0)
    for (char *word = strtok(words, "\r\n"); word != NULL && argc < 14; word = strtok(NULL, "\r\n")) argv[argc++] = word;
  if (argc > 0) {
    argv[argc++] = "dhcp";
    for (int i = 1; i < count && argc < 63; i++) argv[argc++] = args[i];
    argv[argc] = NULL;
    execv(argv[0], argv);
  }
  fprintf(stderr, "dhcp daemon: no program to start; use weft dhcp daemon, or install the plugins with weft cni install\n");
  return 1;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_for(int fd, short events, int64_t deadline, const char *path) {
  for (;;) {
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline - now_ms();
    int n = left <= 0 ? 0 : poll(&p, 1, (int)left);
    if (n > 0) return;
    if (n == 0) away("the weft agent did not answer in time at", path, ETIMEDOUT);
    if (errno != EINTR) away("cannot wait for the weft agent at", path, errno);
  }
}

static int dial(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int64_t deadline = now_ms() + CONNECT_TIMEOUT_MS;
  int fd;
  if (strlen(path) >= sizeof address.sun_path) away("the path of the weft agent's socket is too long:", path, ENAMETOOLONG);
  strcpy(address.sun_path, path);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) away("cannot make a socket for", path, errno);
  while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    /* EAGAIN: the agent's queue of waiting connections is full. */
    if (errno != EAGAIN && errno != EINTR) {
      int error = errno;
      if (error == ENOENT || error == ECONNREFUSED) run_alone();
      away("cannot reach the weft agent at", path, error);
    }
    if (now_ms() > deadline) away("the weft agent is too busy at", path, ETIMEDOUT);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
  return fd;
}

static void put32(unsigned char *p, uint32_t v) {
  p[0] = (unsigned char)(v >> 24), p[1] = (unsigned char)(v >> 16), p[2] = (unsigned char)(v >> 8), p[3] = (unsigned char)v;
}

static uint32_t get32(const char *s) {
  const unsigned char *p = (const unsigned char *)s;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void send_request(int fd, struct buffer *request, int64_t deadline, const char *path) {
  size_t sent = 0;
  put32((unsigned char *)request->bytes + 4, (uint32_t)(request->length - 8));
  while (sent < request->length) {
    ssize_t n = send(fd, request->bytes + sent, request->length - sent, MSG_NOSIGNAL);
    if (n > 0) sent += (size_t)n;
    else if (errno == EAGAIN) wait_for(fd, POLLOUT, deadline, path);
    else if (errno != EINTR) away("lost the weft agent at", path, errno);
  }
}

static void read_answer(int fd, struct buffer *answer, int64_t deadline, const char *path) {
  char chunk[16384];
  for (;;) {
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n > 0) append(answer, chunk, (size_t)n);
    else if (n == 0) away("the weft agent went away during the call at", path, 0);
    else if (errno == EAGAIN) wait_for(fd, POLLIN, deadline, path);
    else if (errno != EINTR) away("lost the weft agent at", path, errno);
    if (answer->length < 12) continue;
    uint32_t out = get32(answer->bytes + 4), err = get32(answer->bytes + 8);
    if (out > LIMIT || err > LIMIT) away("bad answer of the weft agent at", path, EPROTO);
    if (answer->length >= 12 + (size_t)out + err) return;
  }
}

/* The request, for as long as it may be left in the agent's directory of removals. */
static struct buffer *deferrable;

static int call_agent(const char *path, struct buffer *request) {
  struct buffer answer = {0};
  int fd = dial(path);
  int64_t deadline = now_ms() + CALL_TIMEOUT_MS;
  send_request(fd, request, deadline, path);
  read_answer(fd, &answer, deadline, path);
  uint32_t out = get32(answer.bytes + 4), err = get32(answer.bytes + 8);
  write_all(2, answer.bytes + 12 + out, err);
  write_all(1, answer.bytes + 12, out);
  return (int)get32(answer.bytes);
}

static int save(const char *file, const struct buffer *request) {
  char unfinished[700];
  size_t done = 0;
  snprintf(unfinished, sizeof unfinished, "%s:new", file);
  int fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return 0;
  while (done < request->length) {
    ssize_t n = write(fd, request->bytes + done, request->length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  close(fd);
  if (done == request->length && rename(unfinished, file) == 0) return 1;
  unlink(unfinished);
  return 0;
}

/*
 * A container must be able to go while no agent runs. The call is left in the directory "<socket>.del", which the agent
 * reads as soon as it listens and before it answers anybody: whoever cannot connect afterwards has been in time.
 */
static void defer_removal(const char *path, int error) {
  struct buffer *request = deferrable;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct timespec t;
  char file[640];
  if (request == NULL || (error != 0 && error != ECONNREFUSED && error != ENOENT && error != ECONNRESET && error != EPIPE)) return;
  deferrable = NULL;
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(file, sizeof file, "%s.del/%011lld.%09ld.%d", path, (long long)t.tv_sec, t.tv_nsec, (int)getpid());
  put32((unsigned char *)request->bytes + 4, (uint32_t)(request->length - 8));
  if (!save(file, request)) return;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  strcpy(address.sun_path, path);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) _exit(0);
  close(fd);
  /* It is there now. If it has the file already, it does the rest. */
  if (unlink(file) != 0) _exit(0);
  _exit(call_agent(path, request));
}

int main(int argc, char **argv) {
  struct buffer in = {0}, request = {0};
  char path[512];
  const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
  name = name != NULL ? name + 1 : argc > 0 ? argv[0] : "weft";
  if (argc > 1 && strcmp(argv[1], "--" MARK) == 0) return 0;
  if (getenv("CNI_COMMAND") == NULL && argc > 1 && strcmp(name, "dhcp") == 0 && strcmp(argv[1], "daemon") == 0) {
    return run_daemon(argc, argv);
  }
  if (getenv("CNI_COMMAND") != NULL) {
    command = getenv("CNI_COMMAND");
    read_input(&in);
    find_text(&in, "cniVersion", version, sizeof version);
  }
  plugin = name;
  if (!find_text(&in, "agentSocket", path, sizeof path)) {
    alone = &in;
    const char *given = getenv("WEFT_AGENT_SOCKET");
    if (given != NULL && given[0] != '\0' && strlen(given) < sizeof path) strcpy(path, given);
    else if (!socket_beside_executable(path, sizeof path)) {
      run_alone();
      fail(7, "where is the weft agent? no \"agentSocket\" in the network configuration",
           "set it, or WEFT_AGENT_SOCKET, or write the socket's path to the file <plugin>.socket beside the plugin");
    }
  }
  append(&request, "WCNI\0\0\0\0WEFT_PLUGIN=", 20);
  append(&request, name, strlen(name) + 1);
  for (char **e = environ; *e != NULL; e++)
    if (strncmp(*e, "CNI_", 4) == 0 || strncmp(*e, "TRACEPARENT=", 12) == 0 || strncmp(*e, "TRACESTATE=", 11) == 0 ||
        strncmp(*e, "BAGGAGE=", 8) == 0)
      append(&request, *e, strlen(*e) + 1);
  append(&request, "\0", 1);
  if (in.length > 0) append(&request, in.bytes, in.length);

  if (strcmp(command, "DEL") == 0) deferrable = &request;
  return call_agent(path, &request);
}
