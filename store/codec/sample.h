// A look at a few elements of a chunk of floats: what its planes would gain.
//
// Threads: values.
#pragma once

#include <array>
#include <vector>

#include "store/base/bytes.h"
#include "store/codec/elements.h"
#include "store/codec/streams.h"

namespace varve {

class FloatSample {
 public:
  // Up to kSlices * kSliceElements elements, from all over the chunk.
  // REQUIRES: `elements` is not kBytes.
  FloatSample(ByteView raw, ElementType elements);

  // The elements looked at.
  ByteView bytes() const { return bytes_; }
  // What is expected to be left of a byte, 0 to 1, when the planes are coded as Efforts() says.
  double PlanesRatio() const;
  const std::array<StreamEffort, kElementWidthMax>& Efforts() const { return efforts_; }
  // Some eight bytes occur twice: zstd may find more than the planes do.
  bool Repeats() const;

 private:
  void JudgePlane(unsigned plane, ByteView bytes);

  static constexpr size_t kSlices = 8;
  static constexpr size_t kSliceElements = 256;

  unsigned width_;
  std::vector<uint8_t> bytes_;
  std::array<StreamEffort, kElementWidthMax> efforts_{};
  std::array<double, kElementWidthMax> bits_{};
};

}  // namespace varve
