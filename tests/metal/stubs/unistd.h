/* SPDX-License-Identifier: MIT
 *
 * What the checked files use of Apple's C library, whose headers are not here. */
#ifndef TQ_STUB_UNISTD_H
#define TQ_STUB_UNISTD_H

int getpagesize(void);

#endif
