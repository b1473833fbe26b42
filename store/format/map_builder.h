// What every reader of a format owes the map: checked ranges, bounds, the order.
//
// Threads: belongs to one thread.
// Errors:  the first problem empties the map for good.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/format/tensor_map.h"

namespace varve {

// The product of `shape`; nothing when it does not fit into 64 bits.
std::optional<uint64_t> ElementCount(const std::vector<uint64_t>& shape);

// How many elements lie between the first and behind the last one, gaps included; nothing when it
// does not fit. REQUIRES: as many strides as axes.
std::optional<uint64_t> SpanOf(const std::vector<uint64_t>& shape,
                               const std::vector<uint64_t>& strides);

// Whether the strides are those of C order without gaps; axes of one element may have any.
bool IsContiguous(const std::vector<uint64_t>& shape, const std::vector<uint64_t>& strides);

class MapBuilder {
 public:
  MapBuilder(ContentFormat format, uint64_t file_bytes) : file_bytes_(file_bytes) {
    map_.format = format;
  }

  // Refuses, by failing, what lies outside of the file, does not have the size its shape asks for,
  // or is too much.
  void Add(Tensor tensor);
  // There are no tensors.
  void Fail(std::string problem);
  // There are not all.
  void Note(std::string problem);
  // For formats in which tensors share no byte.
  void FailIfOverlapping();
  // For formats without gaps, too.
  void FailUnlessTiled(uint64_t begin_bytes);

  bool failed() const { return failed_; }
  size_t tensors() const { return map_.tensors.size(); }
  TensorMap Finish();

 private:
  std::string Refusal(const Tensor& tensor) const;
  void Sort();

  const uint64_t file_bytes_;
  TensorMap map_;
  uint64_t text_bytes_ = 0;
  bool failed_ = false;
};

}  // namespace varve
