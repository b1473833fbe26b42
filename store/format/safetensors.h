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
#include <functional>
#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/format/byte_source.h"
#include "store/format/completeness.h"

namespace varve {

// The format's own limit.
inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// One member of the header, as it stands there.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;            // empty: it has none
  bool has_shape = false;       // of unsigned numbers, at most kSafetensorsAxesMax of them
  std::vector<uint64_t> shape;  // outermost axis first
  uint64_t begin = 0;           // data_offsets: from the end of the header
  uint64_t end = 0;
};

inline constexpr size_t kSafetensorsAxesMax = 64;

using SafetensorsVisitor = std::function<void(const SafetensorsEntry& entry)>;

struct SafetensorsLayout {
  bool well_formed = false;   // it is JSON
  bool tensors_only = false;  // each member but __metadata__ describes a tensor
  uint64_t tensors = 0;
  uint64_t data_bytes = 0;  // the highest data offset
  bool contiguous = false;  // the tensors' sizes add up to data_bytes
  std::string problem;      // what is wrong, when something is
};

// Parses `header_bytes` of JSON that begin at byte 8, and shows each tensor to `visitor`, in the
// header's order: also those of a header that turns out to be damaged further on.
// REQUIRES: the source has them.
Result<SafetensorsLayout> ReadSafetensorsLayout(ByteSource& source, uint64_t header_bytes,
                                                const SafetensorsVisitor& visitor = nullptr);

// The verdict of CheckSafetensors(), showing the tensors on the way to it.
Result<std::optional<Completeness>> VisitSafetensors(ByteSource& source,
                                                     const SafetensorsVisitor& visitor);

}  // namespace varve
