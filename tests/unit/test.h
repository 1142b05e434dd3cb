#pragma once
/** @file tests/unit/test.h  cmocka and what it wants included before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
