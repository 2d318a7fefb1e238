/* A program that needs nothing of its surroundings: built static, it is all that a layer holds of a system. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    char *names[256];
    size_t n = 0;
    DIR *directory = opendir(path);
    if (!directory) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    for (struct dirent *entry; n < 256 && (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[n++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? " " : "", names[i]);
    printf("\n");
}

static void cat(const char *path) {
    char bytes[65536];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
        fwrite(bytes, 1, (size_t)n, stdout);
    close(fd);
}

/* A new file, or another byte in one that is there. */
static void write_to(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    int failed = fd < 0 || write(fd, "x", 1) != 1;
    printf("%s: %s\n", path, failed ? strerror(errno) : "written");
    if (fd >= 0)
        close(fd);
}

/* Pairs of what to do and to what. */
int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *path = argv[i + 1];
        struct stat found;
        if (!strcmp(argv[i], "ls"))
            list(path);
        else if (!strcmp(argv[i], "cat"))
            cat(path);
        else if (!strcmp(argv[i], "write"))
            write_to(path);
        else if (!strcmp(argv[i], "unlink"))
            printf("%s: %s\n", path, unlink(path) ? strerror(errno) : "gone");
        else if (!strcmp(argv[i], "mkdir"))
            printf("%s: %s\n", path, mkdir(path, 0755) ? strerror(errno) : "made");
        else if (!strcmp(argv[i], "owner"))
            printf("%d %d\n", stat(path, &found) ? -1 : (int)found.st_uid, (int)getuid());
        else
            return 9;
    }
    return 0;
}
