/* In front of fsync and fdatasync of a node process: waits first, as long as the file HCE_SLOW_FLUSH/node-N says, in ms. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_first(void) {
    static char path[4096];
    if (!path[0]) {
        const char *folder = getenv("HCE_SLOW_FLUSH"), *log = getenv("HCE_LOG_FILE");
        const char *name = log ? strrchr(log, '/') : NULL;
        if (!folder || !name) return;
        snprintf(path, sizeof path, "%s/%.*s", folder, (int)strcspn(name + 1, "."), name + 1);
    }
    char text[16] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (read(file, text, sizeof text - 1) > 0 && atoi(text) > 0) usleep(1000 * atoi(text));
    close(file);
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_first();
    return real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_first();
    return real(file);
}
