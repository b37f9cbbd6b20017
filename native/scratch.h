#pragma once
#include <stddef.h>

/* Kinds of memory of which a thread may hold one piece each at a time. */
#define SCRATCHES 3

/*
 * At least `size` bytes at a multiple of 4096, of this thread: valid until it asks for the same `kind` again, or ends.
 * Null when memory runs out.
 */
char *scratch(int kind, size_t size);
