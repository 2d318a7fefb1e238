// What a hostile action tries. Each attempt must be refused; one that is not is named on standard output, and the exit
// code is then 1. Arguments: the two halves of the secret, a process outside, a TCP port outside, an abstract socket's
// name outside, then paths outside that only the worker's user may reach.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static int tried, got_out;
static char secret[256];

static void must_fail(const char *what, long result) {
    tried++;
    if (result >= 0) {
        got_out++;
        printf("NOT REFUSED: %s\n", what);
    }
}

// Opening alone is enough to have failed us.
static void must_not_open(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    must_fail(path, fd);
    if (fd >= 0) close(fd);
}

static void must_not_hold(const char *path) {
    static char text[1 << 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return;
    ssize_t length = read(fd, text, sizeof text);
    close(fd);
    if (length > 0) must_fail(path, memmem(text, length, secret, strlen(secret)) ? 0 : -1);
}

static int look(const char *path, const struct stat *s, int type, struct FTW *walk) {
    (void)walk;
    if (strstr(path, secret)) must_fail(path, 0);
    if (type == FTW_F && S_ISREG(s->st_mode)) must_not_hold(path);
    return 0;
}

static void files(char **outside) {
    // Whatever can be seen beside programs and libraries: other actions, the store, the worker's own files.
    for (const char *const *place = (const char *const[]){"/etc", "/home", "/root", "/var", "/run", "/srv", "/mnt",
                                                          "/media", "/tmp", "/dev", "/hands", "/work", ".", NULL};
         *place; place++)
        nftw(*place, look, 64, FTW_PHYS);
    for (; *outside; outside++) must_not_open(*outside, O_RDONLY);
    for (const char *const *path = (const char *const[]){"/etc/shadow", "/etc/gshadow", "/root" "/.ssh", "/proc/kcore", "/proc/kmsg",
                                                         "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse",
                                                         "/proc/1/root/etc/shadow", "/proc/1/mem", NULL};
         *path; path++)
        must_not_open(*path, O_RDONLY);
    for (const char *const *path = (const char *const[]){"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern",
                                                         "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/modprobe", NULL};
         *path; path++)
        must_not_open(*path, O_WRONLY);
    for (const char *const *path = (const char *const[]){"/x", "/usr/x", "/etc/x", "/var/x", "/run/x", "/home/x", "/root/x",
                                                         "/hands/x", "/proc/x", "/sys/x", NULL};
         *path; path++)
        must_fail(*path, open(*path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    // A handle made by hand would reach any inode of the file system, whoever may see its path.
    union {
        struct file_handle head;
        char room[sizeof(struct file_handle) + 128];
    } handle = {.head = {.handle_bytes = 128}};
    int mount;
    if (name_to_handle_at(AT_FDCWD, "/usr", &handle.head, &mount, 0) == 0)
        must_fail("open_by_handle_at", open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY));
    // The inputs are this action's to change; that nobody else sees it is looked at from outside.
    int fd = open("input.txt", O_RDWR | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, "changed\n", 8) != 8) must_fail("an input could not even be changed here", 0);
    close(fd);
    if (link("kept.txt", "other-name") == 0 && (fd = open("other-name", O_WRONLY | O_APPEND | O_CLOEXEC)) >= 0) {
        if (write(fd, "more\n", 5) != 5) perror("write");
        close(fd);
    }
}

static void processes(pid_t outside) {
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && (entry = readdir(all));) {
        int pid = atoi(entry->d_name);
        if (pid == 0) continue;
        char path[64];
        for (const char *const *file = (const char *const[]){"environ", "cmdline", "status", NULL}; *file; file++) {
            snprintf(path, sizeof path, "/proc/%d/%s", pid, *file);
            must_not_hold(path);
        }
        if (pid == getpid() || pid == 1) continue;
        snprintf(path, sizeof path, "/proc/%d", pid);
        must_fail("another process is to be seen", pid > 2 ? 0 : -1);
    }
    if (all) closedir(all);
    for (const pid_t *pid = (const pid_t[]){outside, 1, 0}; *pid; pid++) {
        if (*pid != 1) must_fail("kill", kill(*pid, 0));
        must_fail("ptrace", ptrace(PTRACE_ATTACH, *pid, 0, 0));
        must_fail("ptrace (seize)", ptrace(PTRACE_SEIZE, *pid, 0, 0));
        char byte;
        struct iovec here = {&byte, 1}, there = {environ, 1};
        must_fail("process_vm_readv", process_vm_readv(*pid, &here, 1, &there, 1, 0));
        int fd = syscall(SYS_pidfd_open, *pid, 0);
        if (fd >= 0) must_fail("pidfd_getfd", syscall(SYS_pidfd_getfd, fd, 0, 0));
    }
}

static void privileges(void) {
    must_fail("setuid", setuid(0));
    must_fail("setgid", setgid(0));
    must_fail("chown", chown("input.txt", 0, 0));
    must_fail("a device", mknod("device", S_IFCHR | 0600, makedev(1, 1)));
    must_fail("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    must_fail("a bind mount", mount("/etc", "/tmp", NULL, MS_BIND, NULL));
    must_fail("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
    must_fail("umount", umount2("/proc", MNT_DETACH));
    must_fail("chroot", chroot("."));
    must_fail("pivot_root", syscall(SYS_pivot_root, ".", "."));
    must_fail("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
    must_fail("fsopen", syscall(SYS_fsopen, "proc", 0));
    for (const int *flag = (const int[]){CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, 0}; *flag; flag++)
        must_fail("unshare", unshare(*flag));
    for (const char *const *path = (const char *const[]){"/proc/1/ns/mnt", "/proc/1/ns/net", "/proc/1/ns/pid", "/proc/1/ns/user", NULL};
         *path; path++) {
        int fd = open(*path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) must_fail("setns", setns(fd, 0));
    }
    must_fail("sethostname", sethostname("x", 1));
    must_fail("bpf", syscall(SYS_bpf, 0, NULL, 0));
    must_fail("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    must_fail("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
    must_fail("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    must_fail("init_module", syscall(SYS_init_module, NULL, 0, ""));
    must_fail("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    must_fail("swapon", syscall(SYS_swapon, "/tmp", 0));
    must_fail("clock", syscall(SYS_clock_settime, 0, &(struct timespec){1, 0}));
    must_fail("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
}

static void sockets(int port, const char *abstract, char **outside) {
    must_fail("a raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    must_fail("a packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    must_fail("vsock", socket(40 /* AF_VSOCK */, SOCK_STREAM, 0));
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must_fail("the loopback outside", connect(fd, (struct sockaddr *)&tcp, sizeof tcp));
    tcp.sin_addr.s_addr = htonl(0xc6336401); // 198.51.100.1, which nobody has
    must_fail("the network outside", connect(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&tcp, sizeof tcp));
    struct sockaddr_un unix_name = {.sun_family = AF_UNIX};
    size_t length = strlen(abstract);
    memcpy(unix_name.sun_path + 1, abstract, length);
    must_fail("an abstract socket outside",
              connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&unix_name, offsetof(struct sockaddr_un, sun_path) + 1 + length));
    for (; *outside; outside++) {
        if (strlen(*outside) >= sizeof unix_name.sun_path) continue;
        memset(&unix_name, 0, sizeof unix_name);
        unix_name.sun_family = AF_UNIX;
        strcpy(unix_name.sun_path, *outside);
        must_fail("a socket outside", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&unix_name, sizeof unix_name));
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "forks")) {
        // Children stay until they are killed with the action.
        int n = 0;
        for (pid_t child; n < 100000 && (child = fork()) >= 0; n++)
            if (child == 0)
                for (;;) pause();
        printf("%d\n", n);
        fflush(stdout);
        for (;;) pause();
    }
    if (argc == 3 && !strcmp(argv[1], "daemon")) {
        for (int i = 0; i < 3; i++) {
            if (fork()) continue;
            setsid();
            for (int signal_number = 1; signal_number < 65; signal_number++) signal(signal_number, SIG_IGN);
            if (fork()) _exit(0);
            close(1);
            close(2);
            for (;;) pause();
        }
        return 0;
    }
    if (argc < 7) return 2;
    snprintf(secret, sizeof secret, "%s%s", argv[1], argv[2]);
    for (char **variable = environ; *variable; variable++) must_fail("the worker's environment", strstr(*variable, secret) ? 0 : -1);
    files(argv + 6);
    processes(atoi(argv[3]));
    privileges();
    sockets(atoi(argv[4]), argv[5], argv + 6);
    printf("%d attempts\n", tried);
    return got_out > 0;
}
