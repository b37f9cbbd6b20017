/*
 * Preloaded into a process (LD_PRELOAD), lets its n-th change of the file system fail, end the process, or come in pieces.
 *
 *   REPA_FAULT=kill:N:SIGNAL   a signal before the N-th change
 *   REPA_FAULT=torn:N          SIGKILL in the middle of the N-th change: after half of a write, after any other
 *   REPA_FAULT=fail:N:ERRNO    the N-th change fails
 *   REPA_FAULT=full:N:ERRNO    from the N-th on, all that takes space fails
 *   REPA_FAULT=gone:N:ERRNO    from the N-th write to descriptor 1 on, they fail
 *   REPA_FAULT=short:N         what is read or written goes in pieces of half of what was asked for, N bytes at least
 *   REPA_FAULT=again:N:ERRNO   every N-th write fails once, and every N-th read of standard input (EAGAIN: of pipes alone)
 *   REPA_FAULT_TOLD=FILE       gets a line when it happens: the call, and what it was about
 *
 * Changes are calls that create, write, cut, rename or remove. `fail` counts those too that only settle: fsync, and close of
 * what was written. Sockets, devices and /proc are let alone. What goes in pieces are standard input, output and error, and files
 * below REPA_FAULT_UNDER: a program's own code is read at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { NONE, KILL, TORN, FAIL, FULL, GONE, SHORT, AGAIN };
/* What a call does: takes space, only settles what was done before, or neither. */
enum effect { SPACE, SETTLE, OTHER };
enum answer { PROCEED, REFUSE, TEAR };

static enum mode mode;
static long at;
static int number; /* of a signal, or errno */
static const char *told, *under;
static atomic_long count;

__attribute__((constructor)) static void read_settings(void) {
  static const char *const names[] = {"", "kill", "torn", "fail", "full", "gone", "short", "again"};
  const char *text = getenv("REPA_FAULT");
  told = getenv("REPA_FAULT_TOLD");
  under = getenv("REPA_FAULT_UNDER");
  if (text == NULL) return;
  char name[16];
  if (sscanf(text, "%15[^:]:%ld:%d", name, &at, &number) < 2) return;
  for (enum mode each = KILL; each <= AGAIN; each++)
    if (strcmp(name, names[each]) == 0) mode = each;
}

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }
#define NEXT(name) static __typeof__(name) *real; if (real == NULL) real = next(#name)

/* By system calls of its own, so that it changes nothing of what is counted. */
static void tell(const char *call, const char *about) {
  static atomic_flag once = ATOMIC_FLAG_INIT;
  if (told == NULL || atomic_flag_test_and_set(&once)) return;
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s %s\n", call, about);
  int fd = syscall(SYS_openat, AT_FDCWD, told, O_WRONLY | O_CREAT | O_APPEND, 0600);
  syscall(SYS_write, fd, line, length);
  syscall(SYS_close, fd);
}

static enum answer hit(const char *call, const char *about, enum effect effect) {
  if (mode != KILL && mode != TORN && mode != FAIL && mode != FULL) return PROCEED;
  if (effect == SETTLE && mode != FAIL) return PROCEED;
  if (effect != SPACE && mode == FULL) return PROCEED;
  long this = atomic_fetch_add(&count, 1) + 1;
  if (mode == FULL ? this < at : this != at) return PROCEED;
  tell(call, about);
  if (mode == TORN) return TEAR;
  if (mode == KILL) {
    raise(number);
    return PROCEED;
  }
  errno = number;
  return REFUSE;
}

static int is_let_alone(const char *path) {
  return strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

/* Of a call about a path; what follows a torn one is the end. */
static enum answer named(const char *call, const char *path, enum effect effect) {
  return mode == NONE || is_let_alone(path) ? PROCEED : hit(call, path, effect);
}

static int is_kind(int fd, mode_t kind) {
  struct stat stat;
  return fstat(fd, &stat) == 0 && (stat.st_mode & S_IFMT) == kind;
}

static void name_of(int fd, char *name, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, size - 1);
  name[length < 0 ? 0 : length] = 0;
}

/* Of a call about an open file. */
static enum answer opened(const char *call, int fd, enum effect effect) {
  if (mode == NONE || mode >= GONE || !is_kind(fd, S_IFREG)) return PROCEED;
  char name[PATH_MAX];
  name_of(fd, name, sizeof name);
  return is_let_alone(name) ? PROCEED : hit(call, name, effect);
}

static void end(void) { raise(SIGKILL); }

/* Whether what goes through a descriptor may come in pieces. */
static int is_divided(int fd) {
  if (is_kind(fd, S_IFIFO)) return fd <= 2;
  if (under == NULL || !is_kind(fd, S_IFREG)) return 0;
  char name[PATH_MAX];
  name_of(fd, name, sizeof name);
  return strncmp(name, under, strlen(under)) == 0;
}

/* Whether a read or write fails, for good or for once. */
static int fails(int fd, int is_write) {
  if (mode == GONE && is_write && fd == 1 && atomic_fetch_add(&count, 1) + 1 >= at) {
    tell("write", "standard output");
    errno = number;
    return 1;
  }
  if (mode != AGAIN || !(is_write || fd == 0)) return 0;
  if (!is_divided(fd) || (number == EAGAIN && !is_kind(fd, S_IFIFO))) return 0;
  if ((atomic_fetch_add(&count, 1) + 1) % at != 0) return 0;
  errno = number;
  return 1;
}

/* How much of `size` bytes is moved at once. */
static size_t portion(int fd, size_t size) {
  if (mode != SHORT || size <= (size_t)at || !is_divided(fd)) return size;
  size_t half = size / 2;
  return half < (size_t)at ? (size_t)at : half;
}

/* The first `portion` bytes of several pieces, in `some`: their number. */
static int some_of(const struct iovec *pieces, int many, size_t size, struct iovec *some) {
  int taken = 0;
  for (; taken < many && size > 0; taken++) {
    some[taken] = pieces[taken];
    if (some[taken].iov_len > size) some[taken].iov_len = size;
    size -= some[taken].iov_len;
  }
  return taken;
}

static size_t length_of(const struct iovec *pieces, int many) {
  size_t size = 0;
  for (int i = 0; i < many; i++) size += pieces[i].iov_len;
  return size;
}

#define MOVE_ONE(size, is_write, call)                                  \
  if (fails(fd, is_write)) return -1;                                   \
  size_t part = portion(fd, size);                                      \
  enum answer answer = is_write ? opened("write", fd, SPACE) : PROCEED; \
  if (answer == REFUSE) return -1;                                      \
  if (answer == TEAR) part = (size) / 2;                                \
  ssize_t moved = call;                                                 \
  if (answer == TEAR) end();                                            \
  return moved

#define MOVE_MANY(is_write, call)                                        \
  if (fails(fd, is_write)) return -1;                                    \
  size_t size = length_of(pieces, many), part = portion(fd, size);       \
  enum answer answer = is_write ? opened("writev", fd, SPACE) : PROCEED; \
  if (answer == REFUSE) return -1;                                       \
  if (answer == TEAR) part = size / 2;                                   \
  struct iovec *some = malloc((many + 1) * sizeof *some);                \
  int taken = some_of(pieces, many, part, some);                         \
  ssize_t moved = call;                                                  \
  int saved = errno;                                                     \
  free(some);                                                            \
  errno = saved;                                                         \
  if (answer == TEAR) end();                                             \
  return moved

ssize_t write(int fd, const void *bytes, size_t size) { NEXT(write); MOVE_ONE(size, 1, real(fd, bytes, part)); }
ssize_t read(int fd, void *bytes, size_t size) { NEXT(read); MOVE_ONE(size, 0, real(fd, bytes, part)); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t to) {
  NEXT(pwrite);
  MOVE_ONE(size, 1, real(fd, bytes, part, to));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t to) {
  NEXT(pwrite64);
  MOVE_ONE(size, 1, real(fd, bytes, part, to));
}
ssize_t pread(int fd, void *bytes, size_t size, off_t from) {
  NEXT(pread);
  MOVE_ONE(size, 0, real(fd, bytes, part, from));
}
ssize_t pread64(int fd, void *bytes, size_t size, off64_t from) {
  NEXT(pread64);
  MOVE_ONE(size, 0, real(fd, bytes, part, from));
}
ssize_t writev(int fd, const struct iovec *pieces, int many) { NEXT(writev); MOVE_MANY(1, real(fd, some, taken)); }
ssize_t readv(int fd, const struct iovec *pieces, int many) { NEXT(readv); MOVE_MANY(0, real(fd, some, taken)); }
ssize_t pwritev(int fd, const struct iovec *pieces, int many, off_t to) {
  NEXT(pwritev);
  MOVE_MANY(1, real(fd, some, taken, to));
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int many, off64_t to) {
  NEXT(pwritev64);
  MOVE_MANY(1, real(fd, some, taken, to));
}
ssize_t preadv64(int fd, const struct iovec *pieces, int many, off64_t from) {
  NEXT(preadv64);
  MOVE_MANY(0, real(fd, some, taken, from));
}

#define CHANGE(asked, call)           \
  enum answer answer = asked;         \
  if (answer == REFUSE) return -1;    \
  int result = call;                  \
  if (answer == TEAR) end();          \
  return result

#define OPEN(call)                                                           \
  mode_t permissions = 0;                                                    \
  if (flags & (O_CREAT | O_TMPFILE)) {                                       \
    va_list rest;                                                            \
    va_start(rest, flags);                                                   \
    permissions = va_arg(rest, mode_t);                                      \
    va_end(rest);                                                            \
  }                                                                          \
  enum effect effect = flags & O_CREAT ? SPACE : OTHER;                      \
  int changes = (flags & (O_CREAT | O_TRUNC)) != 0;                          \
  CHANGE(changes ? named("open", path, effect) : PROCEED, call)

int open(const char *path, int flags, ...) { NEXT(open); OPEN(real(path, flags, permissions)); }
int open64(const char *path, int flags, ...) { NEXT(open64); OPEN(real(path, flags, permissions)); }
int openat(int folder, const char *path, int flags, ...) { NEXT(openat); OPEN(real(folder, path, flags, permissions)); }
int openat64(int folder, const char *path, int flags, ...) {
  NEXT(openat64);
  OPEN(real(folder, path, flags, permissions));
}

int rename(const char *from, const char *to) { NEXT(rename); CHANGE(named("rename", to, OTHER), real(from, to)); }
int link(const char *from, const char *to) { NEXT(link); CHANGE(named("link", to, SPACE), real(from, to)); }
int symlink(const char *from, const char *to) { NEXT(symlink); CHANGE(named("symlink", to, SPACE), real(from, to)); }
int unlink(const char *path) { NEXT(unlink); CHANGE(named("unlink", path, OTHER), real(path)); }
int unlinkat(int folder, const char *path, int flags) {
  NEXT(unlinkat);
  CHANGE(named("unlinkat", path, OTHER), real(folder, path, flags));
}
int rmdir(const char *path) { NEXT(rmdir); CHANGE(named("rmdir", path, OTHER), real(path)); }
int mkdir(const char *path, mode_t permissions) {
  NEXT(mkdir);
  CHANGE(named("mkdir", path, SPACE), real(path, permissions));
}
int ftruncate(int fd, off_t size) { NEXT(ftruncate); CHANGE(opened("ftruncate", fd, OTHER), real(fd, size)); }
int ftruncate64(int fd, off64_t size) { NEXT(ftruncate64); CHANGE(opened("ftruncate", fd, OTHER), real(fd, size)); }
int fchmod(int fd, mode_t permissions) { NEXT(fchmod); CHANGE(opened("fchmod", fd, OTHER), real(fd, permissions)); }
int fsync(int fd) { NEXT(fsync); CHANGE(opened("fsync", fd, SETTLE), real(fd)); }
int fdatasync(int fd) { NEXT(fdatasync); CHANGE(opened("fdatasync", fd, SETTLE), real(fd)); }

/* As on a network's disk, what was written may fail to arrive at the end; the descriptor is free all the same. */
int close(int fd) {
  NEXT(close);
  int flags = mode == FAIL ? fcntl(fd, F_GETFL) : 0;
  enum answer answer = flags > 0 && (flags & O_ACCMODE) != O_RDONLY ? opened("close", fd, SETTLE) : PROCEED;
  int result = real(fd);
  if (answer != REFUSE) return result;
  errno = number;
  return -1;
}
