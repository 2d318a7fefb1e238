/* Says where it runs: on a worker, not where you typed. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    char host[256] = "?";
    char directory[4096] = "?";

    gethostname(host, sizeof host - 1);
    if (getcwd(directory, sizeof directory) == NULL)
        perror("getcwd");
    printf("hello from %s, directory %s, uid %d%s\n", host, directory, (int)getuid(),
           getenv("HANDS_INSIDE") != NULL ? ", inside an action" : "");
    return EXIT_SUCCESS;
}
