// Writes zip files as torch.save does: stored entries, data descriptors or not,
// zip64 or not.
//
// Threads: belongs to one thread.
#pragma once

#include <string>
#include <vector>

#include "store/base/bytes.h"

namespace varve::testing {

class ZipBuilder {
 public:
  struct Options {
    bool zip64 = false;        // sizes and offsets in 64-bit records
    bool descriptors = false;  // sizes behind the data, zero in the local headers
    std::string comment;
  };
  explicit ZipBuilder(Options options) : options_(std::move(options)) {}
  ZipBuilder() : ZipBuilder(Options()) {}

  ZipBuilder& Add(const std::string& name, const std::string& bytes);
  // The whole file.
  std::string Finish();

 private:
  void AddEntry(const std::string& name, uint64_t size, uint64_t offset);

  const Options options_;
  std::string file_;
  std::string directory_;
  uint64_t entries_ = 0;
};

}  // namespace varve::testing
