/* Makes chosen calls of the file system fail, for tests: LD_PRELOAD this library, and set

     FAULT_UNDER  folder (absolute, without links); only calls on paths below it, and on what was opened there, count
     FAULT_CALL   name of the call as `fails` is given it (open, read, ...), or * for any
     FAULT_NTH    which of those calls fails, from 1; 0 = none, -1 = all
     FAULT_ERRNO  the number it fails with; -1 = the process is killed right before the call instead, -2 = SIGTERM comes
                  right before it
     FAULT_HASTE  how many times as fast the clock goes (CLOCK_MONOTONIC), so that a test need not wait
     FAULT_LOG    a file outside FAULT_UNDER that takes a line `call path` for every call that counts

   Calls that differ in spelling only (open, openat, fopen ..) count as one. The C library's calls within itself are not
   seen, so functions that make several (remove, realpath, opendir) are wrapped themselves. */
#include <dirent.h>
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
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))
#define DESCRIPTORS 65536

static const char *under, *call_wanted;
static size_t under_length;
static long nth;
static int error_wanted, log_descriptor = -1;
static long long haste = 1;
static atomic_long seen;
static char *opened[DESCRIPTORS]; /* path of a descriptor that counts */

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) {
  const char *log = getenv("FAULT_LOG"), *number = getenv("FAULT_NTH"), *error = getenv("FAULT_ERRNO");
  under = getenv("FAULT_UNDER");
  under_length = under ? strlen(under) : 0;
  call_wanted = getenv("FAULT_CALL");
  nth = number ? atol(number) : 0;
  error_wanted = error ? atoi(error) : EIO;
  if (getenv("FAULT_HASTE")) haste = atoll(getenv("FAULT_HASTE"));
  if (log) log_descriptor = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  const long long second = 1000000000;
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result != 0 || clock != CLOCK_MONOTONIC || haste == 1) return result;
  const long long time = (now->tv_sec * second + now->tv_nsec) * haste;
  now->tv_sec = time / second;
  now->tv_nsec = time % second;
  return 0;
}

/* The path if it counts, else null; `buffer` takes it where it has to be put together. */
static const char *counted(int folder, const char *path, char *buffer) {
  if (!under || !path) return NULL;
  if (path[0] != '/' && folder != AT_FDCWD) {
    if (folder < 0 || folder >= DESCRIPTORS || !opened[folder]) return NULL;
    snprintf(buffer, PATH_MAX, "%s/%s", opened[folder], path);
    return buffer;
  }
  if (path[0] != '/') {
    if (!getcwd(buffer, PATH_MAX)) return NULL;
    size_t length = strlen(buffer);
    snprintf(buffer + length, PATH_MAX - length, "/%s", path);
    path = buffer;
  }
  return strncmp(path, under, under_length) == 0 && (path[under_length] == '/' || path[under_length] == '\0') ? path : NULL;
}

static const char *of_descriptor(int descriptor) {
  return descriptor >= 0 && descriptor < DESCRIPTORS ? opened[descriptor] : NULL;
}

static void remember(int descriptor, const char *path) {
  if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
  free(opened[descriptor]);
  opened[descriptor] = path ? strdup(path) : NULL;
}

/* Whether this call is to fail; errno is set then. */
static int fails(const char *call, const char *path) {
  if (!path) return 0;
  if (call_wanted && strcmp(call_wanted, "*") != 0 && strcmp(call_wanted, call) != 0) return 0;
  if (log_descriptor >= 0) {
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    if (REAL(write)(log_descriptor, line, (size_t)length) < 0) abort();
  }
  const long number = atomic_fetch_add(&seen, 1) + 1;
  if (nth != -1 && number != nth) return 0;
  if (error_wanted == -1) raise(SIGKILL);
  if (error_wanted == -2) return raise(SIGTERM);
  errno = error_wanted;
  return 1;
}

/* ---- opening ---- */

static mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                                  \
  int name(const char *path, int flags, ...) {                      \
    char buffer[PATH_MAX];                                          \
    va_list arguments;                                              \
    va_start(arguments, flags);                                     \
    const mode_t mode = mode_of(flags, arguments);                  \
    va_end(arguments);                                              \
    const char *counts = counted(AT_FDCWD, path, buffer);           \
    if (fails("open", counts)) return -1;                           \
    const int descriptor = REAL(name)(path, flags, mode);           \
    remember(descriptor, counts);                                   \
    return descriptor;                                              \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                \
  int name(int folder, const char *path, int flags, ...) {          \
    char buffer[PATH_MAX];                                          \
    va_list arguments;                                              \
    va_start(arguments, flags);                                     \
    const mode_t mode = mode_of(flags, arguments);                  \
    va_end(arguments);                                              \
    const char *counts = counted(folder, path, buffer);             \
    if (fails("open", counts)) return -1;                           \
    const int descriptor = REAL(name)(folder, path, flags, mode);   \
    remember(descriptor, counts);                                   \
    return descriptor;                                              \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                 \
  FILE *name(const char *path, const char *mode) {                  \
    char buffer[PATH_MAX];                                          \
    if (fails("open", counted(AT_FDCWD, path, buffer))) return NULL; \
    return REAL(name)(path, mode);                                  \
  }
FOPEN(fopen)
FOPEN(fopen64)

int mkostemp(char *pattern, int flags) {
  char buffer[PATH_MAX];
  const char *counts = counted(AT_FDCWD, pattern, buffer);
  if (fails("open", counts)) return -1;
  const int descriptor = REAL(mkostemp)(pattern, flags);
  remember(descriptor, counts);
  return descriptor;
}

int close(int descriptor) {
  const int failed = fails("close", of_descriptor(descriptor));
  const int error = errno, result = REAL(close)(descriptor); /* a close that fails has closed */
  remember(descriptor, NULL);
  if (!failed) return result;
  errno = error;
  return -1;
}

/* ---- what is open ---- */

#define OF_DESCRIPTOR(type, name, call, parameters, arguments)      \
  type name parameters {                                            \
    if (fails(call, of_descriptor(descriptor))) return (type)-1;    \
    return REAL(name) arguments;                                    \
  }
OF_DESCRIPTOR(ssize_t, read, "read", (int descriptor, void *data, size_t size), (descriptor, data, size))
OF_DESCRIPTOR(ssize_t, pread, "read", (int descriptor, void *data, size_t size, off_t at), (descriptor, data, size, at))
OF_DESCRIPTOR(ssize_t, pread64, "read", (int descriptor, void *data, size_t size, off64_t at), (descriptor, data, size, at))
OF_DESCRIPTOR(ssize_t, write, "write", (int descriptor, const void *data, size_t size), (descriptor, data, size))
OF_DESCRIPTOR(ssize_t, writev, "write", (int descriptor, const struct iovec *data, int count), (descriptor, data, count))
OF_DESCRIPTOR(ssize_t, pwrite, "write", (int descriptor, const void *data, size_t size, off_t at), (descriptor, data, size, at))
OF_DESCRIPTOR(ssize_t, pwrite64, "write", (int descriptor, const void *data, size_t size, off64_t at), (descriptor, data, size, at))
OF_DESCRIPTOR(int, fsync, "fsync", (int descriptor), (descriptor))
OF_DESCRIPTOR(int, fdatasync, "fsync", (int descriptor), (descriptor))
OF_DESCRIPTOR(int, ftruncate, "truncate", (int descriptor, off_t size), (descriptor, size))
OF_DESCRIPTOR(int, ftruncate64, "truncate", (int descriptor, off64_t size), (descriptor, size))
OF_DESCRIPTOR(int, flock, "flock", (int descriptor, int operation), (descriptor, operation))
OF_DESCRIPTOR(int, fstat, "stat", (int descriptor, struct stat *info), (descriptor, info))
OF_DESCRIPTOR(int, fstat64, "stat", (int descriptor, struct stat64 *info), (descriptor, info))

int posix_fallocate(int descriptor, off_t from, off_t size) {
  if (fails("fallocate", of_descriptor(descriptor))) return errno; /* it returns the number */
  return REAL(posix_fallocate)(descriptor, from, size);
}
int posix_fallocate64(int descriptor, off64_t from, off64_t size) {
  if (fails("fallocate", of_descriptor(descriptor))) return errno;
  return REAL(posix_fallocate64)(descriptor, from, size);
}

#define MMAP(name, offset)                                                                     \
  void *name(void *at, size_t size, int protection, int flags, int descriptor, offset from) { \
    if (!(flags & MAP_ANONYMOUS) && fails("mmap", of_descriptor(descriptor))) return MAP_FAILED; \
    return REAL(name)(at, size, protection, flags, descriptor, from);                         \
  }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* ---- paths ---- */

#define OF_PATH(type, bad, name, call, parameters, arguments)             \
  type name parameters {                                                  \
    char buffer[PATH_MAX];                                                \
    if (fails(call, counted(AT_FDCWD, path, buffer))) return bad;         \
    return REAL(name) arguments;                                          \
  }
OF_PATH(int, -1, stat, "stat", (const char *path, struct stat *info), (path, info))
OF_PATH(int, -1, stat64, "stat", (const char *path, struct stat64 *info), (path, info))
OF_PATH(int, -1, lstat, "stat", (const char *path, struct stat *info), (path, info))
OF_PATH(int, -1, lstat64, "stat", (const char *path, struct stat64 *info), (path, info))
OF_PATH(int, -1, mkdir, "mkdir", (const char *path, mode_t mode), (path, mode))
OF_PATH(int, -1, rmdir, "rmdir", (const char *path), (path))
OF_PATH(int, -1, unlink, "unlink", (const char *path), (path))
OF_PATH(int, -1, remove, "unlink", (const char *path), (path))
OF_PATH(int, -1, truncate, "truncate", (const char *path, off_t size), (path, size))
OF_PATH(int, -1, truncate64, "truncate", (const char *path, off64_t size), (path, size))
OF_PATH(ssize_t, -1, readlink, "readlink", (const char *path, char *to, size_t size), (path, to, size))
OF_PATH(char *, NULL, realpath, "realpath", (const char *path, char *to), (path, to))
OF_PATH(int, -1, rename, "rename", (const char *from, const char *path), (from, path))
OF_PATH(int, -1, symlink, "symlink", (const char *target, const char *path), (target, path))
OF_PATH(int, -1, link, "link", (const char *from, const char *path), (from, path))

int unlinkat(int folder, const char *path, int flags) {
  char buffer[PATH_MAX];
  if (fails(flags & AT_REMOVEDIR ? "rmdir" : "unlink", counted(folder, path, buffer))) return -1;
  return REAL(unlinkat)(folder, path, flags);
}
int renameat2(int from_folder, const char *from, int folder, const char *path, unsigned flags) {
  char buffer[PATH_MAX];
  if (fails("renameat2", counted(folder, path, buffer))) return -1;
  return REAL(renameat2)(from_folder, from, folder, path, flags);
}

/* ---- folders ---- */

DIR *opendir(const char *path) {
  char buffer[PATH_MAX];
  const char *counts = counted(AT_FDCWD, path, buffer);
  if (fails("opendir", counts)) return NULL;
  DIR *folder = REAL(opendir)(path);
  if (folder) remember(dirfd(folder), counts);
  return folder;
}
DIR *fdopendir(int descriptor) {
  if (fails("opendir", of_descriptor(descriptor))) return NULL;
  return REAL(fdopendir)(descriptor);
}
int closedir(DIR *folder) {
  remember(dirfd(folder), NULL);
  return REAL(closedir)(folder);
}
struct dirent *readdir(DIR *folder) {
  if (fails("readdir", of_descriptor(dirfd(folder)))) return NULL;
  return REAL(readdir)(folder);
}
struct dirent64 *readdir64(DIR *folder) {
  if (fails("readdir", of_descriptor(dirfd(folder)))) return NULL;
  return REAL(readdir64)(folder);
}
