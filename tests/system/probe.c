/* What a job's root tries that no shell can: each line of the output is a name and the errno, 0 for success.

   Static, without arguments or with the number of a process to look into. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

static void tell(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

static void raw(const char *name, int family, int type, int protocol) {
    int made = socket(family, type, protocol);
    tell(name, made);
    if (made >= 0) close(made);
}

#ifdef __x86_64__
/* socket(2) as 32-bit programs of old call it: its arguments in memory, where a filter can't look. */
static void socketcall_packet(void) {
    unsigned *arguments = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int result;
    arguments[0] = AF_PACKET, arguments[1] = SOCK_RAW, arguments[2] = 0x0300;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(102), "b"(1), "c"(arguments) : "memory", "r8", "r9", "r10", "r11");
    printf("socketcall-packet %d\n", result < 0 ? -result : 0);
}
#endif

int main(int count, char **words) {
    char buffer[16];
    if (count > 1) {
        int pid = atoi(words[1]);
        struct iovec here = {buffer, sizeof buffer}, there = {(void *)0x400000, sizeof buffer};
        tell("attach", ptrace(PTRACE_SEIZE, pid, 0, 0));
        tell("read-memory", process_vm_readv(pid, &here, 1, &there, 1, 0));
        tell("pidfd", syscall(SYS_pidfd_open, pid, 0));
        return 0;
    }
    raw("packet", AF_PACKET, SOCK_RAW, 0x0300);
    raw("packet-datagram", AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0x0300);
    raw("packet-of-old", AF_INET, 10, 0x0300);
    raw("raw-tcp", AF_INET, SOCK_RAW, IPPROTO_TCP);
    raw("raw-udp", AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP);
    raw("raw-any", AF_INET, SOCK_RAW, IPPROTO_RAW);
    raw("raw-tcp6", AF_INET6, SOCK_RAW, IPPROTO_TCP);
    raw("raw-icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP);
    raw("stream", AF_INET, SOCK_STREAM, 0);
    raw("alg", 38, SOCK_SEQPACKET, 0);
    raw("vsock", 40, SOCK_STREAM, 0);
#ifdef __x86_64__
    socketcall_packet();
#endif
    tell("new-user-namespace", unshare(CLONE_NEWUSER));
    tell("new-network", unshare(CLONE_NEWNET));
    tell("enter-namespace", setns(open("/proc/self/ns/net", O_RDONLY), 0));
    tell("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    tell("remount", mount("none", "/proc/sys", 0, MS_REMOUNT | MS_BIND, ""));
    tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    tell("device", mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)));
    tell("bpf", syscall(SYS_bpf, 0, buffer, sizeof buffer));
    tell("perf", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    tell("add-key", syscall(SYS_add_key, "user", "name", "x", 1, -3));
    tell("io-uring", syscall(SYS_io_uring_setup, 1, buffer));
    tell("userfaultfd", syscall(SYS_userfaultfd, 0));
    tell("file-by-handle", syscall(SYS_open_by_handle_at, AT_FDCWD, buffer, 0));
    tell("kernel-log", syscall(SYS_syslog, 10, 0, 0));
    tell("module", syscall(SYS_init_module, buffer, 0, ""));
    tell("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    tell("clock", syscall(SYS_clock_settime, 0, buffer));
    tell("host-name", sethostname("other", 5));
    return 0;
}
