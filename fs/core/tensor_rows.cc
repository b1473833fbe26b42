#include "fs/core/tensor_rows.h"

#include <algorithm>

#include "store/codec/codec.h"

namespace varve {
namespace {

constexpr uint8_t kLayout = 1;
constexpr uint8_t kHeadLayout = 2;
constexpr size_t kPartBytes = 256u << 10;
constexpr uint8_t kBigEndian = 1;
constexpr uint8_t kHasStrides = 2;
constexpr uint8_t kHasType = 4;

Status Damaged() { return Status(Code::kCorrupt, "damaged tensor map"); }

void AppendTensor(const Tensor& tensor, ByteWriter* out) {
  out->Text(tensor.name);
  out->U8(static_cast<uint8_t>(tensor.dtype));
  const bool strides = !tensor.strides.empty();
  out->U8(static_cast<uint8_t>((tensor.big_endian ? kBigEndian : 0) | (strides ? kHasStrides : 0) |
                               (tensor.type.empty() ? 0 : kHasType)));
  out->Varint(tensor.shape.size());
  for (const uint64_t axis : tensor.shape) out->Varint(axis);
  for (const uint64_t stride : tensor.strides) out->Varint(stride);
  out->Varint(tensor.begin_bytes);
  out->Varint(tensor.end_bytes - tensor.begin_bytes);
  if (!tensor.type.empty()) out->Text(tensor.type);
}

Result<Tensor> TakeTensor(ByteReader* in) {
  Tensor tensor;
  tensor.name = in->Text();
  tensor.dtype = static_cast<DType>(in->U8());
  const uint8_t flags = in->U8();
  tensor.big_endian = (flags & kBigEndian) != 0;
  const uint64_t axes = in->Varint();
  if (axes > kTensorAxesMax) return Damaged();
  for (uint64_t i = 0; i < axes; ++i) tensor.shape.push_back(in->Varint());
  if ((flags & kHasStrides) != 0)
    for (uint64_t i = 0; i < axes; ++i) tensor.strides.push_back(in->Varint());
  tensor.begin_bytes = in->Varint();
  const uint64_t size = in->Varint();
  if (size > UINT64_MAX - tensor.begin_bytes) return Damaged();
  tensor.end_bytes = tensor.begin_bytes + size;
  if ((flags & kHasType) != 0) tensor.type = in->Text();
  if (!in->ok()) return Damaged();
  return tensor;
}

// Not inlined, because g++ 12 then takes a short row for uninitialized.
[[gnu::noinline]] Result<std::string> DecodePart(std::string_view value) {
  ByteReader in(value);
  const bool known = in.U8() == kLayout;
  const auto encoding = static_cast<Encoding>(in.U8());
  const uint64_t size = in.Varint();
  const ByteView payload = in.Raw(in.remaining());
  if (!known || !in.ok() || size > kPartBytes) return Damaged();
  std::string text(static_cast<size_t>(size), '\0');
  Decoder decoder;
  const MutableBytes room(reinterpret_cast<uint8_t*>(text.data()), text.size());
  RETURN_IF_ERROR(decoder.Decode(encoding, payload, room));
  return text;
}

}  // namespace

std::string EncodeTensorHead(const TensorHead& head) {
  std::string value;
  ByteWriter out(&value);
  out.U8(kHeadLayout);
  out.U8(static_cast<uint8_t>(head.format));
  out.Varint(head.tensors);
  out.Varint(head.parts);
  out.U64(head.signature);
  out.Varint(head.sketch.size());
  for (const uint32_t number : head.sketch) out.U32(number);
  out.Varint(head.base);
  out.U64(head.architecture);
  return value;
}

std::vector<TensorRow> EncodeTensorRows(ContentId content, const TensorMap& map, TensorHead head) {
  std::string text;
  ByteWriter out(&text);
  for (const Tensor& tensor : map.tensors) {
    AppendTensor(tensor, &out);
    if (text.size() > kTensorMapBytesMax) return {};
  }
  std::vector<TensorRow> rows(1);
  Encoder encoder;
  for (ByteView left = AsBytes(text); !left.empty();) {
    const ByteView part = left.first(std::min(left.size(), kPartBytes));
    left = left.subspan(part.size());
    const EncodedChunk encoded = encoder.Encode(part);
    TensorRow row;
    row.key = key::TensorMap(content, static_cast<uint32_t>(rows.size()));
    ByteWriter value(&row.value);
    value.U8(kLayout);
    value.U8(static_cast<uint8_t>(encoded.encoding));
    value.Varint(part.size());
    value.Raw(encoded.payload);
    rows.push_back(std::move(row));
  }
  head.format = map.format;
  head.tensors = map.tensors.size();
  head.parts = static_cast<uint32_t>(rows.size() - 1);
  rows.front() = {key::TensorMap(content, 0), EncodeTensorHead(head)};
  return rows;
}

Status AppendTensorMapRemoval(Catalog& catalog, ContentId content, Batch* batch) {
  const key::Range rows = key::AllTensorMap(content);
  return catalog.Scan(rows.begin, rows.end, [&](std::string_view row_key, std::string_view) {
    batch->Delete(std::string(row_key));
    return true;
  });
}

Result<TensorHead> DecodeTensorHead(std::string_view value) {
  ByteReader in(value);
  const uint8_t layout = in.U8();
  const bool known = layout == kLayout || layout == kHeadLayout;
  TensorHead head;
  head.format = static_cast<ContentFormat>(in.U8());
  head.tensors = in.Varint();
  const uint64_t parts = in.Varint();
  head.parts = static_cast<uint32_t>(parts);
  head.signature = in.U64();
  const uint64_t samples = in.Varint();
  if (!known || samples > kSketchSamples || head.tensors > kTensorsMax ||
      parts > kTensorMapBytesMax / kPartBytes + 1)
    return Damaged();
  for (uint64_t i = 0; i < samples; ++i) head.sketch.push_back(in.U32());
  if (layout == kHeadLayout) {
    head.base = in.Varint();
    head.architecture = in.U64();
  }
  if (!in.Done()) return Damaged();
  return head;
}

Result<std::optional<TensorHead>> FindTensorHead(Catalog& catalog, ContentId content) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row, catalog.Get(key::TensorMap(content, 0)));
  if (!row) return std::optional<TensorHead>();
  ASSIGN_OR_RETURN(TensorHead head, DecodeTensorHead(*row));
  return std::optional<TensorHead>(std::move(head));
}

Result<std::optional<TensorMap>> FindTensorMap(Catalog& catalog, ContentId content) {
  ASSIGN_OR_RETURN(const std::optional<TensorHead> head, FindTensorHead(catalog, content));
  if (!head) return std::optional<TensorMap>();
  std::string text;
  for (uint32_t part = 1; part <= head->parts; ++part) {
    ASSIGN_OR_RETURN(const std::optional<std::string> row,
                     catalog.Get(key::TensorMap(content, part)));
    if (!row) return Damaged();
    ASSIGN_OR_RETURN(const std::string decoded, DecodePart(*row));
    text += decoded;
  }
  TensorMap map;
  map.format = head->format;
  ByteReader in(text);
  for (uint64_t i = 0; i < head->tensors; ++i) {
    ASSIGN_OR_RETURN(Tensor tensor, TakeTensor(&in));
    map.tensors.push_back(std::move(tensor));
  }
  if (!in.Done()) return Damaged();
  return std::optional<TensorMap>(std::move(map));
}

}  // namespace varve
