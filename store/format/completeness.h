// Whether a model file is whole, as its own format defines it.
//
// The format is recognised by content, never by name. A file that was cut off
// still counts as what it began as, wherever its first bytes tell: half a
// checkpoint must not pass for a plain file.
//
// Threads: free functions.
// Errors:  only those of the source. Bytes that make no sense are no error: they
//          make a plain or an incomplete file.
// Memory:  at most about 5 MiB, whatever a header says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "store/base/result.h"
#include "store/format/byte_source.h"

namespace varve {

// Values are on disk; never reuse one.
enum class ContentFormat : uint8_t {
  kPlain = 0,  // nothing that VarveFS recognises
  kSafetensors = 1,
  kTorchZip = 2,
  // These have a map of tensors (tensor_map.h), and no verdict of their own yet.
  kNpy = 3,
  kNpz = 4,
  kGguf = 5,
  kDistcp = 6,  // but for this one, which is whole if its last zip is
};

struct Completeness {
  ContentFormat format = ContentFormat::kPlain;
  bool complete = true;  // plain content always is
  std::string reason;    // why it is not: "expected 100 bytes, has 60"
};

Result<Completeness> CheckCompleteness(ByteSource& source);

// The formats one by one; nothing when it is another format.
Result<std::optional<Completeness>> CheckSafetensors(ByteSource& source);
Result<std::optional<Completeness>> CheckDistcp(ByteSource& source);
Result<std::optional<Completeness>> CheckTorchZip(ByteSource& source);

}  // namespace varve
