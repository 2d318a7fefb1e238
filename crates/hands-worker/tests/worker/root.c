/* All that the layers hold of a system: says what it sees, and makes an output. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char line[64] = "";
    FILE *note = fopen("/note", "r");
    if (note && fgets(line, sizeof line, note))
        printf("note %s", line);
    printf("usr %s\n", opendir("/usr") ? "there" : strerror(errno));
    printf("path %s\n", getenv("PATH"));
    printf("root %s\n", fopen("/x", "w") ? "written" : strerror(errno));
    FILE *out = fopen("out", "w");
    return !out || fputs("made\n", out) < 0 || fclose(out);
}
