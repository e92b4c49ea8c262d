/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A library that is neither a module nor cuDNN.
 */
extern const int cpsp_test_nothing;
const int cpsp_test_nothing = 0;
