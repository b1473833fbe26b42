// The header of a safetensors file: how long the file has to be.
//
//   8 bytes   length N of the header, little-endian
//   N bytes   JSON: {"NAME": {"dtype": …, "shape": […], "data_offsets": [begin, end]},
//             …, "__metadata__": {…}}, padded with spaces
//   the rest  the tensors, without gaps; data_offsets count from here
//
// Source: https://github.com/huggingface/safetensors, "Format".
//
// Threads: free functions.
// Memory:  a few MiB: the header is parsed as it is read, and one that holds a
//          text or a run of blanks of more than 4 MiB counts as damaged.
#pragma once

#include <cstdint>
#include <string>

#include "store/base/result.h"
#include "store/format/byte_source.h"

namespace varve {

// The format's own limit.
inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

struct SafetensorsLayout {
  bool well_formed = false;   // it is JSON
  bool tensors_only = false;  // each member but __metadata__ describes a tensor
  uint64_t tensors = 0;
  uint64_t data_bytes = 0;  // the highest data offset
  bool contiguous = false;  // the tensors' sizes add up to data_bytes
  std::string problem;      // what is wrong, when something is
};

// Parses `header_bytes` of JSON that begin at byte 8. REQUIRES: the source has them.
Result<SafetensorsLayout> ReadSafetensorsLayout(ByteSource& source, uint64_t header_bytes);

}  // namespace varve
