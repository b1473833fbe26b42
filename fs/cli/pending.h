// What a mount has taken and not stored yet, as its status says it.
//
// Threads: free functions and values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace varve {

struct Pending {
  uint64_t files = 0;
  uint64_t bytes = 0;

  bool none() const { return files == 0 && bytes == 0; }
};

// From the JSON of `.varve/status`; nothing if it is none.
std::optional<Pending> ParsePending(const std::string& status_json);

// "3 files (1.2 GiB)"
std::string DescribePending(const Pending& pending);

}  // namespace varve
