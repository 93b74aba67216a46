#ifndef CLIBFUZZER_H
#define CLIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Runs libFuzzer, which the toolchain has as a library of clang's runtime. Swift cannot import the
 * function's own declaration: no header has it.
 */
int clibfuzzer_run(int *_Nonnull count, char *_Nullable *_Nullable *_Nonnull arguments,
                   int (*_Nonnull body)(const uint8_t *_Nullable bytes, size_t count));

#endif
