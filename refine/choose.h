/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which backend computes: the first that can, of those that were asked for.
 * One that needs it has passed its self-test.
 */
#pragma once

#include "refiner.h"

G_BEGIN_DECLS

// What was chosen. Zeros: nothing yet.
typedef struct
{
  guint index;                  // in the list of backends
  const CpspBackend *backend;
  CpspDevice *device;
  CpspDeviceInfo info;
  CpspType type;
  // Why a better one, or a better way of it, was passed over (SELF_TEST: it
  // is here, but computes wrong numbers). NULL: none was.
  GError *passed_over;
} CpspChoiceOfDevice;

// Opens a device as PARAMS say, which with CPSP_BACKEND_AUTO may be any. FALSE
// and an error if there is none: ARGUMENT if one lacks the precision, else
// DEVICE, NO_MEMORY or SELF_TEST.
gboolean cpsp_choose_device (const CpspRefinerParams * params,
    CpspChoiceOfDevice * choice, GError ** error);
// After CHOICE has failed with WHY (transfer full): the best of those behind
// it. FALSE if there is none, or no other was asked for: WHY is the error.
gboolean cpsp_choose_another (const CpspRefinerParams * params,
    const CpspChoiceOfDevice * choice, GError * why,
    CpspChoiceOfDevice * another, GError ** error);
// Closes the device.
void cpsp_choice_clear (CpspChoiceOfDevice * choice);

G_END_DECLS
