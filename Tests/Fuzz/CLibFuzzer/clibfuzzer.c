#include "clibfuzzer.h"

/* libFuzzer's entry point for programs that have a main function of their own. */
int LLVMFuzzerRunDriver(int *count, char ***arguments,
                        int (*body)(const uint8_t *bytes, size_t count));

int clibfuzzer_run(int *count, char **_Nullable *arguments,
                   int (*body)(const uint8_t *bytes, size_t count)) {
    return LLVMFuzzerRunDriver(count, arguments, body);
}
