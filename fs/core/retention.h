// Which versions of a name are kept: the rule of `user.varve.keep`.
//
//   last=N     the newest N
//   days=N     those that were captured in the last N days
//   every=N    those whose number N divides
//   none       no version
//
// Several, with commas between them: a version is kept if any of them keeps it.
//
// Threads: a value.
// Format:  docs/SEMANTICS.md, "Retention".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/keys.h"
#include "store/base/result.h"

namespace varve {

inline constexpr std::string_view kKeepAttribute = "user.varve.keep";

class RetentionRule {
 public:
  // The one of a store that says nothing: last=32, days=7.
  static RetentionRule Default();
  // Fails with kInvalid and a sentence.
  static Result<RetentionRule> Parse(std::string_view text);

  struct Candidate {
    VersionNumber number = 0;
    int64_t captured_s = 0;  // since 1970
  };
  // For each of `versions`, which ascend, whether it is kept.
  std::vector<bool> Keeps(const std::vector<Candidate>& versions, int64_t now_s) const;

 private:
  uint32_t last_ = 0;
  uint32_t days_ = 0;
  std::vector<uint32_t> every_;
};

}  // namespace varve
