#include "store/format/safetensors.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace varve {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kTokenBytesMax = 4u << 20;
constexpr size_t kDepthMax = 16;

// The header's characters for the parser. Ends early at a read error, and at a
// token so long that the parser would have to keep too much of it.
class HeaderText {
 public:
  HeaderText(ByteSource& source, uint64_t header_bytes)
      : source_(source), end_(kLengthBytes + header_bytes) {
    Load();
  }

  bool AtEnd() const { return position_ >= end_; }
  char Current() const { return static_cast<char>(block_[position_ - block_begin_]); }
  void Advance() {
    if (TokenGrows(Current()) && ++token_bytes_ > kTokenBytesMax) {
      problem_ = "the header holds too long a text";
      end_ = position_;
      return;
    }
    ++position_;
    if (!AtEnd() && position_ - block_begin_ >= block_.size()) Load();
  }

  const Status& status() const { return status_; }
  const std::string& problem() const { return problem_; }

 private:
  // False where a token ends, and the parser forgets it.
  bool TokenGrows(char c) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
        token_bytes_ = 0;
        return false;
      }
      return true;
    }
    in_string_ = c == '"';
    if (std::string_view("{}[]:,").find(c) != std::string_view::npos) {
      token_bytes_ = 0;
      return false;
    }
    return true;
  }

  void Load() {
    const uint64_t want = std::min<uint64_t>(end_ - position_, BufferedSource::kBufferBytes);
    Result<ByteView> block = source_.Get(position_, static_cast<size_t>(want));
    if (block.ok() && block->empty() && want > 0) {
      block = Status(Code::kIo, "the file became shorter while it was read");
    }
    if (!block.ok()) {
      status_ = block.status();
      end_ = position_;
      return;
    }
    block_ = *block;
    block_begin_ = position_;
  }

  BufferedSource source_;
  uint64_t end_;
  uint64_t position_ = kLengthBytes;
  ByteView block_;
  uint64_t block_begin_ = kLengthBytes;
  bool in_string_ = false;
  bool escaped_ = false;
  uint64_t token_bytes_ = 0;
  Status status_;
  std::string problem_;
};

// What the parser wants: an input iterator. A null text is the end.
class TextIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit TextIterator(HeaderText* text) : text_(text) {}
  char operator*() const { return text_->Current(); }
  TextIterator& operator++() {
    text_->Advance();
    return *this;
  }
  TextIterator operator++(int) {
    TextIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TextIterator& a, const TextIterator& b) {
    return a.Ended() == b.Ended();
  }

 private:
  bool Ended() const { return text_ == nullptr || text_->AtEnd(); }
  HeaderText* text_;
};

// Follows the JSON and keeps nothing but sums and the tensor at hand. Depth 1 is the
// header's object, depth 2 a tensor's, depth 3 its arrays.
class LayoutHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  LayoutHandler(SafetensorsLayout* layout, const SafetensorsVisitor& visitor)
      : layout_(layout), visitor_(visitor) {
    layout_->tensors_only = true;
  }

  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(number_integer_t) override { return Scalar(); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(); }
  bool binary(binary_t&) override { return Scalar(); }
  bool string(string_t& value) override {
    if (depth_ == 2 && member_ == Member::kDType) entry_.dtype = value;
    return Scalar();
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 3 && member_ == Member::kOffsets) {
      if (offsets_ < 2) offset_[offsets_] = value;
      ++offsets_;
      return true;
    }
    if (depth_ == 3 && member_ == Member::kShape && entry_.shape.size() < kSafetensorsAxesMax) {
      entry_.shape.push_back(value);
      return true;
    }
    return Scalar();
  }

  bool start_object(size_t) override {
    if (depth_ == 1 && !in_metadata_) BeginTensor();
    return Enter();
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) EndTensor();
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ == 0 || depth_ == 1) layout_->tensors_only = false;
    if (depth_ == 2 && member_ == Member::kOffsets) offsets_ = 0;
    if (depth_ == 2 && member_ == Member::kShape) {
      entry_.shape.clear();
      entry_.has_shape = true;
    }
    return Enter();
  }
  bool end_array() override {
    if (depth_ == 3 && member_ == Member::kOffsets) has_offsets_ = true;
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      in_metadata_ = name == "__metadata__";
      if (!in_metadata_) entry_.name = name;
    }
    if (depth_ == 2) member_ = in_metadata_ ? Member::kOther : MemberOf(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  uint64_t sizes_sum() const { return sizes_sum_; }
  bool sizes_overflow() const { return sizes_overflow_; }

 private:
  enum class Member { kOther, kDType, kShape, kOffsets };

  static Member MemberOf(std::string_view name) {
    if (name == "dtype") return Member::kDType;
    if (name == "shape") return Member::kShape;
    return name == "data_offsets" ? Member::kOffsets : Member::kOther;
  }

  bool Enter() { return ++depth_ <= kDepthMax; }
  // A value where an object has to be.
  bool Scalar() {
    if (depth_ <= 1) layout_->tensors_only = false;
    if (depth_ == 3 && member_ == Member::kOffsets) offsets_ = 3;
    // No size of an axis, or one too many.
    if (depth_ >= 3 && member_ == Member::kShape) entry_.has_shape = false;
    return true;
  }
  void BeginTensor() {
    has_offsets_ = false;
    entry_.dtype.clear();
    entry_.has_shape = false;
    entry_.shape.clear();
  }
  void EndTensor() {
    member_ = Member::kOther;
    if (!has_offsets_ || offsets_ != 2 || offset_[0] > offset_[1]) {
      layout_->tensors_only = false;
      return;
    }
    ++layout_->tensors;
    layout_->data_bytes = std::max(layout_->data_bytes, offset_[1]);
    sizes_overflow_ |= __builtin_add_overflow(sizes_sum_, offset_[1] - offset_[0], &sizes_sum_);
    if (!visitor_) return;
    entry_.begin = offset_[0];
    entry_.end = offset_[1];
    visitor_(entry_);
  }

  SafetensorsLayout* layout_;
  const SafetensorsVisitor& visitor_;
  size_t depth_ = 0;
  bool in_metadata_ = false;
  Member member_ = Member::kOther;
  bool has_offsets_ = false;
  unsigned offsets_ = 0;
  uint64_t offset_[2] = {};
  SafetensorsEntry entry_;
  uint64_t sizes_sum_ = 0;
  bool sizes_overflow_ = false;
};

Completeness Incomplete(std::string reason) {
  return {ContentFormat::kSafetensors, false, std::move(reason)};
}

std::string ExpectedBytes(std::string_view at_least, uint64_t expected, uint64_t has) {
  return "expected " + std::string(at_least) + std::to_string(expected) + " bytes, has " +
         std::to_string(has);
}

// A header begins with '{', then a name or the end; the format allows no blanks
// before it.
bool BeginsLikeHeader(ByteView first) {
  if (first.size() <= kLengthBytes || first[kLengthBytes] != '{') return false;
  for (const uint8_t byte : first.subspan(kLengthBytes + 1)) {
    if (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t') continue;
    return byte == '"' || byte == '}' || byte == 0;
  }
  return true;
}

}  // namespace

Result<SafetensorsLayout> ReadSafetensorsLayout(ByteSource& source, uint64_t header_bytes,
                                                const SafetensorsVisitor& visitor) {
  SafetensorsLayout layout;
  HeaderText text(source, header_bytes);
  LayoutHandler handler(&layout, visitor);
  layout.well_formed =
      nlohmann::json::sax_parse(TextIterator(&text), TextIterator(nullptr), &handler);
  RETURN_IF_ERROR(text.status());
  if (!layout.well_formed) {
    layout.problem = text.problem().empty() ? "the header is damaged" : text.problem();
  }
  layout.contiguous = !handler.sizes_overflow() && handler.sizes_sum() == layout.data_bytes;
  return layout;
}

Result<std::optional<Completeness>> VisitSafetensors(ByteSource& source,
                                                     const SafetensorsVisitor& visitor) {
  using Recognised = std::optional<Completeness>;
  const uint64_t size = source.size_bytes();
  uint8_t first[64];
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(0, first));
  const ByteView view(first, got);
  const uint64_t header_bytes = ByteReader(view).U64();
  const bool plausible = header_bytes >= 2 && header_bytes <= kSafetensorsHeaderBytesMax;
  if (!plausible ||
      !BeginsLikeHeader(view.first(std::min<uint64_t>(got, kLengthBytes + header_bytes))))
    return Recognised();

  const uint64_t data_begin = kLengthBytes + header_bytes;
  if (size < data_begin)
    return Recognised(Incomplete(ExpectedBytes("at least ", data_begin, size)));
  ASSIGN_OR_RETURN(const SafetensorsLayout layout,
                   ReadSafetensorsLayout(source, header_bytes, visitor));
  if (!layout.well_formed) return Recognised(Incomplete(layout.problem));
  // JSON behind a length, but no table of tensors: somebody else's format.
  if (!layout.tensors_only) return Recognised();
  if (!layout.contiguous) return Recognised(Incomplete("the tensors overlap or leave gaps"));
  uint64_t expected = 0;
  if (__builtin_add_overflow(data_begin, layout.data_bytes, &expected))
    return Recognised(Incomplete("a tensor ends beyond any file"));
  if (size != expected) return Recognised(Incomplete(ExpectedBytes("", expected, size)));
  return Recognised(Completeness{ContentFormat::kSafetensors, true, ""});
}

Result<std::optional<Completeness>> CheckSafetensors(ByteSource& source) {
  return VisitSafetensors(source, nullptr);
}

}  // namespace varve
