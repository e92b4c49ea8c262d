/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Row loops for the machine they run on.
 */
#pragma once

// The compiler makes a version per instruction set, chosen at load. Not under
// sanitizers, whose run-time is not up when the choice is made.
#if defined (__x86_64__) && defined (__GNUC__) && !defined (__clang__) && \
    !defined (__SANITIZE_ADDRESS__) && !defined (__SANITIZE_THREAD__)
#define CPSP_CLONES __attribute__ ((target_clones ("arch=x86-64-v4", \
            "arch=x86-64-v3", "default")))
#else
#define CPSP_CLONES
#endif
