// The header of a numpy array: where its elements lie and what they are.
//
//   6 bytes   "\x93NUMPY"
//   2 bytes   version: major 1, 2 or 3, minor
//   2 or 4    length of the header, little-endian; 2 bytes in version 1
//   N bytes   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, padded
//   the rest  the elements
//
// Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//
// Threads: free functions.
// Errors:  only those of the source.
// Memory:  the header, which counts as damaged beyond 64 KiB.
#pragma once

#include <string>

#include "store/base/result.h"
#include "store/format/byte_source.h"
#include "store/format/tensor_map.h"

namespace varve {

struct NpyArray {
  // Without a name, for the format has none; the range counts from the beginning of the source.
  // Arrays in Fortran order have strides. Opaque types have a size (`type` is their descr: "V2",
  // "U10", "M8[ns]"), but records of fields reach to the end of the source.
  Tensor tensor;
  bool recognised = false;
  std::string problem;  // why there is no tensor
};

// The array at the beginning of the source, behind which anything may follow.
Result<NpyArray> ReadNpy(ByteSource& source);

}  // namespace varve
