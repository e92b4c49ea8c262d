/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fuzz target is one file that defines these two functions, under the names
 * that libFuzzer knows. replay.c makes a plain program of it, which needs no
 * special compiler.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

// Runs once. Returns 0.
int LLVMFuzzerInitialize (int *argc, char ***argv);

// Runs one input. What DATA means is up to the target, but equal bytes mean
// the same. It aborts where a promise is broken. Returns 0.
int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size);
