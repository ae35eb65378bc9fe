// Waits in every way that the C library has, for LENGTH milliseconds, and says how long each wait was, by the kernel's own clock.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static struct timespec soon(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += LENGTH * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void *sleeper(void *nothing) {
    sleep(1000);
    return nothing;
}

#define WAIT(name, clock, call)                                  \
    do {                                                         \
        struct timespec until = soon(clock);                     \
        long long begin = now();                                 \
        long result = (long)(call);                              \
        printf("%s %lld %ld %d\n", name, now() - begin, result, errno); \
    } while (0)

static int by_file(int clock, struct timespec until) {
    struct itimerspec timer = {.it_value = until};
    uint64_t times;
    int fd = timerfd_create(clock, 0);
    if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &timer, NULL)) return -1;
    int length = read(fd, &times, sizeof times);
    close(fd);
    return length == sizeof times ? 0 : -1;
}

static int by_timer(int clock, struct timespec until) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec at = {.it_value = until};
    timer_t timer;
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (timer_create(clock, &event, &timer) || timer_settime(timer, TIMER_ABSTIME, &at, NULL)) return -1;
    int result = sigwait(&set, &signal);
    timer_delete(timer);
    return result;
}

static long by_futex(int operation, struct timespec *until) {
    static int word;
    return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, 0, until, NULL, FUTEX_BITSET_MATCH_ANY);
}

// One of several futexes, each as the kernel has it (linux/futex.h, since 5.16).
static long by_waitv(int clock, struct timespec *until) {
    static uint32_t words[2];
    struct { uint64_t value, address; uint32_t flags, reserved; } waits[2];
    for (int i = 0; i < 2; i++) {
        waits[i].value = 0;
        waits[i].address = (uintptr_t)&words[i];
        waits[i].flags = 2 | FUTEX_PRIVATE_FLAG;
        waits[i].reserved = 0;
    }
    return syscall(449, waits, 2, 0, until, clock);
}

static void all(void) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    static pthread_cond_t monotonic;
    static pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&monotonic, &attributes);
    pthread_mutex_lock(&mutex);
    WAIT("pthread_cond_timedwait", CLOCK_REALTIME, pthread_cond_timedwait(&condition, &mutex, &until));
    WAIT("pthread_cond_timedwait/monotonic", CLOCK_MONOTONIC, pthread_cond_timedwait(&monotonic, &mutex, &until));
    WAIT("pthread_cond_clockwait", CLOCK_REALTIME, pthread_cond_clockwait(&condition, &mutex, CLOCK_REALTIME, &until));
    WAIT("pthread_cond_clockwait/monotonic", CLOCK_MONOTONIC, pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &until));
    WAIT("pthread_mutex_timedlock", CLOCK_REALTIME, pthread_mutex_timedlock(&mutex, &until));
    WAIT("pthread_mutex_clocklock/monotonic", CLOCK_MONOTONIC, pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until));
    pthread_mutex_unlock(&mutex);

    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    pthread_rwlock_rdlock(&lock);
    WAIT("pthread_rwlock_timedwrlock", CLOCK_REALTIME, pthread_rwlock_timedwrlock(&lock, &until));
    WAIT("pthread_rwlock_clockwrlock/monotonic", CLOCK_MONOTONIC, pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &until));
    pthread_rwlock_unlock(&lock);

    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    WAIT("sem_timedwait", CLOCK_REALTIME, sem_timedwait(&semaphore, &until));
    WAIT("sem_clockwait/monotonic", CLOCK_MONOTONIC, sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until));

    mtx_t plain;
    cnd_t waited;
    mtx_init(&plain, mtx_timed);
    cnd_init(&waited);
    mtx_lock(&plain);
    WAIT("cnd_timedwait", CLOCK_REALTIME, cnd_timedwait(&waited, &plain, &until));
    WAIT("mtx_timedlock", CLOCK_REALTIME, mtx_timedlock(&plain, &until));

    pthread_t thread;
    pthread_create(&thread, NULL, sleeper, NULL);
    WAIT("pthread_timedjoin_np", CLOCK_REALTIME, pthread_timedjoin_np(thread, NULL, &until));
    WAIT("pthread_clockjoin_np/monotonic", CLOCK_MONOTONIC, pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until));
    // One that is cancelled while it waits is unwound through what waits for it.
    pthread_cancel(thread);
    pthread_join(thread, NULL);

    WAIT("clock_nanosleep", CLOCK_REALTIME, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
    WAIT("clock_nanosleep/monotonic", CLOCK_MONOTONIC, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    struct timespec length = {0, LENGTH * 1000000};
    WAIT("clock_nanosleep/relative", CLOCK_REALTIME, clock_nanosleep(CLOCK_REALTIME, 0, &length, NULL) + 0 * until.tv_sec);
    WAIT("timerfd_settime", CLOCK_REALTIME, by_file(CLOCK_REALTIME, until));
    WAIT("timerfd_settime/monotonic", CLOCK_MONOTONIC, by_file(CLOCK_MONOTONIC, until));
    WAIT("timer_settime", CLOCK_REALTIME, by_timer(CLOCK_REALTIME, until));
    WAIT("timer_settime/monotonic", CLOCK_MONOTONIC, by_timer(CLOCK_MONOTONIC, until));
    WAIT("futex", CLOCK_REALTIME, by_futex(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, &until));
    WAIT("futex/monotonic", CLOCK_MONOTONIC, by_futex(FUTEX_WAIT_BITSET, &until));
    WAIT("futex_waitv", CLOCK_REALTIME, by_waitv(CLOCK_REALTIME, &until));
    WAIT("futex_waitv/monotonic", CLOCK_MONOTONIC, by_waitv(CLOCK_MONOTONIC, &until));
    WAIT("futex/relative", CLOCK_REALTIME, by_futex(FUTEX_WAIT, &length) + 0 * until.tv_sec);
    WAIT("clock_nanosleep/call", CLOCK_REALTIME, syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
}

static void *waits_forever(void *nothing) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    struct timespec until = soon(CLOCK_REALTIME);
    until.tv_sec += 1000000;
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &mutex);
    pthread_cond_timedwait(&condition, &mutex, &until);
    pthread_cleanup_pop(1);
    return nothing;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int c; (c = getchar()) != EOF;) {
        // A wait that is much too long is none.
        alarm(60);
        all();
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, waits_forever, NULL);
        usleep(20000);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        printf("cancelled %d\n", result == PTHREAD_CANCELED);
        alarm(0);
    }
    return 0;
}
