/* Before each fsync of a file or folder under POWER_LOSS_ROOT, says its path and waits for leave to go on.

   Preloaded (LD_PRELOAD) into a process; tests/engine/test_power_loss.py is at the other end of the two pipes.
   Nothing is really synced: what a disk would hold is the test's affair. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int sync_if_elsewhere(int descriptor, long number)
{
    const char *root = getenv("POWER_LOSS_ROOT");
    char link[64], path[4096], leave;
    ssize_t length;
    int gone_wrong;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0 || strncmp(path, root, strlen(root)) != 0)
        return (int)syscall(number, descriptor);
    path[length] = '\n';
    pthread_mutex_lock(&one_at_a_time);
    gone_wrong = write(atoi(getenv("POWER_LOSS_ASK")), path, length + 1) != length + 1
                 || read(atoi(getenv("POWER_LOSS_LEAVE")), &leave, 1) != 1;
    pthread_mutex_unlock(&one_at_a_time);
    if (gone_wrong)
        _exit(3);
    return 0;
}

int fsync(int descriptor) { return sync_if_elsewhere(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_if_elsewhere(descriptor, SYS_fdatasync); }
