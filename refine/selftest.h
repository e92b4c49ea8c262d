/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a device computes what it should: each kind of operation on a few
 * small inputs, compared with the plain-C reference. For devices that the
 * authors have not seen, with libraries that choose among many ways to
 * compute. Takes some tens of milliseconds of the processor.
 */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

// FALSE and a SELF_TEST error that names the operation if a result in TYPE
// is off by more than rounding, or any other error that a call of the backend
// gave.
gboolean cpsp_self_test (const CpspBackend * backend, CpspDevice * device,
    CpspType type, GError ** error);

// What was found on a machine before, in the user's cache. IDENTITY names the
// device, everything that it runs on, and what was tested.
//
// *ATTEMPT: the first that passed, or N_ATTEMPTS: none did. FALSE: it is not
// known; whatever cannot be read, or is not what was written, counts as that.
gboolean cpsp_self_test_recall (const char * identity, guint n_attempts,
    guint * attempt);
// Several may write at once: one of them wins. That it cannot be kept is no
// failure: it is found again the next time.
void cpsp_self_test_remember (const char * identity, guint attempt);

G_END_DECLS
