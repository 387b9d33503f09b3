/* Preloaded into a process whose disk keeps nothing but what was synced: fsync and fdatasync of a database file (or of its
 * write-ahead log) copy the file to FILE.synced, in one step. What a power cut leaves behind is FILE.synced.
 *
 * With LANDBRIDGE_TEST_DEAF_DISK set, nothing is ever copied: a disk that lies, or a program that does not sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static int copy(int from, const char *path) {
    char synced[4200], fresh[4200];
    char buffer[1 << 16];
    struct stat size;
    snprintf(synced, sizeof synced, "%s.synced", path);
    snprintf(fresh, sizeof fresh, "%s.syncing", path);
    int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0 || fstat(from, &size) != 0) return -1;
    for (off_t at = 0; at < size.st_size;) {
        ssize_t got = pread(from, buffer, sizeof buffer, at);
        if (got <= 0 || write(to, buffer, (size_t)got) != got) {
            close(to);
            return -1;
        }
        at += got;
    }
    close(to);
    return rename(fresh, synced);
}

static int sync_file(int fd, const char *name) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (ends_with(path, ".db") || ends_with(path, ".db-wal")) {
            if (getenv("LANDBRIDGE_TEST_DEAF_DISK")) return 0;
            pthread_mutex_lock(&copying);
            int done = copy(fd, path);
            pthread_mutex_unlock(&copying);
            if (done != 0) errno = EIO;
            return done;
        }
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_file(fd, "fsync"); }

int fdatasync(int fd) { return sync_file(fd, "fdatasync"); }
