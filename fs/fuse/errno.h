// Which errno a system call returns for a Status: decided here and nowhere else.
//
// Threads: a pure function.
#pragma once

#include "store/base/result.h"

namespace varve {

// 0 for ok. The status's own errno where it has one, else what its code means.
// Never ENOSYS: the kernel would take it for "never ask this again".
int ToErrno(const Status& status);

}  // namespace varve
