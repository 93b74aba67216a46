/* Counts what each thread of a program allocates, for a test that is to see that some do not.
 *
 * Preloaded (ld.so(8)), it stands before the C library's functions and counts their calls in a file
 * that ALLOCATIONS names: pairs of a thread's number and its count, behind the number of pairs. A
 * thread is there from its first allocation on. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS = 1024 };

struct counts {
    atomic_ulong used;
    struct { unsigned long thread, count; } threads[THREADS];
};

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static struct counts *shared;
/* Where nothing is allocated to find it. */
static __thread unsigned long *own __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ALLOCATIONS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) abort();
    shared = memory;
    close(file);
}

static void count(void) {
    if (!shared) return;
    if (!own) {
        unsigned long index = atomic_fetch_add(&shared->used, 1);
        if (index >= THREADS) abort();
        shared->threads[index].thread = gettid();
        own = &shared->threads[index].count;
    }
    ++*own;
}

void *malloc(size_t size) { return count(), __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return count(), __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return count(), __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { return count(), __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
    void *memory = memalign(alignment, size);
    if (memory) *result = memory;
    return memory ? 0 : ENOMEM;
}
