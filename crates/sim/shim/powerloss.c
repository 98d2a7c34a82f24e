/* Remembers what a program has synced, so that a test can take away the rest.
 *
 * Preloaded into the program (LD_PRELOAD). For files below $POWERLOSS_DIR it keeps a shadow in $POWERLOSS_SHADOW that holds
 * only what reached the platter for certain:
 *
 *     f-KEY   the bytes and the length of a file as of its last fsync or fdatasync
 *     d-KEY   the entries of a directory as of its last fsync: one line each, "f KEY NAME" or "d KEY NAME"
 *
 * KEY is inode number, birth time and generation, so that a number given twice is not taken for the same file. Creating,
 * renaming and removing need no hook: a directory's entries count when the directory is synced, and not before.
 *
 * Calls are passed on as raw system calls; nothing is looked up and nothing is allocated before main. What the program
 * writes by other ways (io_uring, raw system calls of its own, sync(), O_SYNC) is not seen: O_SYNC and O_DSYNC end the
 * program with a message, the others would show as data that was lost although it was synced.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/fs.h>

#define KEY_MAX 96
#define RANGES_MAX 8192
#define BUCKETS 1024

struct range { off_t from, to; };

struct node {
    struct node *next;
    char key[KEY_MAX];
    int below;             /* under $POWERLOSS_DIR */
    int all;               /* everything is dirty */
    int mapped;            /* written through memory: everything is always dirty */
    size_t n;
    struct range ranges[]; /* RANGES_MAX of them where `below`, none elsewhere */
};

static char dir[PATH_MAX], shadow[PATH_MAX];
static size_t dir_len;
static int active;
static struct node *nodes[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what) {
    dprintf(2, "powerloss: %s (%s)\n", what, strerror(errno));
    abort();
}

static int real_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

__attribute__((constructor)) static void begin(void) {
    const char *d = getenv("POWERLOSS_DIR"), *s = getenv("POWERLOSS_SHADOW");
    if (!d || !s) return;
    dir_len = strlen(d);
    if (dir_len >= sizeof dir || strlen(s) >= sizeof shadow - KEY_MAX) die("a path is too long");
    memcpy(dir, d, dir_len + 1);
    strcpy(shadow, s);
    char path[PATH_MAX + KEY_MAX];
    snprintf(path, sizeof path, "%s/loaded", shadow);
    int fd = real_open(path, O_CREAT | O_WRONLY, 0644);
    if (fd < 0) die("cannot write to the shadow");
    close(fd);
    active = 1;
}

/* Fills in the key and gives the file's type, 0 if it is of no interest. */
static int identify(int fd, char key[KEY_MAX], off_t *size) {
    struct statx st;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) return 0;
    int type = st.stx_mode & S_IFMT;
    if (type != S_IFREG && type != S_IFDIR) return 0;
    long generation = 0;
    if (syscall(SYS_ioctl, fd, FS_IOC_GETVERSION, &generation) != 0) generation = 0;
    long long born = (st.stx_mask & STATX_BTIME) ? (long long)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec : 0;
    snprintf(key, KEY_MAX, "%llu-%lld-%u", (unsigned long long)st.stx_ino, born, (unsigned)generation);
    if (size) *size = (off_t)st.stx_size;
    return type;
}

static int is_below(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0);
}

/* The node of an open file; the lock is held. */
static struct node *node_of(int fd, const char *key) {
    uint32_t h = 2166136261u;
    for (const char *c = key; *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
    struct node **at = &nodes[h % BUCKETS];
    for (struct node *n = *at; n; n = n->next)
        if (strcmp(n->key, key) == 0) return n;
    int below = is_below(fd);
    struct node *n = calloc(1, sizeof *n + (below ? RANGES_MAX * sizeof(struct range) : 0));
    if (!n) die("no memory");
    strcpy(n->key, key);
    n->below = below;
    n->next = *at;
    *at = n;
    return n;
}

static void mark(int fd, off_t from, off_t to, int all) {
    if (!active) return;
    int saved = errno;
    char key[KEY_MAX];
    if (identify(fd, key, NULL) == S_IFREG) {
        pthread_mutex_lock(&lock);
        struct node *n = node_of(fd, key);
        if (n->below) {
            struct range *last = n->n ? &n->ranges[n->n - 1] : NULL;
            if (all || n->n == RANGES_MAX) {
                n->all = 1;
            } else if (last && from <= last->to && to >= last->from) {
                if (from < last->from) last->from = from;
                if (to > last->to) last->to = to;
            } else {
                n->ranges[n->n++] = (struct range){from, to};
            }
        }
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

static void copy_range(int in, int out, off_t from, off_t to) {
    static char buffer[1 << 18]; /* the lock is held */
    while (from < to) {
        size_t want = (size_t)(to - from) < sizeof buffer ? (size_t)(to - from) : sizeof buffer;
        ssize_t n = pread(in, buffer, want, from);
        if (n < 0) die("cannot read back what was written");
        if (n == 0) return;
        for (ssize_t done = 0; done < n;) {
            ssize_t w = syscall(SYS_pwrite64, out, buffer + done, (size_t)(n - done), from + done);
            if (w <= 0) die("cannot write the shadow");
            done += w;
        }
        from += n;
    }
}

static void keep_file(int fd, const char *key, off_t size) {
    pthread_mutex_lock(&lock);
    struct node *n = node_of(fd, key);
    if (n->below) {
        char path[PATH_MAX + KEY_MAX + 8], self[64];
        snprintf(path, sizeof path, "%s/f-%s", shadow, key);
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        int out = real_open(path, O_CREAT | O_WRONLY, 0644), in = real_open(self, O_RDONLY, 0);
        if (out < 0 || in < 0) die("cannot open the shadow of a file");
        if (n->all || n->mapped) {
            copy_range(in, out, 0, size);
        } else {
            for (size_t i = 0; i < n->n; i++) copy_range(in, out, n->ranges[i].from, n->ranges[i].to);
        }
        if (syscall(SYS_ftruncate, out, size) != 0) die("cannot set the length of a shadow");
        n->n = 0;
        n->all = 0;
        close(in);
        close(out);
    }
    pthread_mutex_unlock(&lock);
}

static void keep_dir(int fd, const char *key) {
    pthread_mutex_lock(&lock);
    struct node *n = node_of(fd, key);
    if (n->below) {
        char path[PATH_MAX + KEY_MAX + 8], tmp[PATH_MAX + KEY_MAX + 16], self[64];
        snprintf(path, sizeof path, "%s/d-%s", shadow, key);
        snprintf(tmp, sizeof tmp, "%s.tmp", path);
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        int out = real_open(tmp, O_CREAT | O_TRUNC | O_WRONLY, 0644), in = real_open(self, O_RDONLY | O_DIRECTORY, 0);
        if (out < 0 || in < 0) die("cannot open the shadow of a directory");
        DIR *d = fdopendir(in);
        if (!d) die("cannot list a directory");
        for (struct dirent *e; (e = readdir(d));) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            int entry = (int)syscall(SYS_openat, in, e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
            if (entry < 0) continue; /* removed meanwhile, or no file */
            char entry_key[KEY_MAX], line[KEY_MAX + NAME_MAX + 8];
            int type = identify(entry, entry_key, NULL);
            close(entry);
            if (!type) continue;
            int len = snprintf(line, sizeof line, "%c %s %s\n", type == S_IFDIR ? 'd' : 'f', entry_key, e->d_name);
            if (syscall(SYS_write, out, line, (size_t)len) != len) die("cannot write the shadow of a directory");
        }
        closedir(d);
        close(out);
        if (rename(tmp, path) != 0) die("cannot replace the shadow of a directory");
    }
    pthread_mutex_unlock(&lock);
}

static int keep(int fd, int result) {
    if (result != 0 || !active) return result;
    int saved = errno;
    char key[KEY_MAX];
    off_t size = 0;
    int type = identify(fd, key, &size);
    if (type == S_IFREG) keep_file(fd, key, size);
    if (type == S_IFDIR) keep_dir(fd, key);
    errno = saved;
    return result;
}

int fsync(int fd) { return keep(fd, (int)syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { return keep(fd, (int)syscall(SYS_fdatasync, fd)); }

static int opened(int fd, int flags) {
    if (fd < 0 || !active || !(flags & (O_TRUNC | O_DSYNC))) return fd;
    if (is_below(fd)) {
        if (flags & O_DSYNC) die("O_SYNC and O_DSYNC are not understood here");
        mark(fd, 0, 0, 1);
    }
    return fd;
}

#define MODE(flags, last)                                                   \
    mode_t mode = 0;                                                        \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {          \
        va_list args;                                                       \
        va_start(args, last);                                               \
        mode = va_arg(args, mode_t);                                        \
        va_end(args);                                                       \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, flags)
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags);
}
int open64(const char *path, int flags, ...) {
    MODE(flags, flags)
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags);
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags, flags)
    return opened((int)syscall(SYS_openat, at, path, flags, mode), flags);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, flags)
    return opened((int)syscall(SYS_openat, at, path, flags, mode), flags);
}
int creat(const char *path, mode_t mode) {
    int flags = O_CREAT | O_WRONLY | O_TRUNC;
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* A write at the cursor: where it went is known afterwards. */
static ssize_t wrote(int fd, ssize_t n) {
    if (n > 0 && active) {
        int saved = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        errno = saved;
        if (end >= n) mark(fd, end - n, end, 0);
    }
    return n;
}

static ssize_t wrote_at(int fd, ssize_t n, off_t at) {
    if (n > 0) mark(fd, at, at + n, 0);
    return n;
}

ssize_t write(int fd, const void *p, size_t n) { return wrote(fd, syscall(SYS_write, fd, p, n)); }
ssize_t writev(int fd, const struct iovec *v, int n) { return wrote(fd, syscall(SYS_writev, fd, v, n)); }
ssize_t pwrite(int fd, const void *p, size_t n, off_t at) { return wrote_at(fd, syscall(SYS_pwrite64, fd, p, n, at), at); }
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) { return pwrite(fd, p, n, at); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) {
    return wrote_at(fd, syscall(SYS_pwritev, fd, v, n, at, 0L), at);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) { return pwritev(fd, v, n, at); }
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags) {
    if (active && flags & (RWF_SYNC | RWF_DSYNC) && is_below(fd)) die("RWF_SYNC and RWF_DSYNC are not understood here");
    ssize_t done = syscall(SYS_pwritev2, fd, v, n, at, 0L, flags);
    return at == -1 ? wrote(fd, done) : wrote_at(fd, done, at);
}
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) { return pwritev2(fd, v, n, at, flags); }

/* What is cut off and grown again is zeros. */
int ftruncate(int fd, off_t len) {
    char key[KEY_MAX];
    off_t size = 0;
    int saved = errno;
    int regular = active && identify(fd, key, &size) == S_IFREG;
    errno = saved;
    int result = (int)syscall(SYS_ftruncate, fd, len);
    if (result == 0 && regular && size > len) mark(fd, len, size, 0);
    return result;
}
int ftruncate64(int fd, off64_t len) { return ftruncate(fd, len); }

/* Plain reservation changes the length at most, and the length is taken at the sync. */
int fallocate(int fd, int mode, off_t at, off_t len) {
    int result = (int)syscall(SYS_fallocate, fd, mode, at, len);
    if (result == 0 && mode & ~FALLOC_FL_KEEP_SIZE) mark(fd, 0, 0, 1);
    return result;
}
int fallocate64(int fd, int mode, off64_t at, off64_t len) { return fallocate(fd, mode, at, len); }

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags) {
    ssize_t done = syscall(SYS_copy_file_range, in, in_at, out, out_at, n, flags);
    if (done > 0) mark(out, 0, 0, 1);
    return done;
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) {
    ssize_t done = syscall(SYS_sendfile, out, in, at, n);
    if (done > 0) mark(out, 0, 0, 1);
    return done;
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) { return sendfile(out, in, at, n); }

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at) {
    void *p = (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, at);
    if (active && p != MAP_FAILED && fd >= 0 && flags & MAP_SHARED && prot & PROT_WRITE) {
        int saved = errno;
        char key[KEY_MAX];
        if (identify(fd, key, NULL) == S_IFREG) {
            pthread_mutex_lock(&lock);
            node_of(fd, key)->mapped = 1;
            pthread_mutex_unlock(&lock);
        }
        errno = saved;
    }
    return p;
}
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t at) { return mmap(addr, len, prot, flags, fd, at); }
