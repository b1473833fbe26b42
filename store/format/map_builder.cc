#include "store/format/map_builder.h"

#include <algorithm>
#include <tuple>

namespace varve {
namespace {

// For people: a name may be megabytes of anything.
std::string Quoted(std::string_view name) {
  constexpr size_t kShownMax = 80;
  std::string shown(name.substr(0, kShownMax));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return "'" + shown + (name.size() > kShownMax ? "…'" : "'");
}

// What the tensor's elements take up; nothing when it does not fit, or the format alone knows.
std::optional<uint64_t> ElementsOf(const Tensor& tensor) {
  return tensor.strides.empty() ? ElementCount(tensor.shape) : SpanOf(tensor.shape, tensor.strides);
}

}  // namespace

std::optional<uint64_t> ElementCount(const std::vector<uint64_t>& shape) {
  // No elements, however large the other axes are.
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) return 0;
  uint64_t count = 1;
  for (const uint64_t axis : shape) {
    if (__builtin_mul_overflow(count, axis, &count)) return std::nullopt;
  }
  return count;
}

std::optional<uint64_t> SpanOf(const std::vector<uint64_t>& shape,
                               const std::vector<uint64_t>& strides) {
  const std::optional<uint64_t> count = ElementCount(shape);
  if (!count || *count == 0) return count;
  uint64_t span = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    uint64_t reach = 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) ||
        __builtin_add_overflow(span, reach, &span))
      return std::nullopt;
  }
  return span;
}

bool IsContiguous(const std::vector<uint64_t>& shape, const std::vector<uint64_t>& strides) {
  if (ElementCount(shape) == std::optional<uint64_t>(0)) return true;
  uint64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    if (strides[i] != expected || __builtin_mul_overflow(expected, shape[i], &expected))
      return false;
  }
  return true;
}

std::string MapBuilder::Refusal(const Tensor& tensor) const {
  if (map_.tensors.size() >= kTensorsMax) return "there are too many tensors";
  if (text_bytes_ > kTensorTextBytesMax) return "the names of the tensors are too long";
  const std::string name = "tensor " + Quoted(tensor.name);
  if (tensor.shape.size() > kTensorAxesMax) return name + " has too many axes";
  if (!tensor.strides.empty() && tensor.strides.size() != tensor.shape.size())
    return name + " has not one stride for each axis";
  if (tensor.begin_bytes > tensor.end_bytes || tensor.end_bytes > file_bytes_)
    return name + " lies outside of the file";
  const unsigned element = ElementBytes(tensor.dtype);
  const std::optional<uint64_t> count = ElementCount(tensor.shape);
  const std::optional<uint64_t> elements = ElementsOf(tensor);
  uint64_t bytes = 0;
  if (!count || !elements || __builtin_mul_overflow(*count, std::max(element, 1u), &bytes) ||
      __builtin_mul_overflow(*elements, std::max(element, 1u), &bytes))
    return name + " has more elements than any file";
  if (element != 0 && bytes != tensor.end_bytes - tensor.begin_bytes)
    return name + " has not the size of its shape";
  return "";
}

void MapBuilder::Add(Tensor tensor) {
  if (failed_) return;
  text_bytes_ += tensor.name.size() + tensor.type.size();
  std::string refusal = Refusal(tensor);
  if (!refusal.empty()) return Fail(std::move(refusal));
  if (ElementBytes(tensor.dtype) == 1) tensor.big_endian = false;
  map_.tensors.push_back(std::move(tensor));
}

void MapBuilder::Fail(std::string problem) {
  if (failed_) return;
  failed_ = true;
  map_.tensors = {};
  map_.problem = std::move(problem);
}

void MapBuilder::Note(std::string problem) {
  if (map_.problem.empty()) map_.problem = std::move(problem);
}

void MapBuilder::FailIfOverlapping() {
  Sort();
  uint64_t end = 0;
  for (const Tensor& tensor : map_.tensors) {
    if (tensor.begin_bytes == tensor.end_bytes) continue;
    if (tensor.begin_bytes < end) {
      return Fail("tensor " + Quoted(tensor.name) + " overlaps the one before it");
    }
    end = tensor.end_bytes;
  }
}

void MapBuilder::FailUnlessTiled(uint64_t begin_bytes) {
  Sort();
  for (const Tensor& tensor : map_.tensors) {
    if (tensor.begin_bytes != begin_bytes) return Fail("the tensors overlap or leave gaps");
    begin_bytes = tensor.end_bytes;
  }
}

void MapBuilder::Sort() {
  std::sort(map_.tensors.begin(), map_.tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::tie(a.begin_bytes, a.end_bytes, a.name) <
           std::tie(b.begin_bytes, b.end_bytes, b.name);
  });
}

TensorMap MapBuilder::Finish() {
  Sort();
  return std::move(map_);
}

}  // namespace varve
